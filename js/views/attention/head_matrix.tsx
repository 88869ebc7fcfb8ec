/** The chosen head, large: destination tokens down, source tokens across. */
import { useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import type { Cell, CellsMemo } from "../../core/canvas";
import { Choice } from "../../core/components";
import { formatNumber } from "../../core/format";
import { useElementWidth, useTables } from "../../core/frame";
import { Grid, type GridProps } from "../../core/grid";
import type { ColourScale } from "../../core/scale";
import { matrixTable } from "../../core/table";
import { quoteToken, tokenLabel } from "../../core/tokens";
import { blocksOf } from "./blocks";
import { drawPattern } from "./draw";
import type { Pattern } from "./pattern";
import type { Direction } from "./traits";

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
  /** Values below 0 count as much as those above. */
  signed?: boolean;
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
const LONG_CELL = 6;
const MAX_CELL = 26;
/** The smallest: where more cells would not fit, a prompt is shown in blocks of tokens, or scrolls. */
const BLOCK_CELL = 3;
const MAX_HEIGHT = 480;
/** Labels and title beside the cells. */
const LABEL_ROOM = 110;

const ZOOMS = [
  { value: "all", text: "whole prompt" },
  { value: "tokens", text: "every token" },
] as const;

export function HeadMatrix(props: HeadMatrixProps) {
  const { tokens, pattern, causal, token } = props;
  const place = useRef<HTMLDivElement>(null);
  const room = Math.min(useElementWidth(place) || MAX_HEIGHT, MAX_HEIGHT) - LABEL_ROOM;
  const labels = useMemo(() => tokens.map(tokenLabel), [tokens]);
  const weight = (row: number, col: number) => (causal && col > row ? null : pattern.weight(row, col));
  // What is read from a thumbnail is for the eye only.
  useTables(pattern.exact ? { [props.name]: () => matrixTable("destination", labels, labels, weight) } : {});
  const fitting = Math.floor(room / tokens.length);
  const isLong = fitting < BLOCK_CELL;
  const zoom = useSignal<"all" | "tokens">("all");
  const opened = useSignal<Cell | null>(null);
  const cell = isLong ? LONG_CELL : Math.min(MAX_CELL, fitting);
  return (
    <div class="mw-matrix" ref={place}>
      {isLong && (
        <Choice
          label={`How much of ${props.name}`}
          options={ZOOMS}
          value={zoom.value}
          onChange={(next) => {
            opened.value = token === null ? null : { row: token, col: token };
            zoom.value = next;
          }}
        />
      )}
      {isLong && zoom.value === "all" ? (
        <Overview
          {...props}
          room={room}
          onOpen={(at) => {
            opened.value = at;
            zoom.value = "tokens";
          }}
        />
      ) : (
        <TokenMatrix {...props} labels={labels} cell={cell} reveal={opened.value} />
      )}
    </div>
  );
}

/** Every pair of tokens. */
function TokenMatrix(props: HeadMatrixProps & { labels: string[]; cell: number; reveal: Cell | null }) {
  const { tokens, labels, pattern, scale, causal, masked = false, direction, token, cell } = props;
  const along = direction === "from" ? "row" : "col";
  const memo = useMemo((): CellsMemo => ({}), [pattern, scale, causal]);
  return (
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
      reveal={props.reveal}
      draw={(context, range, theme) =>
        drawPattern(context, range, theme, { pattern, scale, memo, causal, masked, cell, token, along })
      }
      describe={({ row, col }) => describeWeight(tokens, pattern, row, col)}
      onHover={(at) => props.onToken(at ? at[along] : null)}
      onChoose={(at) => props.onLock(at[along])}
      {...keys(props)}
    />
  );
}

/** All of a long prompt: a cell is a block of tokens, and shows the pair of them that stands out; a click opens it. */
function Overview(props: HeadMatrixProps & { room: number; onOpen: (at: Cell) => void }) {
  const { tokens, pattern, scale, causal, masked = false, signed = false, direction, token, room } = props;
  const block = Math.ceil(tokens.length / Math.floor(room / BLOCK_CELL));
  const blocks = useMemo(() => blocksOf(pattern, block, causal, signed), [pattern, block, causal, signed]);
  const labels = useMemo(
    () => Array.from({ length: blocks.size }, (_, index) => String(index * block)),
    [blocks.size, block],
  );
  const along = direction === "from" ? "row" : "col";
  const memo = useMemo((): CellsMemo => ({}), [blocks, scale, causal]);
  const cell = Math.max(BLOCK_CELL, Math.floor(room / blocks.size));
  const current = token === null ? null : Math.floor(token / block);
  return (
    <Grid
      label={`Attention of ${props.name}, in blocks of ${block} tokens`}
      rows={blocks.size}
      cols={blocks.size}
      cellWidth={cell}
      cellHeight={cell}
      rowLabels={labels}
      colLabels={labels}
      rowTitle="destination (query)"
      colTitle="source (key)"
      triangular={causal}
      maxHeight={MAX_HEIGHT}
      draw={(context, range, theme) =>
        drawPattern(context, range, theme, {
          ...{ scale, memo, causal, masked, cell, along },
          pattern: blocks,
          token: current,
        })
      }
      describe={({ row, col }) => {
        const strongest = blocks.strongest(row, col);
        const said = describeWeight(tokens, pattern, strongest.row, strongest.col);
        return `${strongest.row} → ${strongest.col}, strongest of ${block} × ${block}: ${said}`;
      }}
      onHover={(at) => props.onToken(at ? blocks.strongest(at.row, at.col)[along] : null)}
      onChoose={(at) => {
        const strongest = blocks.strongest(at.row, at.col);
        props.onLock(strongest[along]);
        props.onOpen(strongest);
      }}
      {...keys(props)}
    />
  );
}

function keys({ locked, onLock, onToggle }: HeadMatrixProps): Pick<GridProps, "onUnlock" | "onKey"> {
  return {
    onUnlock: locked ? () => onLock(null) : undefined,
    onKey: (key) => {
      if (key !== "x" || !onToggle) return false;
      onToggle();
      return true;
    },
  };
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
  if (Number.isNaN(weight)) return `${place}: ${pattern.missing ? "not computed yet" : "masked"}`;
  if (!pattern.exact) return `${place}: about ${weight.toFixed(2)}`;
  const parts = pattern.parts?.(destination, source).map(formatNumber);
  return `${place}: ${formatNumber(weight)}${parts ? ` (${parts.join(" less ")})` : ""}`;
}
