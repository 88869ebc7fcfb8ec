/** Layer by position, a token a cell; and what its colours mean. */
import { useMemo } from "preact/hooks";
import { HatchMark, Legend } from "../../core/components";
import { useTables } from "../../core/frame";
import { Grid } from "../../core/grid";
import type * as core from "../../core/table";
import type { CellColour } from "./colours";
import { CELL_HEIGHT, drawLens } from "./draw";
import type { Lens } from "./lens";
import type { Place } from "./place";
import { columnLabels, describeCell, rowLabels } from "./words";

const [NARROWEST, WIDEST] = [54, 104];
/** Room for the layer labels. */
const LABELS = 104;
const MAX_HEIGHT = 760;

export interface TableProps {
  lens: Lens;
  colour: CellColour;
  place: Place;
  /** In CSS pixels. */
  room: number;
}

export function Table({ lens, colour, place, room }: TableProps) {
  const [rows, cols] = [lens.rowLabels.length, lens.tokens.length];
  const labels = useMemo(() => ({ rows: rowLabels(lens), cols: columnLabels(lens) }), [lens]);
  const cellWidth = Math.floor(Math.min(WIDEST, Math.max(NARROWEST, (room - LABELS) / Math.max(1, cols))));
  const { chosen } = place;
  useTables({ "logit lens": () => numbers(lens) });
  return (
    <Grid
      label="Most probable token, layers by positions"
      {...{ rows, cols, cellWidth }}
      cellHeight={CELL_HEIGHT}
      rowLabels={labels.rows}
      colLabels={labels.cols}
      labelFont="code"
      maxHeight={MAX_HEIGHT}
      chosen={chosen}
      draw={(context, range, theme) => drawLens(context, range, theme, { lens, colour, cellWidth })}
      describe={(cell) => describeCell(lens, cell)}
      onHover={(cell) => {
        place.hovered.value = cell;
      }}
      onChoose={(cell) => {
        const again = chosen?.row === cell.row && chosen.col === cell.col;
        if (again) place.leave();
        else place.choose(cell);
      }}
      onUnlock={place.leave}
    />
  );
}

/** A row for each cell and prompt. */
function numbers(lens: Lens): core.Table {
  const read = (prompt: number, row: number, position: number): core.Value[] => [
    ...(lens.compares ? [prompt + 1] : []),
    lens.rowLabels[row] ?? "",
    position,
    lens.prompts[prompt]?.[position] ?? "",
    lens.top(prompt, row, position).token,
    lens.top(prompt, row, position).probability,
    lens.entropy(prompt, row, position),
    lens.kl(prompt, row, position),
    lens.target(position),
    lens.rank(prompt, row, position),
    lens.targetProbability(prompt, row, position),
  ];
  const of = (what: string) => `${what} of target`;
  return {
    columns: [
      ...(lens.compares ? ["prompt"] : []),
      ...["layer", "position", "token", "top token", "probability", "entropy", "KL to output"],
      ...["target", of("rank"), of("probability")],
    ],
    rows: lens.prompts.flatMap((tokens, prompt) =>
      lens.rowLabels.flatMap((_, row) => tokens.map((_, position) => read(prompt, row, position))),
    ),
  };
}

export function LensLegend({ lens, colour }: { lens: Lens; colour: CellColour }) {
  const unreadable = useMemo(() => countUnreadable(lens), [lens]);
  return (
    <Legend map={colour.map} {...colour.legend}>
      {!lens.compares && (
        <span class="mw-legend-mark">
          <span class="mw-corner" aria-hidden="true" />
          <span class="mw-muted">top token is already the output's</span>
        </span>
      )}
      {unreadable > 0 && (
        <HatchMark>
          {unreadable} {unreadable === 1 ? "cell" : "cells"} without finite logits
        </HatchMark>
      )}
    </Legend>
  );
}

function countUnreadable(lens: Lens): number {
  let count = 0;
  for (let row = 0; row < lens.rowLabels.length; row++) {
    for (let position = 0; position < lens.tokens.length; position++) {
      if (lens.prompts.some((_, prompt) => Number.isNaN(lens.entropy(prompt, row, position)))) count++;
    }
  }
  return count;
}
