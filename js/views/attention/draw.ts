/** Drawing of the attention picture: plain functions of a canvas context, the numbers and the theme. */
import { type CellRange, type CellsMemo, hatchRect, outlineRect, paintCells } from "../../core/canvas";
import type { ColourScale } from "../../core/scale";
import type { Theme } from "../../core/theme";
import type { Pattern } from "./pattern";
import type { HeadsImage } from "./thumbnails";

/** What is drawn of each head, by its number in reading order of layers. */
export interface HeadsPicture {
  readonly heads: HeadsImage;
  readonly isOff: (index: number) => boolean;
  /** Shown large beside the chosen one. */
  readonly isKept: (index: number) => boolean;
  /** The ground's colour; null for none. */
  readonly tint: (index: number) => string | null;
}

export interface HeadsMapPicture extends HeadsPicture {
  /** Side of a head's cell in CSS pixels, the line between cells included. */
  readonly cell: number;
  readonly across: number;
}

/** Layers down, heads across. */
export function drawHeads(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  picture: HeadsMapPicture,
): void {
  const { cell, across } = picture;
  for (let row = range.row0; row < range.row1; row++) {
    for (let col = range.col0; col < range.col1; col++) {
      drawHead(context, row * across + col, { x: col * cell, y: row * cell, side: cell - 1 }, theme, picture);
    }
  }
  drawLines(context, range, cell, theme);
}

export interface HeadsListPicture extends HeadsPicture {
  /** The heads in their order, and what stands below each. */
  readonly order: readonly number[];
  readonly captions: (index: number) => readonly [string, string];
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly side: number;
  readonly across: number;
}

/** Height of the bar in the score's colour, in CSS pixels. */
const BAR = 4;

/** One after another, in rows, each with its name and its score. */
export function drawHeadsList(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  picture: HeadsListPicture,
): void {
  const { order, captions, cellWidth, cellHeight, side, across } = picture;
  context.font = `11px ${theme.uiFont}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let row = range.row0; row < range.row1; row++) {
    for (let col = range.col0; col < range.col1; col++) {
      const index = order[row * across + col];
      if (index === undefined) continue;
      const [x, y] = [col * cellWidth + Math.floor((cellWidth - side) / 2), row * cellHeight + 3];
      // The score stands below in numbers; here its colour is a bar, so that the thumbnail keeps its own.
      drawHead(context, index, { x, y, side }, theme, { ...picture, tint: () => null });
      context.strokeStyle = theme.line;
      context.lineWidth = 1;
      context.strokeRect(x - 0.5, y - 0.5, side + 1, side + 1);
      context.fillStyle = picture.tint(index) ?? theme.surface;
      context.fillRect(x, y + side + 2, side, BAR);
      for (const [line, text] of captions(index).entries()) {
        context.fillStyle = line === 0 ? theme.ink : theme.muted;
        context.fillText(text, x + side / 2, y + side + BAR + 10 + 12 * line);
      }
    }
  }
}

interface Square {
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

function drawHead(
  context: CanvasRenderingContext2D,
  index: number,
  { x, y, side }: Square,
  theme: Theme,
  { heads, isOff, isKept, tint }: HeadsPicture,
): void {
  const ground = tint(index);
  context.save();
  if (ground) {
    context.fillStyle = ground;
    context.fillRect(x, y, side, side);
    // What is white (black) in the thumbnail leaves the ground as it is.
    context.globalCompositeOperation = theme.dark ? "lighten" : "multiply";
  }
  const inner = thumbnailSide(heads.size, side);
  const inset = Math.floor((side - inner) / 2);
  const [row, col] = [Math.floor(index / heads.across), index % heads.across];
  context.imageSmoothingEnabled = heads.size > inner;
  const source = [col * heads.size, row * heads.size, heads.size, heads.size] as const;
  context.drawImage(heads.image, ...source, x + inset, y + inset, inner, inner);
  context.restore();
  if (isOff(index)) crossOut(context, x, y, side, theme);
  if (isKept(index)) markKept(context, x, y, side, theme);
}

/** A corner, where a causal pattern is empty. */
function markKept(context: CanvasRenderingContext2D, x: number, y: number, side: number, theme: Theme): void {
  const size = Math.max(5, side / 4);
  context.fillStyle = theme.accent;
  context.beginPath();
  context.moveTo(x + side, y);
  context.lineTo(x + side, y + size);
  context.lineTo(x + side - size, y);
  context.fill();
}

/** A whole number of pixels a thumbnail pixel where there is room for it, so that all its rows are equally high. */
function thumbnailSide(pixels: number, room: number): number {
  return pixels > 0 && pixels <= room ? pixels * Math.floor(room / pixels) : room;
}

function drawLines(context: CanvasRenderingContext2D, range: CellRange, cell: number, theme: Theme): void {
  context.fillStyle = theme.line;
  const [x0, x1] = [range.col0 * cell, range.col1 * cell];
  const [y0, y1] = [range.row0 * cell, range.row1 * cell];
  for (let row = range.row0; row <= range.row1; row++) context.fillRect(x0 - 1, row * cell - 1, x1 - x0, 1);
  for (let col = range.col0; col <= range.col1; col++) context.fillRect(col * cell - 1, y0 - 1, 1, y1 - y0);
}

/** A head that is switched off: paled and crossed, which shows without colour. */
function crossOut(context: CanvasRenderingContext2D, x: number, y: number, side: number, theme: Theme): void {
  context.save();
  context.globalAlpha = 0.8;
  context.fillStyle = theme.missing;
  context.fillRect(x, y, side, side);
  context.globalAlpha = 1;
  const margin = side * 0.22;
  context.beginPath();
  context.moveTo(x + margin, y + margin);
  context.lineTo(x + side - margin, y + side - margin);
  context.moveTo(x + side - margin, y + margin);
  context.lineTo(x + margin, y + side - margin);
  context.strokeStyle = theme.ink;
  context.lineWidth = Math.max(1.5, side / 14);
  context.stroke();
  context.restore();
}

export interface PatternPicture {
  readonly pattern: Pattern;
  readonly scale: ColourScale;
  /** For as long as pattern and scale are the same. */
  readonly memo: CellsMemo;
  /** Only what is on and below the diagonal exists. */
  readonly causal: boolean;
  /** There may be cells without a value, which are hatched. */
  readonly masked: boolean;
  readonly cell: number;
  /** The token whose row (or column) is framed. */
  readonly token: number | null;
  readonly along: "row" | "col";
}

/** Cells smaller than this have no lines between them. */
const LINES_FROM = 10;

export function drawPattern(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  picture: PatternPicture,
): void {
  const { pattern, scale, causal, masked, cell, token, along } = picture;
  if (masked) hatchBelow(context, range, cell, theme);
  paintCells(context, {
    range,
    cellWidth: cell,
    cellHeight: cell,
    map: scale.map,
    memo: picture.memo,
    value: (row, col) => (causal && col > row ? Number.NaN : scale.place(pattern.weight(row, col))),
  });
  if (cell >= LINES_FROM) drawLinesBetween(context, range, cell, causal, theme);
  else drawDiagonal(context, pattern.size, cell, theme);
  if (token !== null) frameToken(context, pattern.size, causal, cell, token, along, theme);
}

/** Hatches the cells that exist; values are drawn over it. */
function hatchBelow(context: CanvasRenderingContext2D, range: CellRange, cell: number, theme: Theme): void {
  context.save();
  context.beginPath();
  for (let row = range.row0; row < range.row1; row++) {
    const width = (Math.min(row + 1, range.col1) - range.col0) * cell;
    if (width > 0) context.rect(range.col0 * cell, row * cell, width, cell);
  }
  context.clip();
  const [x, y] = [range.col0 * cell, range.row0 * cell];
  const [width, height] = [range.col1 * cell - x, range.row1 * cell - y];
  hatchRect(context, { x, y, width, height }, theme.missing, theme.line);
  context.restore();
}

/** Lines between the cells that exist. */
function drawLinesBetween(
  context: CanvasRenderingContext2D,
  range: CellRange,
  cell: number,
  causal: boolean,
  theme: Theme,
): void {
  context.fillStyle = theme.line;
  for (let row = range.row0; row <= range.row1; row++) {
    const end = causal ? Math.min(row + 1, range.col1) : range.col1;
    context.fillRect(range.col0 * cell, row * cell - 1, Math.max(0, end - range.col0) * cell, 1);
  }
  for (let col = range.col0; col <= range.col1; col++) {
    const start = causal ? Math.max(col - 1, range.row0) : range.row0;
    context.fillRect(col * cell - 1, start * cell, 1, Math.max(0, range.row1 - start) * cell);
  }
}

function drawDiagonal(context: CanvasRenderingContext2D, size: number, cell: number, theme: Theme): void {
  context.beginPath();
  context.moveTo(0, 0);
  context.lineTo(size * cell, size * cell);
  context.lineTo(0, size * cell);
  context.closePath();
  context.strokeStyle = theme.line;
  context.stroke();
}

function frameToken(
  context: CanvasRenderingContext2D,
  size: number,
  causal: boolean,
  cell: number,
  token: number,
  along: "row" | "col",
  theme: Theme,
): void {
  const count = along === "row" ? token + 1 : size - token;
  const [start, length] = [token * cell, (causal ? count : size) * cell];
  // Around the cells, on the lines between them.
  const area =
    along === "row"
      ? { x: -2, y: start - 2, width: length + 3, height: cell + 3 }
      : { x: start - 2, y: (causal ? start : 0) - 2, width: cell + 3, height: length + 3 };
  outlineRect(context, area, theme.accent, 2);
}
