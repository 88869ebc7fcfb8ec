/** The map of all heads: layers down, heads across, each head's pattern as a thumbnail. */
import { useMemo } from "preact/hooks";
import type { NdArray } from "../../core/arrays";
import { Legend } from "../../core/components";
import { formatNumber } from "../../core/format";
import { useFrame } from "../../core/frame";
import { Grid } from "../../core/grid";
import { headName } from "../../core/intervention";
import { drawHeads, makeAtlas } from "./draw";
import type { Traits } from "./traits";

export interface HeadsMapProps {
  traits: Pick<Traits, "n_layers" | "n_heads" | "thumbnails" | "thumbnail_block" | "score_names" | "scores">;
  layer: number;
  head: number;
  isOff: (layer: number, head: number) => boolean;
  onChoose: (layer: number, head: number) => void;
  onToggle: (layer: number, head: number) => void;
}

/** Sides of a head's cell, and of the whole map, in CSS pixels. */
const MIN_CELL = 12;
const MAX_CELL = 36;
const MAP_WIDTH = 400;
const MAP_HEIGHT = 560;
const MAX_HEIGHT = 620;
/** A wider map scrolls; style.css has the same number. */
const MAX_WIDTH = 448;

export function HeadsMap({ traits, layer, head, isOff, onChoose, onToggle }: HeadsMapProps) {
  const { sequential } = useFrame().theme.value;
  const { n_layers, n_heads, thumbnails, thumbnail_block } = traits;
  const atlas = useMemo(() => makeAtlas(thumbnails, sequential), [thumbnails, sequential]);
  const layerNames = useMemo(() => numbering(n_layers), [n_layers]);
  const headNames = useMemo(() => numbering(n_heads), [n_heads]);
  const cell = cellSide(n_layers, n_heads);
  return (
    <section class="mw-heads">
      <Grid
        label="Attention heads"
        rows={n_layers}
        cols={n_heads}
        cellWidth={cell}
        cellHeight={cell}
        rowLabels={layerNames}
        colLabels={headNames}
        rowTitle="layer"
        colTitle="head"
        maxHeight={MAX_HEIGHT}
        chosen={{ row: layer, col: head }}
        draw={(context, range, theme) => drawHeads(context, range, theme, { atlas, cell, isOff })}
        describe={({ row, col }) => describeHead(traits, row, col, isOff(row, col))}
        onChoose={({ row, col }) => onChoose(row, col)}
        onKey={(key, { row, col }) => {
          if (key !== "x") return false;
          onToggle(row, col);
          return true;
        }}
      />
      <Legend label="attention" map={sequential} domain={[0, 1]} ticks={[0, 0.5, 1]} />
      {thumbnail_block > 1 && (
        <div class="mw-muted mw-note">
          A thumbnail pixel is the largest weight of {thumbnail_block} × {thumbnail_block} tokens.
        </div>
      )}
    </section>
  );
}

function cellSide(layers: number, heads: number): number {
  const fitting = Math.min(Math.floor(MAP_WIDTH / heads), Math.floor(MAP_HEIGHT / layers));
  return Math.max(MIN_CELL, Math.min(MAX_CELL, fitting));
}

/** What the map takes of the view's width, about. */
export function headsMapWidth(layers: number, heads: number): number {
  return Math.min(MAX_WIDTH, cellSide(layers, heads) * heads + 48);
}

function describeHead(traits: HeadsMapProps["traits"], layer: number, head: number, off: boolean): string {
  const scores = headScores(traits, layer, head)
    .filter(({ value }) => !Number.isNaN(value))
    .map(({ name, value }) => `${name} ${formatNumber(value)}`);
  return [headName(layer, head), ...(off ? ["switched off"] : []), ...scores].join(" · ");
}

/** The head's scores, their names in words; NaN where the prompt does not define one. */
export function headScores(
  { score_names, scores }: { score_names: string[]; scores: NdArray<"float32"> },
  layer: number,
  head: number,
): { name: string; value: number }[] {
  const [, layers = 0, heads = 0] = scores.shape;
  return score_names.map((name, index) => ({
    name: name.replaceAll("_", " "),
    value: scores.data[(index * layers + layer) * heads + head] ?? Number.NaN,
  }));
}

function numbering(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}
