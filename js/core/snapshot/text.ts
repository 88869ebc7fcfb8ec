/** Text where the browser has put it: one run for each line. */
import type { Box } from "./svg";

export interface TextRun {
  readonly text: string;
  readonly box: DOMRect | Box;
}

/** Characters that stand at one height are one line. */
export function textRuns(node: Text, style: CSSStyleDeclaration): TextRun[] {
  const range = document.createRange();
  range.selectNodeContents(node);
  const [first, ...more] = [...range.getClientRects()].filter(({ width }) => width > 0);
  if (!first) return [];
  if (more.length === 0) return [{ text: shownText(node.data, style), box: first }];
  const lines: { text: string; box: DOMRect }[] = [];
  let at = 0;
  for (const character of node.data) {
    range.setStart(node, at);
    at += character.length;
    range.setEnd(node, at);
    const box = range.getBoundingClientRect();
    const line = lines.at(-1);
    if (box.width === 0) continue;
    if (line && Math.abs(line.box.y - box.y) < box.height / 2) {
      const x = Math.min(line.box.x, box.x);
      line.text += character;
      line.box = new DOMRect(x, line.box.y, Math.max(line.box.right, box.right) - x, line.box.height);
    } else lines.push({ text: character, box });
  }
  return lines.map(({ text, box }) => ({ text: shownText(text, style), box }));
}

type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** Whether the element shows a text that is not a child of it. */
export function isField(element: Element): element is Field {
  return element.matches("textarea, select, input:not([type=checkbox], [type=radio], [type=range])");
}

/** What a field holds, in its lines. */
export function fieldText(
  field: Field,
  style: CSSStyleDeclaration,
  pen: CanvasRenderingContext2D,
): TextRun[] {
  const breaks = field instanceof HTMLTextAreaElement;
  const text = field instanceof HTMLSelectElement ? (field.selectedOptions[0]?.text ?? "") : field.value;
  const { x, y, width, height } = field.getBoundingClientRect();
  const [left, top] = [style.paddingLeft, style.paddingTop].map(
    (length) => Number.parseFloat(length) + 1,
  ) as [number, number];
  pen.font = fontOf(style);
  const measure = (line: string) => pen.measureText(line).width;
  const lines = breaks ? wrapped(text, width - 2 * left, measure) : [text];
  const step = Number.parseFloat(style.lineHeight) || Number.parseFloat(style.fontSize) * 1.2;
  const first = breaks ? y + top - field.scrollTop : y + (height - step) / 2;
  return lines.map((line, index) => ({
    text: line,
    box: { x: x + left, y: first + index * step, width: measure(line), height: step },
  }));
}

/** Broken between words as a field breaks it; a browser does not tell where that is. */
function wrapped(text: string, room: number, measure: (line: string) => number): string[] {
  return text.split("\n").flatMap((paragraph) =>
    paragraph.split(/(?<= )/).reduce<string[]>((lines, word) => {
      const longer = `${lines.at(-1) ?? ""}${word}`;
      if (lines.length > 0 && measure(longer.trimEnd()) <= room) lines[lines.length - 1] = longer;
      else lines.push(word);
      return lines;
    }, []),
  );
}

/** How far a font reaches above the line that it stands on, and below. */
export function fontExtent(style: CSSStyleDeclaration, pen: CanvasRenderingContext2D) {
  pen.font = fontOf(style);
  const { fontBoundingBoxAscent: ascent, fontBoundingBoxDescent: descent } = pen.measureText("x");
  return { ascent, descent };
}

function fontOf({ fontStyle, fontWeight, fontSize, fontFamily }: CSSStyleDeclaration): string {
  return `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
}

function shownText(text: string, { whiteSpace }: CSSStyleDeclaration): string {
  return whiteSpace.startsWith("pre") ? text : text.replace(/\s+/g, " ");
}
