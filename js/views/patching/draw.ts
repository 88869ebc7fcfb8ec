/** The heatmap: hatched where nothing is computed, else the metric between the two baselines. */
import { type CellRange, hatchRect, outlineRect, paintCells } from "../../core/canvas";
import type { Theme } from "../../core/theme";
import type { Scale } from "./scale";

/** While a sweep begins, most cells are hatched: not as loud as the values. */
const HATCHING = 0.5;

export interface Heatmap {
  /** [layer, column]; NaN = not computed. */
  readonly values: Float32Array;
  readonly rows: number;
  readonly cols: number;
  readonly scale: Scale;
}

export interface CellSize {
  readonly width: number;
  readonly height: number;
}

export function drawHeatmap(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  { values, rows, cols, scale }: Heatmap,
  cell: CellSize,
): void {
  const valueAt = (row: number, col: number) => values[row * cols + col] ?? Number.NaN;
  // One hatching under all cells: the computed ones cover it, and the lines of the others join.
  if (values.some(Number.isNaN)) {
    const area = {
      x: range.col0 * cell.width,
      y: range.row0 * cell.height,
      width: (range.col1 - range.col0) * cell.width,
      height: (range.row1 - range.row0) * cell.height,
    };
    context.globalAlpha = HATCHING;
    hatchRect(context, area, theme.missing, theme.muted);
    context.globalAlpha = 1;
  }
  paintCells(context, {
    range,
    cellWidth: cell.width,
    cellHeight: cell.height,
    map: theme.diverging,
    value: (row, col) => scale.place(valueAt(row, col)),
  });
  // The map's middle is the surface's colour: without a frame the matrix would have no edge there.
  const whole = { x: 0, y: 0, width: cols * cell.width, height: rows * cell.height };
  outlineRect(context, whole, theme.line, 1);
}
