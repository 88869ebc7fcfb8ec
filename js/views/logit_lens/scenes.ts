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
  "logit_lens-entropy": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.update({ color_by: "entropy", row: 24, position: 4 });
    show("logit_lens", logitLens, port);
  },
  "logit_lens-ioi": (_, show) => show("logit_lens", logitLens, samplePort({ tokens: IOI })),
  "logit_lens-long": (_, show) => show("logit_lens", logitLens, samplePort({ tokens: LONG })),
  "logit_lens-deep": (_, show) => show("logit_lens", logitLens, samplePort({ tokens: IOI, layers: 80 })),
  "logit_lens-awkward": (_, show) =>
    show("logit_lens", logitLens, samplePort({ tokens: AWKWARD, answers: AWKWARD, layers: 12 })),
  "logit_lens-error": (host, show) => {
    const port = samplePort();
    port.answer("set_prompt", () => {
      throw new RequestError("The prompt is empty. Type at least one token.", "ValueError");
    });
    show("logit_lens", logitLens, port);
    host.querySelector("form")?.requestSubmit();
  },
};
