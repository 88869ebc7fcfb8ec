/** One head's values as the picture reads them: exact when the kernel has sent them, from the thumbnail until then. */
import type { NdArray } from "../../core/arrays";

export interface Pattern {
  readonly size: number;
  /** False: read from the thumbnail, good to a hundredth of the range, or to a block of tokens. */
  readonly exact: boolean;
  /** Nothing is known of it yet. */
  readonly missing?: boolean;
  /** NaN where there is no value. */
  weight(destination: number, source: number): number;
  /** Of a difference, what it is the difference of. */
  parts?(destination: number, source: number): readonly [number, number];
}

export function exactPattern(array: NdArray<"float32">): Pattern {
  const size = array.shape[0] ?? 0;
  return {
    size,
    exact: true,
    weight: (destination, source) => array.data[destination * size + source] ?? Number.NaN,
  };
}

/** From the lower triangle, row by row; less that of `compared`, if there is one. */
export function trianglePattern(
  size: number,
  { data }: NdArray<"float32">,
  compared: NdArray<"float32"> | null,
): Pattern {
  const at = (destination: number, source: number) => (destination * (destination + 1)) / 2 + source;
  const inTriangle = (destination: number, source: number) => source <= destination && destination < size;
  const read = (values: Float32Array, destination: number, source: number) =>
    inTriangle(destination, source) ? (values[at(destination, source)] ?? Number.NaN) : Number.NaN;
  if (!compared)
    return { size, exact: true, weight: (destination, source) => read(data, destination, source) };
  return {
    size,
    exact: true,
    weight: (destination, source) =>
      read(data, destination, source) - read(compared.data, destination, source),
    parts: (destination, source) => [
      read(data, destination, source),
      read(compared.data, destination, source),
    ],
  };
}

export interface Thumbnails {
  readonly array: NdArray<"uint8">;
  readonly block: number;
}
