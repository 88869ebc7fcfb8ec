import type { NdArray } from "../../core/arrays";
import type { Intervention } from "../../core/intervention";

/** What the kernel sends; the names are those of mechwidgets/widgets/head.py. */
export interface Traits {
  title: string;
  model_name: string;
  prompt: string;
  /** Raw token text, one a position. */
  tokens: string[];
  n_layers: number;
  n_heads: number;
  n_ctx: number;
  /** What is known without asking: answers by question, each of certain arguments. */
  answers: Answers;
  layer: number;
  head: number;
  /** The query; null for the last token. */
  position: number | null;
  /** A token of the vocabulary to look at too. */
  token: string | null;
  stream: Stream;
  /** How many positions before the query the keys of the vocabulary stand. */
  distance: number;
  /** Which map shows. */
  composition: Kind;
  interventions: Intervention[];
}

export type Stream = "prompt" | "embedding" | "effective";
export type Kind = "Q" | "K" | "V";

export interface AnswerOf {
  pattern: PatternAnswer;
  writes: WritesAnswer;
  looks: LooksAnswer;
  composition: CompositionAnswer;
  copying: CopyingAnswer;
}

export type Question = keyof AnswerOf;

/** Why there is no answer for this head, this family or this token. */
export interface Unavailable {
  unavailable: string;
}

export type Answers = {
  [Name in Question]?: { args?: object; value?: AnswerOf[Name] | Unavailable };
};

export interface PatternAnswer {
  /** The lower triangle, row by row. */
  pattern: NdArray<"float32">;
  /** By name; those that this prompt does not define are left out. */
  scores: Record<string, number>;
}

interface Ends {
  /** Tokens whose logits rise most, and those that fall most. */
  up: string[];
  up_values: NdArray<"float32">;
  down: string[];
  down_values: NdArray<"float32">;
}

export interface WritesAnswer {
  /** Behind which token. */
  position: number;
  /** Where the head attends to; -1 for a token of the vocabulary. */
  sources: NdArray<"int32">;
  /** NaN for a token of the vocabulary. */
  attention: NdArray<"float32">;
  tokens: string[];
  /** How many tokens there are to raise. */
  d_vocab: number;
  up: string[][];
  /** [source, rank] */
  up_values: NdArray<"float32">;
  down: string[][];
  down_values: NdArray<"float32">;
  /** What it adds to the logit of the token that it attends to, and how many it raises more. */
  own_values: NdArray<"float32">;
  own_ranks: NdArray<"int32">;
  /** What it writes in this run, of all that it attends to. */
  together?: Ends;
}

/** Scores before the softmax. */
export interface LooksAnswer extends Ends {
  /** Of the whole vocabulary. */
  mean: number;
  /** Positions rotate queries and keys, so the distance counts. */
  rotated: boolean;
}

export interface CompositionAnswer {
  /** [kind, layer, head] of the layers before; NaN where there are no heads. */
  scores: NdArray<"float32">;
  /** What chance gives. */
  baseline: number;
}

export interface CopyingAnswer {
  score: number;
}
