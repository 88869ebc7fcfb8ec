/** A long prompt's head at a glance: its values in blocks of tokens, each with the one of them that stands out. */
import type { Pattern } from "./pattern";

export interface Blocks extends Pattern {
  /** Tokens a side of a block; the last ones may have fewer. */
  readonly block: number;
  /** The pair of tokens whose value a block shows. */
  strongest(row: number, col: number): { readonly row: number; readonly col: number };
}

/** Of each block the highest value, or with `signed` what is furthest from 0; NaN where there is none. */
export function blocksOf(pattern: Pattern, block: number, causal: boolean, signed: boolean): Blocks {
  const size = Math.ceil(pattern.size / block);
  const values = new Float32Array(size * size).fill(Number.NaN);
  const sizes = new Float32Array(size * size).fill(Number.NEGATIVE_INFINITY);
  const places = new Int32Array(size * size);
  for (let row = 0; row < pattern.size; row++) {
    const end = causal ? row + 1 : pattern.size;
    const first = Math.floor(row / block) * size;
    for (let col = 0; col < end; col++) {
      const value = pattern.weight(row, col);
      const strength = signed ? Math.abs(value) : value;
      const at = first + Math.floor(col / block);
      // Nothing is larger than NaN.
      if (!(strength > (sizes[at] ?? 0))) continue;
      sizes[at] = strength;
      values[at] = value;
      places[at] = row * pattern.size + col;
    }
  }
  return {
    ...{ size, block },
    exact: pattern.exact,
    weight: (row, col) => values[row * size + col] ?? Number.NaN,
    strongest: (row, col) => {
      const place = places[row * size + col] ?? 0;
      return { row: Math.floor(place / pattern.size), col: place % pattern.size };
    },
  };
}
