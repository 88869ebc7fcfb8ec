/**
 * A matrix of cells that pointer, keyboard and screen reader can walk through: one canvas that draws only what shows,
 * and one hidden gridcell that is always the current cell, so 2048 x 2048 cells cost what 20 x 20 do.
 */
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { clampCell, type GridBounds, uniqueId } from "./accessibility";
import { type Cell, type CellRange, scratchPen } from "./canvas";
import { useFrame } from "./frame";
import { bringIntoView, gridActions } from "./grid_actions";
import { type GridLayout, type GridSpec, layOutGrid } from "./grid_layout";
import { gridFont, paintGrid } from "./grid_paint";
import { usePainting } from "./grid_painting";
import type { Theme } from "./theme";

export interface GridProps {
  /** Names the matrix for assistive technology and tests. */
  label: string;
  rows: number;
  cols: number;
  /** In CSS pixels. */
  cellWidth: number;
  cellHeight: number;
  rowLabels?: readonly string[];
  colLabels?: readonly string[];
  rowTitle?: string;
  colTitle?: string;
  /** The room that row labels may take, in CSS pixels, where it is not the usual. */
  longestRowLabel?: number;
  labelFont?: "ui" | "code";
  /** Only cells with col <= row exist. */
  triangular?: boolean;
  /** In CSS pixels; a taller matrix scrolls inside its box, as a wider one than its place does. */
  maxHeight?: number;
  /** Outlined in the accent colour. */
  chosen?: Cell | null;
  /** Scrolled to when it changes. */
  reveal?: Cell | null;
  /** False where the view itself marks the current cell and the chosen one. */
  outlined?: boolean;
  /** Draws the cells of `range`; cell (0, 0) has its corner at the origin. */
  draw: (context: CanvasRenderingContext2D, range: CellRange, theme: Theme) => void;
  /** What is in the cell, as a sentence. */
  describe: (cell: Cell) => string;
  /** The cell under the pointer or the keyboard. */
  onHover?: (cell: Cell | null) => void;
  /** Click, Enter or Space. */
  onChoose?: (cell: Cell) => void;
  /** Click with Shift, Ctrl or Cmd held, as where several can be chosen; without it such a click chooses. */
  onExtend?: (cell: Cell) => void;
  /** Escape; left out while nothing is locked, so that the key keeps its meaning for the page. */
  onUnlock?: () => void;
  /** Keys of the view's own; true when it used the key. */
  onKey?: (key: string, cell: Cell) => boolean;
}

const SCROLLBAR = 16;

export function Grid(props: GridProps) {
  const frame = useFrame();
  const theme = frame.theme.value;
  const id = useMemo(uniqueId, []);
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const cursor = useSignal<Cell | null>(null);
  const home = useRef<Cell | null>(null);
  const spec = gridSpec(props);
  const layout = useLayout(spec, gridFont(theme, props.labelFont ?? "ui"));
  const bounds = gridBounds(props, box.current, layout);
  const chosen = props.chosen ?? null;
  // A new prompt may have fewer tokens than the cell that was current.
  const current = cursor.value && clampCell(cursor.value, bounds);
  const announced = clampCell(current ?? chosen ?? { row: 0, col: 0 }, bounds);

  usePainting(box, canvas, frame, (context, viewport) =>
    paintGrid(context, {
      ...{ spec, layout, viewport, theme, chosen, cursor: current, draw: props.draw },
      labelFont: props.labelFont ?? "ui",
      outlined: props.outlined ?? true,
    }),
  );

  // Also when what is in the cell changes under a pointer that rests.
  const text = props.describe(announced);
  useLayoutEffect(() => {
    if (current) frame.status.value = text;
  }, [text, current === null]);

  const state = { props, frame, spec, layout, bounds, box, canvas, cursor, home };
  const { reveal } = props;
  useLayoutEffect(() => {
    if (reveal) bringIntoView(state, clampCell(reveal, bounds));
  }, [reveal]);

  const actions = gridActions(state);
  return (
    // biome-ignore lint/a11y/useSemanticElements: a table of a million cells cannot be elements
    <div
      ref={box}
      class="mw-grid"
      role="grid"
      tabIndex={0}
      aria-label={props.label}
      aria-rowcount={props.rows}
      aria-colcount={props.cols}
      aria-activedescendant={id}
      data-cells={`${layout.left} ${layout.top} ${props.cellWidth} ${props.cellHeight}`}
      style={boxStyle(layout, props.maxHeight)}
      {...actions}
    >
      <div class="mw-grid-extent" style={{ width: `${layout.width}px`, height: `${layout.height}px` }}>
        <canvas ref={canvas} />
        <CurrentCell id={id} cell={announced} chosen={chosen} text={text} />
      </div>
    </div>
  );
}

/** The one cell that assistive technology sees: the current one. */
function CurrentCell(props: { id: string; cell: Cell; chosen: Cell | null; text: string }) {
  const { cell, chosen } = props;
  return (
    // biome-ignore-start lint/a11y/useSemanticElements: rows and cells of the grid above
    // biome-ignore-start lint/a11y/useFocusableInteractive: the grid has the focus; aria-activedescendant points here
    <div role="row" aria-rowindex={cell.row + 1} class="mw-hidden">
      <div
        id={props.id}
        role="gridcell"
        aria-colindex={cell.col + 1}
        aria-selected={chosen?.row === cell.row && chosen.col === cell.col}
      >
        {props.text}
      </div>
    </div>
    // biome-ignore-end lint/a11y/useFocusableInteractive: as above
    // biome-ignore-end lint/a11y/useSemanticElements: as above
  );
}

/** Measuring labels takes a while for a long prompt, so only when something it depends on has changed. */
function useLayout(spec: GridSpec, font: string): GridLayout {
  const { rows, cols, cellWidth, cellHeight, rowLabels, colLabels, rowTitle, colTitle, longestRowLabel } =
    spec;
  return useMemo(
    () => layOutGrid(spec, textMeasure(font)),
    [rows, cols, cellWidth, cellHeight, rowLabels, colLabels, rowTitle, colTitle, longestRowLabel, font],
  );
}

function gridSpec(props: GridProps): GridSpec {
  const { rows, cols, cellWidth, cellHeight } = props;
  return {
    ...{ rows, cols, cellWidth, cellHeight },
    rowLabels: props.rowLabels ?? null,
    colLabels: props.colLabels ?? null,
    rowTitle: props.rowTitle ?? null,
    colTitle: props.colTitle ?? null,
    longestRowLabel: props.longestRowLabel,
  };
}

function gridBounds(props: GridProps, box: HTMLDivElement | null, layout: GridLayout): GridBounds {
  const room = (box?.clientHeight ?? 0) - layout.top;
  return {
    rows: props.rows,
    cols: props.cols,
    page: Math.max(1, Math.floor(room / props.cellHeight) - 1),
    triangular: props.triangular ?? false,
  };
}

function boxStyle(layout: GridLayout, maxHeight: number | undefined) {
  const scrolls = maxHeight !== undefined && layout.height > maxHeight;
  return {
    width: `${layout.width + (scrolls ? SCROLLBAR : 0)}px`,
    maxHeight: maxHeight === undefined ? "none" : `${maxHeight}px`,
  };
}

function textMeasure(font: string): (text: string) => number {
  const pen = scratchPen();
  pen.font = font;
  return (text) => pen.measureText(text).width;
}
