/** What the kernel and the attention picture share; the names are those of mechwidgets/widgets/attention.py. */
import type { NdArray } from "../../core/arrays";
import type { Intervention } from "../../core/intervention";

export interface Traits {
  /** "" for none. */
  title: string;
  model_name: string;
  prompt: string;
  /** The text of each token, as the tokenizer has it. */
  tokens: string[];
  n_layers: number;
  n_heads: number;
  /** [layer, head, destination, source]; 255 is an attention weight of 1. */
  thumbnails: NdArray<"uint8">;
  /** Tokens a thumbnail pixel; above 1 a pixel is the largest weight of its block. */
  thumbnail_block: number;
  score_names: string[];
  /** [score, layer, head], 0 to 1; NaN where the prompt does not define it. */
  scores: NdArray<"float32">;
  layer: number;
  head: number;
  interventions: Intervention[];
}

/** The answer to `pattern {layer, head}`: [destination, source]. */
export interface PatternAnswer {
  pattern: NdArray<"float32">;
}

/** The answer to `predict {interventions}`: the likeliest next tokens, their probabilities without and with the changes. */
export interface PredictAnswer {
  tokens: string[];
  before: NdArray<"float32">;
  after: NdArray<"float32">;
  /** Kullback-Leibler divergence of the two whole distributions, in nats. */
  kl: number;
}
