/** One attention head explained: what it attends to, writes, looks for and reads. */
import { answeredToggle, titleOf, useAnswers } from "../../core/answers";
import { Changes } from "../../core/changes";
import { Button, Header, PromptForm, StatusLine } from "../../core/components";
import { preactView } from "../../core/frame";
import { headName, isHeadOff } from "../../core/intervention";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { Select } from "../../core/select";
import { Selector } from "../../core/selector";
import { signedBarsCss } from "../../core/signed_bars";
import { useTrait } from "../../core/trait";
import attentionStyle from "../attention/style.css?inline";
import { CompositionPanel } from "./composition";
import { LooksPanel } from "./looks";
import { PatternPanel } from "./pattern_panel";
import { argumentsOf, type Chosen, useAnswer } from "./questions";
import css from "./style.css?inline";
import { TokenField } from "./token_field";
import type { Stream, Traits } from "./traits";
import { STREAMS } from "./words";
import { WritesPanel } from "./writes";

export const head = preactView<Traits>(Head, attentionStyle + signedBarsCss + css);

function Head({ port }: { port: Port<Traits> }) {
  const chosen = useChosen(port);
  const { layer, interventions } = chosen;
  const tokens = useTrait(port, "tokens").value;
  const layers = useTrait(port, "n_layers").value;
  const heads = useTrait(port, "n_heads").value;
  const context = useTrait(port, "n_ctx").value;
  const kind = useTrait(port, "composition").value;
  const answers = useAnswers();
  const setInputs = useRequest<object, Traits>(port, "set_inputs");
  const args = argumentsOf(chosen);
  const asked = {
    pattern: useAnswer(port, "pattern", args.pattern),
    writes: useAnswer(port, "writes", args.writes),
    composition: useAnswer(port, "composition", args.composition),
    copying: useAnswer(port, "copying", args.copying),
    looks: useAnswer(port, "looks", args.looks),
  };
  const go = (toLayer: number, toHead: number) => {
    port.set("layer", toLayer);
    port.set("head", toHead);
  };
  const isAnswered = (other: Partial<Chosen>) =>
    answers.to("pattern", argumentsOf({ ...chosen, ...other }).pattern);
  const toggled = answeredToggle(interventions, [layer, chosen.head], (list) =>
    isAnswered({ interventions: list }),
  );
  const toggle = () => {
    // Otherwise nobody could say what it changes.
    if (toggled) port.set("interventions", toggled);
  };
  const off = isHeadOff(interventions, layer, chosen.head);
  const query = chosen.token ?? tokens[chosen.position ?? tokens.length - 1] ?? "";
  return (
    <>
      <Header
        name={`Head ${headName(layer, chosen.head)}`}
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
      >
        <Selector
          name="layer"
          count={layers}
          labels={null}
          value={layer}
          onChange={(to) => go(to, chosen.head)}
          isAnswered={(to) => isAnswered({ layer: to })}
        />
        <Selector
          name="head"
          count={heads}
          labels={null}
          value={chosen.head}
          onChange={(to) => go(layer, to)}
          isAnswered={(to) => isAnswered({ head: to })}
        />
      </Header>
      <PromptForm
        fields={[{ name: "prompt", label: "Prompt", value: useTrait(port, "prompt").value }]}
        request={setInputs}
      />
      <Changes
        interventions={interventions}
        onChange={(changes) => port.set("interventions", changes)}
        isAnswered={(changes) => isAnswered({ interventions: changes })}
      />
      <div class="mw-head-controls">
        <Select<Stream>
          label="A token is"
          options={STREAMS}
          value={chosen.stream}
          isAnswered={(stream) => answers.to("writes", argumentsOf({ ...chosen, stream }).writes)}
          onChange={(stream) => port.set("stream", stream)}
        />
        <TokenField
          token={chosen.token}
          disabled={!answers.live}
          onToken={(token) => port.set("token", token)}
        />
        {answers.any && (
          <Button onClick={toggle} disabled={!toggled} title={titleOf(toggled !== null)}>
            Switch head {off ? "on" : "off"}
          </Button>
        )}
      </div>
      {off && (
        <div class="mw-muted">
          It is switched off, so it writes nothing in this run; below is what it would write.
        </div>
      )}
      <div class="mw-head-panels">
        <PatternPanel {...{ port, tokens, chosen }} asked={asked.pattern} onToggle={toggle} />
        <CompositionPanel {...{ port, chosen, layers, heads, kind }} asked={asked.composition} onHead={go} />
        <LooksPanel {...{ port, query, chosen, context }} asked={asked.looks} />
        <WritesPanel {...{ port, tokens, chosen }} asked={asked.writes} copying={asked.copying} />
      </div>
      <StatusLine hint="Point at a cell, or walk with the arrow keys; Enter opens a head, locks a token or looks at it. In the pattern, x switches the head off and on." />
    </>
  );
}

/** What the picture is of; a change of any asks what it changes. */
function useChosen(port: Port<Traits>): Chosen {
  return {
    layer: useTrait(port, "layer").value,
    head: useTrait(port, "head").value,
    position: useTrait(port, "position").value,
    token: useTrait(port, "token").value,
    stream: useTrait(port, "stream").value,
    distance: useTrait(port, "distance").value,
    interventions: useTrait(port, "interventions").value,
  };
}
