/** Keyboard paths through a matrix, and names that are unique in the page. */
import type { Cell } from "./canvas";

export interface GridBounds {
  readonly rows: number;
  readonly cols: number;
  /** Rows that PageUp and PageDown move by. */
  readonly page: number;
  /** Only cells with col <= row exist. */
  readonly triangular: boolean;
}

/** Where `key` leads from `cell`; null for a key that does not move. */
export function nextCell(key: string, cell: Cell, bounds: GridBounds, toEnd: boolean): Cell | null {
  const { row, col } = cell;
  const lastCol = bounds.triangular ? row : bounds.cols - 1;
  switch (key) {
    case "ArrowUp":
      return clampCell({ row: row - 1, col }, bounds);
    case "ArrowDown":
      return clampCell({ row: row + 1, col }, bounds);
    case "ArrowLeft":
      return clampCell({ row, col: col - 1 }, bounds);
    case "ArrowRight":
      return clampCell({ row, col: col + 1 }, bounds);
    case "PageUp":
      return clampCell({ row: row - bounds.page, col }, bounds);
    case "PageDown":
      return clampCell({ row: row + bounds.page, col }, bounds);
    case "Home":
      return clampCell({ row: toEnd ? 0 : row, col: 0 }, bounds);
    case "End":
      return toEnd
        ? clampCell({ row: bounds.rows - 1, col: bounds.cols - 1 }, bounds)
        : clampCell({ row, col: lastCol }, bounds);
    default:
      return null;
  }
}

export function clampCell({ row, col }: Cell, { rows, cols, triangular }: GridBounds): Cell {
  const inRow = Math.max(0, Math.min(rows - 1, row));
  const lastCol = triangular ? Math.min(inRow, cols - 1) : cols - 1;
  return { row: inRow, col: Math.max(0, Math.min(lastCol, col)) };
}

/** What has the focus, also where the host draws pictures in a shadow tree, as marimo does. */
export function focusedElement(): HTMLElement | null {
  let found = document.activeElement;
  while (found?.shadowRoot?.activeElement) found = found.shadowRoot.activeElement;
  return found instanceof HTMLElement ? found : null;
}

/** Unique over all pictures in the page and over reloads; `crypto.randomUUID` is missing on plain-HTTP hubs. */
export function uniqueId(): string {
  const words = crypto.getRandomValues(new Uint32Array(2));
  return `mw-${Array.from(words, (word) => word.toString(36)).join("")}`;
}
