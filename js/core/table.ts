/** The numbers of a picture as a table, for spreadsheets and for readers who do not see it. */

/** Text, a number, or null where there is none. */
export type Value = string | number | null;

export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Value[])[];
}

/** A table that is made when a reader asks for it. */
export interface TableSource {
  /** What it holds, as "pattern of L4H7". */
  readonly name: string;
  readonly make: () => Table;
}

/** A matrix with the names of its rows in the first column; where a name comes again, as tokens do, all are numbered. */
export function matrixTable(
  corner: string,
  rows: readonly string[],
  columns: readonly string[],
  value: (row: number, column: number) => Value,
): Table {
  const names = numbered(rows);
  return {
    columns: [corner, ...numbered(columns)],
    rows: names.map((name, row) => [name, ...columns.map((_, column) => value(row, column))]),
  };
}

function numbered(names: readonly string[]): readonly string[] {
  return new Set(names).size === names.length ? names : names.map((name, index) => `${index} ${name}`);
}

/** As RFC 4180 has it: what has commas, quotes or line breaks stands in quotes. */
export function toCsv({ columns, rows }: Table): string {
  return separated([columns, ...rows], ",", "\r\n");
}

/** As spreadsheets take it from the clipboard. */
export function toTsv({ columns, rows }: Table): string {
  return separated([columns, ...rows], "\t", "\n");
}

function separated(rows: readonly (readonly Value[])[], separator: string, end: string): string {
  const quote = (value: Value) => {
    const text = typeof value === "number" ? digits(value) : (value ?? "");
    return /[",\t\r\n]|^ | $/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(quote).join(separator) + end).join("");
}

/** As many digits as tell a float32 from its neighbours; other numbers in full. */
function digits(value: number): string {
  if (Math.fround(value) !== value) return String(value);
  const few = [6, 7, 8].map((count) => Number(value.toPrecision(count)));
  return String(few.find((one) => Math.fround(one) === value) ?? Number(value.toPrecision(9)));
}
