import type { NdArray } from "../../core/arrays";

/** What the kernel sends; the names are those of mechwidgets/widgets/logit_lens.py. */
export interface Traits {
  title: string;
  model_name: string;
  prompt: string;
  /** Raw token text, one a position. */
  tokens: string[];
  /** "embed", then "0" to the last layer: the residual stream after it. The last row is the model's output. */
  row_labels: string[];
  /** The token texts that `top_tokens` points into. */
  vocabulary: string[];
  /** int32 [row, pos, k] */
  top_tokens: NdArray<"int32">;
  /** float32 [row, pos, k], most probable first */
  top_probs: NdArray<"float32">;
  /** float32 [row, pos], nats */
  entropy: NdArray<"float32">;
  /** ln of the vocabulary's size: the entropy of knowing nothing. */
  max_entropy: number;
  /** int32 [row, pos]: rank (0 = top) that the row gives the output's top token at that position. */
  rank: NdArray<"int32">;
  color_by: "probability" | "entropy";
  /** The locked cell. */
  row: number | null;
  position: number | null;
}
