/** What screenshots are taken of (see js/test/screenshots.mjs). */
import { switchOff } from "../../core/intervention";
import type { Scene } from "../../test/scenes";
import { workbench } from ".";
import { read, samplePort } from "./sample";
import type { Question } from "./traits";

const THREE = ["prediction", "attribution", "attention"];
const views = (panels: string[]) => ({
  panels,
  views: Object.fromEntries(panels.map((panel) => [panel, `IPY_MODEL_${panel}`])),
});

export const SCENES: Readonly<Record<string, Scene>> = {
  workbench: (_, show) =>
    show("workbench", workbench, samplePort({ ...views(THREE), corrupted: "", corrupted_tokens: [] })),
  "workbench-pair": (_, show) =>
    show(
      "workbench",
      workbench,
      samplePort({
        ...views([...THREE, "patching"]),
        layer: 23,
        head: 3,
        position: 13,
        entries: [
          { intervention: switchOff(23, 3), on: true },
          { intervention: { ...switchOff(9, 1), position: 4 }, on: false },
        ],
        interventions: [switchOff(23, 3)],
      }),
    ),
  "workbench-typing": (_, show) => {
    const port = samplePort();
    const problem =
      "The prompts of a pair need equally many tokens, so that each position has its counterpart. clean has 14, corrupted 15; they part at position 9:\n" +
      "clean      ' John'  ' gave'  ' a'  ' drink'  ' to'\ncorrupted  ' Mary'  ' gave'  ' a'  ' drink'  ' to'  ' her'\n           ^^^^^^^                                    ^^^^^^";
    const problems = { corrupted: problem, answer: "Answer 'Mary' has no space in front." };
    port.answer("check", (args) => {
      const { prompt = "", corrupted = "" } = args as Partial<Question>;
      return read(prompt, `${corrupted} her`, problems);
    });
    show("workbench", workbench, port);
  },
  "workbench-awkward": (_, show) => {
    const port = samplePort({
      prompt: "<img src=x onerror=alert(1)> </script> 日本語 שלום",
      corrupted: "",
      title: "<b>A title</b>",
      ...views(["prediction"]),
      stale: ["prediction"],
    });
    port.answer("check", () => ({
      ...read("", ""),
      prompt: {
        tokens: [
          "<img src=x onerror=alert(1)>",
          "</script>",
          " 日本語",
          " שלום",
          "\n\n\t",
          " antidisestablishmentarianism".repeat(3),
        ],
        count: 900,
        differ: [],
      },
    }));
    show("workbench", workbench, port);
  },
};
