/** A page of text as the picture asks of it. */
import type { ValueRange } from "../../core/scale";
import type { Table } from "../../core/table";
import type { Content, Dimension, Traits } from "./traits";

export interface Page {
  readonly content: Content;
  /** All tokens, piece after piece. */
  readonly tokens: readonly string[];
  /** The column that is shown. */
  readonly column: number;
  value(token: number, column?: number): number;
  /** A token's sample and its position there. */
  place(token: number): { sample: number; position: number };
  /** The piece that a token belongs to. */
  piece(token: number): number;
}

export function readPage(content: Content, dimensions: readonly Dimension[], index: readonly number[]): Page {
  const { columns, values, tokens } = content;
  const all = tokens.flat();
  if (values.shape[0] !== all.length || values.shape[1] !== columns) {
    throw new RangeError(
      `values has shape [${values.shape}]; expected [${all.length}, ${columns}] (tokens, columns).`,
    );
  }
  const column = columns === 1 ? 0 : columnOf(index, dimensions);
  const firsts: number[] = [];
  let total = 0;
  for (const piece of tokens) {
    firsts.push(total);
    total += piece.length;
  }
  const piece = (token: number) =>
    firsts.findLastIndex((first, at) => first <= token && (tokens[at]?.length ?? 0) > 0);
  return {
    content,
    tokens: all,
    column,
    value: (token, at = column) => values.data[token * columns + at] ?? Number.NaN,
    place: (token) => {
      const at = piece(token);
      return {
        sample: content.samples[at] ?? 0,
        position: token - (firsts[at] ?? 0) + (content.starts[at] ?? 0),
      };
    },
    piece,
  };
}

/** Columns are in C order. */
export function columnOf(index: readonly number[], dimensions: readonly Dimension[]): number {
  return dimensions.reduce((column, { size }, axis) => column * size + (index[axis] ?? 0), 0);
}

/** The names of a column's place along each dimension. */
export function columnName(column: number, dimensions: readonly Dimension[]): string {
  const names: string[] = [];
  let rest = column;
  for (const { name, size, labels } of [...dimensions].reverse()) {
    const at = rest % size;
    names.unshift(labels?.[at] ?? `${name} ${at}`);
    rest = Math.floor(rest / size);
  }
  return names.join(", ");
}

/** Where the colours end: where they were told to, else at 0 and at the data's largest; both signs equally far. */
export function pageRange(page: Page, traits: Traits): ValueRange {
  const { min_value, max_value, diverging, negative_color, positive_color } = traits;
  const { ranges } = page.content;
  const smallest = ranges.data[2 * page.column] ?? 0;
  const largest = ranges.data[2 * page.column + 1] ?? 0;
  const colours = { negativeColor: negative_color, positiveColor: positive_color };
  if (diverging ?? (min_value ?? smallest) < 0) {
    const reach = Math.max(-smallest, largest) || 1;
    return {
      low: Math.min(min_value ?? -reach, 0),
      high: Math.max(max_value ?? reach, 0),
      diverging: true,
      ...colours,
    };
  }
  const low = min_value ?? Math.min(0, smallest);
  const high = max_value ?? Math.max(0, largest);
  return { low, high: high > low ? high : low + 1, diverging: false, ...colours };
}

/** A row for each token of the page; values that are here, a column for each. */
export function pageTable(page: Page, { dimensions, value_name, index }: Traits): Table {
  const { columns } = page.content;
  const only = columnOf(index, dimensions);
  const names = Array.from({ length: columns }, (_, column) =>
    columnName(columns > 1 ? column : only, dimensions),
  );
  return {
    columns: ["sample", "position", "token", ...names.map((name) => name || value_name)],
    rows: page.tokens.map((token, at) => {
      const { sample, position } = page.place(at);
      return [sample, position, token, ...names.map((_, column) => page.value(at, column))];
    }),
  };
}
