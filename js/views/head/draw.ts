/** The cells of the picture: tokens on their colours, and the map of composition. */
import { type CellRange, hatchRect, paintCells } from "../../core/canvas";
import { colourAt, inkAt } from "../../core/colour";
import { signed } from "../../core/format";
import { fitText } from "../../core/grid_paint";
import type { Theme } from "../../core/theme";
import { tokenLabel } from "../../core/tokens";
import type { WrittenCell } from "./words";

export const ROW_HEIGHT = 20;
export const MAP_HEIGHT = 13;
const FONT_SIZE = 11;
const PADDING = 4;
const GAP = 1;

export interface WrittenTable {
  readonly cell: (row: number, col: number) => WrittenCell | null;
  /** The largest size of a value in the table. */
  readonly most: number;
  readonly cellWidth: number;
}

/** A token a cell, blue where its logit rises and orange where it falls, as strongly as it does. */
export function drawWritten(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  table: WrittenTable,
): void {
  const { cellWidth, most } = table;
  context.textBaseline = "middle";
  context.textAlign = "center";
  for (let row = range.row0; row < range.row1; row++) {
    for (let col = range.col0; col < range.col1; col++) {
      const area = {
        x: col * cellWidth,
        y: row * ROW_HEIGHT,
        width: cellWidth - GAP,
        height: ROW_HEIGHT - GAP,
      };
      const cell = table.cell(row, col);
      if (!cell || Number.isNaN(cell.value)) continue;
      const place = 0.5 + (0.5 * cell.value) / most;
      context.fillStyle = colourAt(theme.diverging, place);
      context.fillRect(area.x, area.y, area.width, area.height);
      context.fillStyle = inkAt(theme.diverging, place);
      context.font = `${FONT_SIZE}px ${cell.part === "own" ? theme.uiFont : theme.codeFont}`;
      const said = cell.part === "own" ? ownText(cell) : tokenLabel(cell.token);
      const text = fitText(context, said, area.width - 2 * PADDING);
      context.fillText(text, area.x + area.width / 2, area.y + area.height / 2 + 0.5);
    }
  }
}

/** What copies, and what suppresses, says so. */
function ownText({ value, extreme }: WrittenCell): string {
  const number = signed(Number(value.toPrecision(2)));
  return extreme ? `${number} ${extreme}` : number;
}

export interface CompositionMap {
  /** The composition beyond chance; NaN where there is none. */
  readonly value: (row: number, col: number) => number;
  readonly most: number;
  /** Layers from here on are not before the head. */
  readonly layer: number;
  readonly cellWidth: number;
}

/** Layers by heads: blue where more is read than by chance. */
export function drawComposition(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  { value, most, layer, cellWidth }: CompositionMap,
): void {
  paintCells(context, {
    range,
    cellWidth,
    cellHeight: MAP_HEIGHT,
    map: theme.diverging,
    value: (row, col) => (row < layer ? 0.5 + (0.5 * value(row, col)) / most : Number.NaN),
  });
  for (let row = range.row0; row < range.row1; row++) {
    for (let col = range.col0; col < range.col1; col++) {
      if (row < layer && !Number.isNaN(value(row, col))) continue;
      const area = { x: col * cellWidth, y: row * MAP_HEIGHT, width: cellWidth, height: MAP_HEIGHT };
      hatchRect(context, area, theme.missing, theme.line);
    }
  }
  drawGaps(context, range, theme, cellWidth);
}

function drawGaps(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  cellWidth: number,
): void {
  context.fillStyle = theme.surface;
  const [width, height] = [(range.col1 - range.col0) * cellWidth, (range.row1 - range.row0) * MAP_HEIGHT];
  for (let row = range.row0; row < range.row1; row++) {
    context.fillRect(range.col0 * cellWidth, (row + 1) * MAP_HEIGHT - GAP, width, GAP);
  }
  for (let col = range.col0; col < range.col1; col++) {
    context.fillRect((col + 1) * cellWidth - GAP, range.row0 * MAP_HEIGHT, GAP, height);
  }
}
