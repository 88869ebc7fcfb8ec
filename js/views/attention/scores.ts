/** Scores of heads: what tints the thumbnails and orders them. */
import { type ColourMap, colourMap, type Rgb } from "../../core/colour";
import type { ColourScale } from "../../core/scale";
import type { Theme } from "../../core/theme";
import type { Traits } from "./traits";
import { scoreName } from "./words";

type Scored = Pick<Traits, "score_names" | "score_values">;

/** One score of all heads, row by row; null when none is chosen. */
export function chosenScore(traits: Scored & Pick<Traits, "score">): Float32Array | null {
  const index = traits.score_names.indexOf(traits.score);
  return index < 0 ? null : scoreOf(traits, index);
}

function scoreOf({ score_values }: Scored, index: number): Float32Array {
  const [, layers = 0, heads = 0] = score_values.shape;
  return score_values.data.subarray(index * layers * heads, (index + 1) * layers * heads);
}

/** A head's scores, their names in words; NaN where the prompt does not define one. */
export function headScores(traits: Scored, index: number): { name: string; value: number }[] {
  return traits.score_names.map((name, at) => ({
    name: scoreName(name),
    value: scoreOf(traits, at)[index] ?? Number.NaN,
  }));
}

/** The heads by score, the highest first; those without one last, in their own order. */
export function byScore(values: Float32Array): number[] {
  const rank = (index: number) => {
    const value = values[index] ?? Number.NaN;
    return Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value;
  };
  return Array.from(values, (_, index) => index).sort((one, other) => rank(other) - rank(one) || one - other);
}

export interface TintScale extends ColourScale {
  readonly low: number;
  readonly high: number;
}

/** From nothing to yellow at the highest; of scores with both signs from violet to yellow, 0 being none. */
export function tintScale(theme: Theme, values: Float32Array): TintScale {
  const finite = values.filter(Number.isFinite);
  const [least, most] = [Math.min(0, ...finite), Math.max(0, ...finite)];
  if (least < 0) {
    const reach = Math.max(-least, most);
    return { map: theme.tint, low: -reach, high: reach, place: (value) => 0.5 + (0.5 * value) / reach };
  }
  const high = most || 1;
  return { map: upperHalf(theme.tint), low: 0, high, place: (value) => value / high };
}

function upperHalf({ colours }: ColourMap): ColourMap {
  const middle = (colours.length - 1) / 2;
  return colourMap([0, 0.25, 0.5, 0.75, 1].map((share) => colours[middle + share * middle] as Rgb));
}
