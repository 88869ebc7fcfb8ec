import type { NdArray } from "../../core/arrays";
import type { Answered } from "../../core/changes";
import type { Intervention } from "../../core/intervention";

/** What the kernel sends; the names are those of mechwidgets/widgets/logit_lens.py. `prompt` is 1, or 2 where prompts are compared. */
export interface Traits {
  title: string;
  model_name: string;
  prompt: string;
  /** A second prompt; "" for none. */
  compare: string;
  /** What is read of each layer, and what this model has to be read. */
  stream: Stream;
  streams: Stream[];
  /** The token, a text or an id, whose rank and probability `rank` and `target_probs` are; "" for the output's at each position. */
  target: string | number;
  /** Its text; "" for the output's. */
  target_text: string;
  tuned: boolean;
  interventions: Intervention[];
  /** What the numbers are of; `interventions` may be ahead of it. */
  answered: Answered;
  has_tuned_lens: boolean;
  /** Raw token text, one a position. */
  tokens: string[];
  /** Of the second prompt. */
  compare_tokens: string[];
  n_layers: number;
  /** The kernel answers for a position without running the model. */
  keeps_states: boolean;
  /** "embed" and the layers, or the layers and "output". The last row is the model's output. */
  row_labels: string[];
  /** The token texts that `top_tokens` points into, and their ids (int32). */
  vocabulary: string[];
  vocabulary_ids: NdArray<"int32">;
  /** int32 [prompt, row, pos, k] */
  top_tokens: NdArray<"int32">;
  /** float32 [prompt, row, pos, k], most probable first; NaN where a state gives no finite logits */
  top_probs: NdArray<"float32">;
  /** float32 [prompt, row, pos], nats */
  entropy: NdArray<"float32">;
  /** ln of the vocabulary's size: the entropy of knowing nothing. */
  max_entropy: number;
  /** float32 [prompt, row, pos]: divergence of the row's distribution from the output's, nats */
  kl: NdArray<"float32">;
  /** int32 [prompt, row, pos]: rank (0 = top) of the target; -1 where there is none */
  rank: NdArray<"int32">;
  /** float32 [prompt, row, pos]: probability of the target */
  target_probs: NdArray<"float32">;
  /** float32 [row, pos]: divergence of the second prompt's distribution from the first's, nats; [0, pos] for one prompt */
  divergence: NdArray<"float32">;
  color_by: ColourBy;
  /** The chosen place. */
  layer: number | null;
  position: number | null;
}

export type Stream = "resid_pre" | "resid_mid" | "resid_post" | "attn_out" | "mlp_out";
export type ColourBy = "probability" | "target_probability" | "rank" | "entropy" | "kl" | "divergence";

/** What the picture may change. */
export type InputChanges = Partial<Pick<Traits, "prompt" | "compare" | "stream" | "target" | "tuned">>;

/** One position through the layers. */
export interface ColumnAnswer {
  /** The followed tokens: ids and texts. */
  ids: number[];
  texts: string[];
  /** float32 [prompt, token, row]; NaN where a state gives no finite logits */
  probability: NdArray<"float32">;
  rank: NdArray<"float32">;
  logit: NdArray<"float32">;
  /** As the traits of these names, without positions: [prompt, row, k]. */
  vocabulary: string[];
  vocabulary_ids: NdArray<"int32">;
  top_tokens: NdArray<"int32">;
  top_probs: NdArray<"float32">;
}
