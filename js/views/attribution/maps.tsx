/** What adds how much: bars by layer, and layer by head as a map. */
import { useMemo } from "preact/hooks";
import type { Cell } from "../../core/canvas";
import { HatchMark, Legend } from "../../core/components";
import { formatNumber } from "../../core/format";
import { useFrame, useTables } from "../../core/frame";
import { Grid } from "../../core/grid";
import { matrixTable } from "../../core/table";
import { CELL_HEIGHT, drawBars, drawHeads } from "./draw";
import { barCell, barComponent, barValue, type Component, type Parts } from "./parts";
import { describeBar, describeHead, otherName } from "./words";

const BAR_WIDTHS = [96, 160] as const;
/** Row labels. */
const BAR_LABELS = 76;
const [NARROWEST, WIDEST] = [14, 26];
const LABELS = 44;
/** What the panel needs, and the gaps between the three. */
const PANEL = 300;
const MAX_HEIGHT = 760;

export interface MapProps {
  parts: Parts;
  chosen: Component | null;
  onChoose: (component: Component | null) => void;
}

/** In CSS pixels: how wide one bar and one head may be, and whether the heads stand below bars and panel. */
export interface Arrangement {
  readonly barWidth: number;
  readonly headWidth: number;
  readonly below: boolean;
}

export function arrange(width: number, heads: number): Arrangement {
  const [narrowest, widest] = BAR_WIDTHS;
  const clamp = (size: number, low: number, high: number) => Math.floor(Math.min(high, Math.max(low, size)));
  const bars = BAR_LABELS + 2 * narrowest;
  const below = bars + LABELS + heads * NARROWEST + PANEL > width;
  const room = below ? width : width - bars - PANEL;
  const headWidth = clamp((room - LABELS) / Math.max(1, heads), NARROWEST, WIDEST);
  const left = width - BAR_LABELS - PANEL - (below ? 0 : LABELS + heads * headWidth);
  return {
    barWidth: clamp(left / 2, narrowest, widest),
    headWidth,
    below: below && width >= bars + PANEL,
  };
}

export function LayerBars({ parts, chosen, onChoose, barWidth }: MapProps & { barWidth: number }) {
  const rowLabels = useMemo(
    () => [
      ...Array.from({ length: parts.layers }, (_, layer) => String(layer)),
      ...parts.others.map(otherName),
    ],
    [parts],
  );
  const cell = chosen && barCell(parts, chosen);
  useTables({
    "attribution by layer": () =>
      matrixTable("", rowLabels, COLUMNS, (row, col) => numberOrNull(barValue(parts, { row, col }))),
  });
  return (
    <section class="mw-attribution-map" aria-label="By layer">
      <Grid
        label="What attention and MLP of each layer add"
        rows={rowLabels.length}
        cols={2}
        cellWidth={barWidth}
        cellHeight={CELL_HEIGHT}
        rowLabels={rowLabels}
        colLabels={COLUMNS}
        maxHeight={MAX_HEIGHT}
        chosen={cell}
        draw={(context, range, theme) => drawBars(context, range, theme, parts, barWidth)}
        describe={(at) => describeBar(parts, at)}
        onChoose={(at) => {
          const component = barComponent(parts, at);
          if (component) onChoose(isSame(at, cell) ? null : component);
        }}
        {...(cell ? { onUnlock: () => onChoose(null) } : {})}
      />
      <div class="mw-muted mw-attribution-scale">
        bars to ±{formatNumber(parts.most.bar)}; right raises, left lowers
      </div>
    </section>
  );
}

const COLUMNS = ["attention", "MLP"];

export function HeadsMap({ parts, chosen, onChoose, headWidth }: MapProps & { headWidth: number }) {
  const { theme } = useFrame();
  const labels = useMemo(
    () => ({ rows: numbers(parts.layers), cols: numbers(parts.heads) }),
    [parts.layers, parts.heads],
  );
  const cell =
    chosen?.head !== null && chosen?.layer != null ? { row: chosen.layer, col: chosen.head } : null;
  const end = parts.most.head;
  useTables({
    "attribution by head": () =>
      matrixTable("layer", labels.rows, labels.cols, (row, col) => numberOrNull(parts.head(row, col))),
  });
  return (
    <section class="mw-attribution-map" aria-label="By head">
      <Grid
        label="What each head adds, layers by heads"
        rows={parts.layers}
        cols={parts.heads}
        cellWidth={headWidth}
        cellHeight={CELL_HEIGHT}
        rowLabels={labels.rows}
        colLabels={labels.cols}
        maxHeight={MAX_HEIGHT}
        chosen={cell}
        draw={(context, range, now) => drawHeads(context, range, now, parts, headWidth)}
        describe={(at) => describeHead(parts, at)}
        onChoose={(at) => {
          if (Number.isNaN(parts.head(at.row, at.col))) return;
          const component: Component = { part: "attn", layer: at.row, head: at.col, neuron: null };
          onChoose(isSame(at, cell) ? null : component);
        }}
        {...(cell ? { onUnlock: () => onChoose(null) } : {})}
      />
      <Legend label="a head adds" map={theme.value.diverging} domain={[-end, end]} ticks={[-end, 0, end]}>
        {hasGaps(parts) && <HatchMark>no heads to tell apart</HatchMark>}
      </Legend>
    </section>
  );
}

function numberOrNull(value: number): number | null {
  return Number.isNaN(value) ? null : value;
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, at) => String(at));
}

function isSame(one: Cell, other: Cell | null): boolean {
  return one.row === other?.row && one.col === other.col;
}

function hasGaps(parts: Parts): boolean {
  return numbers(parts.layers).some((_, layer) => Number.isNaN(parts.head(layer, 0)));
}
