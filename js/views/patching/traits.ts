import type { NdArray } from "../../core/arrays";
import type { Intervention } from "../../core/intervention";

/** What a table goes along: "layer", "head", "position", "destination", "source", "strength", "sender", … */
export interface Axis {
  name: string;
  /** What stands there: the number of the layer, head or position, or a name. */
  values: (number | string)[];
}

/** What the kernel sends; the names are those of mechwidgets/widgets/patching_traits.py. */
export interface Traits {
  title: string;
  /** What the picture is of, as "Activation patching". */
  heading: string;
  /** Sites, metrics and directions in words, by their names in Python. */
  names: Record<string, string>;
  model_name: string;
  clean: string;
  corrupted: string;
  answer: string;
  wrong: string;
  /** Raw token text, one a position; `corrupted_tokens` are as many, or none where there is one prompt only. */
  clean_tokens: string[];
  corrupted_tokens: string[];
  /** The metrics that can be chosen, by their names in Python; none where nobody runs anything. */
  metrics: string[];
  metric: string;
  /** What the metric is called in words. */
  metric_name: string;
  directions: string[];
  /** "denoise", "noise", or what was done to one prompt: "zero", "mean", "resample", "steer". */
  direction: string;
  sites: string[];
  site: string;
  /** The axes of each site's table. */
  axes: Record<string, Axis[]>;
  /** float32 of the axes' shape, of each site: the metric after patching; NaN = what the model gave there; null = not run to the end. */
  results: Record<string, NdArray<"float32"> | null>;
  /** Which cells of a site's results have been run, 1 or 0, where not all have. */
  computed: Record<string, NdArray<"uint8">>;
  /** Which cells of a site the model does not have, 1 or 0, where there are some. */
  absent: Record<string, NdArray<"uint8">>;
  /** What else is known of each cell of a finished result, float32 of its shape: "exact" (the metric), "stderr", "low", "high" (of the effect), "p" (corrected). */
  details: Record<string, NdArray<"float32">>;
  /** How good the numbers are, in a line; "" where there is nothing to say. */
  caption: string;
  /** The numbers are first-order approximations. */
  approximate: boolean;
  /** The numbers are all there is: nobody runs what is missing, or another pair. */
  finished: boolean;
  /** The metric of the two prompts as they are; null where there is one prompt only. */
  clean_metric: number;
  corrupted_metric: number | null;
  scale: "normalized" | "raw";
  /** Where the colours end: at the other baseline, or at the largest change; null: whichever shows more. */
  reach: "baselines" | "values" | null;
  /** The chosen place. */
  layer: number | null;
  head: number | null;
  position: number | null;
  /** What is pinned: carried out together on the run that is changed. A finished result has none. */
  interventions?: Intervention[];
}
