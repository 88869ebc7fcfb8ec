/** Thumbnails: places in the colours as bytes, 1 to 255 from end to end; 0 for no value. */
import type { NdArray } from "../../core/arrays";
import { pixelImage } from "../../core/canvas";
import { type ColourMap, mapIndex } from "../../core/colour";
import type { ValueRange } from "../../core/scale";
import type { Pattern, Thumbnails } from "./pattern";

/** All heads in one image, in the order of the array, `size` pixels a head, `across` heads in a row; drawn from in pieces. */
export interface HeadsImage {
  readonly image: HTMLCanvasElement;
  readonly size: number;
  readonly across: number;
}

export function headsImage(thumbnails: NdArray<"uint8">, map: ColourMap): HeadsImage {
  const size = thumbnails.shape.at(-1) ?? 0;
  const heads = thumbnails.shape.slice(0, -2).reduce((count, length) => count * length, 1);
  // A canvas may be some thousand pixels wide, not heads x pixels.
  const across = Math.ceil(Math.sqrt(heads));
  const image = pixelImage(Math.ceil(heads / across) * size, across * size, (row, col) => {
    const head = Math.floor(row / size) * across + Math.floor(col / size);
    const byte = thumbnails.data[(head * size + (row % size)) * size + (col % size)] ?? 0;
    return byte === 0 ? 0 : (map.pixels[mapIndex(placeOf(byte))] ?? 0);
  });
  return { image, size, across };
}

/** One head's values as its thumbnail has them: good to a hundredth of the range, or to a block of tokens. */
export function thumbnailValues(
  { array, block }: Thumbnails,
  range: ValueRange,
  head: number,
  size: number,
): Pattern {
  const [rows = 0, cols = 0] = array.shape.slice(-2);
  return {
    size,
    exact: false,
    missing: array.data.subarray(head * rows * cols, (head + 1) * rows * cols).every((byte) => byte === 0),
    weight: (destination, source) => {
      const at = (head * rows + Math.floor(destination / block)) * cols + Math.floor(source / block);
      const byte = array.data[at] ?? 0;
      return byte === 0 ? Number.NaN : valueAt(range, placeOf(byte));
    },
  };
}

function placeOf(byte: number): number {
  return (byte - 1) / 254;
}

/** The other way round from ColourScale.place. */
function valueAt({ low, high, diverging }: ValueRange, place: number): number {
  if (!diverging) return low + place * (high - low);
  const share = 2 * place - 1;
  return share * (share < 0 ? -low : high);
}
