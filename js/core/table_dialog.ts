/** A table to be read, also by who does not see the picture. */
import { formatNumber } from "./format";
import type { Table, Value } from "./table";

/** More would keep a browser busy; files have all. */
const MOST_ROWS = 1000;

/** Above the page until it is closed; it ends with the picture's root. */
export function showTable(root: HTMLElement, name: string, { columns, rows }: Table): void {
  const dialog = document.createElement("dialog");
  dialog.className = "mw-dialog";
  const close = document.createElement("button");
  close.className = "mw-button";
  close.textContent = "Close";
  close.onclick = () => dialog.close();
  const table = document.createElement("table");
  const cut = rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} rows of ${rows.length}` : "";
  table.createCaption().textContent = name + cut;
  addRow(table, "th", columns);
  for (const row of rows.slice(0, MOST_ROWS)) addRow(table, "td", row);
  dialog.append(close, table);
  dialog.onclose = () => dialog.remove();
  // Neither the notebook's keys nor the picture's are meant.
  dialog.onkeydown = (event) => event.stopPropagation();
  root.append(dialog);
  dialog.showModal();
}

function addRow(table: HTMLTableElement, kind: "th" | "td", values: readonly Value[]): void {
  const row = table.insertRow();
  for (const value of values) {
    const cell = document.createElement(kind);
    cell.textContent = typeof value === "number" ? formatNumber(value) : value;
    row.append(cell);
  }
}
