/** How a table lies on the page: two of its axes as rows and columns, the others cut at one place. */
import type { Axis } from "./traits";

export interface Sheet {
  readonly axes: readonly Axis[];
  /** Indices into `axes`; null where the table is a line: then its one axis goes down. */
  readonly rows: number;
  readonly cols: number | null;
  /** Axes with several places of which one is shown. */
  readonly cut: readonly number[];
}

/** Pairs of axes that readers look for, first those that say most. */
const USUAL = [
  ["destination", "source"],
  ["layer", "head"],
  ["layer", "position"],
  ["head", "position"],
] as const;

/** Every way to choose rows and columns, the usual one first; one way where there are no more than two axes with several places. */
export function sheets(axes: readonly Axis[]): Sheet[] {
  const wide = axes.flatMap(({ values }, index) => (values.length > 1 ? [index] : []));
  const [first = 0, second] = wide;
  if (second === undefined) return [{ axes, rows: first, cols: null, cut: [] }];
  const pairs = wide.flatMap((rows, at) => wide.slice(at + 1).map((cols) => ({ rows, cols })));
  const order = ({ rows, cols }: { rows: number; cols: number }) => {
    const usual = USUAL.findIndex(([row, col]) => row === axes[rows]?.name && col === axes[cols]?.name);
    return usual < 0 ? USUAL.length : usual;
  };
  return pairs
    .sort((one, other) => order(one) - order(other))
    .map((pair) => ({ axes, ...pair, cut: wide.filter((axis) => axis !== pair.rows && axis !== pair.cols) }));
}

export function sheetSize({ axes, rows, cols }: Sheet): { rows: number; cols: number } {
  return {
    rows: axes[rows]?.values.length ?? 1,
    cols: cols === null ? 1 : (axes[cols]?.values.length ?? 1),
  };
}

export function cellCount(axes: readonly Axis[]): number {
  return axes.reduce((count, { values }) => count * values.length, 1);
}

/** From places on all axes to the index into a table's numbers, and back. */
export function flatIndex(axes: readonly Axis[], places: ArrayLike<number>): number {
  return axes.reduce((index, { values }, axis) => index * values.length + (places[axis] ?? 0), 0);
}

export function placesOf(axes: readonly Axis[], index: number): number[] {
  const places: number[] = new Array(axes.length);
  let rest = index;
  for (let axis = axes.length - 1; axis >= 0; axis--) {
    const size = axes[axis]?.values.length ?? 1;
    places[axis] = rest % size;
    rest = Math.floor(rest / size);
  }
  return places;
}

/** Of a cell of the sheet, where the other axes are cut at `cuts` (an index for each axis). */
export function sheetIndex(sheet: Sheet, cuts: readonly number[], row: number, col: number): number {
  const places = sheet.axes.map((_, axis) => cuts[axis] ?? 0);
  places[sheet.rows] = row;
  if (sheet.cols !== null) places[sheet.cols] = col;
  return flatIndex(sheet.axes, places);
}

/** The trait that holds the chosen place of an axis; null where no other picture knows it. */
export function placeTrait(axis: string): "layer" | "head" | "position" | null {
  if (axis === "destination") return "position";
  return axis === "layer" || axis === "head" || axis === "position" ? axis : null;
}
