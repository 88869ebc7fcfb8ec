/** The logit lens: what the model would say if it ended after each layer. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { useAnswers } from "../../core/answers";
import { Changes, isStale } from "../../core/changes";
import { Button, Choice, type Field, Header, PromptForm, StatusLine } from "../../core/components";
import { preactView, useFrame } from "../../core/frame";
import { linePlotCss } from "../../core/line_plot";
import type { Port } from "../../core/port";
import { type UsedRequest, useRequest } from "../../core/request";
import { Select } from "../../core/select";
import { useTrait } from "../../core/trait";
import { cellColour, colourOptions, fittingColour } from "./colours";
import { useFollowing } from "./column";
import { Follow } from "./follow";
import { type Lens, readLens } from "./lens";
import { CellPanel } from "./panel";
import { usePlace } from "./place";
import css from "./style.css?inline";
import { LensLegend, Table } from "./table";
import type { InputChanges, Traits } from "./traits";
import { isComponent, STREAM_NAMES } from "./words";

/** From this width on the panel stands at the right, and takes its room from the table. */
const SIDE_BY_SIDE = 720;
const PANEL = 316;

export const logitLens = preactView<Traits>(LogitLens, css + linePlotCss);

function LogitLens({ port }: { port: Port<Traits> }) {
  const lens = useLens(port);
  const { width, theme } = useFrame();
  const changes = useRequest<object, Traits>(port, "set_inputs");
  const change = (inputs: InputChanges) => void changes.send(inputs);
  const place = usePlace(port, lens);
  const following = useFollowing(port, lens, place);
  const by = fittingColour(lens, useTrait(port, "color_by").value);
  const colour = useMemo(() => cellColour(lens, by, theme.value), [lens, by, theme.value]);
  const interventions = useTrait(port, "interventions").value;
  const answers = useAnswers();
  const stale = answers.any && isStale(useTrait(port, "answered").value, interventions);
  const sideBySide = width.value >= SIDE_BY_SIDE;
  const target = (id: number | "") => {
    if (id !== "" && !by.startsWith("target") && by !== "rank") port.set("color_by", "target_probability");
    change({ target: id });
  };
  return (
    <>
      <Header
        name={useTrait(port, "tuned").value ? "Tuned lens" : "Logit lens"}
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
        badge={interventions.length > 0 ? "modified" : null}
      >
        <Controls port={port} lens={lens} onChange={change} />
      </Header>
      <Prompts port={port} request={changes} />
      <Changes interventions={interventions} onChange={(list) => port.set("interventions", list)} />
      <div
        class={`mw-lens ${sideBySide ? "mw-side-by-side" : ""}`}
        aria-busy={stale && answers.live}
        data-stale={stale}
      >
        <div class="mw-lens-table">
          <Table {...{ lens, colour, place }} room={width.value - (sideBySide ? PANEL : 0)} />
          <LensLegend lens={lens} colour={colour} />
          <Notes port={port} lens={lens} />
        </div>
        <div class="mw-lens-side">
          <CellPanel {...{ lens, place, following }} />
          {place.chosen && <Follow {...{ lens, place, following }} onTarget={target} />}
        </div>
      </div>
      <StatusLine hint="Point at a cell or walk with the arrow keys; a click or Enter follows its position through the layers." />
    </>
  );
}

/** Read together: a new prompt changes all of them at once. */
function useLens(port: Port<Traits>): Lens {
  const traits = {
    tokens: useTrait(port, "tokens").value,
    compare_tokens: useTrait(port, "compare_tokens").value,
    stream: useTrait(port, "stream").value,
    target: useTrait(port, "target").value,
    target_text: useTrait(port, "target_text").value,
    row_labels: useTrait(port, "row_labels").value,
    vocabulary: useTrait(port, "vocabulary").value,
    vocabulary_ids: useTrait(port, "vocabulary_ids").value,
    top_tokens: useTrait(port, "top_tokens").value,
    top_probs: useTrait(port, "top_probs").value,
    entropy: useTrait(port, "entropy").value,
    max_entropy: useTrait(port, "max_entropy").value,
    kl: useTrait(port, "kl").value,
    rank: useTrait(port, "rank").value,
    target_probs: useTrait(port, "target_probs").value,
    divergence: useTrait(port, "divergence").value,
  };
  return useMemo(() => readLens(traits), Object.values(traits));
}

interface PartProps {
  port: Port<Traits>;
  lens: Lens;
}

function Controls({ port, lens, onChange }: PartProps & { onChange: (changes: InputChanges) => void }) {
  const answers = useAnswers();
  const streams = useTrait(port, "streams").value;
  const tuned = useTrait(port, "tuned").value;
  return (
    <>
      {useTrait(port, "has_tuned_lens").value && (
        <Choice
          label="Lens"
          options={LENSES}
          value={tuned ? "tuned" : "plain"}
          onChange={(chosen) => onChange({ tuned: chosen === "tuned" })}
        />
      )}
      <Select
        label="of"
        options={streams.map((value) => ({ value, text: STREAM_NAMES[value] }))}
        value={lens.stream}
        isAnswered={(stream) => answers.with({ stream })}
        onChange={(stream) => onChange({ stream })}
      />
      <Select
        label="colour"
        options={colourOptions(lens)}
        value={fittingColour(lens, useTrait(port, "color_by").value)}
        onChange={(by) => port.set("color_by", by)}
      />
    </>
  );
}

const LENSES = [
  { value: "plain", text: "logit lens" },
  { value: "tuned", text: "tuned lens" },
] as const;

function Prompts({ port, request }: { port: Port<Traits>; request: UsedRequest<object> }) {
  const { live } = useAnswers();
  const compare = useTrait(port, "compare").value;
  const opened = useSignal(false);
  const compares = opened.value || compare !== "";
  const fields: Field[] = [
    { name: "prompt", label: compares ? "First" : "Prompt", value: useTrait(port, "prompt").value },
  ];
  if (compares) fields.push({ name: "compare", label: "Second", value: compare });
  const toggle = () => {
    if (compare !== "") void request.send({ compare: "" });
    opened.value = !compares;
  };
  return (
    <div class="mw-lens-prompts">
      <PromptForm fields={fields} request={request} />
      {live && <Button onClick={toggle}>{compares ? "Don't compare" : "Compare…"}</Button>}
    </div>
  );
}

/** What a reader must know to read the numbers rightly. */
function Notes({ port, lens }: PartProps) {
  const tuned = useTrait(port, "tuned").value;
  if (isComponent(lens.stream)) {
    return (
      <p class="mw-lens-note" role="note">
        Each row is read as if this component's output were the whole stream: what it writes towards, not what
        the model would say.
      </p>
    );
  }
  if (!tuned) return null;
  return (
    <p class="mw-lens-note" role="note">
      The stream goes through the translators of the given tuned lens before the final norm and the
      unembedding; the output row does not.
    </p>
  );
}
