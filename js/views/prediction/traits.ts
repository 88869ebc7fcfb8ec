import type { NdArray } from "../../core/arrays";
import type { Answered as AnsweredOf } from "../../core/changes";
import type { Intervention } from "../../core/intervention";

/** What the kernel sends; the names are those of mechwidgets/widgets/prediction.py. */
export interface Traits {
  title: string;
  model_name: string;
  prompt: string;
  interventions: Intervention[];
  /** Behind which token the next one is read; null for the end. */
  position: number | null;
  order: Order;
  /** Raw token text, one a position. */
  tokens: string[];
  /** What the numbers are of; `position` and `interventions` may be ahead of it. */
  answered: Required<AnsweredOf>;
  distribution: DistributionChange;
}

export type Order = "change" | "probability";

/** Tokens by their probability without interventions. */
export interface DistributionChange {
  tokens: string[];
  /** Probabilities without and with the interventions, one a token. */
  before: NdArray<"float32">;
  after: NdArray<"float32">;
  /** Kullback-Leibler divergence of the two whole distributions, in nats. */
  kl: number;
}

/** What the model writes behind the prompt. */
export interface Written {
  token_ids: number[];
  tokens: string[];
}

export type WriteAnswer = Record<Side, Written>;

export type Side = "before" | "after";
