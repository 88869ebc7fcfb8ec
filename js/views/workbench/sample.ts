/** A workbench whose pictures are the recorded ones. */
import attentionFixture from "../../../tests/fixtures/attention.json";
import attributionFixture from "../../../tests/fixtures/attribution.json";
import lensFixture from "../../../tests/fixtures/logit_lens.json";
import patchingFixture from "../../../tests/fixtures/patching.json";
import predictionFixture from "../../../tests/fixtures/prediction.json";
import recorded from "../../../tests/fixtures/workbench.json";
import type { FakePort } from "../../test/fake_port";
import { fixturePort } from "../../test/fixture";
import { attention } from "../attention";
import type { Traits as AttentionTraits } from "../attention/traits";
import { attribution } from "../attribution";
import { logitLens } from "../logit_lens";
import { patching } from "../patching";
import { prediction } from "../prediction";
import type { Question, Typed, WorkbenchTraits } from "./traits";

export function samplePort(changes: Partial<WorkbenchTraits> = {}): FakePort<WorkbenchTraits> {
  const port = fixturePort<WorkbenchTraits>(recorded);
  port.update({ entries: [], panels: [], views: {}, ...changes });
  port.addChild("IPY_MODEL_prediction", "prediction", prediction, fixturePort(predictionFixture));
  port.addChild("IPY_MODEL_attribution", "attribution", attribution, fixturePort(attributionFixture));
  const heads = fixturePort<AttentionTraits>(attentionFixture);
  // What the model says next is a picture of its own here.
  heads.update({ prediction: false });
  port.addChild("IPY_MODEL_attention", "attention", attention, heads);
  port.addChild("IPY_MODEL_logit_lens", "logit_lens", logitLens, fixturePort(lensFixture));
  port.addChild("IPY_MODEL_patching", "patching", patching, fixturePort(patchingFixture));
  port.answer("check", (args) => {
    const { prompt = "", corrupted = "" } = args as Partial<Question>;
    return read(prompt, corrupted);
  });
  port.answer("set_inputs", () => ({}));
  port.answer("show", ({ panels }: { panels?: string[] }) => {
    const shown = panels ?? [];
    port.update({
      panels: shown,
      views: Object.fromEntries(shown.map((panel) => [panel, `IPY_MODEL_${panel}`])),
    });
    return {};
  });
  port.answer("undo", () => ({}));
  port.answer("changes_code", () => ({ code: "interventions = mw.Interventions([])\n" }));
  return port;
}

/** Words are tokens. */
export function read(prompt: string, corrupted: string, problems: Typed["problems"] = {}): Typed {
  const tokens = { prompt: words(prompt), corrupted: words(corrupted) };
  const differ = (one: string[], other: string[]) =>
    other.length > 0 ? one.map((token, at) => token !== other[at]) : [];
  const of = (one: string[], other: string[]) => ({
    tokens: one,
    count: one.length,
    differ: differ(one, other),
  });
  return {
    prompt: of(tokens.prompt, tokens.corrupted),
    corrupted: of(tokens.corrupted, tokens.prompt),
    problems,
  };
}

function words(text: string): string[] {
  return text.match(/ ?[^ ]+/g) ?? [];
}
