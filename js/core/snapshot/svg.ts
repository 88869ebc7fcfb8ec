/**
 * What is seen of a picture as one SVG that needs nothing else: text stays text, canvases are images inside it.
 * Browsers' own way (HTML in a foreignObject) draws in browsers only, and papers are made elsewhere.
 */
import { Paint } from "./paint";
import { tag } from "./tag";
import { fieldText, isField, textRuns } from "./text";

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

const MARGIN = 8;
/** Left out: what is for the hand, or for screen readers, or says what happens just now. */
const UNSEEN = ".mw-menu, .mw-hidden, .mw-theme-sentinel, .mw-spinner, style";
/** Of drawings in the page, what they may have from the page's style. */
const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font", "text-anchor"];

/** The picture with a margin. */
export function snapshotOf(root: HTMLElement): Snapshot {
  const { x, y, width, height } = root.getBoundingClientRect();
  const sheet = { x: x - MARGIN, y: y - MARGIN, width: width + 2 * MARGIN, height: height + 2 * MARGIN };
  const paint = new Paint(sheet);
  const drawn = drawElement(root, paint);
  const size = { width: sheet.width, height: sheet.height };
  const ground = tag("rect", { ...size, fill: "#fff" });
  const svg = tag(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", ...size, viewBox: `0 0 ${size.width} ${size.height}` },
    tag("defs", {}, paint.definitions.join("")) + ground + drawn,
  );
  return { svg, ...size };
}

function drawElement(element: Element, paint: Paint): string {
  const style = getComputedStyle(element);
  // Also what a closed <details> keeps back; an element without a box of its own may have seen children.
  const seen = style.display === "contents" || element.checkVisibility();
  if (!seen || element.matches(UNSEEN)) return "";
  const box = paint.placed(element.getBoundingClientRect());
  const isVisible = style.visibility === "visible";
  const clip = style.overflow !== "visible" && box.width > 0 ? paint.clip(box) : null;
  const opacity = style.opacity === "1" ? null : style.opacity;
  const content = drawContent(element, box, style, isVisible, paint);
  const drawn =
    (isVisible ? paint.box(box, style) : "") + (clip ? tag("g", { "clip-path": clip }, content) : content);
  return opacity ? tag("g", { opacity }, drawn) : drawn;
}

function drawContent(
  element: Element,
  box: Box,
  style: CSSStyleDeclaration,
  isVisible: boolean,
  paint: Paint,
): string {
  if (element instanceof HTMLCanvasElement) {
    return tag("image", { ...box, preserveAspectRatio: "none", href: element.toDataURL() });
  }
  if (element instanceof SVGSVGElement) return inlined(element, box);
  if (isField(element)) {
    return fieldText(element, style, paint.pen)
      .map((run) => paint.text(run, style))
      .join("");
  }
  return [...element.childNodes]
    .map((child) => {
      if (child instanceof Element) return drawElement(child, paint);
      if (!isVisible || !(child instanceof Text)) return "";
      return textRuns(child, style)
        .map((run) => paint.text(run, style))
        .join("");
    })
    .join("");
}

/** A drawing in the picture, with the style that it has from the page's sheets written into it. */
function inlined(element: SVGSVGElement, box: Box): string {
  const copy = element.cloneNode(true) as SVGSVGElement;
  const copies = copy.querySelectorAll<SVGElement>("*");
  element.querySelectorAll("*").forEach((original, index) => {
    const style = getComputedStyle(original);
    for (const name of DRAWN) copies[index]?.style.setProperty(name, style.getPropertyValue(name));
  });
  for (const [name, value] of Object.entries(box)) copy.setAttribute(name, String(value));
  return new XMLSerializer().serializeToString(copy);
}
