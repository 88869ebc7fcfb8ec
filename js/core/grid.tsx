/**
 * A matrix of cells that pointer, keyboard and screen reader can walk through: one canvas that draws only what shows,
 * and one hidden gridcell that is always the current cell, so 2048 x 2048 cells cost what 20 x 20 do.
 */
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { clampCell, type GridBounds, nextCell, uniqueId } from "./accessibility";
import { type Cell, type CellRange, prepareCanvas } from "./canvas";
import { type Frame, useFrame } from "./frame";
import {
  cellAt,
  type GridLayout,
  type GridSpec,
  layOutGrid,
  scrollToShow,
  type Viewport,
} from "./grid_layout";
import { gridFont, paintGrid } from "./grid_paint";
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
  labelFont?: "ui" | "code";
  /** Only cells with col <= row exist. */
  triangular?: boolean;
  /** In CSS pixels; a taller matrix scrolls inside its box, as a wider one than its place does. */
  maxHeight?: number;
  /** Outlined in the accent colour. */
  chosen?: Cell | null;
  /** Draws the cells of `range`; cell (0, 0) has its corner at the origin. */
  draw: (context: CanvasRenderingContext2D, range: CellRange, theme: Theme) => void;
  /** What is in the cell, as a sentence. */
  describe: (cell: Cell) => string;
  /** The cell under the pointer or the keyboard. */
  onHover?: (cell: Cell | null) => void;
  /** Click, Enter or Space. */
  onChoose?: (cell: Cell) => void;
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
  /** Where the keyboard left off. */
  const home = useRef<Cell | null>(null);
  const spec = gridSpec(props);
  const font = gridFont(theme, props.labelFont ?? "ui");
  const layout = useMemo(
    () => layOutGrid(spec, textMeasure(font)),
    [
      ...[spec.rows, spec.cols, spec.cellWidth, spec.cellHeight],
      ...[spec.rowLabels, spec.colLabels, spec.rowTitle, spec.colTitle],
      font,
    ],
  );
  const bounds = gridBounds(props, box.current, layout);
  const chosen = props.chosen ?? null;
  // A new prompt may have fewer tokens than the cell that was current.
  const current = cursor.value && clampCell(cursor.value, bounds);
  const announced = clampCell(current ?? chosen ?? { row: 0, col: 0 }, bounds);

  usePainting(box, canvas, frame, (context, viewport) =>
    paintGrid(context, {
      ...{ spec, layout, viewport, theme, chosen, cursor: current, draw: props.draw },
      labelFont: props.labelFont ?? "ui",
    }),
  );

  const moveTo = (cell: Cell | null) => {
    const before = cursor.peek();
    if (cell?.row === before?.row && cell?.col === before?.col) return;
    cursor.value = cell;
    if (cell) home.current = cell;
    frame.status.value = cell ? props.describe(cell) : "";
    props.onHover?.(cell);
  };
  const pointed = (event: MouseEvent): Cell | null => {
    if (!canvas.current || !box.current) return null;
    const { left, top } = canvas.current.getBoundingClientRect();
    const cell = cellAt(spec, layout, viewportOf(box.current), event.clientX - left, event.clientY - top);
    return cell && props.triangular && cell.col > cell.row ? null : cell;
  };
  const choose = (cell: Cell) => {
    props.onChoose?.(cell);
    frame.status.value = props.describe(cell);
  };
  const pressed = (event: KeyboardEvent) => {
    const at = clampCell(current ?? home.current ?? chosen ?? { row: 0, col: 0 }, bounds);
    if (event.metaKey || event.altKey || event.shiftKey) return;
    const target = nextCell(event.key, at, bounds, event.ctrlKey);
    if (target) {
      if (box.current) scrollTo(box.current, spec, layout, target);
      moveTo(target);
    } else if (event.ctrlKey) {
      return;
    } else if (event.key === "Enter" || event.key === " ") {
      choose(at);
    } else if (event.key === "Escape" && props.onUnlock) {
      props.onUnlock();
    } else if (!props.onKey?.(event.key, at)) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

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
      onPointerMove={(event) => moveTo(pointed(event))}
      onPointerLeave={() => moveTo(null)}
      onClick={(event) => {
        const cell = pointed(event);
        if (cell) choose(cell);
      }}
      onKeyDown={pressed}
      onFocus={() => {
        if (box.current?.matches(":focus-visible")) moveTo(clampCell(home.current ?? announced, bounds));
      }}
      onBlur={() => moveTo(null)}
    >
      <div class="mw-grid-extent" style={{ width: `${layout.width}px`, height: `${layout.height}px` }}>
        <canvas ref={canvas} />
        <CurrentCell id={id} cell={announced} chosen={chosen} text={props.describe(announced)} />
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

/** Paints after every rendering, scroll and change of size, at most once a frame. */
function usePainting(
  box: { current: HTMLDivElement | null },
  canvas: { current: HTMLCanvasElement | null },
  frame: Frame,
  paint: (context: CanvasRenderingContext2D, viewport: Viewport) => void,
): void {
  const latest = useRef(paint);
  latest.current = paint;
  const scheduled = useRef(0);
  const pixelRatio = frame.pixelRatio.value;
  const ratio = useRef(pixelRatio);
  ratio.current = pixelRatio;
  const schedule = useMemo(
    () => () => {
      cancelAnimationFrame(scheduled.current);
      scheduled.current = requestAnimationFrame(() => {
        if (!box.current || !canvas.current) return;
        const viewport = viewportOf(box.current);
        // Not laid out yet, or in a hidden cell: the ResizeObserver tells when that changes.
        if (viewport.width === 0 || viewport.height === 0) return;
        try {
          latest.current(
            prepareCanvas(canvas.current, viewport.width, viewport.height, ratio.current),
            viewport,
          );
        } catch (error) {
          frame.fail(error);
        }
      });
    },
    [box, canvas, frame],
  );
  useLayoutEffect(schedule);
  useLayoutEffect(() => {
    if (!box.current) return;
    const controller = new AbortController();
    box.current.addEventListener("scroll", schedule, { signal: controller.signal, passive: true });
    const observer = new ResizeObserver(schedule);
    observer.observe(box.current);
    return () => {
      controller.abort();
      observer.disconnect();
      cancelAnimationFrame(scheduled.current);
    };
  }, [box, schedule]);
}

function gridSpec(props: GridProps): GridSpec {
  const { rows, cols, cellWidth, cellHeight } = props;
  return {
    ...{ rows, cols, cellWidth, cellHeight },
    rowLabels: props.rowLabels ?? null,
    colLabels: props.colLabels ?? null,
    rowTitle: props.rowTitle ?? null,
    colTitle: props.colTitle ?? null,
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

function viewportOf(box: HTMLDivElement): Viewport {
  const { clientWidth: width, clientHeight: height, scrollLeft, scrollTop } = box;
  return { width, height, scrollLeft, scrollTop };
}

function scrollTo(box: HTMLDivElement, spec: GridSpec, layout: GridLayout, cell: Cell): void {
  const { left, top } = scrollToShow(spec, layout, viewportOf(box), cell);
  box.scrollTo({ left, top, behavior: "instant" });
}

function textMeasure(font: string): (text: string) => number {
  const pen = document.createElement("canvas").getContext("2d");
  if (!pen) throw new Error("The browser gives no 2-D canvas, which every picture is drawn on.");
  pen.font = font;
  return (text) => pen.measureText(text).width;
}
