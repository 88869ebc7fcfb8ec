/** The chosen head, large: destination tokens down, source tokens across. */
import { useMemo, useRef } from "preact/hooks";
import { formatNumber } from "../../core/format";
import { useElementWidth, useTables } from "../../core/frame";
import { Grid } from "../../core/grid";
import type { ColourScale } from "../../core/scale";
import { matrixTable } from "../../core/table";
import { quoteToken, tokenLabel } from "../../core/tokens";
import { drawPattern } from "./draw";
import type { Pattern } from "./pattern";

/** The strip and the matrix show one token's row ("from": what it attends to) or column ("to": what attends to it). */
export type Direction = "from" | "to";

export interface HeadMatrixProps {
  /** The head's. */
  name: string;
  tokens: string[];
  pattern: Pattern;
  scale: ColourScale;
  /** Only what is on and below the diagonal exists. */
  causal: boolean;
  /** There may be cells that a mask hides. */
  masked?: boolean;
  direction: Direction;
  /** The token that is framed. */
  token: number | null;
  locked: boolean;
  onToken: (token: number | null) => void;
  onLock: (token: number | null) => void;
  /** Switches the head off and on, where there is a model to run without it. */
  onToggle?: () => void;
}

/** In CSS pixels: of a cell, and of the matrix with its labels. */
const MIN_CELL = 6;
const MAX_CELL = 26;
const MAX_HEIGHT = 480;
/** Labels and title beside the cells. */
const LABEL_ROOM = 110;

export function HeadMatrix(props: HeadMatrixProps) {
  const { tokens, pattern, scale, causal, masked = false, direction, token } = props;
  const place = useRef<HTMLDivElement>(null);
  const room = Math.min(useElementWidth(place), MAX_HEIGHT) - LABEL_ROOM;
  const labels = useMemo(() => tokens.map(tokenLabel), [tokens]);
  const cell = Math.max(MIN_CELL, Math.min(MAX_CELL, Math.floor(room / tokens.length)));
  const along = direction === "from" ? "row" : "col";
  const weight = (row: number, col: number) => (causal && col > row ? null : pattern.weight(row, col));
  // What is read from a thumbnail is for the eye only.
  useTables(pattern.exact ? { [props.name]: () => matrixTable("destination", labels, labels, weight) } : {});
  return (
    <div class="mw-matrix" ref={place}>
      <Grid
        label={`Attention of ${props.name}`}
        rows={tokens.length}
        cols={tokens.length}
        cellWidth={cell}
        cellHeight={cell}
        rowLabels={labels}
        colLabels={labels}
        rowTitle="destination (query)"
        colTitle="source (key)"
        labelFont="code"
        triangular={causal}
        maxHeight={MAX_HEIGHT}
        draw={(context, range, theme) =>
          drawPattern(context, range, theme, { pattern, scale, causal, masked, cell, token, along })
        }
        describe={({ row, col }) => describeWeight(tokens, pattern, row, col)}
        onHover={(at) => props.onToken(at ? at[along] : null)}
        onChoose={(at) => props.onLock(at[along])}
        onUnlock={props.locked ? () => props.onLock(null) : undefined}
        onKey={(key) => {
          if (key !== "x" || !props.onToggle) return false;
          props.onToggle();
          return true;
        }}
      />
    </div>
  );
}

/** As "' gave' → ' Mary': 0.83"; of a difference also of what. */
export function describeWeight(
  tokens: readonly string[],
  pattern: Pattern,
  destination: number,
  source: number,
): string {
  const weight = pattern.weight(destination, source);
  const place = `${quoteToken(tokens[destination] ?? "")} → ${quoteToken(tokens[source] ?? "")}`;
  if (Number.isNaN(weight)) return `${place}: masked`;
  if (!pattern.exact) return `${place}: about ${weight.toFixed(2)}`;
  const parts = pattern.parts?.(destination, source).map(formatNumber);
  return `${place}: ${formatNumber(weight)}${parts ? ` (${parts.join(" less ")})` : ""}`;
}
