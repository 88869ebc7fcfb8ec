/** All heads as thumbnails: layers down and heads across, or by score. */
import { useMemo } from "preact/hooks";
import { colourAt } from "../../core/colour";
import { Button, ErrorLine, Legend, ProgressBar } from "../../core/components";
import { formatNumber } from "../../core/format";
import { useFrame, useTables } from "../../core/frame";
import { Grid, type GridProps } from "../../core/grid";
import { headName } from "../../core/intervention";
import type { Table } from "../../core/table";
import { drawHeads, drawHeadsList, type HeadsPicture } from "./draw";
import { byScore, chosenScore, headScores, tintScale } from "./scores";
import { headsImage } from "./thumbnails";
import type { Head, Traits } from "./traits";
import type { Computing } from "./use_thumbnails";
import { mapScale, scoreName, valueName } from "./words";

export interface HeadsMapProps {
  traits: Traits;
  computing: Computing;
  isOff: (layer: number, head: number) => boolean;
  onChoose: (head: Head) => void;
  /** Shows the head beside the others, or no longer. */
  onKeep: (head: Head) => void;
  onToggle: (head: Head) => void;
}

/** Sides of a head's cell, and of the whole map, in CSS pixels. */
const MIN_CELL = 12;
const MAX_CELL = 36;
const MAP_WIDTH = 400;
const MAP_HEIGHT = 560;
const MAX_HEIGHT = 620;
/** A wider map scrolls; style.css has the same number. */
const MAX_WIDTH = 448;
/** By score: each with two lines of text below it. */
const LIST = { side: 56, cellWidth: 66, cellHeight: 94, across: 5 };

export function HeadsMap(props: HeadsMapProps) {
  const { traits, isOff } = props;
  const theme = useFrame().theme.value;
  const { n_heads, thumbnails, thumbnail_block, diverging, heads } = traits;
  const map = diverging ? theme.diverging : theme.sequential;
  const image = useMemo(() => headsImage(thumbnails, map), [thumbnails, map]);
  const values = chosenScore(traits);
  const tint = useMemo(() => values && tintScale(theme, values), [theme, traits.score_values, traits.score]);
  const kept = new Set(heads.map(([layer, head]) => layer * n_heads + head));
  const picture: HeadsPicture = {
    heads: image,
    isOff: (index) => isOff(...headAt(traits, index)),
    isKept: (index) => kept.has(index),
    tint: (index) => {
      const value = values?.[index] ?? Number.NaN;
      if (!tint) return null;
      return Number.isNaN(value) ? theme.missing : colourAt(tint.map, tint.place(value));
    },
  };
  useTables({ "scores of all heads": () => scoresTable(traits) });
  const listed = isListed(traits);
  return (
    <section class="mw-heads">
      {listed && values ? (
        <HeadsList {...props} picture={picture} values={values} />
      ) : (
        <LayersMap {...props} picture={picture} />
      )}
      <MapLegend traits={traits} />
      {tint && (
        <Legend
          label={`tint: ${scoreName(traits.score)}${traits.score === "entropy" ? " (nats)" : ""}`}
          map={tint.map}
          domain={[tint.low, tint.high]}
        />
      )}
      {!traits.complete && <ComputingLine traits={traits} computing={props.computing} />}
      {thumbnail_block > 1 && (
        <div class="mw-muted mw-note">
          A thumbnail pixel is the largest {diverging ? "difference" : "value"} of {thumbnail_block} ×{" "}
          {thumbnail_block} tokens.
        </div>
      )}
    </section>
  );
}

/** How far the heads of a long prompt are, and what can be done about it. */
function ComputingLine({ traits: { n_layers }, computing }: { traits: Traits; computing: Computing }) {
  const { live } = useFrame().capabilities.value;
  const { layers, request, run, stop } = computing;
  const running = request.pending.value;
  const text = `${layers} of ${n_layers} layers`;
  return (
    <>
      <ErrorLine request={request} />
      <div class="mw-row">
        <ProgressBar label="Layers computed" done={layers} total={n_layers} />
        <span class="mw-muted">
          {running ? text : `${text}${live ? "" : ", computed by a running kernel"}`}
        </span>
        {running && <Button onClick={stop}>Stop</Button>}
        {!running && live && (
          <Button onClick={run} title="Compute the heads of this prompt">
            Run
          </Button>
        )}
      </div>
    </>
  );
}

interface MapProps extends HeadsMapProps {
  picture: HeadsPicture;
}

function LayersMap(props: MapProps) {
  const { traits, picture } = props;
  const { n_layers, n_heads, layer, head } = traits;
  const layerNames = useMemo(() => numbering(n_layers), [n_layers]);
  const headNames = useMemo(() => numbering(n_heads), [n_heads]);
  const cell = cellSide(n_layers, n_heads);
  return (
    <Grid
      rows={n_layers}
      cols={n_heads}
      cellWidth={cell}
      cellHeight={cell}
      rowLabels={layerNames}
      colLabels={headNames}
      rowTitle="layer"
      colTitle="head"
      chosen={{ row: layer, col: head }}
      draw={(context, range, theme) =>
        drawHeads(context, range, theme, { ...picture, cell, across: n_heads })
      }
      {...actions(props, ({ row, col }) => row * n_heads + col)}
    />
  );
}

function HeadsList({ values, ...props }: MapProps & { values: Float32Array }) {
  const { traits, picture } = props;
  const { n_heads, layer, head } = traits;
  const order = useMemo(() => byScore(values), [traits.score_values, traits.score]);
  const { across, cellWidth, cellHeight } = LIST;
  const place = order.indexOf(layer * n_heads + head);
  return (
    <Grid
      rows={Math.ceil(order.length / across)}
      cols={across}
      cellWidth={cellWidth}
      cellHeight={cellHeight}
      chosen={{ row: Math.floor(place / across), col: place % across }}
      draw={(context, range, theme) => {
        const captions = (index: number) =>
          [headName(...headAt(traits, index)), formatNumber(values[index] ?? Number.NaN)] as const;
        drawHeadsList(context, range, theme, { ...picture, ...LIST, order, captions });
      }}
      {...actions(props, ({ row, col }) => order[row * across + col])}
    />
  );
}

function scoresTable(traits: Traits): Table {
  const { n_layers, n_heads, score_names } = traits;
  const heads = Array.from({ length: n_layers * n_heads }, (_, index) => index);
  return {
    columns: ["layer", "head", ...score_names.map(scoreName)],
    rows: heads.map((index) => [
      ...headAt(traits, index),
      ...headScores(traits, index).map(({ value }) => value),
    ]),
  };
}

/** What both do with the head of a cell; past the last one there is none. */
function actions(
  { traits, isOff, onChoose, onKeep, onToggle }: HeadsMapProps,
  indexAt: (cell: { row: number; col: number }) => number | undefined,
): Pick<GridProps, "label" | "maxHeight" | "describe" | "onChoose" | "onExtend" | "onKey"> {
  const on = (act: (head: Head) => void) => (cell: { row: number; col: number }) => {
    const index = indexAt(cell);
    if (index !== undefined) act(headAt(traits, index));
  };
  return {
    label: "Attention heads",
    maxHeight: MAX_HEIGHT,
    describe: (cell) => {
      const index = indexAt(cell);
      return index === undefined ? "" : describeHead(traits, index, isOff(...headAt(traits, index)));
    },
    onChoose: on(onChoose),
    onExtend: on(onKeep),
    onKey: (key, cell) => {
      const act = { x: onToggle, k: onKeep }[key];
      if (act) on(act)(cell);
      return act !== undefined;
    },
  };
}

/** What the thumbnails' colours stand for. */
function MapLegend({ traits }: { traits: Traits }) {
  const theme = useFrame().theme.value;
  const map = traits.diverging ? theme.diverging : theme.sequential;
  const scale = mapScale(traits);
  if (scale) {
    const format = (end: number) => scale.texts[end < 0.5 ? 0 : 1];
    return <Legend label={scale.label} map={map} domain={[0, 1]} format={format} />;
  }
  const [low = 0, high = 1] = traits.limits.data;
  return (
    <Legend label={valueName(traits)} map={map} domain={[low, high]} ticks={[low, (low + high) / 2, high]} />
  );
}

/** The map shows the heads by score: that takes one. */
export function isListed({ order, score, score_names }: Traits): boolean {
  return order === "score" && score_names.includes(score);
}

export function headAt({ n_heads }: Traits, index: number): Head {
  return [Math.floor(index / n_heads), index % n_heads];
}

function cellSide(layers: number, heads: number): number {
  const fitting = Math.min(Math.floor(MAP_WIDTH / heads), Math.floor(MAP_HEIGHT / layers));
  return Math.max(MIN_CELL, Math.min(MAX_CELL, fitting));
}

/** What the map takes of the view's width, about. */
export function headsMapWidth(traits: Traits): number {
  if (isListed(traits)) return LIST.across * LIST.cellWidth + 24;
  const { n_layers, n_heads } = traits;
  return Math.min(MAX_WIDTH, cellSide(n_layers, n_heads) * n_heads + 48);
}

function describeHead(traits: Traits, index: number, off: boolean): string {
  const scores = headScores(traits, index)
    .filter(({ value }) => !Number.isNaN(value))
    .map(({ name, value }) => `${name} ${formatNumber(value)}`);
  return [headName(...headAt(traits, index)), ...(off ? ["switched off"] : []), ...scores].join(" · ");
}

function numbering(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
