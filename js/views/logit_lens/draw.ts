/** The table's cells: the top token's text on its colour. */
import { type CellRange, hatchRect } from "../../core/canvas";
import { colourAt, inkAt } from "../../core/colour";
import { fitText } from "../../core/grid_paint";
import type { Theme } from "../../core/theme";
import type { CellColour } from "./colours";
import type { Lens } from "./lens";
import { cellLabel } from "./words";

export const CELL_HEIGHT = 20;
const FONT_SIZE = 11;
const PADDING = 4;
/** Between cells, so that equal neighbours stay two cells. */
const GAP = 1;
/** The corner that marks a cell whose top token is already the output's. */
const CORNER = 5;

export interface LensTable {
  readonly lens: Lens;
  readonly colour: CellColour;
  readonly cellWidth: number;
}

export function drawLens(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  table: LensTable,
): void {
  const { lens, cellWidth } = table;
  context.textBaseline = "middle";
  context.textAlign = "center";
  for (let row = range.row0; row < range.row1; row++) {
    context.font = `${row === lens.outputRow ? "bold " : ""}${FONT_SIZE}px ${theme.codeFont}`;
    for (let position = range.col0; position < range.col1; position++) {
      drawCell(context, theme, table, row, position);
    }
  }
  drawOutputLine(context, range, theme, lens.outputRow, cellWidth);
}

function drawCell(
  context: CanvasRenderingContext2D,
  theme: Theme,
  { lens, colour, cellWidth }: LensTable,
  row: number,
  position: number,
): void {
  const area = {
    x: position * cellWidth,
    y: row * CELL_HEIGHT,
    width: cellWidth - GAP,
    height: CELL_HEIGHT - GAP,
  };
  const place = colour.place(row, position);
  if (!Number.isFinite(place)) {
    hatchRect(context, area, theme.missing, theme.line);
    return;
  }
  context.fillStyle = colourAt(colour.map, place);
  context.fillRect(area.x, area.y, area.width, area.height);
  context.fillStyle = inkAt(colour.map, place);
  const text = fitText(context, cellLabel(lens, row, position), area.width - 2 * PADDING);
  context.fillText(text, area.x + area.width / 2, area.y + area.height / 2 + 0.5);
  if (saysTheOutput(lens, row, position)) drawCorner(context, area.x + area.width, area.y);
}

/** In a difference there is no one output. */
function saysTheOutput(lens: Lens, row: number, position: number): boolean {
  if (lens.compares || row === lens.outputRow) return false;
  return lens.top(0, row, position).id === lens.top(0, lens.outputRow, position).id;
}

function drawCorner(context: CanvasRenderingContext2D, right: number, top: number): void {
  context.beginPath();
  context.moveTo(right - CORNER, top);
  context.lineTo(right, top);
  context.lineTo(right, top + CORNER);
  context.fill();
}

/** The last row is what the model says, not what a lens sees. */
function drawOutputLine(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  outputRow: number,
  cellWidth: number,
): void {
  context.fillStyle = theme.ink;
  const width = (range.col1 - range.col0) * cellWidth - GAP;
  context.fillRect(range.col0 * cellWidth, outputRow * CELL_HEIGHT - GAP, width, GAP);
}
