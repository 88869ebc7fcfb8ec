/** Where a grid's labels and cells lie, in CSS pixels. */
import type { Cell, CellRange } from "./canvas";

export interface GridSpec {
  readonly rows: number;
  readonly cols: number;
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly rowLabels: readonly string[] | null;
  readonly colLabels: readonly string[] | null;
  readonly rowTitle: string | null;
  readonly colTitle: string | null;
  /** The room that row labels may take, in CSS pixels, where it is not the usual. */
  readonly longestRowLabel?: number | undefined;
}

export interface GridLayout {
  /** Space left of and above the cells: titles and labels. */
  readonly left: number;
  readonly top: number;
  /** Labels stand upright when they do not fit across a column. */
  readonly uprightCols: boolean;
  /** Every how many rows and columns there is room for a label. */
  readonly rowStep: number;
  readonly colStep: number;
  readonly width: number;
  readonly height: number;
}

export const LABEL_SIZE = 11;
export const TITLE_SPACE = 16;
/** Room around the cells for the outline of one at the edge. */
export const EDGE = 2;
export const LABEL_GAP = 6;
export const MAX_LABEL = 92;
const LABEL_LINE = 12;
/** Between labels that stand side by side. */
const LABEL_MARGIN = 4;

export function layOutGrid(spec: GridSpec, measure: (text: string) => number): GridLayout {
  const widest = (labels: readonly string[] | null, most = MAX_LABEL) =>
    Math.min(most, Math.ceil((labels ?? []).reduce((widest, label) => Math.max(widest, measure(label)), 0)));
  const rowLabel = widest(spec.rowLabels, spec.longestRowLabel);
  const colLabel = widest(spec.colLabels);
  const acrossExtent = colLabel + LABEL_MARGIN;
  const uprightCols = acrossExtent > spec.cellWidth && !isNumbering(spec.colLabels);
  const colExtent = uprightCols ? LABEL_LINE : acrossExtent;
  const left = (spec.rowTitle ? TITLE_SPACE : 0) + (spec.rowLabels ? rowLabel + LABEL_GAP : EDGE);
  const labelHeight = uprightCols ? colLabel : LABEL_LINE;
  const top = (spec.colTitle ? TITLE_SPACE : 0) + (spec.colLabels ? labelHeight + LABEL_GAP : EDGE);
  return {
    left,
    top,
    uprightCols,
    rowStep: niceStep(LABEL_LINE / spec.cellHeight),
    colStep: niceStep(colExtent / spec.cellWidth),
    width: left + spec.cols * spec.cellWidth + EDGE,
    height: top + spec.rows * spec.cellHeight + EDGE,
  };
}

/** Layer, head and position numbers may be left out; they stay across rather than stand upright. */
function isNumbering(labels: readonly string[] | null): boolean {
  return labels?.every((label, index) => label === String(index)) ?? false;
}

function niceStep(atLeast: number): number {
  return [1, 2, 5, 10, 20, 50, 100].find((step) => step >= atLeast) ?? Math.ceil(atLeast / 100) * 100;
}

export interface Viewport {
  readonly width: number;
  readonly height: number;
  readonly scrollLeft: number;
  readonly scrollTop: number;
}

/** What of the grid its scroll box shows. */
export function viewportOf(box: HTMLElement): Viewport {
  const { clientWidth: width, clientHeight: height, scrollLeft, scrollTop } = box;
  return { width, height, scrollLeft, scrollTop };
}

/** The cells that show, whole or in part. */
export function visibleCells(spec: GridSpec, layout: GridLayout, viewport: Viewport): CellRange {
  const clamp = (value: number, most: number) => Math.max(0, Math.min(most, value));
  return {
    row0: clamp(Math.floor(viewport.scrollTop / spec.cellHeight), spec.rows),
    row1: clamp(Math.ceil((viewport.scrollTop + viewport.height - layout.top) / spec.cellHeight), spec.rows),
    col0: clamp(Math.floor(viewport.scrollLeft / spec.cellWidth), spec.cols),
    col1: clamp(Math.ceil((viewport.scrollLeft + viewport.width - layout.left) / spec.cellWidth), spec.cols),
  };
}

/** The cell at a point of the viewport; null over labels and beyond the cells. */
export function cellAt(
  spec: GridSpec,
  layout: GridLayout,
  viewport: Viewport,
  x: number,
  y: number,
): Cell | null {
  if (x < layout.left || y < layout.top) return null;
  const col = Math.floor((x - layout.left + viewport.scrollLeft) / spec.cellWidth);
  const row = Math.floor((y - layout.top + viewport.scrollTop) / spec.cellHeight);
  return row < spec.rows && col < spec.cols ? { row, col } : null;
}

/** How far to scroll so that `cell` shows beside the labels, which stay in place. */
export function scrollToShow(
  spec: GridSpec,
  layout: GridLayout,
  viewport: Viewport,
  cell: Cell,
): { left: number; top: number } {
  const show = (start: number, size: number, scrolled: number, room: number) =>
    Math.min(start, Math.max(scrolled, start + size - room));
  return {
    left: show(cell.col * spec.cellWidth, spec.cellWidth, viewport.scrollLeft, viewport.width - layout.left),
    top: show(cell.row * spec.cellHeight, spec.cellHeight, viewport.scrollTop, viewport.height - layout.top),
  };
}
