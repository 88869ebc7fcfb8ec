/** What screenshots are taken of (see js/test/screenshots.mjs). */
import recorded from "../../../tests/fixtures/attention.json";
import { switchOff } from "../../core/intervention";
import { DETACHED, RequestError } from "../../core/port";
import { fixturePort } from "../../test/fixture";
import type { Scene } from "../../test/scenes";
import { attention } from ".";
import { IOI_TOKENS, sampleDifferencePort, sampleLongPort, samplePort, sampleScoresPort } from "./sample";
import type { Traits } from "./traits";

const LONG_TOKENS = [0, 1, 2, 3, 4].flatMap(() => [...IOI_TOKENS, ".\n"]);

export const SCENES: Readonly<Record<string, Scene>> = {
  attention: (_, show) => show("attention", attention, fixturePort<Traits>(recorded)),
  "attention-modified": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.set("interventions", [switchOff(23, 3)]);
    show("attention", attention, port);
  },
  "attention-gpt2": (_, show) => show("attention", attention, samplePort({ layers: 12, heads: 12 })),
  "attention-large": (_, show) =>
    show("attention", attention, samplePort({ layers: 32, heads: 32, tokens: LONG_TOKENS, block: 5 })),
  "attention-long": (_, show) => {
    const port = samplePort({
      layers: 4,
      heads: 4,
      tokens: [...LONG_TOKENS, ...LONG_TOKENS, ...LONG_TOKENS],
      block: 10,
    });
    port.update({ position: 100 });
    show("attention", attention, port);
  },
  "attention-computing": (_, show) => {
    const { port, compute } = sampleLongPort({ tokens: LONG_TOKENS, block: 3 });
    port.update({ score: "induction", position: 60 });
    show("attention", attention, port);
    setTimeout(() => compute(13), 100);
  },
  "attention-tinted": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.update({ score: "induction" });
    show("attention", attention, port);
  },
  "attention-sorted": (_, show) => {
    const port = samplePort();
    port.update({
      score: "induction",
      order: "score",
      heads: [
        [9, 1],
        [12, 2],
      ],
    });
    show("attention", attention, port);
  },
  "attention-kept": (_, show) => {
    const port = samplePort();
    port.update({
      score: "previous_token",
      heads: [
        [9, 1],
        [12, 2],
        [20, 0],
        [3, 3],
      ],
      position: 9,
    });
    show("attention", attention, port);
  },
  "attention-compared": (_, show) => {
    const others = IOI_TOKENS.map((token, at) => (at === 9 ? " Mary" : token));
    const port = sampleDifferencePort(others);
    port.update({ score: "duplicate_token" });
    show("attention", attention, port);
  },
  "attention-scores": (_, show) => show("attention", attention, sampleScoresPort(6)),
  "attention-many": (_, show) => {
    const port = samplePort();
    port.update({
      prompt: [IOI_TOKENS.join(""), IOI_TOKENS.join("").replaceAll("Mary", "Ann")],
      alternatives: IOI_TOKENS.map((token) => (token === " Mary" ? [" Ann", " Tom"] : [])),
    });
    show("attention", attention, port);
  },
  "attention-texts": (_, show) => {
    const tokens = [
      "<img src=x onerror=alert(1)>",
      " שלום",
      " עולם",
      "你好",
      "世界",
      "\u0000\n",
      "\u202e",
      " ",
      "مرحبا",
    ];
    show("attention", attention, samplePort({ layers: 6, heads: 4, tokens: [...tokens, "x".repeat(90)] }));
  },
  "attention-busy": (_, show) => {
    const port = samplePort();
    port.set("interventions", [switchOff(4, 7), switchOff(12, 2), switchOff(20, 0)]);
    port.answer("patterns", () => new Promise(() => undefined));
    show("attention", attention, port);
  },
  "attention-changes": (_, show) => {
    const port = samplePort();
    port.set("interventions", [
      switchOff(4, 7),
      { ...switchOff(4, 7), op: "add", value: 2 },
      { ...switchOff(4, 7), op: "add", value: [1, 2] },
      { ...switchOff(9, 1), position: 5 },
      { ...switchOff(12, 0), site: "mlp_out", head: null },
      { ...switchOff(20, 0), site: "resid_pre", head: null, position: 3, op: "patch", value: [1, 2] },
    ]);
    show("attention", attention, port);
  },
  "attention-detached": (_, show) => {
    const port = samplePort();
    port.setCapabilities({ live: false, detached: true });
    for (const name of ["patterns", "predict"]) {
      port.answer(name, () => {
        throw new RequestError(
          "The kernel that drew this picture is gone. Run the cell again to get one that answers.",
          DETACHED,
        );
      });
    }
    show("attention", attention, port);
  },
  "attention-error": (_, show) => {
    const port = samplePort();
    port.answer("predict", () => {
      throw new RequestError(
        "Head L4H7 gave NaN: the weights of its layer hold NaN. Load them again.",
        "ValueError",
      );
    });
    show("attention", attention, port);
  },
};
