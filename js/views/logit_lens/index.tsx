/** The logit lens: what the model would say if it ended after each layer. */
import { type Signal, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Cell } from "../../core/canvas";
import { Choice, Header, Legend, PromptForm, StatusLine } from "../../core/components";
import { formatNumber } from "../../core/format";
import { preactView, useFrame } from "../../core/frame";
import { Grid } from "../../core/grid";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { tokenLabel } from "../../core/tokens";
import { useTrait } from "../../core/trait";
import { CELL_HEIGHT, drawLens } from "./draw";
import { type ColourBy, type Lens, readLens } from "./lens";
import { CellPanel } from "./panel";
import css from "./style.css?inline";
import type { Traits } from "./traits";
import { describeCell, rowLabels } from "./words";

const [NARROWEST, WIDEST] = [54, 104];
/** Room for the layer labels. */
const LABELS = 104;
/** From this width on the panel stands at the right, and takes its room from the table. */
const SIDE_BY_SIDE = 720;
const PANEL = 256;
const MAX_HEIGHT = 760;
const COLOURS = [
  { value: "probability", text: "probability" },
  { value: "entropy", text: "entropy" },
] as const;

export const logitLens = preactView<Traits>(LogitLens, css);

function LogitLens({ port }: { port: Port<Traits> }) {
  const lens = useLens(port);
  const request = useRequest<object, Traits>(port, "set_prompt");
  const colourBy = useTrait(port, "color_by").value;
  const hovered = useSignal<Cell | null>(null);
  const sideBySide = useFrame().width.value >= SIDE_BY_SIDE;
  const prompt = { name: "prompt", label: "Prompt", value: useTrait(port, "prompt").value };
  return (
    <>
      <Header
        name="Logit lens"
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
      >
        <span class="mw-muted">colour</span>
        <Choice
          label="Colour"
          options={COLOURS}
          value={colourBy}
          onChange={(by) => port.set("color_by", by)}
        />
      </Header>
      <PromptForm fields={[prompt]} request={request} />
      <div class={`mw-lens ${sideBySide ? "mw-side-by-side" : ""}`}>
        <Table port={port} lens={lens} colourBy={colourBy} hovered={hovered} />
        <Panel port={port} lens={lens} hovered={hovered} />
      </div>
      <LensLegend lens={lens} colourBy={colourBy} />
      <StatusLine hint="Point at a cell or walk with the arrow keys; a click or Enter locks it." />
    </>
  );
}

/** Read together: a new prompt changes all of them at once. */
function useLens(port: Port<Traits>): Lens {
  const traits = {
    tokens: useTrait(port, "tokens").value,
    row_labels: useTrait(port, "row_labels").value,
    vocabulary: useTrait(port, "vocabulary").value,
    top_tokens: useTrait(port, "top_tokens").value,
    top_probs: useTrait(port, "top_probs").value,
    entropy: useTrait(port, "entropy").value,
    max_entropy: useTrait(port, "max_entropy").value,
    rank: useTrait(port, "rank").value,
  };
  return useMemo(() => readLens(traits), Object.values(traits));
}

interface PartProps {
  port: Port<Traits>;
  lens: Lens;
  hovered: Signal<Cell | null>;
}

function Table({ port, lens, hovered, colourBy }: PartProps & { colourBy: ColourBy }) {
  const width = useFrame().width.value;
  const locked = useLocked(port, lens);
  const [rows, cols] = [lens.rowLabels.length, lens.tokens.length];
  const labels = useMemo(() => ({ rows: rowLabels(lens), cols: lens.tokens.map(tokenLabel) }), [lens]);
  const room = width - LABELS - (width >= SIDE_BY_SIDE ? PANEL : 0);
  const cellWidth = Math.floor(Math.min(WIDEST, Math.max(NARROWEST, room / Math.max(1, cols))));
  return (
    <Grid
      label="Most probable token, layers by positions"
      {...{ rows, cols, cellWidth }}
      cellHeight={CELL_HEIGHT}
      rowLabels={labels.rows}
      colLabels={labels.cols}
      labelFont="code"
      maxHeight={MAX_HEIGHT}
      chosen={locked}
      draw={(context, range, theme) => drawLens(context, range, theme, { lens, colourBy, cellWidth })}
      describe={(cell) => describeCell(lens, cell)}
      onHover={(cell) => {
        hovered.value = cell;
      }}
      onChoose={(cell) => {
        const again = locked?.row === cell.row && locked.col === cell.col;
        lock(port, again ? null : cell);
      }}
      onUnlock={() => lock(port, null)}
    />
  );
}

/** The locked cell, else the one under the pointer, else the model's answer to the whole prompt. */
function Panel({ port, lens, hovered }: PartProps) {
  const locked = useLocked(port, lens);
  const pointed = hovered.value && isInside(lens, hovered.value) ? hovered.value : null;
  const answer = { row: lens.outputRow, col: lens.tokens.length - 1 };
  return (
    <CellPanel
      lens={lens}
      cell={locked ?? pointed ?? answer}
      locked={locked !== null}
      onUnlock={() => lock(port, null)}
    />
  );
}

function useLocked(port: Port<Traits>, lens: Lens): Cell | null {
  const row = useTrait(port, "row").value;
  const col = useTrait(port, "position").value;
  return row !== null && col !== null && isInside(lens, { row, col }) ? { row, col } : null;
}

function lock(port: Port<Traits>, cell: Cell | null): void {
  port.set("row", cell?.row ?? null);
  port.set("position", cell?.col ?? null);
}

function isInside({ rowLabels, tokens }: Lens, { row, col }: Cell): boolean {
  return row < rowLabels.length && col < tokens.length;
}

function LensLegend({ lens, colourBy }: { lens: Lens; colourBy: ColourBy }) {
  const map = useFrame().theme.value.sequential;
  const byProbability = colourBy === "probability";
  return (
    <Legend
      label={byProbability ? "probability of the top token" : "entropy of the distribution, nats"}
      map={map}
      domain={byProbability ? [0, 1] : [lens.maxEntropy, 0]}
      ticks={byProbability ? [0, 0.5, 1] : [lens.maxEntropy, lens.maxEntropy / 2, 0]}
      format={formatNumber}
    >
      <span class="mw-legend-mark">
        <span class="mw-corner" aria-hidden="true" />
        <span class="mw-muted">top token is already the output's</span>
      </span>
    </Legend>
  );
}
