/** What the kernel and the attention picture share; the names are those of mechwidgets/widgets/attention.py. */
import type { NdArray } from "../../core/arrays";
import type { Intervention } from "../../core/intervention";

export type AttentionType = "standard" | "value-weighted" | "info-weighted" | "pre-softmax";
/** The strip and the matrix show one token's row ("from": what it attends to) or column ("to": what attends to it). */
export type Direction = "from" | "to";
export type Head = readonly [layer: number, head: number];

export interface Traits {
  /** "" for none. */
  title: string;
  model_name: string;
  /** Several have equally many tokens; the picture shows their mean. */
  prompt: string | string[];
  /** What is subtracted from it; "" for nothing. */
  compare: string | string[];
  attention_type: AttentionType;
  /** The text of each token of the first prompt, as the tokenizer has it. */
  tokens: string[];
  /** What the other prompts have at each position, where they differ; "…" last where there are more. */
  alternatives: string[][];
  n_layers: number;
  n_heads: number;
  /** False: the heads are still to be computed (`thumbnails {}`), and have no values yet. */
  complete: boolean;
  /** [layer, head, destination, source]; 1 to 255 from one of the head's limits to the other, 0 for no value. */
  thumbnails: NdArray<"uint8">;
  /** Tokens a thumbnail pixel; above 1 a pixel is the largest value of its block. */
  thumbnail_block: number;
  /** Where each head's colours end: [layer, head, 2]. */
  limits: NdArray<"float32">;
  /** The values are differences. */
  diverging: boolean;
  score_names: string[];
  /** [score, layer, head]; NaN where the prompt does not define it. */
  score_values: NdArray<"float32">;
  /** What tints the thumbnails; "" for nothing. */
  score: string;
  order: "layer" | "score";
  /** Whether the next-token distribution stands beside the heads. */
  prediction: boolean;
  /** The chosen head. */
  layer: number;
  head: number;
  /** Those that are shown large beside it. */
  heads: Head[];
  /** The locked token. */
  position: number | null;
  /** What the token attends to, or what attends to it. */
  direction: Direction;
  interventions: Intervention[];
}

/** What the kernel tells while it answers `thumbnails {}`; at its end it has set the traits. */
export interface ThumbnailsProgress {
  /** How many layers have been read. */
  layers: number;
  /** Those from `first` to the last of them: [layer, head, destination, source]. */
  first: number;
  thumbnails: NdArray<"uint8">;
  /** Of all heads, as the traits. */
  limits: NdArray<"float32">;
  score_values: NdArray<"float32">;
}

/** The answer to `patterns {heads}`: of each the lower triangle, row by row; of what it is compared with another, or none. */
export interface PatternsAnswer {
  patterns: NdArray<"float32">[];
  compared: NdArray<"float32">[];
}

/** The answer to `predict {interventions}`: the likeliest next tokens, their probabilities without and with the changes. */
export interface PredictAnswer {
  tokens: string[];
  before: NdArray<"float32">;
  after: NdArray<"float32">;
  /** Kullback-Leibler divergence of the two whole distributions, in nats. */
  kl: number;
}
