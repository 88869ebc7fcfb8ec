/** Finished results of every shape. */
import { expect, test } from "vitest";
import { cellColour, clickCell, hoverCell, painted, press, status, type ThemeName } from "../../test/dom";
import { colourBeside, type Picture, showPicture, violations } from "../../test/picture";
import { patching } from ".";
import { sheetIndex, sheets } from "./axes";
import { cellTable } from "./cell_table";
import { axis, CLEAN_TOKENS, CORRUPTED_TOKENS, finishedTraits, samplePort } from "./sample";
import { makeScale } from "./scale";
import { select } from "./testing";
import type { Axis, Traits } from "./traits";

const COLUMNS: Axis[] = [axis("layer", 4), axis("head", 3)];

function port(site: string, axes: Axis[], values: ArrayLike<number>, changes: Partial<Traits> = {}) {
  return samplePort({ ...finishedTraits(site, axes, Float32Array.from(values)), ...changes });
}

const show = (given: ReturnType<typeof port>, theme: ThemeName = "light"): Promise<Picture> =>
  showPicture("patching", patching, given, theme);

/** From the corrupted baseline (−5.49), `shares` of the way to the clean one. */
const metric = (shares: number[]) => shares.map((share) => -5.49 + share * 11.61);

const ONE_PROMPT: Partial<Traits> = {
  ...{ direction: "zero", corrupted: "", corrupted_tokens: [], corrupted_metric: null },
};

test("subsets have their true labels, and the chosen place is by label", async () => {
  const axes = [
    { name: "layer", values: [5, 9] },
    { name: "head", values: [2, 7, 8] },
  ];
  const given = port("z", axes, metric([0, 0.1, 0.2, 0.3, 0.4, 0.5]));
  const picture = await show(given);
  await clickCell(picture.grid, { row: 1, col: 2 });
  expect([given.get("layer"), given.get("head")]).toEqual([9, 8]);
  expect(picture.find(".mw-chosen").textContent).toContain(
    "chosen Layer 9, head 8 → raw +0.315, normalised 0.5",
  );
  given.update({ layer: 5 });
  await painted();
  expect(picture.find(".mw-chosen").textContent).toContain("Layer 5, head 8");
  given.update({ head: 3 });
  await painted();
  expect(picture.find(".mw-chosen").textContent).not.toContain("chosen");
});

test("more axes than two are cut at the largest change, and can be cut elsewhere and laid otherwise", async () => {
  const axes = [...COLUMNS, { name: "position", values: [9, 13] }];
  const values = metric(new Array(24).fill(0));
  values[(2 * 3 + 1) * 2 + 1] = 6.12;
  const picture = await show(port("z", axes, values));
  expect(picture.grid.getAttribute("aria-label")).toBe("Metric after patching, layer by head");
  await hoverCell(picture.grid, { row: 2, col: 1 });
  expect(status(picture.root)).toContain("Layer 2, head 1, position 13 ' to' → raw +6.12");
  await select(picture, "position", "9 ' John' (corrupted ' Mary')");
  await hoverCell(picture.grid, { row: 2, col: 1 });
  expect(status(picture.root)).toContain("position 9 ' John' (corrupted ' Mary') → raw −5.49");
  await select(picture, "Map", "head × position");
  expect(picture.grid.getAttribute("aria-rowcount")).toBe("3");
  expect(picture.grid.getAttribute("aria-colcount")).toBe("2");
  // the layer of the largest change
  await hoverCell(picture.grid, { row: 1, col: 1 });
  expect(status(picture.root)).toContain("Layer 2, head 1, position 13 ' to' → raw +6.12");
});

test("a sheet finds each cell in the table, however it lies", () => {
  const axes = [axis("layer", 2), axis("head", 3), axis("destination", 4), axis("source", 5)];
  const all = sheets(axes);
  expect(all.length).toBe(6);
  expect([all[0]?.rows, all[0]?.cols, all[0]?.cut]).toEqual([2, 3, [0, 1]]);
  const [pattern] = all;
  if (!pattern) throw new Error("no sheet");
  expect(sheetIndex(pattern, [1, 2, 0, 0], 3, 4)).toBe(1 * 60 + 2 * 20 + 3 * 5 + 4);
});

test("patterns go from destination to source; what is masked is absent, not zero", async () => {
  const axes = [
    { name: "layer", values: [23] },
    { name: "head", values: [3] },
    axis("destination", 3),
    axis("source", 3),
  ];
  const mask = Uint8Array.of(0, 1, 1, 0, 0, 1, 0, 0, 0);
  const values = metric([0, 0, 0, 0, 0, 0, 0.9, 0, 0]).map((value, at) => (mask[at] ? Number.NaN : value));
  const absent = { pattern: { dtype: "uint8", shape: [1, 1, 3, 3], data: mask } } as const;
  const picture = await show(port("pattern", axes, values, { absent }));
  expect(picture.text()).toContain("at layer 23, head 3");
  await hoverCell(picture.grid, { row: 0, col: 2 });
  expect(status(picture.root)).toBe(
    "Layer 23, head 3, destination 0 'When', source 2 ' and': the model has none there",
  );
  expect(cellColour(picture.grid, { row: 0, col: 2 })).toEqual([243, 243, 243]);
  expect(picture.text()).toContain("6 cells");
});

test("one axis is a list of bars, in order or ranked", async () => {
  const given = port("mlp_out", [axis("layer", 4)], metric([0.1, -0.3, 0.8, 0]));
  const picture = await show(given);
  expect(picture.grid.getAttribute("aria-label")).toBe("Metric after patching, by layer");
  await press(picture.grid, "{ArrowDown}{Enter}");
  expect(given.get("layer")).toBe(1);
  expect(status(picture.root)).toMatch(/^Layer 1 → raw −8.97, normalised −0.3/);
  picture.button("ranked").click();
  await painted();
  await press(picture.grid, "{Home}");
  await hoverCell(picture.grid, { row: 0, col: 0 });
  expect(status(picture.root)).toContain("Layer 2 → raw +3.8");
  await hoverCell(picture.grid, { row: 1, col: 0 });
  expect(status(picture.root)).toContain("Layer 1 →");
});

test("a bar is as long as its change, in its colour, to its side", async () => {
  const picture = await show(port("mlp_out", [axis("layer", 2)], metric([1, -1]), { reach: "baselines" }));
  const [upRed = 0, , upBlue = 0] = colourBeside(picture.grid, { row: 0, col: 0 }, { x: 80, y: 0 });
  expect(upBlue).toBeGreaterThan(upRed + 80);
  const [downRed = 0, , downBlue = 0] = colourBeside(picture.grid, { row: 1, col: 0 }, { x: -80, y: 0 });
  expect(downRed).toBeGreaterThan(downBlue + 80);
  expect(colourBeside(picture.grid, { row: 0, col: 0 }, { x: -80, y: 0 })).not.toEqual([upRed, 0, upBlue]);
});

test("any table can be ranked", async () => {
  const picture = await show(port("z", COLUMNS, metric([0, 0, 0, 0, 0, 0, 0, 0.9, 0, 0, -0.5, 0])));
  picture.button("ranked").click();
  await painted();
  await hoverCell(picture.grid, { row: 0, col: 0 });
  expect(status(picture.root)).toContain("Layer 2, head 1 →");
  await hoverCell(picture.grid, { row: 1, col: 0 });
  expect(status(picture.root)).toContain("Layer 3, head 1 →");
});

test("one prompt has one baseline, no normalised values, and colours that reach to the largest change", async () => {
  const picture = await show(port("z", COLUMNS, [...Array(11).fill(6.12), 2.12], ONE_PROMPT));
  expect(picture.find(".mw-metric").textContent).toContain("+6.12 as it is");
  expect(picture.find(".mw-legend-ticks").textContent).toBe("+2.12as it is: +6.12+10.1");
  expect(picture.find(".mw-pair").textContent).not.toContain("corrupted");
  expect(picture.root.querySelector(".mw-differs")).toBeNull();
  await hoverCell(picture.grid, { row: 3, col: 2 });
  expect(status(picture.root)).toBe("Layer 3, head 2 → raw +2.12");
  const [red = 0, , blue = 0] = cellColour(picture.grid, { row: 3, col: 2 });
  expect(red).toBeGreaterThan(blue + 80);
});

test("in the middle of the map is the run that was changed, also when that is the clean one", () => {
  const scale = makeScale({ clean: 6, corrupted: -6, direction: "noise" }, [-6, 6], "normalized");
  expect([6, -6].map(scale.place)).toEqual([0.5, 0]);
  expect(scale.ticks.map(({ label }) => label)).toEqual(["0 = corrupted: −6", "1 = clean: +6", "2"]);
});

test("small changes get the whole map where that is asked for or nothing is, and the legend says so", async () => {
  const small = makeScale({ clean: 6, corrupted: -6, direction: "denoise" }, [-6, -5.4], "normalized", null);
  expect([small.reach, small.place(-5.4), small.ticks.at(-1)?.label]).toEqual(["values", 1, "0.05"]);
  const large = makeScale({ clean: 6, corrupted: -6, direction: "denoise" }, [-6, 3], "normalized", null);
  expect([large.reach, large.place(6)]).toEqual(["baselines", 1]);
  const given = port("z", COLUMNS, metric([...Array(11).fill(0), 0.05]));
  const picture = await show(given);
  expect(picture.button("the largest change").getAttribute("aria-pressed")).toBe("true");
  picture.button("the other baseline").click();
  await painted();
  expect(given.get("reach")).toBe("baselines");
  expect(picture.find(".mw-legend-ticks").textContent).toContain("1 = clean: +6.12");
});

test("approximate values are called so, and exact ones stand beside them", async () => {
  const exact = Float32Array.from(metric(Array(12).fill(Number.NaN)));
  exact[7] = 3;
  const caption = "Approximate: attribution patching; beside 1 exact value.";
  const changes = {
    ...{ approximate: true, caption, direction: "denoise" },
    details: { exact: { dtype: "float32", shape: [4, 3], data: exact } },
  } as const;
  const picture = await show(port("z", COLUMNS, metric(Array(12).fill(0.9)), { ...changes }));
  expect(picture.find(".mw-badge").textContent).toBe("approximate");
  expect(picture.find("[role=note]").textContent).toBe(caption);
  expect(picture.find(".mw-legend").textContent).toContain("approximate logit difference");
  await hoverCell(picture.grid, { row: 2, col: 1 });
  expect(status(picture.root)).toMatch(/^Layer 2, head 1 → raw .*; exact \+3$/);
  // The dot, against the same value without one.
  const [dotted, plain] = [
    cellColour(picture.grid, { row: 2, col: 1 }),
    cellColour(picture.grid, { row: 1, col: 1 }),
  ];
  expect(Math.abs(dotted[2] - plain[2])).toBeGreaterThan(60);
});

test("means over pairs tell their error, interval and corrected p, and dot what the pairs show", async () => {
  const array = (value: number, other: number) => {
    const data = new Float32Array(12).fill(value);
    data[4] = other;
    return { dtype: "float32", shape: [4, 3], data } as const;
  };
  const details = { stderr: array(0.2, 0.5), low: array(-1, 4), high: array(1, 6), p: array(0.8, 0.002) };
  const picture = await show(
    port("z", COLUMNS, metric([0, 0, 0, 0, 0.43, 0, 0, 0, 0, 0, 0, 0]), { details }),
  );
  await hoverCell(picture.grid, { row: 1, col: 1 });
  expect(status(picture.root)).toContain("; standard error 0.5, effect +4 to +6 (95 %); corrected p 0.002");
  expect(picture.text()).toContain("an effect that the pairs show: corrected p < 0.05");
  // on the darkest blue
  expect(cellColour(picture.grid, { row: 1, col: 1 })).toEqual([255, 255, 255]);
  picture.button("ranked").click();
  await painted();
  expect(await violations(picture.root)).toEqual([]);
});

test("lists of neurons and edges are bars under their names, which are text", async () => {
  const names = ["embed → mlp 0", "<b>L23H3</b> → logits"];
  const picture = await show(port("edges", [{ name: "edge", values: names }], metric([1, 0.5])));
  expect(picture.root.querySelector("[aria-label=Order], b")).toBeNull();
  await hoverCell(picture.grid, { row: 1, col: 0 });
  expect(status(picture.root)).toContain("<b>L23H3</b> → logits → raw");
});

test("infinite values take the end's colour and are said to", async () => {
  const values = metric(Array(12).fill(0.8));
  values[5] = Number.POSITIVE_INFINITY;
  const picture = await show(port("z", COLUMNS, values));
  await hoverCell(picture.grid, { row: 1, col: 2 });
  expect(status(picture.root)).toContain("raw +∞");
  expect(picture.text()).toMatch(/◂ ▸ ?1 cell beyond the ends/);
});

test("axe finds nothing broken in a list, a cut table and one prompt", async () => {
  const cut = [...COLUMNS, axis("position", 14)];
  const pictures = [
    port("mlp_out", [axis("layer", 4)], metric([0.1, -0.3, 0.8, 0]), { layer: 2 }),
    port("z", cut, metric(Array.from({ length: 168 }, (_, at) => at / 168))),
    port("z", COLUMNS, Array(12).fill(6), ONE_PROMPT),
  ];
  for (const theme of ["light", "dark"] as const) {
    for (const given of pictures) {
      const picture = await show(given, theme);
      expect(await violations(picture.root)).toEqual([]);
      expect(picture.root.scrollWidth).toBe(picture.root.clientWidth);
      picture.end();
    }
  }
});

test("the menu's table has a row for each cell that exists, with its tokens and all that is known of it", () => {
  const axes = [axis("layer", 2), { name: "position", values: [9, 13] }];
  const table = {
    axes,
    values: Float32Array.of(-5.49, 6.12, Number.NaN, 0.5),
    done: Uint8Array.of(1, 1, 0, 1),
    absent: Uint8Array.of(0, 0, 0, 1),
  };
  const baselines = { clean: 6.12, corrupted: -5.49, direction: "denoise" };
  const details = { names: ["exact"], number: (_: string, index: number) => (index === 1 ? 3 : null) };
  const tokens = { clean: CLEAN_TOKENS, corrupted: CORRUPTED_TOKENS };
  const { columns, rows } = cellTable(
    table,
    "metric",
    makeScale(baselines, table.values, "raw"),
    details as never,
    tokens,
  );
  expect(columns).toEqual([
    ...["layer", "position", "position_clean_token", "position_corrupted_token"],
    ...["metric", "normalised", "exact"],
  ]);
  expect(rows.length).toBe(3);
  expect(rows[1]?.slice(0, 4)).toEqual([0, 13, " to", " to"]);
  expect(rows[1]?.[5]).toBeCloseTo(1, 5);
  expect(rows[1]?.[6]).toBe(3);
  expect(rows[2]).toEqual([1, 9, " John", " Mary", null, null, null]);
});
