/** The table as something that one can walk: a map of two axes, or a list of bars. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Cell } from "../../core/canvas";
import { useFrame } from "../../core/frame";
import { Grid } from "../../core/grid";
import { placesOf, type Sheet, sheetIndex, sheetSize } from "./axes";
import { drawBars } from "./bars";
import type { Details } from "./details";
import { drawHeatmap, type Marks } from "./draw";
import type { Scale } from "./scale";
import type { Table } from "./sweep";
import { axisLabels, axisTitle, cellLabel, isPositions, type Tokens } from "./words";

const CELL_HEIGHT = 16;
const BAR_HEIGHT = 20;
const [NARROWEST, WIDEST] = [14, 84];
/** Numbers may be left out between others, so their columns can be as narrow as one likes to point at. */
const NARROWEST_NUMBER = 10;
const WIDEST_BARS = 640;
/** Room for the row labels and the frame: numbers, or tokens. */
const [LABELS, TOKEN_LABELS] = [48, 124];
const BAR_LABELS = 170;
const MAX_HEIGHT = 720;

export interface TableProps {
  table: Table;
  scale: Scale;
  details: Details;
  tokens: Tokens;
  marks: Marks;
  /** What is in a cell of the table, as a sentence. */
  describe: (index: number) => string;
  /** The chosen cell of the table. */
  chosen: number | null;
  /** Click, Enter or Space on a cell. */
  onChoose: (index: number) => void;
  onUnlock: () => void;
}

/** Two axes as rows and columns; the others are cut at `cuts`. */
export function Heatmap(props: TableProps & { sheet: Sheet; cuts: readonly number[] }) {
  const { table, scale, tokens, marks, sheet, cuts } = props;
  const width = useFrame().width.value;
  const { rows, cols } = sheetSize(sheet);
  const { rowAxis, colAxis, rowLabels, colLabels } = useLabels(sheet, tokens);
  const index = (row: number, col: number) => sheetIndex(sheet, cuts, row, col);
  const hovered = useSignal<Cell | null>(null);
  const labels = isPositions(rowAxis) || rowAxis === "sender" ? TOKEN_LABELS : LABELS;
  const narrowest = isPositions(colAxis) ? NARROWEST : NARROWEST_NUMBER;
  const cellWidth = Math.floor(Math.min(WIDEST, Math.max(narrowest, (width - labels) / Math.max(1, cols))));
  const cellHeight = rowAxis === "destination" ? Math.max(CELL_HEIGHT, Math.min(24, cellWidth)) : CELL_HEIGHT;
  const cone = hovered.value && rowAxis === "layer" ? coneOf(hovered.value, colAxis) : null;
  return (
    <Grid
      label={`Metric after patching, ${rowAxis} by ${colAxis}`}
      {...{ rows, cols, cellWidth, cellHeight, rowLabels, colLabels }}
      rowTitle={axisTitle(rowAxis)}
      colTitle={axisTitle(colAxis)}
      labelFont={isPositions(colAxis) ? "code" : "ui"}
      maxHeight={MAX_HEIGHT}
      describe={({ row, col }) => props.describe(index(row, col))}
      chosen={chosenCell(props.chosen, sheet, cuts)}
      draw={(context, range, theme) =>
        drawHeatmap(
          context,
          range,
          theme,
          { table, rows, cols, index, scale, marks, cone },
          { width: cellWidth, height: cellHeight },
        )
      }
      onHover={(cell) => {
        hovered.value = cell;
      }}
      onChoose={({ row, col }) => props.onChoose(index(row, col))}
      onUnlock={props.onUnlock}
    />
  );
}

/** Cells one below the other, each with a bar. */
export function BarList(
  props: TableProps & { indices: readonly number[]; labels: readonly string[]; title: string },
) {
  const { table, scale, details, tokens, marks, indices } = props;
  const width = useFrame().width.value;
  const barWidth = Math.max(120, Math.min(WIDEST_BARS, width - BAR_LABELS));
  const at = (row: number) => indices[row] ?? 0;
  const row = props.chosen === null ? -1 : indices.indexOf(props.chosen);
  const code = tokens.clean.length > 0 && table.axes.some(({ name }) => isPositions(name));
  return (
    <Grid
      label={`Metric after patching, by ${props.title}`}
      rows={indices.length}
      cols={1}
      cellWidth={barWidth}
      cellHeight={BAR_HEIGHT}
      rowLabels={props.labels}
      longestRowLabel={BAR_LABELS - 30}
      rowTitle={props.title}
      labelFont={code ? "code" : "ui"}
      maxHeight={MAX_HEIGHT}
      describe={(cell) => props.describe(at(cell.row))}
      chosen={row < 0 ? null : { row, col: 0 }}
      draw={(context, range, theme) =>
        drawBars(context, range, theme, {
          ...{ table, scale, marks, details, indices },
          ...{ width: barWidth, height: BAR_HEIGHT },
        })
      }
      onChoose={(cell) => props.onChoose(at(cell.row))}
      onUnlock={props.onUnlock}
    />
  );
}

/** The computed cells with the largest changes, the largest first. */
export function useRanking(table: Table, base: number, most: number): number[] {
  return useMemo(() => {
    const change = (index: number) => Math.abs((table.values[index] ?? 0) - base);
    return Array.from(table.values.keys())
      .filter((index) => Number.isFinite(table.values[index]))
      .sort((one, other) => change(other) - change(one))
      .slice(0, most);
  }, [table, base, most]);
}

/** Labels of cells in a list. */
export function useCellLabels(table: Table, indices: readonly number[], tokens: Tokens): string[] {
  return useMemo(
    () => indices.map((index) => cellLabel(table.axes, index, tokens)),
    [table.axes, indices, tokens],
  );
}

function useLabels({ axes, rows, cols }: Sheet, tokens: Tokens) {
  return useMemo(() => {
    const [rowAxis, colAxis] = [axes[rows], cols === null ? undefined : axes[cols]];
    return {
      rowAxis: rowAxis?.name ?? "",
      colAxis: colAxis?.name ?? "",
      rowLabels: rowAxis ? axisLabels(rowAxis, tokens) : [],
      colLabels: colAxis ? axisLabels(colAxis, tokens) : [],
    };
  }, [axes, rows, cols, tokens]);
}

/** Where what a change can reach begins; nothing tells of heads but that they come in later layers. */
function coneOf({ row, col }: Cell, colAxis: string): Cell | null {
  if (colAxis === "position") return { row, col };
  return colAxis === "head" ? { row: row + 1, col: 0 } : null;
}

/** Where the chosen cell is on the sheet; null where the sheet is cut elsewhere. */
function chosenCell(chosen: number | null, sheet: Sheet, cuts: readonly number[]): Cell | null {
  if (chosen === null || sheet.cols === null) return null;
  const places = placesOf(sheet.axes, chosen);
  const [row = 0, col = 0] = [places[sheet.rows], places[sheet.cols]];
  return sheetIndex(sheet, cuts, row, col) === chosen ? { row, col } : null;
}
