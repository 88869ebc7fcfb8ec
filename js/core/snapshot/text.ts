/** Text where the browser has put it: one run for each line. */
import type { Box } from "./svg";

export interface TextRun {
  readonly text: string;
  readonly box: DOMRect | Box;
}

export function textRuns(node: Text, style: CSSStyleDeclaration): TextRun[] {
  const range = document.createRange();
  range.selectNodeContents(node);
  const rects = [...range.getClientRects()].filter(({ width }) => width > 0);
  const [only] = rects;
  if (!only) return [];
  if (rects.every(({ top }) => top === only.top) && rects.length === 1) {
    return [{ text: shownText(node.data, style), box: only }];
  }
  return lines(node, range, style);
}

/** Characters that stand at one height are one line. */
function lines(node: Text, range: Range, style: CSSStyleDeclaration): TextRun[] {
  const found: { text: string; left: number; right: number; top: number; bottom: number }[] = [];
  let at = 0;
  for (const character of node.data) {
    range.setStart(node, at);
    at += character.length;
    range.setEnd(node, at);
    const { left, right, top, bottom, width } = range.getBoundingClientRect();
    if (width === 0) continue;
    const line = found.at(-1);
    if (line && Math.abs(line.top - top) < (bottom - top) / 2) {
      line.text += character;
      line.left = Math.min(line.left, left);
      line.right = Math.max(line.right, right);
    } else found.push({ text: character, left, right, top, bottom });
  }
  return found.map(({ text, left, right, top, bottom }) => ({
    text: shownText(text, style),
    box: { x: left, y: top, width: right - left, height: bottom - top },
  }));
}

/** What a field holds, in its lines; a line that does not fit is cut as the field cuts it. */
export function fieldText(
  field: HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement,
  style: CSSStyleDeclaration,
  pen: CanvasRenderingContext2D,
): TextRun[] {
  const text = field instanceof HTMLSelectElement ? (field.selectedOptions[0]?.text ?? "") : field.value;
  const { x, y, width, height } = field.getBoundingClientRect();
  const [left, top] = [style.paddingLeft, style.paddingTop].map((length) => Number.parseFloat(length) + 1);
  const measure = textMeasure(style, pen);
  const breaks = field instanceof HTMLTextAreaElement;
  const all = breaks ? wrapped(text, width - 2 * (left ?? 0), measure) : [text];
  const line = Number.parseFloat(style.lineHeight) || Number.parseFloat(style.fontSize) * 1.2;
  const first = breaks ? y + (top ?? 0) - field.scrollTop : y + (height - line) / 2;
  return all.map((one, index) => ({
    text: one,
    box: { x: x + (left ?? 0), y: first + index * line, width: measure(one), height: line },
  }));
}

/** Broken between words as a field breaks it; a browser does not tell where that is. */
function wrapped(text: string, room: number, measure: (text: string) => number): string[] {
  return text.split("\n").flatMap((paragraph) => {
    const found = [""];
    for (const word of paragraph.split(/(?<= )/)) {
      const longer = `${found.at(-1)}${word}`;
      if (found.at(-1) && measure(longer.trimEnd()) > room) found.push(word);
      else found[found.length - 1] = longer;
    }
    return found;
  });
}

/** How far a font reaches above the line that it stands on, and below. */
export function fontExtent(
  style: CSSStyleDeclaration,
  pen: CanvasRenderingContext2D,
): { ascent: number; descent: number } {
  pen.font = fontOf(style);
  const { fontBoundingBoxAscent, fontBoundingBoxDescent } = pen.measureText("x");
  return { ascent: fontBoundingBoxAscent, descent: fontBoundingBoxDescent };
}

function textMeasure(style: CSSStyleDeclaration, pen: CanvasRenderingContext2D): (text: string) => number {
  return (text) => {
    pen.font = fontOf(style);
    return pen.measureText(text).width;
  };
}

function fontOf({ fontStyle, fontWeight, fontSize, fontFamily }: CSSStyleDeclaration): string {
  return `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
}

function shownText(text: string, style: CSSStyleDeclaration): string {
  const spaced = style.whiteSpace.startsWith("pre") ? text : text.replace(/\s+/g, " ");
  return style.textTransform === "uppercase" ? spaced.toUpperCase() : spaced;
}
