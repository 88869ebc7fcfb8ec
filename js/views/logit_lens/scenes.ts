/** What screenshots are taken of (see js/test/screenshots.mjs). */
import recorded from "../../../tests/fixtures/logit_lens.json";
import { RequestError } from "../../core/port";
import { fixturePort } from "../../test/fixture";
import type { Scene } from "../../test/scenes";
import { logitLens } from ".";
import { FRANCE_TOKENS, samplePort } from "./sample";
import type { Traits } from "./traits";

const IOI = "When Mary and John went to the store, John gave a drink to".match(/ ?[^ ,]+|,/g) ?? [];
const LONG = Array.from({ length: 256 }, (_, index) => FRANCE_TOKENS[index % FRANCE_TOKENS.length] ?? "");
const AWKWARD = ["\n\n", "\t<b>x", "�", "  ", " antidisestablishmentarianism", "", " 日本語のトークン"];

export const SCENES: Readonly<Record<string, Scene>> = {
  logit_lens: (_, show) => show("logit_lens", logitLens, fixturePort<Traits>(recorded)),
  "logit_lens-followed": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.update({ color_by: "kl", layer: 29, position: 4 });
    show("logit_lens", logitLens, port);
  },
  "logit_lens-entropy": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.update({ color_by: "entropy", layer: 23, position: 4 });
    show("logit_lens", logitLens, port);
  },
  "logit_lens-compare": (_, show) => {
    const port = samplePort({ tokens: FRANCE_TOKENS, compare: ["The", " capital", " of", " Italy", " is"] });
    port.update({ layer: 20, position: 4 });
    show("logit_lens", logitLens, port);
  },
  "logit_lens-target": (_, show) => {
    const port = samplePort({ tokens: IOI });
    port.update({ target: 104, target_text: " Paris", color_by: "rank", has_tuned_lens: true, tuned: true });
    show("logit_lens", logitLens, port);
  },
  "logit_lens-unreadable": (_, show) => {
    const port = samplePort({ layers: 6 });
    const broken = port.get("entropy").data.map((value, at) => (at > 4 && at < 9 ? Number.NaN : value));
    const probs = port.get("top_probs").data.map((value, at) => (at > 49 && at < 90 ? Number.NaN : value));
    port.update({
      entropy: { ...port.get("entropy"), data: broken },
      top_probs: { ...port.get("top_probs"), data: probs },
      stream: "mlp_out",
      row_labels: ["0", "1", "2", "3", "4", "5", "output"],
    });
    show("logit_lens", logitLens, port);
  },
  "logit_lens-ioi": (_, show) => show("logit_lens", logitLens, samplePort({ tokens: IOI })),
  "logit_lens-long": (_, show) => show("logit_lens", logitLens, samplePort({ tokens: LONG })),
  "logit_lens-deep": (_, show) => show("logit_lens", logitLens, samplePort({ tokens: IOI, layers: 80 })),
  "logit_lens-awkward": (_, show) =>
    show("logit_lens", logitLens, samplePort({ tokens: AWKWARD, answers: AWKWARD, layers: 12 })),
  "logit_lens-error": (host, show) => {
    const port = samplePort();
    port.answer("set_inputs", () => {
      throw new RequestError("The prompt is empty. Type at least one token.", "ValueError");
    });
    show("logit_lens", logitLens, port);
    host.querySelector("form")?.requestSubmit();
  },
};
