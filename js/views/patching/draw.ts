/** A sheet of cells: hatched where nothing is computed, plain where the model has no such cell, crossed where the model gave no number, else the metric between the two baselines. */
import { type Cell, type CellRange, hatchRect, outlineRect, paintCells } from "../../core/canvas";
import { inkAt } from "../../core/colour";
import type { Theme } from "../../core/theme";
import type { Scale } from "./scale";
import type { Table } from "./sweep";

/** While a sweep begins, most cells are hatched: not as loud as the values. */
const HATCHING = 0.5;
/** What a change can reach is shaded, so little that its colours still tell. */
const SHADE = 0.14;

/** What marks a cell beside its colour. */
export interface Marks {
  /** A dot: known exactly, or an effect that the pairs show. */
  dotted(index: number): boolean;
  /** A frame: pinned. */
  pinned(index: number): boolean;
}

export interface Heatmap {
  readonly table: Table;
  readonly rows: number;
  readonly cols: number;
  /** Into the table. */
  readonly index: (row: number, col: number) => number;
  readonly scale: Scale;
  readonly marks: Marks;
  /** The first row and column that a change in the current cell can reach; null where it is not told. */
  readonly cone: Cell | null;
}

export interface CellSize {
  readonly width: number;
  readonly height: number;
}

export function drawHeatmap(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  heatmap: Heatmap,
  cell: CellSize,
): void {
  const { table, rows, cols, scale, index } = heatmap;
  const valueAt = (row: number, col: number) => table.values[index(row, col)] ?? Number.NaN;
  // One hatching under all cells: the computed ones cover it, and the lines of the others join.
  if (table.done.includes(0)) {
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
  for (let row = range.row0; row < range.row1; row++) {
    for (let col = range.col0; col < range.col1; col++) {
      markCell(context, theme, heatmap, index(row, col), {
        x: col * cell.width,
        y: row * cell.height,
        ...cell,
      });
    }
  }
  // The map's middle is the surface's colour: without a frame the matrix would have no edge there.
  const whole = { x: 0, y: 0, width: cols * cell.width, height: rows * cell.height };
  outlineRect(context, whole, theme.line, 1);
  if (heatmap.cone) drawCone(context, theme, heatmap.cone, whole, cell);
}

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function markCell(
  context: CanvasRenderingContext2D,
  theme: Theme,
  { table, scale, marks }: Heatmap,
  index: number,
  box: Box,
): void {
  const value = table.values[index] ?? Number.NaN;
  if (table.absent[index]) {
    context.fillStyle = theme.missing;
    context.fillRect(box.x, box.y, box.width, box.height);
  } else if (table.done[index] && Number.isNaN(value)) {
    crossCell(context, box, theme);
  } else if (table.done[index]) {
    const ink = () => inkAt(theme.diverging, scale.place(value));
    if (scale.isBeyond(value)) arrow(context, box, ink(), scale.place(value) > 1);
    if (marks.dotted(index)) dot(context, box, ink());
  }
  if (marks.pinned(index)) {
    // Told from the cursor's outline, which is around the cell; seen on any colour.
    const ink = table.done[index] ? inkAt(theme.diverging, scale.place(value)) : theme.ink;
    const inner = { x: box.x + 2, y: box.y + 2, width: box.width - 5, height: box.height - 5 };
    outlineRect(context, inner, ink, 2);
  }
}

/** A cross on the ground of "no value": told from hatching and from any colour. */
function crossCell(context: CanvasRenderingContext2D, { x, y, width, height }: Box, theme: Theme): void {
  const arm = Math.min(width, height) / 2 - 4;
  const [middleX, middleY] = [x + width / 2, y + height / 2];
  context.fillStyle = theme.missing;
  context.fillRect(x, y, width, height);
  context.strokeStyle = theme.ink;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(middleX - arm, middleY - arm);
  context.lineTo(middleX + arm, middleY + arm);
  context.moveTo(middleX + arm, middleY - arm);
  context.lineTo(middleX - arm, middleY + arm);
  context.stroke();
}

/** Beyond the end of the map: a triangle that points on, beside the cell's middle. */
function arrow(context: CanvasRenderingContext2D, box: Box, ink: string, upward: boolean): void {
  const size = 4;
  const [tip, y] = [upward ? box.x + box.width - 3 : box.x + 2, box.y + box.height / 2];
  const back = upward ? tip - size : tip + size;
  context.fillStyle = ink;
  context.beginPath();
  context.moveTo(tip, y);
  context.lineTo(back, y - size + 1);
  context.lineTo(back, y + size - 1);
  context.fill();
}

function dot(context: CanvasRenderingContext2D, { x, y, width, height }: Box, ink: string): void {
  context.fillStyle = ink;
  context.beginPath();
  context.arc(x + width / 2 - 0.5, y + height / 2 - 0.5, 2, 0, 2 * Math.PI);
  context.fill();
}

/** An activation reaches its own layer and later ones, its own position and later ones. */
function drawCone(
  context: CanvasRenderingContext2D,
  theme: Theme,
  { row, col }: Cell,
  whole: Box,
  cell: CellSize,
): void {
  const [x, y] = [col * cell.width, row * cell.height];
  context.globalAlpha = SHADE;
  context.fillStyle = theme.muted;
  context.fillRect(x, y, whole.width - x, whole.height - y);
  context.globalAlpha = 1;
  context.strokeStyle = theme.muted;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, whole.height);
  context.lineTo(x + (col > 0 ? 0.5 : 0), y);
  context.lineTo(whole.width, y);
  context.stroke();
}
