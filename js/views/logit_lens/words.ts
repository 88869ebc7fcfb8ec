/** What the picture says of its rows and cells. */
import type { Cell } from "../../core/canvas";
import { formatNumber } from "../../core/format";
import { quoteToken } from "../../core/tokens";
import type { Lens } from "./lens";

/** Row labels of the table; the last one also says that this is the model's answer. */
export function rowLabels({ rowLabels, outputRow }: Lens): string[] {
  return rowLabels.map((label, row) => (row === outputRow ? `${label} = output` : label));
}

export function rowName({ rowLabels, outputRow }: Lens, row: number): string {
  const label = rowLabels[row] ?? "";
  if (row === outputRow) return `Output (after layer ${label})`;
  return label === "embed" ? "Embedding" : `After layer ${label}`;
}

export function placeName(lens: Lens, { row, col }: Cell): string {
  return `${rowName(lens, row)}, position ${col} ${quoteToken(lens.tokens[col] ?? "")}`;
}

export function describeCell(lens: Lens, cell: Cell): string {
  const { row, col } = cell;
  const parts = [
    `${quoteToken(lens.topToken(row, col))} ${formatNumber(lens.topProbability(row, col))}`,
    `entropy ${formatNumber(lens.entropy(row, col))} nats`,
  ];
  if (row !== lens.outputRow) {
    const output = quoteToken(lens.topToken(lens.outputRow, col));
    parts.push(`output's ${output} has rank ${lens.rank(row, col)}`);
  }
  return `${placeName(lens, cell)} → ${parts.join(", ")}`;
}
