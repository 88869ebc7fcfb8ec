/** What the kernel says of a workbench; the twin of mechwidgets/widgets/workbench.py. */
import type { Entry, Intervention } from "../../core/intervention";

export interface Traits {
  title: string;
  model_name: string;
  prompt: string;
  /** "" for none. */
  corrupted: string;
  /** As given; "" for the most probable. */
  answer: string;
  /** As given; "" for none or, with a corrupted prompt, the most probable after it. */
  wrong: string;
  /** With a corrupted prompt, the answers that are asked about; otherwise "". */
  answer_text: string;
  wrong_text: string;
  tokens: string[];
  corrupted_tokens: string[];
  n_layers: number;
  n_heads: number;
  /** The panels that there are, in order. */
  offered: Record<string, { needs_pair: boolean }>;
  /** Those that are shown. */
  panels: string[];
  /** By panel, the picture that is in it. */
  views: Record<string, string>;
  /** The panels that are still about the last question. */
  stale: string[];
  layer: number | null;
  head: number | null;
  position: number | null;
  interventions: Intervention[];
}

/** With what the host reads from the shared interventions. */
export interface WorkbenchTraits extends Traits {
  entries: Entry[] | undefined;
}

export interface TypedPrompt {
  /** The first of its tokens. */
  tokens: string[];
  /** How many it has. */
  count: number;
  /** Which of `tokens` the other prompt has otherwise. */
  differ: boolean[];
}

/** How the kernel would read what was typed. */
export interface Typed {
  prompt: TypedPrompt;
  corrupted: TypedPrompt;
  /** By field, what is wrong with it. */
  problems: Partial<Record<Field, string>>;
}

export type Field = "prompt" | "corrupted" | "answer" | "wrong";
export type Question = Record<Field, string>;
