/** What screenshots are taken of (see js/test/screenshots.mjs). */
import recorded from "../../../tests/fixtures/attribution.json";
import { switchOff } from "../../core/intervention";
import { RequestError } from "../../core/port";
import { fixturePort } from "../../test/fixture";
import type { Scene } from "../../test/scenes";
import { attribution } from ".";
import { samplePort } from "./sample";
import type { Traits } from "./traits";

const AWKWARD = [
  "\n\n",
  "\t<b>x",
  "\ufffd",
  "  ",
  " antidisestablishmentarianism",
  " 日本語",
  " שלום",
  "<img src=x>",
];

export const SCENES: Readonly<Record<string, Scene>> = {
  attribution: (_, show) => show("attribution", attribution, fixturePort<Traits>(recorded)),
  "attribution-head": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.update({ layer: 23, head: 3 });
    show("attribution", attribution, port);
  },
  "attribution-mlp": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.update({ layer: 29, part: "mlp" });
    show("attribution", attribution, port);
  },
  "attribution-neuron": (_, show) => {
    const port = samplePort();
    port.update({ layer: 20, part: "mlp", neuron: 12 });
    show("attribution", attribution, port);
  },
  "attribution-changed": (_, show) => {
    const port = samplePort();
    const off = switchOff(23, 3);
    port.update({
      interventions: [off],
      answered: { position: 13, interventions: [off] },
      others: { embed: 0.12, bias: -0.4, rest: 0.31 },
      capped: true,
      logit: 2.1,
      layer: 11,
    });
    show("attribution", attribution, port);
  },
  "attribution-deep": (_, show) =>
    show("attribution", attribution, samplePort({ layers: 80, heads: 64, answer: "", wrong: "" })),
  "attribution-awkward": (_, show) =>
    show(
      "attribution",
      attribution,
      samplePort({ layers: 6, tokens: AWKWARD, answer: " שלום", wrong: "\n\n" }),
    ),
  "attribution-error": (host, show) => {
    const port = samplePort();
    port.answer("set_inputs", () => {
      throw new RequestError("Answer ' Mary Ann' is 2 tokens (' Mary', ' Ann').", "ValueError");
    });
    show("attribution", attribution, port);
    host.querySelector("form")?.requestSubmit();
  },
};
