/** CSS' linear gradients as SVG has them. */
import type { Box } from "./svg";
import { type Attributes, tag } from "./tag";

/** What makes the gradient under an id; null where the text is none. */
export function gradientTag(
  css: string,
  { x, y, width, height }: Box,
  stopped: (colour: string) => Attributes | null,
): ((id: string) => string) | null {
  const found = /^(repeating-)?linear-gradient\((to right|-?[\d.]+deg), (.*)\)$/.exec(css);
  if (!found) return null;
  const [, repeats, direction = "", list = ""] = found;
  const angle = direction === "to right" ? Math.PI / 2 : (Number.parseFloat(direction) * Math.PI) / 180;
  const [dx, dy] = [Math.sin(angle), -Math.cos(angle)];
  const length = Math.abs(width * dx) + Math.abs(height * dy);
  const [left, top] = [x + (width - dx * length) / 2, y + (height - dy * length) / 2];
  const stops = readStops(list, length);
  const reach = repeats ? (stops.at(-1)?.at ?? length) : length;
  const marks = stops.map(({ colour, at }) => {
    // Nothing to be seen is a colour too.
    const seen = stopped(colour) ?? { "stop-opacity": 0 };
    return tag("stop", { offset: `${at / reach}`, ...seen });
  });
  const line = { x1: left, y1: top, x2: left + dx * reach, y2: top + dy * reach };
  const spreadMethod = repeats ? "repeat" : null;
  return (id) =>
    tag("linearGradient", { id, gradientUnits: "userSpaceOnUse", ...line, spreadMethod }, marks.join(""));
}

/** Where each colour is, in CSS pixels; one with two places is two stops, those without are spread evenly. */
function readStops(list: string, length: number): { colour: string; at: number }[] {
  const parts = list.split(/,\s*(?![^(]*\))/);
  return parts.flatMap((part, index) => {
    const [, colour = "", places = ""] = /^(.*?\)?)((?: -?[\d.]+(?:px|%))*)$/.exec(part) ?? [];
    const given = places.trim().split(" ").filter(Boolean);
    if (given.length === 0) return [{ colour, at: (length * index) / (parts.length - 1 || 1) }];
    return given.map((place) => {
      const value = Number.parseFloat(place);
      return { colour, at: place.endsWith("%") ? (value * length) / 100 : value };
    });
  });
}
