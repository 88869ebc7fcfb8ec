/** What the kernel says of an exercise; the twin of mechwidgets/widgets/exercise.py. */

export type Place = "layer" | "head" | "position";

/** The places that were chosen, and what was said of them. */
export interface Answer extends Partial<Record<Place, number>> {
  right: boolean;
  /** "" where the verdict says it all. */
  feedback: string;
}

export interface Traits {
  title: string;
  model_name: string;
  /** The picture that it is about. */
  view: string;
  question: string;
  /** "" for none. */
  hint: string;
  asks: Place[];
  /** How many right answers there are to find. */
  count: number;
  answers: Answer[];
  /** The picture's, where it has tokens. */
  tokens: string[];
  layer: number | null;
  head: number | null;
  position: number | null;
}

export interface Verdict {
  right: boolean;
  feedback: string;
}
