import { expect, test } from "vitest";
import recorded from "../../../tests/fixtures/patching.json";
import { RequestError } from "../../core/port";
import { cellColour, clickCell, hoverCell, painted, press, status, type ThemeName } from "../../test/dom";
import { type Answerer, type FakePort, held } from "../../test/fake_port";
import { fixturePort } from "../../test/fixture";
import { fill, type Picture, showPicture, violations } from "../../test/picture";
import { patching } from ".";
import {
  CHANGED,
  CLEAN_TOKENS,
  CORRUPTED_TOKENS,
  finishedTraits,
  layersBy,
  samplePort,
  sampleResult,
} from "./sample";
import { makeScale } from "./scale";
import { select } from "./testing";
import type { Traits } from "./traits";

const DONE = { resid_pre: sampleResult("resid_pre"), z: sampleResult("z") };
const LAST = CLEAN_TOKENS.length - 1;

const show = (port: FakePort<Traits>, theme: ThemeName = "light"): Promise<Picture> =>
  showPicture("patching", patching, port, theme);
const sweepLine = (picture: Picture) => picture.find(".mw-sweep").textContent;
const finished = (changes: Partial<Traits> = {}) => samplePort({ results: DONE, ...changes });

for (const theme of ["light", "dark"] as const) {
  test(`the corrupted baseline is the surface, the clean one the end of the map (${theme})`, async () => {
    const surface = theme === "light" ? 255 : 17;
    const picture = await show(finished(), theme);
    // A map of 256 colours has no middle one.
    for (const channel of cellColour(picture.grid, { row: 3, col: 2 })) {
      expect(Math.abs(channel - surface)).toBeLessThan(3);
    }
    const [red = 0, , blue = 0] = cellColour(picture.grid, { row: 3, col: CHANGED });
    expect(blue).toBeGreaterThan(red + 80);
  });
}

test("values below the corrupted baseline take the other side of the map", async () => {
  const result = sampleResult("resid_pre");
  result.data.fill(-5.49 - 11.61);
  const picture = await show(finished({ results: { ...DONE, resid_pre: result } }));
  const [red = 0, , blue = 0] = cellColour(picture.grid, { row: 0, col: 0 });
  expect(red).toBeGreaterThan(blue + 80);
});

test("the legend names both baselines, in either unit, and what lies beyond", async () => {
  const port = finished({ site: "z" });
  const picture = await show(port);
  expect(picture.find(".mw-legend-ticks").textContent).toBe("−10 = corrupted: −5.491 = clean: +6.12");
  expect(picture.text()).toMatch(/◂ ▸ ?\d+ cells beyond the ends/);
  picture.button("raw").click();
  await painted();
  expect(port.get("scale")).toBe("raw");
  expect(picture.find(".mw-legend-ticks").textContent).toBe("−17.1corrupted: −5.49clean: +6.12");
});

test("raw and normalised values are two names of one place", () => {
  const scale = makeScale({ clean: 6, corrupted: -6, direction: "denoise" }, [], "raw");
  expect([-6, 0, 6].map(scale.normalize)).toEqual([0, 0.5, 1]);
  expect([-18, -6, 6].map(scale.place)).toEqual([0, 0.5, 1]);
  expect([-18.1, 6.1, 7].map(scale.isBeyond)).toEqual([false, false, true]);
});

test("where the baselines agree, raw values are shown and the picture says why", async () => {
  const picture = await show(finished({ clean_metric: -5.49 }));
  expect(picture.find("[role=note]").textContent).toContain("normalised values do not exist");
  expect(picture.root.querySelector("[aria-label=Scale]")).toBeNull();
  await hoverCell(picture.grid, { row: 3, col: CHANGED });
  expect(status(picture.root)).toMatch(/→ raw \+6\.12$/);
});

test("the pair stands token under token, and its difference is marked without colour too", async () => {
  const picture = await show(finished());
  const differing = picture.root.querySelectorAll(".mw-differs");
  expect([...differing].map((column) => column.textContent)).toEqual(["·John·Mary"]);
  const style = getComputedStyle(picture.find(".mw-differs .mw-pair-token"));
  expect(style.fontWeight).toBe("700");
  expect(picture.find(".mw-pair").getAttribute("aria-label")).toContain(
    "they differ at position 9, ' John' and ' Mary'",
  );
});

test("pointing at a cell says it in words and numbers", async () => {
  const picture = await show(fixturePort<Traits>(recorded));
  await hoverCell(picture.grid, { row: 21, col: CHANGED });
  expect(status(picture.root)).toMatch(
    /^Layer 21, position 9 ' John' \(corrupted ' Mary'\) → raw \+\d\.\d+, normalised 0\.\d+$/,
  );
  await select(picture, "Patch", "z: heads");
  await hoverCell(picture.grid, { row: 0, col: 8 });
  expect(status(picture.root)).toContain("Layer 0, head 8 →");
});

test("the keyboard walks, pins and unpins, and the kernel hears of it", async () => {
  const port = finished();
  const picture = await show(port);
  await press(picture.grid, "{ArrowDown}{End}{Enter}");
  expect([port.get("layer"), port.get("position")]).toEqual([1, LAST]);
  expect(picture.find(".mw-chosen").textContent).toContain("chosen Layer 1, position 13 ' to' → raw");
  await press(picture.grid, "{Escape}");
  expect([port.get("layer"), port.get("position")]).toEqual([null, null]);
});

test("a click pins; a pin that the other site lacks is not shown", async () => {
  const port = finished();
  const picture = await show(port);
  await clickCell(picture.grid, { row: 5, col: 12 });
  expect([port.get("layer"), port.get("position")]).toEqual([5, 12]);
  port.update({ site: "z" });
  await painted();
  expect(picture.find(".mw-chosen").textContent).not.toContain("chosen Layer");
  expect(picture.grid.getAttribute("aria-colcount")).toBe("9");
});

test("without results the sweep starts by itself, fills the picture and ends", async () => {
  const port = samplePort();
  const picture = await show(port);
  await painted();
  expect(port.sentTo("sweep").map(({ args }) => args)).toEqual([{ site: "resid_pre" }]);
  expect(sweepLine(picture)).toBe("all 420 cells computed");
  expect(picture.root.dataset.state).toBe("ready");
});

test("cells show as they arrive; Stop keeps them and says what is missing; Run goes on", async () => {
  const port = samplePort({}, 120);
  const picture = await show(port);
  await painted();
  expect(picture.root.dataset.state).toBe("busy");
  expect(sweepLine(picture)).toBe("120 of 420 cellsStop");
  expect(picture.find("[role=progressbar]").getAttribute("aria-valuenow")).toBe("120");
  const [red = 0, , blue = 0] = cellColour(picture.grid, { row: 3, col: CHANGED });
  expect(blue).toBeGreaterThan(red + 80);
  await hoverCell(picture.grid, { row: 20, col: 0 });
  expect(status(picture.root)).toContain("→ not computed");
  picture.button("Stop").click();
  await painted();
  expect(port.sentTo("sweep")[0]?.signal?.aborted).toBe(true);
  expect(sweepLine(picture)).toBe("Stopped at 120 of 420 cellsRun");
  expect(picture.text()).toContain("not computed");
  port.answer("sweep", () => {
    port.update({ results: DONE });
    return {};
  });
  picture.find(".mw-sweep button").click();
  await painted();
  expect(sweepLine(picture)).toBe("all 420 cells computed");
  expect(status(picture.root)).toContain("→ raw");
});

test("a cell where the model gives NaN is computed, crossed and named, while others are still missing", async () => {
  const result = sampleResult("resid_pre");
  result.data[3 * 14 + 2] = Number.NaN;
  const port = samplePort();
  port.answer("sweep", (_, options) => {
    const cells = Int32Array.from([3, 2, 3, 3]);
    const values = Float32Array.of(Number.NaN, 1);
    options.onProgress?.({
      ...{ done: 2, total: 420 },
      cells: { dtype: "int32", shape: [2, 2], data: cells },
      values: { dtype: "float32", shape: [2], data: values },
    });
    return new Promise(() => undefined);
  });
  const picture = await show(port);
  expect(sweepLine(picture)).toBe("2 of 420 cellsStop");
  await hoverCell(picture.grid, { row: 3, col: 2 });
  expect(status(picture.root)).toMatch(/→ NaN: the model gave no number$/);
  expect(picture.text()).toContain("not computed");
  port.update({ results: { ...DONE, resid_pre: result } });
  await painted();
  expect(picture.text()).not.toContain("not computed");
  expect(picture.text()).toContain("NaN: in 1 cell the model gave no number");
  // The cross goes through the middle of the cell, in the ink's colour.
  expect(Math.max(...cellColour(picture.grid, { row: 3, col: 2 }))).toBeLessThan(90);
});

test("cells that the model does not have are plain, not counted and not awaited", async () => {
  const absent = new Uint8Array(30 * 9).fill(1, 0, 2 * 9);
  const result = sampleResult("z");
  result.data.fill(Number.NaN, 0, 2 * 9);
  const traits = { site: "z", absent: { z: { dtype: "uint8", shape: [30, 9], data: absent } } } as const;
  const begun = await show(samplePort(traits, 0));
  expect(sweepLine(begun)).toBe("0 of 252 cellsStop");
  const picture = await show(samplePort({ ...traits, results: { ...DONE, z: result } }));
  expect(sweepLine(picture)).toBe("all 252 cells computed");
  await hoverCell(picture.grid, { row: 1, col: 2 });
  expect(status(picture.root)).toBe("Layer 1, head 2: the model has none there");
  expect(picture.text()).toContain("plain: the model has no such cell");
  expect(picture.text()).not.toContain("NaN");
  expect(picture.text()).not.toContain("not computed");
});

test("all NaN is a finished sweep", async () => {
  const result = sampleResult("resid_pre");
  result.data.fill(Number.NaN);
  const picture = await show(finished({ results: { ...DONE, resid_pre: result } }));
  expect(sweepLine(picture)).toBe("all 420 cells computed");
  expect(picture.text()).toContain("NaN: in 420 cells the model gave no number");
});

test("another site is swept when it is chosen, and the first sweep makes way", async () => {
  const port = samplePort({}, 60);
  const picture = await show(port);
  await select(picture, "Patch", "z: heads");
  expect(port.sentTo("sweep").map(({ args }) => args)).toEqual([{ site: "resid_pre" }, { site: "z" }]);
  expect(port.sentTo("sweep")[0]?.signal?.aborted).toBe(true);
  await select(picture, "Patch", "resid_pre: residual stream into the layer");
  expect(port.sentTo("sweep").length).toBe(3);
});

test("a sweep that fails says why and can be run again", async () => {
  const port = samplePort();
  port.answer("sweep", () => {
    throw new RequestError("Layer 3 gave NaN; the weights hold NaN.", "ValueError");
  });
  const picture = await show(port);
  expect(picture.find("[role=alert]").textContent).toBe("Layer 3 gave NaN; the weights hold NaN.");
  expect(picture.root.dataset.state).toBe("error");
  expect(port.sentTo("sweep").length).toBe(1);
  expect(picture.find(".mw-sweep button").textContent).toBe("Run");
});

/** As the kernel takes a new pair: everything at once, no results yet. */
function takePair(port: FakePort<Traits>): Answerer {
  return (args) => {
    const { clean, corrupted } = args as { clean: string; corrupted: string };
    const [clean_tokens = [], corrupted_tokens = []] = [clean, corrupted].map(
      (text) => text.match(/ ?\S+/g) ?? [],
    );
    const axes = { resid_pre: layersBy("position", clean_tokens.length), z: layersBy("head", 9) };
    port.update({ ...args, clean_tokens, corrupted_tokens, axes, results: { resid_pre: null, z: null } });
    return {};
  };
}

test("a new pair is asked for, drawn, and swept anew", async () => {
  const port = finished();
  port.answer("set_inputs", takePair(port));
  port.answer("sweep", held().answerer);
  const picture = await show(port);
  picture.find("details").setAttribute("open", "");
  await fill(picture.find("[name=clean]"), "one two");
  await fill(picture.find("[name=corrupted]"), "one three");
  picture.find<HTMLFormElement>("form").requestSubmit();
  await painted();
  expect(port.sentTo("set_inputs").map(({ args }) => args)).toEqual([
    { clean: "one two", corrupted: "one three", answer: " Mary", wrong: " John" },
  ]);
  expect(port.sentTo("sweep").map(({ args }) => args)).toEqual([{ site: "resid_pre" }]);
  expect(sweepLine(picture)).toBe("0 of 60 cellsStop");
});

test("a pair that cannot be used leaves its reason, and the sweep goes on", async () => {
  const port = samplePort({}, 120);
  port.answer("set_inputs", () => {
    throw new RequestError("The prompts have 3 and 4 tokens; a pair needs as many.", "ValueError");
  });
  const picture = await show(port);
  picture.find<HTMLFormElement>("form").requestSubmit();
  await painted();
  expect(picture.find("[role=alert]").textContent).toContain("3 and 4 tokens");
  expect(port.sentTo("sweep").length).toBe(2);
  expect(sweepLine(picture)).toBe("120 of 420 cellsStop");
});

test("without a kernel nothing is asked, and the picture says what is missing", async () => {
  const port = samplePort();
  port.setCapabilities({ live: false, detached: true });
  const picture = await show(port);
  expect(port.sent).toEqual([]);
  expect(picture.root.dataset.state).toBe("detached");
  expect(sweepLine(picture)).toBe("420 of 420 cells are not computed; that takes a running kernel.");
});

test("a finished result is shown as it is, and nothing can be run or changed", async () => {
  const [result, computed] = [sampleResult("k", 9), new Uint8Array(270).fill(1)];
  result.data[1] = result.data[2] = Number.NaN;
  computed[1] = 0;
  const port = samplePort({
    ...finishedTraits("k", layersBy("head", 9), result.data),
    computed: { k: { dtype: "uint8", shape: [30, 9], data: computed } },
  });
  const picture = await show(port);
  expect(port.sent).toEqual([]);
  expect(picture.root.querySelector("form, .mw-sweep button")).toBeNull();
  expect(sweepLine(picture)).toBe("1 of 270 cells have not been run.");
  await hoverCell(picture.grid, { row: 0, col: 1 });
  expect(status(picture.root)).toBe("Layer 0, head 1 → not computed");
  await hoverCell(picture.grid, { row: 0, col: 2 });
  expect(status(picture.root)).toContain("NaN: the model gave no number");
});

test("token text is text", async () => {
  const [clean, corrupted] = ["<img src=x onerror=alert(1)>", "<b>\n"];
  const results = { resid_pre: sampleResult("resid_pre", 2), z: null };
  const port = samplePort({
    clean_tokens: ["a", clean],
    corrupted_tokens: ["a", corrupted],
    metric_name: "<i>metric</i>",
    axes: { resid_pre: layersBy("position", 2) },
    results,
  });
  const picture = await show(port);
  expect(picture.root.querySelector("img, b, i")).toBeNull();
  expect(picture.find(".mw-differs").textContent).toBe(`${clean}<b>⏎`);
  await hoverCell(picture.grid, { row: 0, col: 1 });
  expect(status(picture.root)).toContain(`'${clean}' (corrupted '<b>⏎')`);
});

test("axe finds nothing broken, idle, running and in error", async () => {
  for (const theme of ["light", "dark"] as const) {
    for (const port of [finished({ layer: 2, position: 3 }), samplePort({}, 120)]) {
      port.answer("set_inputs", () => {
        throw new RequestError("no", "ValueError");
      });
      const picture = await show(port, theme);
      picture.find("details").setAttribute("open", "");
      picture.find<HTMLFormElement>("form").requestSubmit();
      await painted();
      expect(await violations(picture.root)).toEqual([]);
      picture.end();
    }
  }
});

test("a long pair scrolls in its own boxes", async () => {
  const tokens = Array.from({ length: 256 }, (_, at) => CORRUPTED_TOKENS[at % 14] ?? "");
  const results = { resid_pre: sampleResult("resid_pre", 256), z: null };
  const axes = { resid_pre: layersBy("position", 256) };
  const picture = await show(samplePort({ clean_tokens: tokens, corrupted_tokens: tokens, axes, results }));
  expect(picture.root.scrollWidth).toBe(picture.root.clientWidth);
  await press(picture.grid, "{End}");
  expect(picture.grid.scrollLeft).toBeGreaterThan(2_000);
  expect(await violations(picture.root)).toEqual([]);
});

test("results of another size are an error in the picture's place", async () => {
  const port = finished();
  const picture = await show(port);
  port.update({ results: { ...DONE, resid_pre: sampleResult("resid_pre", 3) } });
  await painted();
  expect(picture.find("[role=alert]").textContent).toContain("have 90 cells; expected 420");
});

test("the end of the view ends its listeners and its sweep", async () => {
  const port = samplePort({}, 60);
  const picture = await show(port);
  picture.end();
  await painted();
  expect(port.listeners).toBe(0);
  expect(port.sentTo("sweep")[0]?.signal?.aborted).toBe(true);
});
