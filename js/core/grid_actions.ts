/** What pointer and keyboard do in a grid. */
import type { Signal } from "@preact/signals";
import { clampCell, type GridBounds, nextCell } from "./accessibility";
import type { Cell } from "./canvas";
import type { Frame } from "./frame";
import type { GridProps } from "./grid";
import { cellAt, type GridLayout, type GridSpec, scrollToShow, viewportOf } from "./grid_layout";

export interface GridState {
  readonly props: GridProps;
  readonly frame: Frame;
  readonly spec: GridSpec;
  readonly layout: GridLayout;
  readonly bounds: GridBounds;
  readonly box: { current: HTMLDivElement | null };
  readonly canvas: { current: HTMLCanvasElement | null };
  /** The cell under the pointer or the keyboard. */
  readonly cursor: Signal<Cell | null>;
  /** Where the keyboard left off. */
  readonly home: { current: Cell | null };
}

/** The event handlers of the grid's element. */
export function gridActions(state: GridState) {
  const leave = () => moveTo(state, null);
  return {
    onPointerMove: (event: PointerEvent) => moveTo(state, pointed(state, event)),
    onPointerLeave: leave,
    onBlur: leave,
    onClick: (event: MouseEvent) => {
      const cell = pointed(state, event);
      const several = event.shiftKey || event.ctrlKey || event.metaKey;
      if (cell && several && state.props.onExtend) state.props.onExtend(cell);
      else if (cell) choose(state, cell);
    },
    onKeyDown: (event: KeyboardEvent) => {
      if (!pressed(state, event)) return;
      event.preventDefault();
      event.stopPropagation();
    },
    onFocus: () => {
      // Not when a click brought the focus: then the pointer says where.
      if (state.box.current?.matches(":focus-visible")) moveTo(state, keyboardCell(state));
    },
  };
}

function moveTo({ props, frame, cursor, home }: GridState, cell: Cell | null): void {
  const before = cursor.peek();
  if (cell?.row === before?.row && cell?.col === before?.col) return;
  cursor.value = cell;
  if (cell) home.current = cell;
  else frame.status.value = "";
  props.onHover?.(cell);
}

function choose(state: GridState, cell: Cell): void {
  // A touch comes without a movement before it.
  moveTo(state, cell);
  state.props.onChoose?.(cell);
}

function pointed({ props, spec, layout, box, canvas }: GridState, event: MouseEvent): Cell | null {
  if (!canvas.current || !box.current) return null;
  const { left, top } = canvas.current.getBoundingClientRect();
  const cell = cellAt(spec, layout, viewportOf(box.current), event.clientX - left, event.clientY - top);
  return cell && props.triangular && cell.col > cell.row ? null : cell;
}

/** True when the grid used the key. */
function pressed(state: GridState, event: KeyboardEvent): boolean {
  const { props, bounds } = state;
  const at = keyboardCell(state);
  if (event.metaKey || event.altKey || event.shiftKey) return false;
  const target = nextCell(event.key, at, bounds, event.ctrlKey);
  if (target) {
    bringIntoView(state, target);
    moveTo(state, target);
    return true;
  }
  if (event.ctrlKey) return false;
  if (event.key === "Enter" || event.key === " ") {
    choose(state, at);
    return true;
  }
  if (event.key === "Escape" && props.onUnlock) {
    props.onUnlock();
    return true;
  }
  return props.onKey?.(event.key, at) ?? false;
}

/** Where a key acts: the current cell, or where the keyboard was last, or the chosen one. */
function keyboardCell({ props, bounds, cursor, home }: GridState): Cell {
  return clampCell(cursor.peek() ?? home.current ?? props.chosen ?? { row: 0, col: 0 }, bounds);
}

export function bringIntoView({ spec, layout, box }: GridState, cell: Cell): void {
  if (!box.current) return;
  const { left, top } = scrollToShow(spec, layout, viewportOf(box.current), cell);
  box.current.scrollTo({ left, top, behavior: "instant" });
}
