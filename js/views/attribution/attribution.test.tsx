import { expect, test } from "vitest";
import recorded from "../../../tests/fixtures/attribution.json";
import type { Rgb } from "../../core/colour";
import { switchOff } from "../../core/intervention";
import { RequestError } from "../../core/port";
import {
  button,
  cellColour,
  clickCell,
  grid,
  hoverCell,
  painted,
  press,
  status,
  type ThemeName,
  until,
} from "../../test/dom";
import { fixturePort } from "../../test/fixture";
import { colourBeside, copied, fill, type Picture, showPicture, violations } from "../../test/picture";
import { attribution } from ".";
import { barCell, barComponent, type Component, readParts } from "./parts";
import { IOI_TOKENS, samplePort, sampleTraits } from "./sample";
import type { Traits } from "./traits";

const BARS = "What attention and MLP of each layer add";
const HEADS = "What each head adds, layers by heads";
const LAST = IOI_TOKENS.length - 1;

const show = (port = samplePort(), theme: ThemeName = "light"): Promise<Picture> =>
  showPicture("attribution", attribution, port, theme);
const recordedPort = () => fixturePort<Traits>(recorded);
const panel = (picture: Picture) => picture.find(".mw-attribution-panel").textContent ?? "";
const isBlue = ([red = 0, , blue = 0]: readonly number[]) => blue > red + 40;
const isOrange = ([red = 0, , blue = 0]: readonly number[]) => red > blue + 40;

/** Two layers of two heads, whose numbers are easily known. */
function small(changes: Partial<Traits> = {}) {
  const port = samplePort({ layers: 2, heads: 2 });
  const array = (shape: number[], data: number[]) => ({
    dtype: "float32" as const,
    shape,
    data: Float32Array.from(data),
  });
  port.update({
    layer_values: array([2, 2], [1, -4, Number.NaN, 2]),
    head_values: array([2, 2], [3, -2, Number.NaN, Number.NaN]),
    head_bias: array([2], [0, 0]),
    others: { embed: 0.5, bias: -0.25 },
    total: -0.75,
    logit: -0.75,
    ...changes,
  });
  return port;
}

test("the recorded parts add up to the recorded total", () => {
  const traits = recordedPort().traits;
  const parts = readParts(traits);
  let sum = parts.others.reduce((so, name) => so + parts.other(name), 0);
  for (let layer = 0; layer < parts.layers; layer++) {
    sum += parts.attn(layer) + parts.mlp(layer);
    let heads = parts.headBias(layer);
    for (let head = 0; head < parts.heads; head++) heads += parts.head(layer, head);
    expect(heads).toBeCloseTo(parts.attn(layer), 4);
  }
  expect(sum).toBeCloseTo(traits.total, 3);
  expect(traits.total).toBeCloseTo(traits.logit, 3);
});

test("it says what is attributed, the total, and under what assumption", async () => {
  const picture = await show(recordedPort());
  expect(picture.text()).toMatch(
    /logit of ' Mary' − logit of ' John' after ·to: \+6\.12 is what the parts add up to; the model itself says \+6\.12/,
  );
  expect(picture.text()).toContain("With the final norm's scale held as it was in this run.");
  const capped = await show(small({ capped: true, logit: -0.7, wrong_text: "" }));
  expect(capped.text()).toContain(
    "−0.75 is what the parts add up to before the model's soft cap, which makes it −0.7",
  );
  expect(capped.text()).toContain("logit of ' Mary' after");
  expect(capped.text()).not.toContain("logit of ' John'");
});

for (const theme of ["light", "dark"] as const) {
  test(`bars go right in blue and left in orange, as long as their share (${theme})`, async () => {
    const picture = await show(small(), theme);
    const bars = grid(picture.root, BARS);
    const [, , width = 0] = (bars.dataset.cells ?? "").split(" ").map(Number);
    const at = (row: number, col: number, part: number) =>
      colourBeside(bars, { row, col }, { x: (part * width) / 2, y: 0 }) as unknown as Rgb;
    // -4 of 4: to the left edge; 2 of 4: half way to the right; 1 of 4: a quarter
    expect(isOrange(at(0, 1, -0.9))).toBe(true);
    expect(isOrange(at(0, 1, 0.5)) || isBlue(at(0, 1, 0.5))).toBe(false);
    expect(isBlue(at(1, 1, 0.4))).toBe(true);
    expect(isBlue(at(1, 1, 0.6))).toBe(false);
    expect(isBlue(at(0, 0, 0.2))).toBe(true);
    expect(isBlue(at(0, 0, 0.3))).toBe(false);
  });

  test(`heads are coloured by sign and size, and hatched where there are none (${theme})`, async () => {
    const picture = await show(small(), theme);
    const heads = grid(picture.root, HEADS);
    expect(isBlue(cellColour(heads, { row: 0, col: 0 }))).toBe(true);
    expect(isOrange(cellColour(heads, { row: 0, col: 1 }))).toBe(true);
    const missing = Array.from({ length: 8 }, (_, x) =>
      colourBeside(heads, { row: 1, col: 0 }, { x: x - 4, y: 0 }),
    );
    expect(new Set(missing.map(String)).size).toBeGreaterThan(1);
    expect(picture.text()).toContain("no heads to tell apart");
  });
}

test("pointing at a part says what it adds, with its sign", async () => {
  const picture = await show(small());
  const [bars, heads] = [grid(picture.root, BARS), grid(picture.root, HEADS)];
  await hoverCell(bars, { row: 0, col: 1 });
  expect(status(picture.root)).toBe("MLP of layer 0 adds −4");
  await hoverCell(bars, { row: 2, col: 0 });
  expect(status(picture.root)).toBe("Embedding adds +0.5");
  await hoverCell(bars, { row: 1, col: 0 });
  expect(status(picture.root)).toBe("Attention of layer 1: none");
  await hoverCell(heads, { row: 0, col: 1 });
  expect(status(picture.root)).toBe("Head L0H1 adds −2");
});

test("what adds most is listed, and opens with a click", async () => {
  const port = recordedPort();
  const picture = await show(port);
  const names = [...picture.root.querySelectorAll(".mw-signed-name")].map(({ textContent }) => textContent);
  expect(names.slice(0, 2)).toEqual(["L23H3", "MLP 28"]);
  picture.button("L23H3").click();
  await until(() => panel(picture).includes("·John"), "the tokens");
  expect([port.get("layer"), port.get("head")]).toEqual([23, 3]);
  expect(port.sentTo("component").map(({ args }) => args)).toEqual([
    { part: "head", layer: 23, head: 3, neuron: null },
  ]);
  expect(panel(picture)).toMatch(/Head L23H3.*adds \+2\.86 47% of the total/);
  expect(panel(picture)).toMatch(/to the logit of ' Mary', −2\.49 to that of ' John'/);
  expect(panel(picture)).toMatch(/writes away from \(lowers them\)·John−2\.49/);
  picture.button("Close").click();
  await painted();
  expect([port.get("layer"), port.get("head")]).toEqual([null, null]);
});

test("the keyboard walks, opens and closes; both tables show what is chosen", async () => {
  const port = samplePort();
  const picture = await show(port);
  const [bars, heads] = [grid(picture.root, BARS), grid(picture.root, HEADS)];
  await press(heads, "{ArrowDown}{ArrowRight}{ArrowRight}{Enter}");
  expect([port.get("layer"), port.get("head"), port.get("part")]).toEqual([1, 2, "attn"]);
  expect(heads.querySelector("[role=gridcell]")?.getAttribute("aria-selected")).toBe("true");
  await press(heads, "{Escape}");
  expect(port.get("layer")).toBeNull();
  await press(bars, "{ArrowDown}{ArrowRight}{Enter}");
  expect([port.get("layer"), port.get("head"), port.get("part")]).toEqual([1, null, "mlp"]);
  expect(panel(picture)).toContain("MLP of layer 1");
  await press(bars, "{Enter}");
  expect(port.get("layer")).toBeNull();
  await press(bars, "{Control>}{End}{/Control}{ArrowLeft}{Enter}");
  expect([port.get("layer"), port.get("part")]).toEqual([null, "embed"]);
  expect(panel(picture)).toContain("Embedding");
});

test("an MLP opens its neurons, and a neuron what it writes towards", async () => {
  const port = recordedPort();
  port.update({ layer: 29, part: "mlp" });
  const picture = await show(port);
  await until(() => panel(picture).includes("its neurons"), "the neurons");
  expect(panel(picture)).toContain("of 1536");
  expect(panel(picture)).toMatch(/and other neurons [+−]\d/);
  const sample = samplePort();
  sample.update({ layer: 20, part: "mlp" });
  const second = await show(sample);
  await until(() => panel(second).includes("its neurons"), "the neurons");
  const first = second.root.querySelector<HTMLButtonElement>(
    ".mw-attribution-panel div > .mw-signed-bars button",
  );
  first?.click();
  await until(() => panel(second).includes("Neuron L20N"), "the neuron");
  const neuron = sample.get("neuron");
  expect(neuron).not.toBeNull();
  await until(() => sample.sentTo("component").length === 2, "its request");
  expect(sample.sentTo("component").at(-1)?.args).toEqual({ part: "neuron", layer: 20, head: null, neuron });
  await until(() => panel(second).includes("activation 4"), "its activation");
});

test("a head is switched off and on, and the numbers pale until the kernel has new ones", async () => {
  const port = samplePort();
  port.update({ layer: 23, head: 3 });
  const picture = await show(port);
  const stale = () => picture.find(".mw-attribution").dataset.stale;
  expect(stale()).toBe("false");
  picture.button("Switch head off").click();
  await painted();
  expect(port.get("interventions")).toEqual([switchOff(23, 3)]);
  expect(stale()).toBe("true");
  expect(picture.text()).toContain("modified");
  port.update({ answered: { position: LAST, interventions: [switchOff(23, 3)] } });
  await painted();
  expect(stale()).toBe("false");
  button(picture.root, "Undo L23H3").click();
  await painted();
  expect(port.get("interventions")).toEqual([]);
});

test("a head that is switched off writes nothing, and lists no tokens", async () => {
  const port = samplePort();
  port.update({ layer: 23, head: 3, interventions: [switchOff(23, 3)] });
  port.answer("component", () => {
    const zeros = { dtype: "float32", shape: [2], data: new Float32Array(2) };
    const special = ["<|endoftext|>", "<|im_start|>"];
    return {
      ...{ up: special, up_values: zeros, down: special, down_values: zeros },
      ...{ on_answer: 0, on_wrong: 0 },
    };
  });
  const picture = await show(port);
  await until(
    () => panel(picture).includes("It writes nothing in this run, as it is switched off."),
    "the answer",
  );
  expect(panel(picture)).not.toContain("<|endoftext|>");
  expect(panel(picture)).not.toContain("writes towards");
});

test("a position is chosen in the list, and from outside", async () => {
  const port = samplePort();
  const picture = await show(port);
  const list = picture.find<HTMLSelectElement>("select");
  expect(list.selectedOptions[0]?.text).toBe(`${LAST} ·to`);
  list.value = "4";
  list.dispatchEvent(new Event("change", { bubbles: true }));
  await painted();
  expect(port.get("position")).toBe(4);
  expect(picture.find(".mw-attribution").dataset.stale).toBe("true");
  port.update({ answered: { position: 4, interventions: [] } });
  await painted();
  expect(picture.text()).toContain("after ·went");
});

test("another question is asked of the kernel; a bad one leaves its reason", async () => {
  const port = samplePort();
  const picture = await show(port);
  await fill(picture.find("[name=answer]"), " Ann");
  picture.find<HTMLFormElement>("form").requestSubmit();
  await painted();
  expect(port.sentTo("set_inputs").map(({ args }) => args)).toEqual([
    { prompt: IOI_TOKENS.join(""), answer: " Ann", wrong: " John" },
  ]);
  expect(picture.text()).toContain("logit of ' Ann'");
  port.answer("set_inputs", () => {
    throw new RequestError("Answer ' Mary Ann' is 2 tokens", "ValueError");
  });
  picture.find<HTMLFormElement>("form").requestSubmit();
  await painted();
  expect(picture.find("[role=alert]").textContent).toBe("Answer ' Mary Ann' is 2 tokens");
  expect(picture.root.dataset.state).toBe("error");
});

test("without a kernel the numbers stay, and what needs one says so", async () => {
  const port = samplePort();
  port.setCapabilities({ live: false, detached: true });
  port.update({ layer: 23, head: 3, position: 2 });
  const picture = await show(port);
  expect(panel(picture)).toContain("What it writes towards takes a running kernel.");
  expect(picture.find(".mw-attribution").dataset.stale).toBe("false");
  expect(port.sent).toEqual([]);
});

test("its numbers can be taken as tables", async () => {
  const port = small();
  port.update({ layer: 0, part: "mlp" });
  const picture = await show(port);
  expect(await copied(picture.root, "Copy table: attribution by layer")).toBe(
    "\tattention\tMLP\n0\t1\t-4\n1\t\t2\nembedding\t0.5\t\nlast biases\t-0.25\t\n",
  );
  expect(await copied(picture.root, "Copy table: attribution by head")).toBe(
    "layer\t0\t1\n0\t3\t-2\n1\t\t\n",
  );
  await until(() => panel(picture).includes("its neurons"), "the neurons");
  expect(await copied(picture.root, "Copy table: neurons that add most")).toMatch(
    /^neuron\tadds\tactivation\n\d+\t/,
  );
  expect(await copied(picture.root, "Copy table: tokens that it writes towards")).toContain('" Mary"\t');
});

test("token text is text", async () => {
  const hostile = "<img src=x onerror=alert(1)>";
  const port = samplePort({ layers: 2, tokens: [hostile, "</script>"], answer: hostile, wrong: "\n" });
  port.update({ layer: 1, head: 0 });
  const answer = port.answer.bind(port);
  answer("component", () => ({
    up: [hostile],
    up_values: { dtype: "float32", shape: [1], data: Float32Array.of(1) },
    down: ["</script>"],
    down_values: { dtype: "float32", shape: [1], data: Float32Array.of(-1) },
    on_answer: 1,
    on_wrong: 0,
  }));
  const picture = await show(port);
  await until(() => panel(picture).includes(hostile), "the token");
  expect(picture.root.querySelector("img")).toBeNull();
  expect(picture.text()).toContain(`logit of '${hostile}' − logit of '⏎'`);
});

test("a cell is a component, and a component its cell", () => {
  const parts = readParts(sampleTraits());
  const components: Component[] = [
    { part: "attn", layer: 3, head: null, neuron: null },
    { part: "mlp", layer: 29, head: null, neuron: null },
    { part: "embed", layer: null, head: null, neuron: null },
  ];
  for (const component of components) {
    const cell = barCell(parts, component);
    expect(cell && barComponent(parts, cell)).toEqual(component);
  }
});

test("arrays that do not fit the model are an error in the picture's place", async () => {
  const port = samplePort();
  port.update({ n_layers: 4 });
  const picture = await show(port);
  await painted();
  expect(picture.find("[role=alert]").textContent).toContain("layer_values has shape [30,2]; expected [4,2]");
});

test("axe finds nothing broken", async () => {
  for (const theme of ["light", "dark"] as const) {
    const port = recordedPort();
    port.update({ layer: 29, part: "mlp" });
    const picture = await show(port, theme);
    await until(() => panel(picture).includes("its neurons"), "the neurons");
    expect(await violations(picture.root)).toEqual([]);
    picture.end();
  }
});

test("the end of the view ends its listeners", async () => {
  const port = samplePort();
  const picture = await show(port);
  await clickCell(grid(picture.root, HEADS), { row: 2, col: 1 });
  expect(port.get("layer")).toBe(2);
  picture.end();
  await painted();
  expect(port.listeners).toBe(0);
});
