/** One head's attention as the picture reads it: exact when the kernel has sent it, from the thumbnail until then. */
import type { NdArray } from "../../core/arrays";

export interface Pattern {
  readonly size: number;
  /** False: read from the thumbnail, good to a few thousandths, or to a block of tokens. */
  readonly exact: boolean;
  weight(destination: number, source: number): number;
}

export function exactPattern(array: NdArray<"float32">): Pattern {
  const size = array.shape[0] ?? 0;
  return {
    size,
    exact: true,
    weight: (destination, source) => array.data[destination * size + source] ?? Number.NaN,
  };
}

export interface Thumbnails {
  readonly array: NdArray<"uint8">;
  readonly block: number;
}

export function thumbnailPattern(
  { array, block }: Thumbnails,
  layer: number,
  head: number,
  size: number,
): Pattern {
  const [, heads = 0, rows = 0, cols = 0] = array.shape;
  const start = (layer * heads + head) * rows * cols;
  return {
    size,
    exact: false,
    weight: (destination, source) => {
      if (source > destination) return 0;
      const at = start + Math.floor(destination / block) * cols + Math.floor(source / block);
      return (array.data[at] ?? 0) / 255;
    },
  };
}
