/** The scenes that screenshots are taken of: a view, its data, and what a reader has done to it. */
import { switchOff } from "../core/intervention";
import type { View } from "../core/mount";
import type { Port } from "../core/port";
import { RequestError } from "../core/port";
import { attention } from "../views/attention";
import { IOI_TOKENS, samplePort } from "../views/attention/sample";
import { SCENES as LOGIT_LENS } from "../views/logit_lens/scenes";
import { SCENES as PATCHING } from "../views/patching/scenes";

export type Show = <Traits extends object>(kind: string, view: View<Traits>, port: Port<Traits>) => void;
export type Scene = (host: HTMLElement, show: Show) => void;

const LONG_TOKENS = [0, 1, 2, 3, 4].flatMap(() => [...IOI_TOKENS, ".\n"]);

export const SCENES: Readonly<Record<string, Scene>> = {
  attention: (_, show) => show("attention", attention, samplePort()),
  "attention-modified": (_, show) => {
    const port = samplePort();
    port.set("interventions", [switchOff(4, 7), switchOff(12, 2), switchOff(20, 0)]);
    show("attention", attention, port);
  },
  "attention-gpt2": (_, show) => show("attention", attention, samplePort({ layers: 12, heads: 12 })),
  "attention-large": (_, show) =>
    show("attention", attention, samplePort({ layers: 32, heads: 32, tokens: LONG_TOKENS, block: 5 })),
  "attention-busy": (_, show) => {
    const port = samplePort();
    port.answer("pattern", () => new Promise(() => undefined));
    show("attention", attention, port);
  },
  "attention-error": (_, show) => {
    const port = samplePort();
    port.answer("predict", () => {
      throw new RequestError(
        "Head 7 of layer 4 gave NaN. The weights of blocks.4.attn hold NaN; load them again.",
        "ValueError",
      );
    });
    show("attention", attention, port);
  },
  ...LOGIT_LENS,
  ...PATCHING,
};
