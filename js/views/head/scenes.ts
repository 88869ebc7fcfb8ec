/** What screenshots are taken of (see js/test/screenshots.mjs). */
import recorded from "../../../tests/fixtures/head.json";
import { switchOff } from "../../core/intervention";
import { RequestError } from "../../core/port";
import { fixturePort } from "../../test/fixture";
import type { Scene } from "../../test/scenes";
import { head } from ".";
import { samplePort } from "./sample";
import type { Question, Traits } from "./traits";

const AWKWARD = ["<img src=x onerror=alert(1)>", " שלום", "你好", "\u0000\n", "\u202e", " ", "x".repeat(60)];
const GATED =
  "Attention of qwen3_5_text multiplies what its heads write with a gate that the query reads, so a head has no OV circuit of its own.";
const NO_MATRIX =
  "model.blocks[2].attn has no matrix of its own for k: this layer has no attention, or makes its k otherwise.";
const WHY: Partial<Record<Question, string>> = {
  writes: GATED,
  copying: NO_MATRIX,
  looks: NO_MATRIX,
  composition: NO_MATRIX,
};

export const SCENES: Readonly<Record<string, Scene>> = {
  head: (_, show) => show("head", head, fixturePort<Traits>(recorded)),
  "head-modified": (_, show) => {
    const port = samplePort();
    port.update({ interventions: [switchOff(9, 1)], token: " Paris", stream: "embedding", distance: 1 });
    show("head", head, port);
  },
  "head-gpt2": (_, show) => {
    const port = samplePort({ layers: 12, heads: 12 });
    port.update({ layer: 5, head: 5, position: 9 });
    show("head", head, port);
  },
  "head-large": (_, show) => {
    const port = samplePort({ layers: 48, heads: 25 });
    port.update({ layer: 30, head: 20 });
    show("head", head, port);
  },
  "head-first-layer": (_, show) => {
    const port = samplePort({ layers: 4, heads: 4 });
    port.update({ layer: 0, head: 0 });
    show("head", head, port);
  },
  "head-texts": (_, show) => show("head", head, samplePort({ layers: 6, heads: 4, tokens: AWKWARD })),
  "head-without": (_, show) => {
    const port = samplePort({ layers: 6, heads: 4 });
    for (const [name, why] of Object.entries(WHY)) port.answer(name, () => ({ unavailable: why }));
    show("head", head, port);
  },
  "head-busy": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    for (const name of ["pattern", "writes", "looks", "composition", "copying"])
      port.answer(name, () => new Promise(() => undefined));
    port.update({ layer: 12 });
    show("head", head, port);
  },
  "head-detached": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.setCapabilities({ live: false, detached: true });
    show("head", head, port);
  },
  "head-error": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.answer("set_inputs", () => {
      throw new RequestError("The prompt is empty. Write a text.", "ValueError");
    });
    for (const name of ["pattern", "writes", "looks", "composition", "copying"])
      port.answer(name, () => {
        throw new RequestError("NaN or infinity in the pattern of L4H7.", "ValueError");
      });
    port.update({ layer: 4, head: 7 });
    show("head", head, port);
  },
};
