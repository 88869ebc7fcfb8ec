/**
 * What is seen of a picture as one SVG that needs nothing else: text stays text, canvases are images inside it.
 * Browsers' own way (HTML in a foreignObject) draws in browsers only, and papers are made elsewhere.
 */
import { Paint } from "./paint";
import { fieldText, textRuns } from "./text";

/** In CSS pixels. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Snapshot {
  readonly svg: string;
  readonly width: number;
  readonly height: number;
}

/** Left out: what is for the hand, or for screen readers, or says what happens just now. */
const UNSEEN = ".mw-menu, .mw-hidden, .mw-theme-sentinel, .mw-spinner, style, script";
const MARGIN = 8;
const NAMESPACE = "http://www.w3.org/2000/svg";
const INHERITED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font", "text-anchor"];

/** The picture with a margin. */
export function snapshotOf(root: HTMLElement): Snapshot {
  const { x, y, width, height } = root.getBoundingClientRect();
  const sheet = { x: x - MARGIN, y: y - MARGIN, width: width + 2 * MARGIN, height: height + 2 * MARGIN };
  const drawing = new Drawing(sheet);
  drawing.element(root);
  return { svg: drawing.finish(), width: sheet.width, height: sheet.height };
}

class Drawing {
  readonly #paint: Paint;
  readonly #sheet: Box;
  readonly #parts: string[] = [];
  #clips = 0;

  constructor(sheet: Box) {
    this.#sheet = sheet;
    this.#paint = new Paint();
  }

  finish(): string {
    const { width, height } = this.#sheet;
    return (
      `<svg xmlns="${NAMESPACE}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">` +
      `<defs>${this.#paint.definitions.join("")}</defs>` +
      `<rect width="${width}" height="${height}" fill="#fff"/>${this.#parts.join("")}</svg>`
    );
  }

  element(element: Element): void {
    const style = getComputedStyle(element);
    // Also what a closed <details> keeps back; an element without a box of its own may have seen children.
    const seen = style.display === "contents" || element.checkVisibility();
    if (!seen || element.matches(UNSEEN)) return;
    const box = this.#placed(element.getBoundingClientRect());
    const opacity = Number(style.opacity);
    if (opacity < 1) this.#parts.push(`<g opacity="${opacity}">`);
    if (style.visibility === "visible") this.#parts.push(this.#paint.box(box, style));
    const clipped = style.overflow !== "visible" && box.width > 0 && this.#openClip(box);
    this.#content(element, box, style);
    if (clipped) this.#parts.push("</g>");
    if (opacity < 1) this.#parts.push("</g>");
  }

  #content(element: Element, box: Box, style: CSSStyleDeclaration): void {
    if (element instanceof HTMLCanvasElement) {
      this.#parts.push(image(box, element.toDataURL("image/png")));
    } else if (element instanceof SVGSVGElement) {
      this.#parts.push(inlined(element, box));
    } else if (isField(element)) {
      for (const run of fieldText(element, style, this.#paint.pen)) this.#text(run.text, run.box, style);
    } else {
      for (const child of element.childNodes) {
        if (child instanceof Element) this.element(child);
        else if (child instanceof Text && style.visibility === "visible") {
          for (const run of textRuns(child, style)) this.#text(run.text, run.box, style);
        }
      }
    }
  }

  #text(text: string, box: DOMRect | Box, style: CSSStyleDeclaration): void {
    if (text.trim()) this.#parts.push(this.#paint.text(text, this.#placed(box), style));
  }

  #openClip({ x, y, width, height }: Box): true {
    this.#clips += 1;
    const id = `clip${this.#clips}`;
    this.#parts.push(
      `<clipPath id="${id}"><rect x="${x}" y="${y}" width="${width}" height="${height}"/></clipPath>` +
        `<g clip-path="url(#${id})">`,
    );
    return true;
  }

  #placed({ x, y, width, height }: Box): Box {
    return {
      x: round(x - this.#sheet.x),
      y: round(y - this.#sheet.y),
      width: round(width),
      height: round(height),
    };
  }
}

function isField(element: Element): element is HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement {
  return (
    element instanceof HTMLTextAreaElement ||
    element instanceof HTMLSelectElement ||
    (element instanceof HTMLInputElement && !["checkbox", "radio", "range"].includes(element.type))
  );
}

function image({ x, y, width, height }: Box, url: string): string {
  return `<image x="${x}" y="${y}" width="${width}" height="${height}" preserveAspectRatio="none" href="${url}"/>`;
}

/** A drawing in the picture, with the style that it has from the page's sheets written into it. */
function inlined(element: SVGSVGElement, { x, y, width, height }: Box): string {
  const copy = element.cloneNode(true) as SVGSVGElement;
  const [originals, copies] = [element, copy].map((one) => [one, ...one.querySelectorAll<SVGElement>("*")]);
  copies?.forEach((one, index) => {
    const original = originals?.[index];
    if (!original) return;
    const style = getComputedStyle(original);
    for (const name of INHERITED) one.style.setProperty(name, style.getPropertyValue(name));
  });
  for (const [name, value] of Object.entries({ x, y, width, height })) copy.setAttribute(name, String(value));
  return new XMLSerializer().serializeToString(copy);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
