/** A table to be read, also by who does not see the picture. */
import { formatNumber } from "./format";
import type { Table, Value } from "./table";

/** More would keep a browser busy; files have all. */
const MOST_ROWS = 1000;
const MOST_COLUMNS = 200;

export function TableDialog(props: { name: string; table: Table; onClose: () => void }) {
  const { columns, rows } = props.table;
  const shown = rows.slice(0, MOST_ROWS);
  const isCut = shown.length < rows.length || columns.length > MOST_COLUMNS;
  return (
    <dialog
      class="mw-dialog"
      aria-label={`Table: ${props.name}`}
      ref={(dialog) => {
        if (dialog && !dialog.open) dialog.showModal();
      }}
      onClose={props.onClose}
      onKeyDown={(event) => event.stopPropagation()}
    >
      <form class="mw-row" method="dialog">
        <strong>{props.name}</strong>
        {isCut && <span class="mw-muted">the beginning; the CSV file has all</span>}
        <span class="mw-space" />
        <button class="mw-button" type="submit">
          Close
        </button>
      </form>
      <table class="mw-code">
        <thead>
          <tr>
            {columns.slice(0, MOST_COLUMNS).map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, at) => (
            <tr key={at}>
              {row.slice(0, MOST_COLUMNS).map((value, column) => (
                <td key={column}>{shownValue(value)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </dialog>
  );
}

function shownValue(value: Value): string {
  return typeof value === "number" ? formatNumber(value) : (value ?? "");
}
