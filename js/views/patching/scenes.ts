/** What screenshots are taken of (see js/test/screenshots.mjs). */
import recorded from "../../../tests/fixtures/patching.json";
import results from "../../../tests/fixtures/patching_results.json";
import type { Cell } from "../../core/canvas";
import { RequestError } from "../../core/port";
import { fixturePort } from "../../test/fixture";
import type { Scene } from "../../test/scenes";
import { patching } from ".";
import { CLEAN_TOKENS, finishedTraits, layersBy, patch, pinning, samplePort, sampleResult } from "./sample";
import type { Traits } from "./traits";

/** A finished result of another site, of which the last layers have not been run. */
function partialPort() {
  const [result, first] = [sampleResult("resid_mid"), 25 * CLEAN_TOKENS.length];
  const computed = Uint8Array.from(result.data, (_, cell) => Number(cell < first));
  result.data.fill(Number.NaN, first);
  return samplePort({
    ...finishedTraits("resid_mid", layersBy("position", CLEAN_TOKENS.length), result.data),
    computed: { resid_mid: { dtype: "uint8", shape: result.shape, data: computed } },
  });
}

const done = { resid_pre: sampleResult("resid_pre"), z: sampleResult("z") };

/** Finished results of every kind, as Python tells of them. */
const RESULTS = Object.entries(results).map(([name, fixture]): [string, Scene] => [
  `patching-result-${name}`,
  (_, show) => show("patching", patching, fixturePort<Traits>(fixture)),
]);

/** As if the pointer were on a cell. */
function hoverAt(host: HTMLElement, cell: Cell): void {
  const grid = host.querySelector<HTMLElement>("[role=grid]");
  if (!grid) return;
  const [x = 0, y = 0, width = 0, height = 0] = (grid.dataset.cells ?? "").split(" ").map(Number);
  const { left, top } = grid.getBoundingClientRect();
  const [clientX, clientY] = [left + x + (cell.col + 0.5) * width, top + y + (cell.row + 0.5) * height];
  grid.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
}

export const SCENES: Readonly<Record<string, Scene>> = {
  ...Object.fromEntries(RESULTS),
  patching: (_, show) => show("patching", patching, fixturePort<Traits>(recorded)),
  "patching-raw": (_, show) => {
    const port = fixturePort<Traits>(recorded);
    port.update({ scale: "raw", layer: 21, position: 13 });
    show("patching", patching, port);
  },
  "patching-heads": (_, show) => show("patching", patching, samplePort({ site: "z", results: done })),
  "patching-running": (_, show) => show("patching", patching, samplePort({}, 120)),
  "patching-stopped": (host, show) => {
    show("patching", patching, samplePort({}, 120));
    setTimeout(() => host.querySelector<HTMLButtonElement>(".mw-sweep button")?.click(), 50);
  },
  "patching-pins": (host, show) => {
    const interventions = [
      patch("resid_pre", 19, { position: 9 }),
      patch("resid_pre", 22, { position: 13 }),
      patch("z", 23, { head: 3 }),
    ];
    show("patching", patching, pinning({ interventions }));
    setTimeout(() => hoverAt(host, { row: 12, col: 6 }), 60);
  },
  "patching-nan": (_, show) => {
    const damaged = sampleResult("resid_pre");
    for (const at of [30, 31, 150, 263]) damaged.data[at] = Number.NaN;
    show("patching", patching, samplePort({ results: { ...done, resid_pre: damaged } }));
  },
  "patching-finished": (_, show) => show("patching", patching, partialPort()),
  "patching-detached": (_, show) => {
    const port = samplePort();
    port.setCapabilities({ live: false, detached: true });
    show("patching", patching, port);
  },
  "patching-same": (_, show) =>
    show("patching", patching, samplePort({ results: done, clean_metric: -5.49 })),
  "patching-long": (_, show) => {
    const tokens = Array.from({ length: 256 }, (_, at) => CLEAN_TOKENS[at % CLEAN_TOKENS.length] ?? "");
    const other = tokens.map((token, at) => (at === 100 ? "\n<b>" : token));
    const results = { resid_pre: sampleResult("resid_pre", 256), z: null };
    const axes = { resid_pre: layersBy("position", 256), z: layersBy("head", 9) };
    show("patching", patching, samplePort({ clean_tokens: tokens, corrupted_tokens: other, axes, results }));
  },
  "patching-error": (host, show) => {
    const port = samplePort({ results: done });
    port.answer("set_inputs", () => {
      throw new RequestError(
        "Answer ' Mary Ann' is 2 tokens (' Mary', ' Ann'); a logit difference needs one. Use its first token.",
        "ValueError",
      );
    });
    show("patching", patching, port);
    host.querySelector("details")?.setAttribute("open", "");
    host.querySelector("form")?.requestSubmit();
  },
};
