/** Which earlier heads this one reads, layers by heads; also the way to another head. */
import { useMemo } from "preact/hooks";
import { Choice, ErrorLine, HatchMark, Legend } from "../../core/components";
import { formatNumber, signed } from "../../core/format";
import { useFrame, useTables } from "../../core/frame";
import { Grid } from "../../core/grid";
import { headName } from "../../core/intervention";
import type { Port } from "../../core/port";
import { Bars } from "../../core/signed_bars";
import { matrixTable } from "../../core/table";
import { drawComposition, MAP_HEIGHT } from "./draw";
import type { Asked, Chosen } from "./questions";
import type { CompositionAnswer, Kind, Traits } from "./traits";
import { KIND_ORDER, KINDS, READS } from "./words";

const [NARROWEST, WIDEST] = [13, 22];
const ROOM = 230;
const LABELS = 44;
const NARROW = 290;
const MAX_HEIGHT = 480;
const LISTED = 5;

export interface CompositionPanelProps {
  port: Port<Traits>;
  chosen: Chosen;
  layers: number;
  heads: number;
  kind: Kind;
  asked: Asked<CompositionAnswer>;
  onHead: (layer: number, head: number) => void;
}

export function CompositionPanel(props: CompositionPanelProps) {
  const { port, chosen, layers, heads, kind, asked, onHead } = props;
  const theme = useFrame().theme.value;
  const { answer, unavailable, stale, isAnswered, request } = asked;
  const map = useMemo(() => readMap(unavailable ? null : answer, kind), [answer, unavailable, kind]);
  const labels = useMemo(() => [numbering(layers), numbering(heads)], [layers, heads]);
  const cellWidth = Math.floor(Math.min(WIDEST, Math.max(NARROWEST, ROOM / heads)));
  useTables(
    map.scores
      ? {
          [`${kind}-composition with earlier heads`]: () =>
            matrixTable("layer", numbering(map.layers), labels[1] ?? [], (row, col) => {
              const value = map.score(row, col);
              return Number.isNaN(value) ? null : value;
            }),
        }
      : {},
  );
  return (
    <section
      class="mw-head-panel mw-head-composition"
      style={{ flexBasis: `${Math.max(NARROW, LABELS + heads * cellWidth)}px` }}
      aria-label="Reads earlier heads"
      aria-busy={stale && isAnswered}
    >
      <div class="mw-head-title">
        <strong>Reads earlier heads</strong>
      </div>
      <Choice
        label="Reads them as"
        options={KINDS}
        value={kind}
        onChange={(next) => port.set("composition", next)}
      />
      <ErrorLine request={request} />
      {unavailable && <div class="mw-muted mw-head-why">Not available: {unavailable}</div>}
      <div class="mw-head-body" data-stale={stale}>
        <Grid
          label="Heads, layers by heads"
          rows={layers}
          cols={heads}
          cellWidth={cellWidth}
          cellHeight={MAP_HEIGHT}
          rowLabels={labels[0] ?? []}
          colLabels={labels[1] ?? []}
          rowTitle="layer"
          colTitle="head"
          maxHeight={MAX_HEIGHT}
          chosen={{ row: chosen.layer, col: chosen.head }}
          draw={(context, range, now) =>
            drawComposition(context, range, now, { ...map, layer: chosen.layer, cellWidth })
          }
          describe={(cell) => describeComposition(kind, cell, map, chosen)}
          onChoose={({ row, col }) => onHead(row, col)}
        />
        {map.scores && map.layers > 0 && (
          <>
            <Legend
              label="beyond chance"
              map={theme.diverging}
              domain={[-map.most, map.most]}
              ticks={[-map.most, 0, map.most]}
            >
              <HatchMark>not before this head</HatchMark>
            </Legend>
            <Bars
              most={map.most}
              rows={strongest(map, heads).map(({ row, col }) => ({
                key: `${row} ${col}`,
                name: headName(row, col),
                value: map.value(row, col),
                onClick: () => onHead(row, col),
              }))}
            />
          </>
        )}
        <div class="mw-muted mw-head-note">
          {map.scores
            ? `${kind}-composition: the share of what a head writes that this one's ${READS[kind]} read, by the weights alone, less what a random rotation gives (${formatNumber(map.baseline)}). With the gains of norms; without scales, rotations and what MLPs between them do.`
            : ""}{" "}
          Click a head to look at it.
        </div>
      </div>
    </section>
  );
}

export interface ReadMap {
  readonly scores: boolean;
  /** Those before the head that the scores are of. */
  readonly layers: number;
  readonly baseline: number;
  readonly most: number;
  /** NaN where there is none. */
  score(row: number, col: number): number;
  /** Beyond chance. */
  value(row: number, col: number): number;
}

function readMap(answer: CompositionAnswer | null, kind: Kind): ReadMap {
  const [, layers = 0, heads = 0] = answer?.scores.shape ?? [];
  const first = KIND_ORDER.indexOf(kind) * layers * heads;
  const baseline = answer?.baseline ?? 0;
  const score = (row: number, col: number) =>
    row < layers ? (answer?.scores.data[first + row * heads + col] ?? Number.NaN) : Number.NaN;
  const own = answer?.scores.data.subarray(first, first + layers * heads) ?? [];
  const sizes = [...own].filter(Number.isFinite).map((one) => Math.abs(one - baseline));
  return {
    ...{ scores: answer !== null, layers, baseline, score },
    most: Math.max(1e-6, ...sizes),
    value: (row, col) => score(row, col) - baseline,
  };
}

function strongest(map: ReadMap, heads: number): { row: number; col: number }[] {
  return Array.from({ length: map.layers * heads }, (_, at) => ({
    row: Math.floor(at / heads),
    col: at % heads,
  }))
    .filter(({ row, col }) => !Number.isNaN(map.value(row, col)))
    .sort((one, two) => map.value(two.row, two.col) - map.value(one.row, one.col))
    .slice(0, LISTED);
}

function describeComposition(
  kind: Kind,
  { row, col }: { row: number; col: number },
  map: ReadMap,
  { layer, head }: Chosen,
): string {
  const name = headName(row, col);
  if (row === layer && col === head) return `${name}: this head`;
  if (row >= layer) return `${name}: not before this head`;
  const value = map.value(row, col);
  if (Number.isNaN(value)) return `${name}: composition is not known`;
  return `${name}: ${READS[kind]} read ${formatNumber(map.score(row, col))} of what it writes, ${signed(value)} beyond chance`;
}

function numbering(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
