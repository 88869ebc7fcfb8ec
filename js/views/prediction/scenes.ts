/** What screenshots are taken of (see js/test/screenshots.mjs). */
import recorded from "../../../tests/fixtures/prediction.json";
import { fixturePort } from "../../test/fixture";
import type { Scene } from "../../test/scenes";
import { prediction } from ".";
import { distribution, samplePort } from "./sample";
import type { Traits } from "./traits";

export const SCENES: Readonly<Record<string, Scene>> = {
  prediction: (_, show) => show("prediction", prediction, fixturePort<Traits>(recorded)),
  "prediction-written": (host, show) => {
    show("prediction", prediction, fixturePort<Traits>(recorded));
    [...host.querySelectorAll("button")].find(({ textContent }) => textContent === "Write")?.click();
  },
  "prediction-plain": (_, show) => show("prediction", prediction, samplePort()),
  "prediction-awkward": (_, show) => {
    const tokens = ["\n\n", "\t<b>x", "<img src=x>", " antidisestablishmentarianism", " 日本語", " שלום"];
    const some = [0.3, 0.25, 0.2, 0.1, 0.1, 0.0001];
    show("prediction", prediction, samplePort({ distribution: distribution(tokens, some, some) }));
  },
};
