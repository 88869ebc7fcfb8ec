/** Paints one frame of a grid: the view's cells, the outlines, the labels that stay in place while the cells scroll. */
import { type Cell, type CellRange, outlineRect } from "./canvas";
import {
  EDGE,
  type GridLayout,
  type GridSpec,
  LABEL_GAP,
  LABEL_SIZE,
  MAX_LABEL,
  TITLE_SPACE,
  type Viewport,
  visibleCells,
} from "./grid_layout";
import type { Theme } from "./theme";

export interface GridPainting {
  readonly spec: GridSpec;
  readonly layout: GridLayout;
  readonly viewport: Viewport;
  readonly theme: Theme;
  readonly labelFont: "ui" | "code";
  /** Under the pointer or the keyboard. */
  readonly cursor: Cell | null;
  readonly chosen: Cell | null;
  /** Whether these two are outlined. */
  readonly outlined: boolean;
  readonly draw: (context: CanvasRenderingContext2D, range: CellRange, theme: Theme) => void;
}

export function gridFont(theme: Theme, labelFont: "ui" | "code"): string {
  return `${LABEL_SIZE}px ${labelFont === "code" ? theme.codeFont : theme.uiFont}`;
}

export function paintGrid(context: CanvasRenderingContext2D, painting: GridPainting): void {
  const { spec, layout, viewport, theme } = painting;
  const range = visibleCells(spec, layout, viewport);
  context.save();
  clipTo(context, layout.left - EDGE, layout.top - EDGE, viewport.width, viewport.height);
  context.translate(layout.left - viewport.scrollLeft, layout.top - viewport.scrollTop);
  context.save();
  painting.draw(context, range, theme);
  context.restore();
  if (painting.outlined && painting.chosen)
    outlineCell(context, spec, painting.chosen, theme.accent, theme.surface);
  if (painting.outlined && painting.cursor)
    outlineCell(context, spec, painting.cursor, theme.ink, theme.surface);
  context.restore();
  paintRowLabels(context, painting, range);
  paintColLabels(context, painting, range);
  paintTitles(context, painting);
}

/** Two-toned, so that it shows on every colour of a map; a cell's last pixel is the line to its neighbour. */
function outlineCell(
  context: CanvasRenderingContext2D,
  { cellWidth, cellHeight }: GridSpec,
  { row, col }: Cell,
  colour: string,
  surface: string,
): void {
  const around = (margin: number) => ({
    x: col * cellWidth - margin,
    y: row * cellHeight - margin,
    width: cellWidth + 2 * margin - 1,
    height: cellHeight + 2 * margin - 1,
  });
  outlineRect(context, around(0), surface, 1);
  outlineRect(context, around(EDGE), colour, EDGE);
}

function paintRowLabels(context: CanvasRenderingContext2D, painting: GridPainting, range: CellRange): void {
  const { spec, layout, viewport } = painting;
  if (!spec.rowLabels) return;
  context.save();
  clipTo(context, 0, layout.top - EDGE, layout.left, viewport.height);
  setLabelStyle(context, painting);
  context.textAlign = "right";
  for (const row of labelled(range.row0, range.row1, layout.rowStep, activeCell(painting)?.row)) {
    context.fillStyle = labelColour(painting, row === activeCell(painting)?.row);
    const y = layout.top - viewport.scrollTop + (row + 0.5) * spec.cellHeight;
    const text = fitText(context, spec.rowLabels[row] ?? "", spec.longestRowLabel ?? MAX_LABEL);
    context.fillText(text, layout.left - LABEL_GAP, y);
  }
  context.restore();
}

function paintColLabels(context: CanvasRenderingContext2D, painting: GridPainting, range: CellRange): void {
  const { spec, layout, viewport } = painting;
  if (!spec.colLabels) return;
  context.save();
  clipTo(context, layout.left - EDGE, 0, viewport.width, layout.top);
  setLabelStyle(context, painting);
  for (const col of labelled(range.col0, range.col1, layout.colStep, activeCell(painting)?.col)) {
    context.fillStyle = labelColour(painting, col === activeCell(painting)?.col);
    const x = layout.left - viewport.scrollLeft + (col + 0.5) * spec.cellWidth;
    const text = fitText(context, spec.colLabels[col] ?? "", MAX_LABEL);
    context.save();
    context.translate(x, layout.top - LABEL_GAP);
    if (layout.uprightCols) context.rotate(-Math.PI / 2);
    context.textAlign = layout.uprightCols ? "left" : "center";
    context.fillText(text, 0, layout.uprightCols ? 0.5 : -LABEL_SIZE / 2 + 1);
    context.restore();
  }
  context.restore();
}

function paintTitles(context: CanvasRenderingContext2D, { spec, layout, theme }: GridPainting): void {
  context.save();
  context.font = `${LABEL_SIZE}px ${theme.uiFont}`;
  context.fillStyle = theme.muted;
  context.textBaseline = "middle";
  if (spec.colTitle) context.fillText(spec.colTitle, layout.left, TITLE_SPACE / 2 - 2);
  if (spec.rowTitle) {
    context.translate(TITLE_SPACE / 2 - 2, layout.top);
    context.rotate(-Math.PI / 2);
    context.textAlign = "right";
    context.fillText(spec.rowTitle, 0, 0);
  }
  context.restore();
}

function setLabelStyle(context: CanvasRenderingContext2D, { theme, labelFont }: GridPainting): void {
  context.font = gridFont(theme, labelFont);
  context.textBaseline = "middle";
}

function labelColour({ theme, cursor, chosen }: GridPainting, active: boolean): string {
  return active || !(cursor ?? chosen) ? theme.ink : theme.muted;
}

function activeCell({ cursor, chosen }: GridPainting): Cell | null {
  return cursor ?? chosen;
}

/** Every `step`-th label, and the active one, for which those that would touch it make room. */
function* labelled(first: number, end: number, step: number, active: number | undefined): Generator<number> {
  for (let index = Math.ceil(first / step) * step; index < end; index += step) {
    if (active === undefined || active === index || Math.abs(index - active) >= step) yield index;
  }
  if (active !== undefined && active % step !== 0 && active >= first && active < end) yield active;
}

/** The longest start of `text` that fits, with an ellipsis where it was cut. */
export function fitText(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  const characters = Array.from(text);
  let [fits, tooMany] = [0, characters.length];
  while (tooMany - fits > 1) {
    const middle = (fits + tooMany) >> 1;
    if (context.measureText(`${characters.slice(0, middle).join("")}…`).width <= room) fits = middle;
    else tooMany = middle;
  }
  return `${characters.slice(0, fits).join("")}…`;
}

function clipTo(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  width: number,
  height: number,
): void {
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
}
