import type { NdArray } from "../../core/arrays";
import type { Answered as AnsweredOf } from "../../core/changes";
import type { Intervention } from "../../core/intervention";

/** What the kernel sends; numbers are logits; the names are those of mechwidgets/widgets/attribution.py. */
export interface Traits {
  title: string;
  model_name: string;
  prompt: string;
  /** The next token and the one whose logit is subtracted, texts or ids; "" for the model's own choice, and for none. */
  answer: string | number;
  wrong: string | number;
  /** Where the next token is read; null for the end. */
  position: number | null;
  interventions: Intervention[];
  /** Raw token text, one a position. */
  tokens: string[];
  answer_text: string;
  /** "" where nothing is subtracted. */
  wrong_text: string;
  /** What the numbers are of; `position` and `interventions` may be ahead of it. */
  answered: Answered;
  n_layers: number;
  n_heads: number;
  /** float32 [layer, 2]: what attention and MLP add; NaN where a layer has none */
  layer_values: NdArray<"float32">;
  /** float32 [layer, head]; NaN where a layer has no heads to tell apart */
  head_values: NdArray<"float32">;
  /** float32 [layer]: what attention adds besides its heads */
  head_bias: NdArray<"float32">;
  /** "embed", "pos_embed", "bias", "rest" */
  others: Record<string, number>;
  /** What all parts add up to, before a soft cap. */
  total: number;
  /** The model's own, after its soft cap where it has one. */
  logit: number;
  capped: boolean;
  /** The chosen component. */
  layer: number | null;
  head: number | null;
  part: Part;
  neuron: number | null;
}

export type Part = "attn" | "mlp" | "embed" | "pos_embed";

export type Answered = Required<AnsweredOf>;

export interface ComponentAnswer {
  /** Tokens whose logits it raises and lowers most, and by how much (float32). */
  up: string[];
  up_values: NdArray<"float32">;
  down: string[];
  down_values: NdArray<"float32">;
  /** What it adds to the answer's logit and to the wrong one's, where there is one. */
  on_answer: number;
  on_wrong: number | null;
  neurons?: NeuronsAnswer;
}

/** An MLP's neurons that add most, either way. */
export interface NeuronsAnswer {
  count: number;
  /** int32 [neuron] */
  index: NdArray<"int32">;
  /** float32 [neuron] */
  values: NdArray<"float32">;
  activations: NdArray<"float32">;
  /** What the other neurons add together, and the MLP's biases. */
  others: number;
  bias: number;
  /** Of the neuron that was asked about. */
  value: number | null;
  activation: number | null;
}
