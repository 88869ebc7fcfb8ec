/** Colours, borders, gradients and text of the page, as every reader of SVG understands them. */
import type { Box } from "./svg";
import { fontExtent } from "./text";

const SIDES = ["Top", "Right", "Bottom", "Left"] as const;

interface Stop {
  readonly colour: string;
  /** In CSS pixels along the gradient, or a fraction of it; null: evenly between its neighbours. */
  readonly at: { readonly value: number; readonly isLength: boolean } | null;
}

export class Paint {
  /** Gradients, for the drawing's <defs>. */
  readonly definitions: string[] = [];
  readonly #colours = new Map<string, { colour: string; alpha: number }>();
  /** Of one pixel, for colours and for measuring text. */
  readonly pen: CanvasRenderingContext2D;

  constructor() {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    if (!pen) throw new Error("The browser gives no 2-D canvas, which every picture is drawn on.");
    this.pen = pen;
  }

  /** An element's background and border. */
  box(box: Box, style: CSSStyleDeclaration): string {
    if (box.width <= 0 || box.height <= 0) return "";
    const radius = Math.min(cornerRadius(style, box), box.width / 2, box.height / 2);
    const fills = [this.#fill(style.backgroundColor), this.#gradient(style.backgroundImage, box)];
    const grounds = fills.filter((fill) => fill !== null).map((fill) => rect(box, radius, fill));
    return grounds.join("") + this.#border(box, radius, style);
  }

  text(text: string, { x, y, width, height }: Box, style: CSSStyleDeclaration): string {
    const { ascent, descent } = fontExtent(style, this.pen);
    const baseline = Math.round(100 * (y + (height - ascent - descent) / 2 + ascent)) / 100;
    const fill = this.#fill(style.color);
    if (!fill) return "";
    const rightToLeft = style.direction === "rtl";
    return (
      `<text x="${rightToLeft ? x + width : x}" y="${baseline}" ${fill} textLength="${width}"` +
      ` lengthAdjust="spacingAndGlyphs" xml:space="preserve"${rightToLeft ? ' direction="rtl"' : ""}` +
      ` font-family="${escaped(style.fontFamily)}" font-size="${style.fontSize}" font-weight="${style.fontWeight}"` +
      `${style.fontStyle === "normal" ? "" : ` font-style="${style.fontStyle}"`}` +
      `${style.textDecorationLine === "none" ? "" : ` text-decoration="${style.textDecorationLine}"`}` +
      `>${escaped(text)}</text>`
    );
  }

  #border(box: Box, radius: number, style: CSSStyleDeclaration): string {
    const sides = SIDES.map((side) => ({
      side,
      width: style[`border${side}Style`] === "none" ? 0 : Number.parseFloat(style[`border${side}Width`]),
      stroke: this.#fill(style[`border${side}Color`], "stroke"),
    })).filter(({ width, stroke }) => width > 0 && stroke !== null);
    const [first] = sides;
    const same = sides.every(({ width, stroke }) => width === first?.width && stroke === first.stroke);
    if (first && sides.length === 4 && same) {
      const half = first.width / 2;
      const inner = {
        x: box.x + half,
        y: box.y + half,
        width: box.width - first.width,
        height: box.height - first.width,
      };
      return rect(
        inner,
        Math.max(0, radius - half),
        `fill="none" ${first.stroke} stroke-width="${first.width}"`,
      );
    }
    return sides
      .map(
        ({ side, width, stroke }) =>
          `<path d="${edge(side, width / 2, box)}" ${stroke} stroke-width="${width}"/>`,
      )
      .join("");
  }

  /** As attributes; null where nothing would be seen. */
  #fill(css: string, attribute = "fill"): string | null {
    const { colour, alpha } = this.#colour(css);
    if (alpha === 0) return null;
    return `${attribute}="${colour}"${alpha < 1 ? ` ${attribute}-opacity="${alpha}"` : ""}`;
  }

  /** Any notation that browsers know, as the one that all readers of SVG know. */
  #colour(css: string): { colour: string; alpha: number } {
    let known = this.#colours.get(css);
    if (!known) {
      this.pen.clearRect(0, 0, 1, 1);
      this.pen.fillStyle = css;
      this.pen.fillRect(0, 0, 1, 1);
      const [red = 0, green = 0, blue = 0, alpha = 0] = this.pen.getImageData(0, 0, 1, 1).data;
      const digits = [red, green, blue].map((part) => part.toString(16).padStart(2, "0"));
      known = { colour: `#${digits.join("")}`, alpha: Math.round((100 * alpha) / 255) / 100 };
      this.#colours.set(css, known);
    }
    return known;
  }

  #gradient(css: string, box: Box): string | null {
    const found = /^(repeating-)?linear-gradient\((.*)\)$/.exec(css);
    if (!found) return null;
    const [direction = "", ...rest] = splitList(found[2] ?? "");
    const angle = gradientAngle(direction);
    const line = gradientLine(box, angle ?? 180);
    const stops = placeStops((angle === null ? [direction, ...rest] : rest).flatMap(readStops), line.length);
    const repeats = Boolean(found[1]);
    const end = repeats ? (stops.at(-1)?.at ?? 1) : 1;
    const id = `gradient${this.definitions.length + 1}`;
    const at = (fraction: number) => [
      line.x1 + fraction * (line.x2 - line.x1),
      line.y1 + fraction * (line.y2 - line.y1),
    ];
    const [[x1, y1], [x2, y2]] = [at(0), at(end)] as [number[], number[]];
    this.definitions.push(
      `<linearGradient id="${id}" gradientUnits="userSpaceOnUse" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"` +
        `${repeats ? ' spreadMethod="repeat"' : ""}>` +
        stops
          .map(({ colour, at: place }) => `<stop offset="${place / end}" ${this.#stopColour(colour)}/>`)
          .join("") +
        "</linearGradient>",
    );
    return `fill="url(#${id})"`;
  }

  #stopColour(css: string): string {
    const { colour, alpha } = this.#colour(css);
    return `stop-color="${colour}"${alpha < 1 ? ` stop-opacity="${alpha}"` : ""}`;
  }
}

function rect({ x, y, width, height }: Box, radius: number, paint: string): string {
  const corner = radius > 0 ? ` rx="${radius}"` : "";
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}"${corner} ${paint}/>`;
}

function cornerRadius(style: CSSStyleDeclaration, box: Box): number {
  const radius = Number.parseFloat(style.borderTopLeftRadius) || 0;
  return style.borderTopLeftRadius.endsWith("%") ? (radius / 100) * box.width : radius;
}

function edge(side: (typeof SIDES)[number], inset: number, { x, y, width, height }: Box): string {
  switch (side) {
    case "Top":
      return `M${x} ${y + inset}h${width}`;
    case "Bottom":
      return `M${x} ${y + height - inset}h${width}`;
    case "Left":
      return `M${x + inset} ${y}v${height}`;
    case "Right":
      return `M${x + width - inset} ${y}v${height}`;
  }
}

/** At the commas that are not inside parentheses. */
function splitList(css: string): string[] {
  return css.split(/,\s*(?![^()]*\))/);
}

/** In degrees, clockwise from upwards; null where the text is no direction. */
function gradientAngle(text: string): number | null {
  if (/^-?[\d.]+deg$/.test(text)) return Number.parseFloat(text);
  const sides: Record<string, number> = { "to top": 0, "to right": 90, "to bottom": 180, "to left": 270 };
  return sides[text] ?? null;
}

function gradientLine({ x, y, width, height }: Box, degrees: number) {
  const angle = (degrees * Math.PI) / 180;
  const [dx, dy] = [Math.sin(angle), -Math.cos(angle)];
  const length = Math.abs(width * dx) + Math.abs(height * dy);
  const [cx, cy] = [x + width / 2, y + height / 2];
  return {
    length,
    x1: cx - (dx * length) / 2,
    y1: cy - (dy * length) / 2,
    x2: cx + (dx * length) / 2,
    y2: cy + (dy * length) / 2,
  };
}

/** A colour with up to two places stands for one stop or two. */
function readStops(text: string): Stop[] {
  const places = [...text.matchAll(/(-?[\d.]+)(px|%)(?![^()]*\))/g)];
  const colour = places.length > 0 ? text.slice(0, places[0]?.index).trim() : text.trim();
  if (places.length === 0) return [{ colour, at: null }];
  return places.map(([, value, unit]) => ({
    colour,
    at: { value: Number(value) / (unit === "%" ? 100 : 1), isLength: unit === "px" },
  }));
}

function placeStops(stops: readonly Stop[], length: number): { colour: string; at: number }[] {
  return stops.map(({ colour, at }, index) => {
    if (at === null) return { colour, at: index / Math.max(1, stops.length - 1) };
    return { colour, at: at.isLength ? at.value / Math.max(1, length) : at.value };
  });
}

/** As attribute or text; XML has no way at all to write most control characters. */
function escaped(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text
    .replace(/[&<>"]/g, (character) => names[character] ?? character)
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "\ufffd");
}
