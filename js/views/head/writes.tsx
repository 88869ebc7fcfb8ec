/** The OV circuit: what the head writes towards when it attends to each of some tokens. */
import { useMemo, useRef } from "preact/hooks";
import { Legend } from "../../core/components";
import { useElementWidth, useFrame, useTables } from "../../core/frame";
import { Grid } from "../../core/grid";
import type { Port } from "../../core/port";
import type { Table, Value } from "../../core/table";
import { shorten, tokenLabel } from "../../core/tokens";
import { drawWritten, ROW_HEIGHT } from "./draw";
import { Panel } from "./panel";
import type { Asked, Chosen } from "./questions";
import type { CopyingAnswer, Traits, WritesAnswer } from "./traits";
import { copyingText, describeWritten, STREAM_NOTES, type WrittenCell } from "./words";

const [NARROWEST, WIDEST] = [66, 92];
const LABELS = 140;
/** In a sentence. */
const LONGEST = 24;

export interface WritesPanelProps {
  port: Port<Traits>;
  tokens: string[];
  chosen: Chosen;
  asked: Asked<WritesAnswer>;
  copying: Asked<CopyingAnswer>;
}

export function WritesPanel(props: WritesPanelProps) {
  const { asked, copying, chosen } = props;
  return (
    <Panel title="Writes" kind="writes" asked={asked} controls={<Copying asked={copying} />}>
      {(answer) => (
        <>
          <div class="mw-muted">
            By how much logits behind{" "}
            <bdi class="mw-code">{shorten(tokenLabel(props.tokens[answer.position] ?? ""), LONGEST)}</bdi>{" "}
            would rise or fall if the head attended to one token alone (its OV circuit).
          </div>
          <Written {...props} answer={answer} />
          <div class="mw-muted mw-head-note">
            {STREAM_NOTES[chosen.stream]} The norm before the head has its own scale on that; the norms behind
            it have theirs of this run, at that position. Without biases, and without what later layers make
            of it.
          </div>
        </>
      )}
    </Panel>
  );
}

/** Beside the title: one number about all tokens. */
function Copying({ asked: { answer, unavailable, stale } }: { asked: Asked<CopyingAnswer> }) {
  if (unavailable) {
    return (
      <span class="mw-muted" title={unavailable}>
        no copying score
      </span>
    );
  }
  return (
    <span
      class="mw-muted"
      data-stale={stale}
      aria-busy={stale}
      title="The sum of the eigenvalues of the full OV circuit by the sum of their sizes: 1 raises what it attends to, −1 lowers it (Elhage et al. 2021). From the weights alone, with the gains of norms and without their scales."
    >
      copying score {answer ? copyingText(answer.score) : "…"}
    </span>
  );
}

function Written({ port, answer, chosen }: WritesPanelProps & { answer: WritesAnswer }) {
  const place = useRef<HTMLDivElement>(null);
  const theme = useFrame().theme.value;
  const room = useElementWidth(place);
  const table = useMemo(() => readWritten(answer), [answer]);
  useTables({ "what it writes": () => numbers(answer) });
  const cellWidth = Math.floor(Math.min(WIDEST, Math.max(NARROWEST, (room - LABELS) / table.cols)));
  return (
    <div ref={place} class="mw-head-written">
      <Grid
        label="What the head writes, attended token by written token"
        rows={table.labels.length}
        cols={table.cols}
        cellWidth={cellWidth}
        cellHeight={ROW_HEIGHT}
        rowLabels={table.labels}
        colLabels={table.columns}
        longestRowLabel={LABELS - 10}
        labelFont="code"
        draw={(context, range, now) => drawWritten(context, range, now, { ...table, cellWidth })}
        describe={({ row, col }) => {
          const cell = table.cell(row, col);
          return cell ? describeWritten(answer, table.source(row), cell) : "";
        }}
        onChoose={({ row, col }) => {
          const token = table.cell(row, col)?.token;
          if (token) port.set("token", token);
        }}
        onUnlock={chosen.token === null ? undefined : () => port.set("token", null)}
      />
      <Legend
        label="adds to a logit"
        map={theme.diverging}
        domain={[-table.most, table.most]}
        ticks={[-table.most, 0, table.most]}
      />
    </div>
  );
}

interface Written {
  readonly labels: string[];
  readonly columns: string[];
  readonly cols: number;
  readonly most: number;
  /** The token that a row attends to; null for all as they are attended to. */
  source(row: number): number | null;
  cell(row: number, col: number): WrittenCell | null;
}

function readWritten(answer: WritesAnswer): Written {
  const { together, tokens, attention, own_values, own_ranks } = answer;
  const ahead = together ? 1 : 0;
  const k = answer.up_values.shape[1] ?? 0;
  const source = (row: number) => (row < ahead ? null : row - ahead);
  const cell = (row: number, col: number): WrittenCell | null => {
    const at = source(row);
    if (col === 2 * k) {
      if (at === null) return null;
      const [value = Number.NaN, rank = 0] = [own_values.data[at], own_ranks.data[at]];
      const extreme = rank === 0 ? "most" : rank === answer.d_vocab - 1 ? "least" : undefined;
      return { part: "own", token: tokens[at] ?? "", value, rank, extreme };
    }
    const part = col < k ? "up" : "down";
    const rank = col % k;
    const ends = at === null ? together : answer;
    const names = at === null ? together?.[part] : answer[part][at];
    const values = ends?.[`${part}_values`].data;
    const [token, value] = [names?.[rank], values?.[(at ?? 0) * k + rank]];
    return token === undefined || value === undefined ? null : { part, token, value, rank };
  };
  const label = (token: string, at: number) => {
    const weight = attention.data[at] ?? Number.NaN;
    // Text that runs from the right keeps to its own place.
    return `\u2068${tokenLabel(token)}\u2069 ${Number.isNaN(weight) ? "·" : weight.toFixed(2)}`;
  };
  const all = [together?.up_values, together?.down_values, answer.up_values, answer.down_values, own_values];
  return {
    labels: [...(together ? ["as it attends"] : []), ...tokens.map(label)],
    columns: [...ranks(k, "raises"), ...ranks(k, "lowers"), "itself"],
    cols: 2 * k + 1,
    most: Math.max(1e-9, ...all.flatMap((values) => [...(values?.data ?? [])].map(Math.abs))),
    ...{ source, cell },
  };
}

function ranks(k: number, what: string): string[] {
  return Array.from({ length: k }, (_, at) => (at === 0 ? what : ""));
}

function numbers(answer: WritesAnswer): Table {
  const table = readWritten(answer);
  const row = (index: number): Value[][] => {
    const at = table.source(index);
    const [from, weight] =
      at === null ? ["as it attends", null] : [answer.tokens[at] ?? "", answer.attention.data[at]];
    return Array.from({ length: table.cols }, (_, col) => table.cell(index, col))
      .filter((cell) => cell !== null)
      .map(({ part, token, value }) => [
        from,
        weight === undefined || Number.isNaN(weight) ? null : weight,
        { up: "raises", down: "lowers", own: "itself" }[part],
        token,
        value,
      ]);
  };
  return {
    columns: ["attends to", "attention", "", "token", "adds to its logit"],
    rows: table.labels.flatMap((_, index) => row(index)),
  };
}
