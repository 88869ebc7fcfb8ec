/** A table: for each neuron the tokens on which it is largest, and those on which it is smallest. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { useAnswers } from "../../core/answers";
import { Button, ErrorLine, Header, Legend, StatusLine } from "../../core/components";
import { formatNumber } from "../../core/format";
import { preactView, useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { type ColourScale, colourScale, legendTicks, type ValueRange, valueStyle } from "../../core/scale";
import { Selector } from "../../core/selector";
import { quoteToken, shorten, tokenLabel } from "../../core/tokens";
import { useTrait } from "../../core/trait";
import styleText from "./style.css?inline";
import type { Content, Traits } from "./traits";

const LONGEST_LABEL = 14;

export const topTokens = preactView<Traits>(TopTokens, styleText);

type Place = Pick<Traits, "sample" | "layer" | "neuron">;

function TopTokens({ port }: { port: Port<Traits> }) {
  const traits = useTopTokensTraits(port);
  const { content, layers, neurons, sample_names, columns, value_name } = traits;
  const show = useRequest<object, Traits>(port, "show");
  const theme = useFrame().theme.value;
  const range = rangeOf(content);
  const scale = useMemo(() => colourScale(theme, range), [theme, ...Object.values(range)]);
  const rows = useSignal(traits.k);
  const answers = useAnswers();
  const place = (change: Partial<Place>): Place => ({
    sample: content.sample,
    layer: content.layer,
    neuron: content.neuron,
    ...change,
  });
  const turn = (change: Partial<Place>) => void show.send(place(change));
  return (
    <>
      <Header name={`Top tokens by ${value_name}`} modelName={traits.model_name} title={traits.title}>
        {sample_names.length > 1 && (
          <Selector
            name="Sample"
            count={sample_names.length}
            labels={sample_names}
            value={content.sample}
            onChange={(sample) => turn({ sample })}
            isAnswered={(sample) => answers.with(place({ sample }))}
          />
        )}
        {layers.size > 1 && (
          <Selector
            name={layers.name}
            count={layers.size}
            labels={layers.labels}
            value={content.layer}
            onChange={(layer) => turn({ layer })}
            isAnswered={(layer) => answers.with(place({ layer }))}
          />
        )}
        <Neurons
          {...{ content, columns }}
          dimension={neurons}
          onNeuron={(neuron) => turn({ neuron })}
          isAnswered={(neuron) => answers.with(place({ neuron }))}
        />
      </Header>
      <ErrorLine request={show} />
      <Table {...{ content, scale }} name={neurons.name} rows={rows.value} />
      <div class="mw-table-foot">
        <Legend label={value_name} map={scale.map} {...legendTicks(range)} />
        <Rows
          most={traits.k}
          value={rows.value}
          onChange={(count) => {
            rows.value = count;
          }}
        />
      </div>
      <StatusLine
        doing="Reading the data…"
        hint={`The sample's tokens with the largest and the smallest ${value_name} in each column.`}
      />
    </>
  );
}

/** All traits as plain values; a change of any draws the view again. */
function useTopTokensTraits(port: Port<Traits>): Traits {
  return {
    title: useTrait(port, "title").value,
    model_name: useTrait(port, "model_name").value,
    value_name: useTrait(port, "value_name").value,
    layers: useTrait(port, "layers").value,
    neurons: useTrait(port, "neurons").value,
    sample_names: useTrait(port, "sample_names").value,
    k: useTrait(port, "k").value,
    columns: useTrait(port, "columns").value,
    sample: useTrait(port, "sample").value,
    layer: useTrait(port, "layer").value,
    neuron: useTrait(port, "neuron").value,
    content: useTrait(port, "content").value,
  };
}

function rangeOf({ smallest, largest }: Content): ValueRange {
  const colours = { negativeColor: "", positiveColor: "" };
  if (smallest >= 0) return { low: 0, high: largest || 1, diverging: false, ...colours };
  const reach = Math.max(-smallest, largest);
  return { low: -reach, high: reach, diverging: true, ...colours };
}

interface NeuronsProps {
  content: Content;
  columns: number;
  dimension: Traits["neurons"];
  onNeuron: (neuron: number) => void;
  isAnswered: (neuron: number) => boolean;
}

/** The first column to show, with a step of a page to either side. */
function Neurons({ content, columns, dimension, onNeuron, isAnswered }: NeuronsProps) {
  const { neuron } = content;
  const [before, behind] = [Math.max(0, neuron - columns), neuron + columns];
  if (dimension.size <= columns) return null;
  return (
    <span class="mw-selector">
      <Button
        label={`Previous ${dimension.name}s`}
        disabled={neuron === 0 || !isAnswered(before)}
        onClick={() => onNeuron(before)}
      >
        ‹
      </Button>
      <Selector
        name={dimension.name}
        count={dimension.size}
        labels={null}
        value={neuron}
        onChange={onNeuron}
        isAnswered={isAnswered}
      />
      <Button
        label={`Next ${dimension.name}s`}
        disabled={behind >= dimension.size || !isAnswered(behind)}
        onClick={() => onNeuron(behind)}
      >
        ›
      </Button>
    </span>
  );
}

function Rows({ most, value, onChange }: { most: number; value: number; onChange: (count: number) => void }) {
  return (
    <label class="mw-selector">
      <span class="mw-muted">k</span>
      <input
        class="mw-input"
        type="number"
        min={1}
        max={most}
        value={String(value)}
        onInput={(event) => {
          const count = event.currentTarget.valueAsNumber;
          if (count >= 1 && count <= most) onChange(Math.floor(count));
        }}
      />
    </label>
  );
}

interface TableProps {
  content: Content;
  scale: ColourScale;
  /** Of the columns. */
  name: string;
  /** Of either end. */
  rows: number;
}

function Table({ content, scale, name, rows }: TableProps) {
  const [, kept = 0, columns = 0] = content.positions.shape;
  const shown = Math.min(rows, kept);
  const columnNumbers = Array.from({ length: columns }, (_, column) => column);
  const ranks = Array.from({ length: shown }, (_, rank) => rank);
  const cell = (end: number, rank: number, column: number) => (
    <TokenCell key={column} {...{ content, scale }} at={(end * kept + rank) * columns + column} />
  );
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard
    <section class="mw-table-box" aria-label="Top and bottom tokens" tabIndex={0}>
      <table class="mw-top-tokens">
        <thead>
          <tr>
            <th scope="col" class="mw-muted">
              {name}
            </th>
            {columnNumbers.map((column) => (
              <th key={column} scope="col">
                {content.neuron + column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {ranks.map((rank) => (
            <tr key={rank}>
              <th scope="row" class="mw-muted">
                top {rank + 1}
              </th>
              {columnNumbers.map((column) => cell(0, rank, column))}
            </tr>
          ))}
        </tbody>
        <tbody>
          {ranks.map((rank) => (
            <tr key={rank}>
              <th scope="row" class="mw-muted">
                bottom {shown - rank}
              </th>
              {columnNumbers.map((column) => cell(1, kept - shown + rank, column))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function TokenCell({ content, scale, at }: { content: Content; scale: ColourScale; at: number }) {
  const position = content.positions.data[at] ?? 0;
  const value = content.values.data[at] ?? Number.NaN;
  const text = content.tokens[position] ?? "";
  return (
    <td style={valueStyle(scale, value)} title={`${quoteToken(text)}, position ${position}`}>
      <span class="mw-code">{shorten(tokenLabel(text), LONGEST_LABEL)}</span>
      <span class="mw-cell-value">{formatNumber(value)}</span>
    </td>
  );
}
