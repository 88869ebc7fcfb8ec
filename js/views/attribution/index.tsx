/** Direct logit attribution: what each component adds to the logit of an answer, or to its difference from a wrong one's. */
import { useMemo } from "preact/hooks";
import { answeredToggle, useAnswers } from "../../core/answers";
import { Changes, isStale } from "../../core/changes";
import { Header, PromptForm, StatusLine } from "../../core/components";
import { signed } from "../../core/format";
import { preactView, useFrame } from "../../core/frame";
import { type Intervention, isHeadOff } from "../../core/intervention";
import type { Port } from "../../core/port";
import { PositionSelector } from "../../core/position_selector";
import { useRequest } from "../../core/request";
import { signedBarsCss } from "../../core/signed_bars";
import { tokenLabel } from "../../core/tokens";
import { useTrait } from "../../core/trait";
import { ComponentPanel, LargestPanel } from "./component";
import { arrange, HeadsMap, LayerBars } from "./maps";
import { type Component, type Parts, readParts } from "./parts";
import css from "./style.css?inline";
import type { Traits } from "./traits";
import { quantity } from "./words";

export const attribution = preactView<Traits>(Attribution, css + signedBarsCss);

function Attribution({ port }: { port: Port<Traits> }) {
  const parts = useParts(port);
  const layerValues = useTrait(port, "layer_values").value;
  const interventions = useTrait(port, "interventions").value;
  const [chosen, choose] = useChosen(port, parts);
  const answers = useAnswers();
  const stale = answers.any && isStale(useTrait(port, "answered").value, interventions, useAsked(port));
  const { barWidth, headWidth, below } = arrange(useFrame().width.value, parts.heads);
  const panel = {
    ...{ parts, chosen },
    onChoose: choose,
    toggled: (layer: number, head: number) =>
      answeredToggle(interventions, [layer, head], (list) => answers.with({ interventions: list })),
    onToggle: (list: Intervention[]) => port.set("interventions", list),
    isOff: (layer: number, head: number) => isHeadOff(interventions, layer, head),
  };
  return (
    <>
      <Header
        name="Logit attribution"
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
        badge={interventions.length > 0 ? "modified" : null}
      >
        <PositionSelector port={port} />
      </Header>
      <Question port={port} />
      <Changes interventions={interventions} onChange={(changes) => port.set("interventions", changes)} />
      <Total port={port} />
      <div
        class="mw-attribution"
        aria-busy={stale && answers.live}
        data-stale={stale}
        data-heads={below ? "below" : "beside"}
      >
        <LayerBars {...{ parts, chosen, barWidth }} onChoose={choose} />
        <HeadsMap {...{ parts, chosen, headWidth }} onChoose={choose} />
        {chosen ? (
          <ComponentPanel {...panel} chosen={chosen} port={port} of={layerValues} />
        ) : (
          <LargestPanel {...panel} />
        )}
      </div>
      <StatusLine hint="Point at a part, or walk with the arrow keys; a click or Enter opens it." />
    </>
  );
}

function useParts(port: Port<Traits>): Parts {
  const traits = {
    n_layers: useTrait(port, "n_layers").value,
    n_heads: useTrait(port, "n_heads").value,
    layer_values: useTrait(port, "layer_values").value,
    head_values: useTrait(port, "head_values").value,
    head_bias: useTrait(port, "head_bias").value,
    others: useTrait(port, "others").value,
    total: useTrait(port, "total").value,
  };
  return useMemo(() => readParts(traits), Object.values(traits));
}

/** The chosen component, where this model has it; and how to choose another. */
function useChosen(
  port: Port<Traits>,
  parts: Parts,
): [Component | null, (component: Component | null) => void] {
  const layer = useTrait(port, "layer").value;
  const head = useTrait(port, "head").value;
  const part = useTrait(port, "part").value;
  const neuron = useTrait(port, "neuron").value;
  const component: Component =
    layer === null
      ? { part, layer: null, head: null, neuron: null }
      : head !== null
        ? { part: "attn", layer, head, neuron: null }
        : { part: part === "mlp" ? part : "attn", layer, head: null, neuron: part === "mlp" ? neuron : null };
  const exists = component.neuron !== null || !Number.isNaN(parts.value(component));
  const choose = (next: Component | null) => {
    port.set("layer", next?.layer ?? null);
    port.set("head", next?.head ?? null);
    port.set("part", next?.part ?? "attn");
    port.set("neuron", next?.neuron ?? null);
  };
  return [exists ? component : null, choose];
}

/** The position that is wanted. */
function useAsked(port: Port<Traits>): number {
  const last = useTrait(port, "tokens").value.length - 1;
  return useTrait(port, "position").value ?? last;
}

function Question({ port }: { port: Port<Traits> }) {
  const request = useRequest<object, Traits>(port, "set_inputs");
  const answer = useTrait(port, "answer").value;
  const wrong = useTrait(port, "wrong").value;
  const answerText = useTrait(port, "answer_text").value;
  const wrongText = useTrait(port, "wrong_text").value;
  const shown = (given: string | number, text: string) => (typeof given === "number" ? text : given);
  const fields = [
    { name: "prompt", label: "Prompt", value: useTrait(port, "prompt").value },
    { name: "answer", label: "Answer", value: shown(answer, answerText), width: 24 },
    { name: "wrong", label: "Wrong", value: shown(wrong, wrongText), width: 24 },
  ];
  return <PromptForm fields={fields} request={request} />;
}

/** What the parts add up to, and under what assumption. */
function Total({ port }: { port: Port<Traits> }) {
  const what = quantity(useTrait(port, "answer_text").value, useTrait(port, "wrong_text").value);
  const total = useTrait(port, "total").value;
  const logit = useTrait(port, "logit").value;
  const capped = useTrait(port, "capped").value;
  const { position } = useTrait(port, "answered").value;
  const token = useTrait(port, "tokens").value[position] ?? "";
  const rest = "rest" in useTrait(port, "others").value;
  return (
    <div class="mw-attribution-total">
      <div>
        {what} <span class="mw-muted">after</span> <span class="mw-code">{tokenLabel(token)}</span>:{" "}
        <strong>{signed(total)}</strong>{" "}
        <span class="mw-muted">
          {capped
            ? `is what the parts add up to before the model's soft cap, which makes it ${signed(logit)}`
            : `is what the parts add up to; the model itself says ${signed(logit)}`}
        </span>
      </div>
      <div class="mw-muted">
        With the final norm's scale held as it was in this run. What a part does by way of later ones is not
        in it.
        {rest && ` "rest" is what the stream holds beyond what components wrote: interventions, or rounding.`}
      </div>
    </div>
  );
}
