/** All heads as thumbnails with their names, in rows of a layer's or of as many as fit. */
import { useMemo, useRef } from "preact/hooks";
import type { CellRange } from "../../core/canvas";
import { Legend } from "../../core/components";
import { useElementWidth } from "../../core/frame";
import { Grid } from "../../core/grid";
import { fitText } from "../../core/grid_paint";
import { type ColourScale, legendTicks, type ValueRange } from "../../core/scale";
import type { Theme } from "../../core/theme";
import { type HeadsImage, headsImage } from "../attention/thumbnails";
import type { Traits } from "./traits";

/** Sides of a thumbnail in CSS pixels, by how many there are. */
const SIDES = [
  { upTo: 12, side: 72 },
  { upTo: 48, side: 56 },
  { upTo: Number.POSITIVE_INFINITY, side: 40 },
];
/** Where a layer's heads have to fit into a row; below this the map scrolls. */
const SMALLEST = 22;
/** Narrower thumbnails have a smaller caption. */
const NARROW = 32;
const GAP = 6;
/** Beside the cells, for the outline of one at the edge. */
const EDGES = 8;
const CAPTION = 15;
/** The widest column that heads stand in beside the large one; style.css has the same number. */
const WIDEST = 420;
const MAX_HEIGHT = 620;

export interface HeadsGridProps {
  traits: Traits;
  scale: ColourScale;
  onChoose: (head: number) => void;
}

export function HeadsGrid({ traits, scale, onChoose }: HeadsGridProps) {
  const { head_names, thumbnails, thumbnail_block, head, columns } = traits;
  const place = useRef<HTMLDivElement>(null);
  const width = useElementWidth(place) || WIDEST;
  const count = head_names.length;
  const room = width - EDGES;
  const wanted = SIDES.find(({ upTo }) => count <= upTo)?.side ?? SMALLEST;
  const side = columns ? Math.max(SMALLEST, Math.min(wanted, Math.floor(room / columns) - GAP)) : wanted;
  const cell = side + GAP;
  const cols = Math.min(count, columns || Math.max(1, Math.floor(room / cell)));
  const heads = useMemo(() => headsImage(thumbnails, scale.map), [thumbnails, scale.map]);
  return (
    <section class="mw-heads" ref={place}>
      <Grid
        label="Heads"
        rows={Math.ceil(count / cols)}
        cols={cols}
        cellWidth={cell}
        cellHeight={cell + CAPTION}
        maxHeight={MAX_HEIGHT}
        chosen={{ row: Math.floor(head / cols), col: head % cols }}
        draw={(context, range, theme) =>
          drawHeads(context, range, theme, { ...heads, names: head_names, cols, side })
        }
        describe={({ row, col }) => head_names[row * cols + col] ?? ""}
        onChoose={({ row, col }) => {
          if (row * cols + col < count) onChoose(row * cols + col);
        }}
      />
      {thumbnail_block > 1 && (
        <div class="mw-muted mw-note">
          A thumbnail pixel is the largest value of {thumbnail_block} × {thumbnail_block} tokens.
        </div>
      )}
    </section>
  );
}

interface HeadsPicture extends HeadsImage {
  names: readonly string[];
  cols: number;
  side: number;
}

function drawHeads(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  { image, size, across, names, cols, side }: HeadsPicture,
): void {
  const [width, height] = [side + GAP, side + GAP + CAPTION];
  context.imageSmoothingEnabled = size > side;
  context.font = `${side < NARROW ? 9 : 11}px ${theme.uiFont}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let row = range.row0; row < range.row1; row++) {
    for (let col = range.col0; col < range.col1; col++) {
      const head = row * cols + col;
      const name = names[head];
      if (name === undefined) continue;
      const [x, y] = [col * width + GAP / 2, row * height + GAP / 2];
      context.strokeStyle = theme.line;
      context.strokeRect(x - 0.5, y - 0.5, side + 1, side + 1);
      context.drawImage(
        image,
        (head % across) * size,
        Math.floor(head / across) * size,
        size,
        size,
        x,
        y,
        side,
        side,
      );
      context.fillStyle = theme.ink;
      context.fillText(fitText(context, name, width - 2), x + side / 2, y + side + CAPTION / 2 + 1);
    }
  }
}

export function ScaleLegend({
  label,
  scale,
  range,
}: {
  label: string;
  scale: ColourScale;
  range: ValueRange;
}) {
  return <Legend label={label} map={scale.map} {...legendTicks(range)} />;
}
