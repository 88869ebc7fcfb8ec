/** The chosen component: what it adds, what it writes towards, what it is made of; or which components add most. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { titleOf, useAnswers } from "../../core/answers";
import { Button, ErrorLine } from "../../core/components";
import { formatNumber, signed } from "../../core/format";
import { useTables } from "../../core/frame";
import type { Intervention } from "../../core/intervention";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { Bars } from "../../core/signed_bars";
import { quoteToken, tokenLabel } from "../../core/tokens";
import type { Component, Parts } from "./parts";
import type { ComponentAnswer, NeuronsAnswer, Traits } from "./traits";
import { componentName, share, shortName } from "./words";

const LISTED = 12;

export interface PanelProps {
  parts: Parts;
  chosen: Component | null;
  onChoose: (component: Component | null) => void;
  /** The interventions with a head switched off, or on again; null where nobody could say what that does. */
  toggled: (layer: number, head: number) => Intervention[] | null;
  onToggle: (interventions: Intervention[]) => void;
  isOff: (layer: number, head: number) => boolean;
}

export function LargestPanel({ parts, onChoose }: PanelProps) {
  return (
    <section class="mw-attribution-panel" aria-label="The largest parts">
      <strong>Largest heads and MLPs</strong>
      <Bars
        rows={parts.largest(LISTED).map((component) => ({
          key: shortName(component),
          name: shortName(component),
          value: parts.value(component),
          onClick: () => onChoose(component),
        }))}
      />
      <div class="mw-muted">Click a component for the tokens that it writes towards.</div>
    </section>
  );
}

export function ComponentPanel(props: PanelProps & { port: Port<Traits>; chosen: Component; of: unknown }) {
  const { port, parts, chosen, onChoose, toggled, onToggle, isOff } = props;
  const { any } = useAnswers();
  const { answer, request, isAnswered } = useComponent(port, chosen, props.of);
  const value = chosen.neuron === null ? parts.value(chosen) : (answer?.neurons?.value ?? Number.NaN);
  const { layer, head } = chosen;
  return (
    <section class="mw-attribution-panel" aria-label={componentName(chosen)}>
      <div class="mw-attribution-title">
        <strong>{componentName(chosen)}</strong>
        <span class="mw-space" />
        <Button onClick={() => onChoose(null)}>Close</Button>
      </div>
      <div>
        adds <strong>{Number.isNaN(value) ? "…" : signed(value)}</strong>{" "}
        <span class="mw-muted">{share(value, parts.total)}</span>
      </div>
      {answer && answer.on_wrong !== null && (
        <div class="mw-muted">
          {signed(answer.on_answer)} to the logit of {quoteToken(port.get("answer_text"))},{" "}
          {signed(answer.on_wrong)} to that of {quoteToken(port.get("wrong_text"))}
        </div>
      )}
      {chosen.neuron !== null && answer?.neurons?.activation != null && (
        <div class="mw-muted">activation {formatNumber(answer.neurons.activation)}</div>
      )}
      {any && layer !== null && head !== null && (
        <SwitchButton list={toggled(layer, head)} off={isOff(layer, head)} onToggle={onToggle} />
      )}
      <ErrorLine request={request} />
      {!isAnswered && !answer && <div class="mw-muted">What it writes towards takes a running kernel.</div>}
      {answer && writesNothing(answer) && (
        <div class="mw-muted">
          It writes nothing in this run{isSwitchedOff(props) && ", as it is switched off"}.
        </div>
      )}
      {answer && !writesNothing(answer) && <Writes answer={answer} stale={request.pending.value} />}
      {layer !== null && chosen.part === "attn" && head === null && (
        <HeadsOf {...{ parts, layer, onChoose }} />
      )}
      {answer?.neurons && layer !== null && (
        <Neurons neurons={answer.neurons} chosen={chosen} onChoose={onChoose} />
      )}
    </section>
  );
}

/** All tokens alike, those that are listed are the first of the vocabulary and mean nothing. */
function writesNothing({ up_values, down_values }: ComponentAnswer): boolean {
  return [...up_values.data, ...down_values.data].every((value) => value === 0);
}

function isSwitchedOff({
  chosen: { layer, head },
  isOff,
}: { chosen: Component } & Pick<PanelProps, "isOff">) {
  return layer !== null && head !== null && isOff(layer, head);
}

interface SwitchProps extends Pick<PanelProps, "onToggle"> {
  list: Intervention[] | null;
  off: boolean;
}

function SwitchButton({ list, off, onToggle }: SwitchProps) {
  return (
    <div>
      <Button onClick={() => list && onToggle(list)} disabled={!list} title={titleOf(list !== null)}>
        Switch head {off ? "on" : "off"}
      </Button>
    </div>
  );
}

/** What the kernel says of a component; null until it is of this one. */
function useComponent(port: Port<Traits>, chosen: Component, of: unknown) {
  const answers = useAnswers();
  const request = useRequest<ComponentAnswer, Traits>(port, "component");
  const key = JSON.stringify(chosen);
  const known = useSignal<{ key: string; of: unknown; answer: ComponentAnswer } | null>(null);
  const { part, layer, head, neuron } = chosen;
  const which = neuron !== null ? "neuron" : head !== null ? "head" : part;
  const args = { part: which, layer, head, neuron };
  const isAnswered = answers.to("component", args);
  const ask = async () => {
    const answer = await request.send(args);
    if (answer) known.value = { key, of, answer };
  };
  useEffect(() => {
    if (isAnswered) void ask();
  }, [key, of, isAnswered]);
  return { request, isAnswered, answer: known.value?.key === key ? known.value.answer : null };
}

function Writes({ answer, stale }: { answer: ComponentAnswer; stale: boolean }) {
  useTables({
    "tokens that it writes towards": () => ({
      columns: ["token", "adds to its logit"],
      rows: [
        ...answer.up.map((token, at) => [token, answer.up_values.data[at] ?? null]),
        ...answer.down.map((token, at) => [token, answer.down_values.data[at] ?? null]),
      ],
    }),
  });
  const most = Math.max(...[...answer.up_values.data, ...answer.down_values.data].map(Math.abs), 1e-9);
  const list = (title: string, tokens: readonly string[], values: Float32Array) => (
    <div class="mw-writes">
      <div class="mw-muted">{title}</div>
      <Bars
        code
        most={most}
        rows={tokens.map((token, at) => ({
          key: `${at} ${token}`,
          name: tokenLabel(token),
          title: quoteToken(token),
          value: values[at] ?? Number.NaN,
        }))}
      />
    </div>
  );
  return (
    <div aria-busy={stale} class="mw-writes-both" data-stale={stale}>
      {list("writes towards (raises their logits)", answer.up, answer.up_values.data)}
      {list("writes away from (lowers them)", answer.down, answer.down_values.data)}
    </div>
  );
}

function HeadsOf({ parts, layer, onChoose }: Pick<PanelProps, "parts" | "onChoose"> & { layer: number }) {
  const heads = Array.from({ length: parts.heads }, (_, head) => head)
    .filter((head) => !Number.isNaN(parts.head(layer, head)))
    .sort((one, two) => Math.abs(parts.head(layer, two)) - Math.abs(parts.head(layer, one)));
  if (heads.length === 0) return null;
  const bias = parts.headBias(layer);
  return (
    <div>
      <div class="mw-muted">its heads</div>
      <Bars
        rows={heads.slice(0, LISTED).map((head) => ({
          key: String(head),
          name: `H${head}`,
          value: parts.head(layer, head),
          onClick: () => onChoose({ part: "attn", layer, head, neuron: null }),
        }))}
      />
      <Sums
        rows={[
          ["other heads", heads.slice(LISTED).reduce((sum, head) => sum + parts.head(layer, head), 0)],
          ["biases", Math.abs(bias) > 1e-5 ? bias : 0],
        ]}
      />
    </div>
  );
}

interface NeuronsProps {
  neurons: NeuronsAnswer;
  chosen: Component;
  onChoose: (component: Component) => void;
}

function Neurons({ neurons, chosen, onChoose }: NeuronsProps) {
  const { index, values, activations } = neurons;
  useTables({
    "neurons that add most": () => ({
      columns: ["neuron", "adds", "activation"],
      rows: [...index.data].map((neuron, at) => [
        neuron,
        values.data[at] ?? null,
        activations.data[at] ?? null,
      ]),
    }),
  });
  return (
    <div>
      <div class="mw-muted">its neurons that add most, of {neurons.count}; activations in brackets</div>
      <Bars
        rows={[...index.data].map((neuron, at) => ({
          key: String(neuron),
          name: `N${neuron} (${formatNumber(activations.data[at] ?? Number.NaN)})`,
          value: values.data[at] ?? Number.NaN,
          pressed: chosen.neuron === neuron,
          onClick: () => onChoose({ ...chosen, neuron: chosen.neuron === neuron ? null : neuron }),
        }))}
      />
      <Sums
        rows={[
          ["other neurons", neurons.others],
          ["biases", Math.abs(neurons.bias) > 1e-5 ? neurons.bias : 0],
        ]}
      />
    </div>
  );
}

/** What a list leaves out, so that it adds up. */
function Sums({ rows }: { rows: readonly (readonly [string, number])[] }) {
  const told = rows.filter(([, value]) => value !== 0);
  if (told.length === 0) return null;
  return <div class="mw-muted">and {told.map(([name, value]) => `${name} ${signed(value)}`).join(", ")}</div>;
}
