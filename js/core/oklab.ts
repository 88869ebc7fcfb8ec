/** Mixing colours in OKLab, where equal steps look equal (Ottosson 2020; CSS Color 4 has the same numbers). */
import type { Rgb } from "./colour";

type Triple = readonly [number, number, number];

/** The colour at `place` in 0..1 along evenly spaced stops. */
export function mixStops(stops: readonly Rgb[]): (place: number) => Rgb {
  const points = stops.map(toOklab);
  const lastSegment = points.length - 2;
  return (place) => {
    const segment = Math.min(lastSegment, Math.floor(place * (points.length - 1)));
    const [from, to] = [points[segment], points[segment + 1]];
    if (!from || !to) throw new RangeError(`A colour map needs two stops or more; it has ${stops.length}.`);
    const share = place * (points.length - 1) - segment;
    return fromOklab(combine(from, to, (a, b) => a + (b - a) * share));
  };
}

/** An sRGB byte to linear light, 0 to 1. */
export function linear(channel: number): number {
  const share = channel / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

function toOklab([red, green, blue]: Rgb): Triple {
  const [r, g, b] = [linear(red), linear(green), linear(blue)];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromOklab([lightness, a, b]: Triple): Rgb {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    gamma(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    gamma(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    gamma(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** Linear light to an sRGB byte. */
function gamma(light: number): number {
  const share = light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055;
  return Math.round(255 * Math.min(1, Math.max(0, share)));
}

function combine(one: Triple, other: Triple, mix: (a: number, b: number) => number): Triple {
  return [mix(one[0], other[0]), mix(one[1], other[1]), mix(one[2], other[2])];
}
