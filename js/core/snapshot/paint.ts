/** Boxes and text of the page, as every reader of SVG understands them. */
import { scratchPen } from "../canvas";
import { gradientTag } from "./gradient";
import type { Box } from "./svg";
import { type Attributes, escaped, tag } from "./tag";
import { fontExtent, type TextRun } from "./text";

const SIDES = ["top", "right", "bottom", "left"] as const;
const FONT = ["font-family", "font-size", "font-weight", "font-style"];

export class Paint {
  /** Gradients and clips, for the drawing's <defs>. */
  readonly definitions: string[] = [];
  /** Of one pixel, for colours and for measuring text. */
  readonly pen = scratchPen();
  readonly #sheet: Box;
  readonly #colours = new Map<string, [colour: string, alpha: number]>();

  constructor(sheet: Box) {
    this.#sheet = sheet;
  }

  /** From the window to the sheet. */
  placed({ x, y, width, height }: Box): Box {
    return { x: x - this.#sheet.x, y: y - this.#sheet.y, width, height };
  }

  clip(box: Box): string {
    return this.#define((id) => tag("clipPath", { id }, tag("rect", { ...box })));
  }

  /** An element's background and border. */
  box(box: Box, style: CSSStyleDeclaration): string {
    if (box.width <= 0 || box.height <= 0) return "";
    const given = Number.parseFloat(style.borderTopLeftRadius);
    const round = style.borderTopLeftRadius.endsWith("%") ? (given / 100) * box.width : given;
    const rx = Math.min(round, box.width / 2, box.height / 2) || null;
    const ground = this.#filled("fill", style.backgroundColor);
    const gradient = gradientTag(style.backgroundImage, box, (colour) => this.#filled("stop-color", colour));
    return (
      (ground ? tag("rect", { ...box, rx, ...ground }) : "") +
      (gradient ? tag("rect", { ...box, rx, fill: this.#define(gradient) }) : "") +
      this.#border(box, rx, style)
    );
  }

  /** A run of text, in a box of the window. */
  text(run: TextRun, style: CSSStyleDeclaration): string {
    const ink = this.#filled("fill", style.color);
    if (!ink || !run.text.trim()) return "";
    const { x, y, width, height } = this.placed(run.box);
    const { ascent, descent } = fontExtent(style, this.pen);
    const { textDecorationLine } = style;
    const attributes: Attributes = {
      x,
      y: y + (height + ascent - descent) / 2,
      textLength: width,
      lengthAdjust: "spacingAndGlyphs",
      "xml:space": "preserve",
      "text-decoration": textDecorationLine === "none" ? null : textDecorationLine,
      ...ink,
      ...Object.fromEntries(FONT.map((name) => [name, style.getPropertyValue(name)])),
    };
    return tag("text", attributes, escaped(run.text));
  }

  #border(box: Box, rx: number | null, style: CSSStyleDeclaration): string {
    const sides = SIDES.map((side) => ({
      width: Number.parseFloat(style.getPropertyValue(`border-${side}-width`)),
      ink: this.#filled("stroke", style.getPropertyValue(`border-${side}-color`)),
    }));
    const [first] = sides;
    const isSame = sides.every((side) => JSON.stringify(side) === JSON.stringify(first));
    return sides
      .map(({ width, ink }, side) => {
        if (!width || !ink || (isSame && side > 0)) return "";
        const at = inset(box, width / 2);
        const shape = isSame
          ? ["rect", { ...at, rx: rx && rx - width / 2 }]
          : ["path", { d: edge(side, box, at) }];
        return tag(shape[0] as string, {
          ...(shape[1] as Attributes),
          fill: "none",
          "stroke-width": width,
          ...ink,
        });
      })
      .join("");
  }

  #define(make: (id: string) => string): string {
    const id = `mw${this.definitions.length}`;
    this.definitions.push(make(id));
    return `url(#${id})`;
  }

  /** Any notation that browsers know, as attributes that all readers of SVG know; null where nothing would be seen. */
  #filled(attribute: string, css: string): Attributes | null {
    const [colour, alpha] = this.#colours.get(css) ?? this.#resolve(css);
    if (!alpha) return null;
    const opacity = attribute === "stop-color" ? "stop-opacity" : `${attribute}-opacity`;
    return { [attribute]: colour, [opacity]: alpha < 1 ? alpha : null };
  }

  #resolve(css: string): [string, number] {
    const { pen } = this;
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = css;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha = 0] = pen.getImageData(0, 0, 1, 1).data;
    const found: [string, number] = [`rgb(${red},${green},${blue})`, alpha / 255];
    this.#colours.set(css, found);
    return found;
  }
}

function inset({ x, y, width, height }: Box, by: number): Box {
  return { x: x + by, y: y + by, width: width - 2 * by, height: height - 2 * by };
}

/** The middle of a border's side, by its place in SIDES. */
function edge(side: number, box: Box, middle: Box): string {
  if (side % 2 === 0) return `M${box.x} ${middle.y + (side ? middle.height : 0)}h${box.width}`;
  return `M${middle.x + (side === 1 ? middle.width : 0)} ${box.y}v${box.height}`;
}
