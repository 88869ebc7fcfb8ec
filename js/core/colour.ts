/** Colour maps: a table of colours from the theme's stops, as packed pixels for canvas and as CSS for everything else. */
import { linear, mixStops } from "./oklab";

export type Rgb = readonly [red: number, green: number, blue: number];

export interface ColourMap {
  /** For ImageData seen as a Uint32Array: opaque, little endian. */
  readonly pixels: Uint32Array;
  readonly colours: readonly Rgb[];
}

/** Even, so that a diverging map has a colour for its very middle. */
const LAST = 256;
const OPAQUE = 0xff000000;

/** The stops, evenly spaced, with what lies between them mixed so that equal steps look equal. */
export function colourMap(stops: readonly Rgb[]): ColourMap {
  const mixed = mixStops(stops);
  const colours = Array.from({ length: LAST + 1 }, (_, index) => mixed(index / LAST));
  return { colours, pixels: Uint32Array.from(colours, pixel) };
}

/** Where `value` in 0..1 lies in a map; values beyond the ends take the end's colour. */
export function mapIndex(value: number): number {
  return Math.round(Math.min(1, Math.max(0, value)) * LAST);
}

export function colourAt(map: ColourMap, value: number): string {
  return css(rgbAt(map, value));
}

/** Black or white, whichever reads better on the map's colour at `value` (always 4.5 to 1 or more). */
export function inkAt(map: ColourMap, value: number): string {
  return luminance(rgbAt(map, value)) > 0.179 ? "#000" : "#fff";
}

/** A CSS gradient of the whole map. */
export function gradient(map: ColourMap): string {
  const stops = Array.from({ length: 17 }, (_, index) => colourAt(map, index / 16));
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

export function css([red, green, blue]: Rgb): string {
  return `rgb(${red}, ${green}, ${blue})`;
}

export function pixel([red, green, blue]: Rgb): number {
  return (OPAQUE | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Relative luminance as WCAG defines it, 0 (black) to 1 (white). */
export function luminance([red, green, blue]: Rgb): number {
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

function rgbAt(map: ColourMap, value: number): Rgb {
  return map.colours[mapIndex(value)] ?? [0, 0, 0];
}
