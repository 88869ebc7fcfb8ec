/** Attention heads: all of them small, some large, and what switching some off does to the next token. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { answeredToggle, useAnswers } from "../../core/answers";
import { Changes } from "../../core/changes";
import { Header, StatusLine } from "../../core/components";
import { distributionCss } from "../../core/distribution";
import { preactView, useFrame } from "../../core/frame";
import { type Intervention, isHeadOff } from "../../core/intervention";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { useTrait } from "../../core/trait";
import { Controls } from "./controls";
import { HeadsMap, headsMapWidth } from "./heads_map";
import { HeadsPanel } from "./heads_panel";
import { Prediction } from "./prediction";
import { Prompts } from "./prompts";
import styleText from "./style.css?inline";
import type { Head, PredictAnswer, Traits } from "./traits";
import { useThumbnails } from "./use_thumbnails";

/** In CSS pixels, the gaps between columns included. */
const TWO_COLUMNS = 720;
const HEAD_WIDTH = 400;
const PREDICTION_WIDTH = 344;

export const attention = preactView<Traits>(Attention, styleText + distributionCss);

function Attention({ port }: { port: Port<Traits> }) {
  const setInputs = useRequest<object, Traits>(port, "set_inputs");
  const computing = useThumbnails(port, useAttentionTraits(port), setInputs.pending.value);
  const { traits } = computing;
  const { interventions, heads } = traits;
  const prediction = usePrediction(port, traits);
  const answers = useAnswers();
  const isOff = (layer: number, head: number) => isHeadOff(interventions, layer, head);
  // Without the distribution here, other pictures say what a change does.
  const isAnswered = (list: readonly Intervention[]) =>
    traits.prediction ? answers.to("predict", { interventions: list }) : answers.any;
  const toggled = (head: Head) => answeredToggle(interventions, head, isAnswered);
  const toggle = (head: Head) => {
    const list = toggled(head);
    // Otherwise nobody could say what it changes.
    if (list) port.set("interventions", list);
  };
  const keep = (head: Head) => {
    const others = heads.filter((one) => String(one) !== String(head));
    port.set("heads", others.length < heads.length ? others : [...heads, head]);
  };
  // A field for the second prompt, before there is one.
  const asking = useSignal(false);
  const comparing = asking.value || traits.compare.length > 0;
  const compareWith = (wanted: boolean) => {
    asking.value = wanted;
    if (!wanted && traits.compare.length > 0) void setInputs.send({ compare: "" });
  };
  return (
    <>
      <Header
        name="Attention"
        modelName={traits.model_name}
        title={traits.title}
        badge={interventions.length > 0 ? "modified" : null}
      />
      <Prompts traits={traits} request={setInputs} comparing={comparing} />
      <Controls {...{ port, traits, comparing }} request={setInputs} onCompare={compareWith} />
      {!traits.prediction && (
        <Changes
          interventions={interventions}
          onChange={(changes) => port.set("interventions", changes)}
          isAnswered={isAnswered}
        />
      )}
      <div class="mw-attention" data-arrangement={useArrangement(traits)}>
        <HeadsMap
          traits={traits}
          computing={computing}
          isOff={isOff}
          onToggle={toggle}
          onKeep={keep}
          onChoose={([layer, head]) => {
            port.set("layer", layer);
            port.set("head", head);
          }}
        />
        <HeadsPanel
          {...{ port, traits, isOff }}
          onKeep={keep}
          onToggle={toggle}
          canToggle={(head) => toggled(head) !== null}
        />
        {traits.prediction && (
          <Prediction
            {...{ ...prediction, isAnswered }}
            note={noteOf(traits)}
            interventions={interventions}
            onInterventions={(changes) => port.set("interventions", changes)}
          />
        )}
      </div>
      <StatusLine
        hint={`Click a head to open it, with Shift (or k) to keep it beside others${answers.any ? "; x switches it off and on" : ""}.`}
      />
    </>
  );
}

type Arrangement = "columns" | "prediction-below" | "head-below" | "stacked";

/** As much side by side as leaves the large heads room to be read. */
function useArrangement(traits: Traits): Arrangement {
  const width = useFrame().width.value;
  const room = width - headsMapWidth(traits);
  if (!traits.prediction) return room >= HEAD_WIDTH ? "prediction-below" : "stacked";
  if (room >= HEAD_WIDTH + PREDICTION_WIDTH && traits.heads.length === 0) return "columns";
  if (width >= TWO_COLUMNS) return "prediction-below";
  return room >= PREDICTION_WIDTH ? "head-below" : "stacked";
}

/** Of several prompts one next token is shown. */
function noteOf({ prompt, compare }: Traits): string {
  if (Array.isArray(prompt) && prompt.length > 1) return "of the first prompt";
  return compare.length > 0 ? "of the first prompt" : "";
}

/** All traits as plain values; a change of any draws the view again. */
function useAttentionTraits(port: Port<Traits>): Traits {
  return {
    title: useTrait(port, "title").value,
    model_name: useTrait(port, "model_name").value,
    prompt: useTrait(port, "prompt").value,
    compare: useTrait(port, "compare").value,
    attention_type: useTrait(port, "attention_type").value,
    tokens: useTrait(port, "tokens").value,
    alternatives: useTrait(port, "alternatives").value,
    n_layers: useTrait(port, "n_layers").value,
    n_heads: useTrait(port, "n_heads").value,
    complete: useTrait(port, "complete").value,
    thumbnails: useTrait(port, "thumbnails").value,
    thumbnail_block: useTrait(port, "thumbnail_block").value,
    limits: useTrait(port, "limits").value,
    diverging: useTrait(port, "diverging").value,
    score_names: useTrait(port, "score_names").value,
    score_values: useTrait(port, "score_values").value,
    score: useTrait(port, "score").value,
    order: useTrait(port, "order").value,
    prediction: useTrait(port, "prediction").value,
    layer: useTrait(port, "layer").value,
    head: useTrait(port, "head").value,
    heads: useTrait(port, "heads").value,
    position: useTrait(port, "position").value,
    direction: useTrait(port, "direction").value,
    interventions: useTrait(port, "interventions").value,
  };
}

/** Asks again whenever the prompt or the changes differ; the last answer stays, paled, until the next one is there. */
function usePrediction(port: Port<Traits>, { tokens, interventions, complete, prediction }: Traits) {
  const request = useRequest<PredictAnswer, Traits>(port, "predict");
  const last = useSignal<{ answer: PredictAnswer; tokens: object; interventions: Intervention[] } | null>(
    null,
  );
  const ask = async () => {
    const answer = await request.send({ interventions });
    if (answer) last.value = { answer, tokens, interventions };
  };
  useEffect(() => {
    // The pass that computes the heads of a long prompt finds this too.
    if (complete && prediction) void ask();
  }, [tokens, interventions, complete, prediction]);
  const known = last.value;
  return {
    request,
    answer: known?.answer ?? null,
    compares: (known?.interventions.length ?? 0) > 0,
    stale: known?.tokens !== tokens || known.interventions !== interventions,
    onRetry: () => void ask(),
  };
}
