/** Signed bars, and the map of heads. */
import { type CellRange, hatchRect, paintCells } from "../../core/canvas";
import { colourAt } from "../../core/colour";
import type { Theme } from "../../core/theme";
import { barValue, type Parts } from "./parts";

export const CELL_HEIGHT = 16;
const BAR_MARGIN = 3;

/** Bars from the middle: to the right what raises the logit, to the left what lowers it. */
export function drawBars(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  parts: Parts,
  cellWidth: number,
): void {
  const reach = cellWidth / 2 - BAR_MARGIN;
  for (let row = range.row0; row < range.row1; row++) {
    for (let col = range.col0; col < range.col1; col++) {
      const value = barValue(parts, { row, col });
      if (Number.isNaN(value)) continue;
      const middle = (col + 0.5) * cellWidth;
      const length = (reach * value) / parts.most.bar;
      context.fillStyle = colourAt(theme.diverging, value < 0 ? 0.12 : 0.88);
      const top = row * CELL_HEIGHT + BAR_MARGIN;
      // What is not 0 can be seen.
      const width = value === 0 ? 0 : Math.max(1, Math.abs(length));
      context.fillRect(value < 0 ? middle - width : middle, top, width, CELL_HEIGHT - 2 * BAR_MARGIN);
    }
  }
  context.fillStyle = theme.line;
  for (let col = range.col0; col < range.col1; col++) {
    const top = range.row0 * CELL_HEIGHT;
    context.fillRect(
      Math.round((col + 0.5) * cellWidth) - 1,
      top,
      1,
      (range.row1 - range.row0) * CELL_HEIGHT,
    );
  }
  if (parts.others.length > 0) {
    context.fillRect(0, parts.layers * CELL_HEIGHT - 1, 2 * cellWidth, 1);
  }
}

export function drawHeads(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  parts: Parts,
  cellWidth: number,
): void {
  const size = { cellWidth, cellHeight: CELL_HEIGHT };
  const value = (row: number, col: number) => 0.5 + parts.head(row, col) / (2 * parts.most.head);
  paintCells(context, { range, ...size, map: theme.diverging, value });
  for (let row = range.row0; row < range.row1; row++) {
    for (let col = range.col0; col < range.col1; col++) {
      if (!Number.isNaN(parts.head(row, col))) continue;
      const area = { x: col * cellWidth, y: row * CELL_HEIGHT, width: cellWidth, height: CELL_HEIGHT };
      hatchRect(context, area, theme.missing, theme.line);
    }
  }
  context.fillStyle = theme.surface;
  for (let row = range.row0; row < range.row1; row++) {
    context.fillRect(
      range.col0 * cellWidth,
      (row + 1) * CELL_HEIGHT - 1,
      (range.col1 - range.col0) * cellWidth,
      1,
    );
  }
  for (let col = range.col0; col < range.col1; col++) {
    context.fillRect(
      (col + 1) * cellWidth - 1,
      range.row0 * CELL_HEIGHT,
      1,
      (range.row1 - range.row0) * CELL_HEIGHT,
    );
  }
}
