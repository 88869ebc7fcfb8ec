import { expect, test } from "vitest";
import { page, userEvent } from "vitest/browser";
import recorded from "../../../tests/fixtures/logit_lens.json";
import { luminance, type Rgb } from "../../core/colour";
import { switchOff } from "../../core/intervention";
import { linePath } from "../../core/line_plot";
import { RequestError } from "../../core/port";
import { clickCell, hoverCell, painted, press, status, type ThemeName, until } from "../../test/dom";
import { fixturePort } from "../../test/fixture";
import { colourBeside, copied, fill, type Picture, showPicture, violations } from "../../test/picture";
import { logitLens } from ".";
import { lineValues, readColumn } from "./column";
import { readLens } from "./lens";
import { FRANCE_TOKENS, samplePort, sampleTraits } from "./sample";
import type { ColumnAnswer, Traits } from "./traits";

const OUTPUT = 30;
const LAST = 4;
/** Beside the text, inside the cell. */
const BESIDE_TEXT = { x: -40, y: -7 };

const show = (port = samplePort(), theme: ThemeName = "light"): Promise<Picture> =>
  showPicture("logit_lens", logitLens, port, theme);
const panel = (picture: Picture) => picture.find(".mw-lens-panel").textContent ?? "";

/** A lens of one row and two positions, the first with the given probability and entropy. */
function twoCells(probability: number, entropy: number) {
  const port = samplePort({ layers: 0, tokens: ["a", "b"], k: 1 });
  const number = (data: number[], shape: number[]) => ({
    dtype: "float32" as const,
    shape,
    data: Float32Array.from(data),
  });
  port.update({
    top_probs: number([probability, 0], [1, 1, 2, 1]),
    entropy: number([entropy, port.get("max_entropy")], [1, 1, 2]),
  });
  return port;
}

for (const theme of ["light", "dark"] as const) {
  test(`a cell's colour is its probability, from the surface on (${theme})`, async () => {
    const surface = theme === "light" ? 255 : 17;
    const picture = await show(twoCells(1, 0), theme);
    const sure = luminance(colourBeside(picture.grid, { row: 0, col: 0 }, BESIDE_TEXT) as unknown as Rgb);
    const unsure = colourBeside(picture.grid, { row: 0, col: 1 }, BESIDE_TEXT);
    expect(unsure).toEqual([surface, surface, surface]);
    if (theme === "light") expect(sure).toBeLessThan(0.1);
    else expect(sure).toBeGreaterThan(0.7);
  });
}

test("by entropy, a sure cell is as strong as by probability", async () => {
  const port = twoCells(1, 0);
  const picture = await show(port);
  const byProbability = colourBeside(picture.grid, { row: 0, col: 0 }, BESIDE_TEXT);
  port.update({ ...pick(twoCells(0.1, 0)) });
  await painted();
  expect(colourBeside(picture.grid, { row: 0, col: 0 }, BESIDE_TEXT)).not.toEqual(byProbability);
  await choose(picture, "colour", "entropy");
  await painted();
  expect(port.get("color_by")).toBe("entropy");
  expect(colourBeside(picture.grid, { row: 0, col: 0 }, BESIDE_TEXT)).toEqual(byProbability);
  expect(picture.text()).toContain("entropy of the distribution, nats");
});

/** Chooses in the list with this label. */
async function choose(picture: Picture, label: string, option: string): Promise<void> {
  const list = [...picture.root.querySelectorAll("select")].find(
    ({ labels }) => labels?.[0]?.textContent === label,
  );
  if (!list) throw new Error(`There is no list ${label}.`);
  const found = [...list.options].find(({ text }) => text === option);
  if (!found) throw new Error(`${label} offers no ${option}: ${[...list.options].map(({ text }) => text)}`);
  await userEvent.selectOptions(page.elementLocator(list), found);
  await painted();
}

function pick(port: ReturnType<typeof samplePort>): Partial<Traits> {
  return { top_probs: port.get("top_probs"), entropy: port.get("entropy") };
}

test("a cell that already has the output's token is marked in its corner", async () => {
  const picture = await show();
  const lens = readLens(sampleTraits());
  const corner = { x: 104 / 2 - 3, y: -8 };
  const marked = [...Array(OUTPUT).keys()].filter(
    (row) => lens.top(0, row, LAST).id === lens.top(0, OUTPUT, LAST).id,
  );
  expect(marked.length).toBeGreaterThan(0);
  for (const row of [marked[0] ?? 0, 0]) {
    const same =
      String(colourBeside(picture.grid, { row, col: LAST }, corner)) ===
      String(colourBeside(picture.grid, { row, col: LAST }, BESIDE_TEXT));
    expect(same).toBe(!marked.includes(row));
  }
});

test("pointing at a cell says it in words and numbers", async () => {
  const picture = await show(fixturePort<Traits>(recorded));
  expect(panel(picture)).toContain("Output (after layer 29)position 4 ·is·Paris0.773");
  await hoverCell(picture.grid, { row: 29, col: LAST });
  expect(status(picture.root)).toMatch(
    /^After layer 28, position 4 ' is' → ' capital' 0\.\d+, entropy \d.\d+ nats, output's ' Paris' has rank \d+$/,
  );
  expect(panel(picture)).toContain("After layer 28");
  await hoverCell(picture.grid, { row: 0, col: 0 });
  expect(status(picture.root)).toContain("Embedding, position 0 'The'");
});

test("the keyboard walks, locks and unlocks, and the kernel hears of it", async () => {
  const port = samplePort();
  const picture = await show(port);
  await press(picture.grid, "{ArrowDown}{ArrowDown}{ArrowRight}");
  expect(status(picture.root)).toContain("After layer 1, position 1 ' capital'");
  await press(picture.grid, "{Enter}");
  expect([port.get("layer"), port.get("position")]).toEqual([1, 1]);
  await press(picture.grid, "{End}");
  expect(status(picture.root)).toContain("position 4");
  expect(panel(picture)).toContain("position 1");
  await press(picture.grid, "{Escape}");
  expect([port.get("layer"), port.get("position")]).toEqual([null, null]);
});

test("a click locks, a second click on the cell unlocks; a lock from Python shows", async () => {
  const port = samplePort();
  const picture = await show(port);
  await clickCell(picture.grid, { row: 3, col: 2 });
  expect([port.get("layer"), port.get("position")]).toEqual([2, 2]);
  expect(panel(picture)).toContain("After layer 2Unlock");
  await clickCell(picture.grid, { row: 3, col: 2 });
  expect(port.get("layer")).toBeNull();
  port.update({ layer: OUTPUT - 1, position: 1 });
  await painted();
  expect(panel(picture)).toContain("Output (after layer 29)Unlockposition 1 ·capital");
  picture.button("Unlock").click();
  expect(port.get("position")).toBeNull();
});

test("a chosen cell follows the output's token through the layers, and more tokens on demand", async () => {
  const port = fixturePort<Traits>(recorded);
  const picture = await show(port);
  expect(picture.root.querySelector(".mw-follow")).toBeNull();
  const paris = readLens(port.traits).top(0, OUTPUT, LAST).id;
  await clickCell(picture.grid, { row: OUTPUT, col: LAST });
  await until(() => picture.root.querySelector(".mw-plot-line") !== null, "the line");
  expect(port.sentTo("column").map(({ args }) => args)).toEqual([
    { position: LAST, follow: [paris], typed: null },
  ]);
  const followed = () => picture.find(".mw-followed").textContent;
  expect(followed()).toContain("·Paris0.773");
  picture.button("rank").click();
  await painted();
  expect(followed()).toContain("·Paris0");
  expect(picture.find(".mw-follow svg").getAttribute("aria-label")).toContain(
    "rank of ' Paris' from Embedding",
  );
  await hoverCell(picture.grid, { row: 0, col: LAST });
  expect(Number(/Paris([\d.]+)/.exec(followed() ?? "")?.[1])).toBeGreaterThan(100);
});

test("the line goes through its values, and a gap where there is none", () => {
  const path = linePath(
    [0, 1, Number.NaN, 1],
    (x) => 10 * x,
    (y) => 100 - y,
  );
  expect(path).toBe("M0.0,100.0L10.0,99.0M30.0,99.0");
});

test("the recorded line is the tokens' probability in each row's list", async () => {
  const port = fixturePort<Traits>(recorded);
  const lens = readLens(port.traits);
  const { id } = lens.top(0, OUTPUT, LAST);
  const answer = await port.request<ColumnAnswer>("column", { position: LAST, follow: [id], typed: null });
  const column = readColumn(answer);
  for (const row of [OUTPUT, OUTPUT - 1]) {
    const listed = column.candidates(0, row).find((candidate) => candidate.id === id)?.probability;
    expect(lineValues(column, "probability", 0, 0)[row]).toBeCloseTo(listed ?? Number.NaN, 4);
  }
  expect(lineValues(column, "probability", 0, 0)[OUTPUT]).toBeCloseTo(
    lens.targetProbability(0, OUTPUT, LAST),
    4,
  );
  expect(lineValues(column, "rank", 0, 0)[12]).toBe(lens.rank(0, 12, LAST));
});

test("candidates are buttons that follow their token; a typed token is added or refused", async () => {
  const port = samplePort();
  port.update({ layer: 29, position: 4 });
  const picture = await show(port);
  const asked = () => (port.sentTo("column").at(-1)?.args as { follow: number[] } | undefined)?.follow ?? [];
  const before = asked();
  picture.button("Follow '\u23ce' through the layers").click();
  await painted();
  expect(asked()).toHaveLength(before.length + 1);
  await until(() => picture.root.querySelectorAll(".mw-plot-line").length === 2, "the second line");
  await fill(picture.find("[name=follow]"), " Rome");
  picture.button("Add").click();
  await until(() => picture.root.querySelectorAll(".mw-plot-line").length === 3, "the third line");
  expect(picture.find(".mw-followed").textContent).toContain("·Rome");
  picture.button("Stop following ' Rome'").click();
  await until(() => picture.root.querySelectorAll(".mw-plot-line").length === 2, "its end");
  port.answer("column", () => {
    throw new RequestError("Token 'Paris' has no space in front", "ValueError");
  });
  await fill(picture.find("[name=follow]"), "Paris");
  picture.button("Add").click();
  await painted();
  expect(picture.find("[role=alert]").textContent).toContain("has no space in front");
  expect(picture.root.querySelectorAll(".mw-plot-line")).toHaveLength(2);
});

test("a followed token colours the cells, and gives them back", async () => {
  const port = samplePort();
  port.update({ layer: 29, position: 4 });
  const picture = await show(port);
  await until(() => picture.root.querySelector(".mw-followed") !== null, "the tokens");
  picture.button("Colour the cells by ' Paris'").click();
  await painted();
  expect(port.sentTo("set_inputs").map(({ args }) => args)).toEqual([{ target: 104 }]);
  expect(port.get("color_by")).toBe("target_probability");
  expect(picture.text()).toContain("probability of ' Paris'");
  picture.button("Colour the cells by ' Paris'").click();
  await painted();
  expect(port.sentTo("set_inputs").at(-1)?.args).toEqual({ target: "" });
});

test("a rank is as strong as it is high, and 0 is strongest", async () => {
  const port = samplePort({ layers: 1 });
  port.update({
    rank: { dtype: "int32", shape: [1, 2, 5], data: Int32Array.from([49151, 100, 10, 1, 0, 0, 0, 0, 0, 0]) },
    color_by: "rank",
  });
  const picture = await show(port);
  const shades = [0, 1, 2, 3, 4].map((col) =>
    luminance(colourBeside(picture.grid, { row: 0, col }, BESIDE_TEXT) as unknown as Rgb),
  );
  expect(shades[0]).toBeCloseTo(1, 1);
  expect(shades).toEqual([...shades].sort((one, other) => other - one));
  expect(new Set(shades).size).toBe(5);
});

test("what cannot be read is hatched, counted and said", async () => {
  const port = samplePort({ layers: 2 });
  const broken = (name: "entropy" | "top_probs", first: number, end: number) => {
    const array = port.get(name);
    return { ...array, data: array.data.map((value, at) => (at >= first && at < end ? Number.NaN : value)) };
  };
  port.update({ entropy: broken("entropy", 5, 6), top_probs: broken("top_probs", 50, 60) });
  const picture = await show(port);
  expect(picture.text()).toContain("1 cell without finite logits");
  await hoverCell(picture.grid, { row: 1, col: 0 });
  expect(status(picture.root)).toBe("After layer 0, position 0 'The' → no finite logits");
  const inCell = Array.from({ length: 10 }, (_, x) =>
    colourBeside(picture.grid, { row: 1, col: 0 }, { x, y: 0 }),
  );
  expect(new Set(inCell.map(String)).size).toBeGreaterThan(1);
});

test("the stream and the lens are chosen in the picture, and what they mean is said", async () => {
  const port = samplePort();
  port.update({ has_tuned_lens: true, tuned: true });
  const picture = await show(port);
  expect(picture.text()).toContain("Tuned lens");
  expect(picture.find("[role=note]").textContent).toContain("translators of the given tuned lens");
  picture.button("logit lens").click();
  await choose(picture, "of", "what the MLP writes");
  expect(port.sentTo("set_inputs").map(({ args }) => args)).toEqual([
    { tuned: false },
    { stream: "mlp_out" },
  ]);
  expect(picture.find("[role=note]").textContent).toContain(
    "as if this component's output were the whole stream",
  );
});

test("followed tokens can be taken as a table", async () => {
  const port = fixturePort<Traits>(recorded);
  port.update({ layer: 29, position: 4 });
  const picture = await show(port);
  await until(() => picture.root.querySelector(".mw-plot-line") !== null, "the line");
  const lines = (text: string) => text.trimEnd().split("\n");
  const followed = lines(await copied(picture.root, "Copy table: probability through the layers"));
  expect(followed[0]).toBe('row\t" Paris"');
  expect(followed).toHaveLength(32);
  expect(Number(followed.at(-1)?.split("\t")[1])).toBeCloseTo(0.773, 3);
});

test("interventions are listed, undone, and the table pales until the kernel has run with them", async () => {
  const port = samplePort();
  const picture = await show(port);
  const stale = () => picture.find(".mw-lens").dataset.stale;
  expect(stale()).toBe("false");
  port.set("interventions", [switchOff(23, 3)]);
  await painted();
  expect(stale()).toBe("true");
  port.update({ answered: { interventions: [switchOff(23, 3)] } });
  await painted();
  expect(stale()).toBe("false");
  expect(picture.text()).toContain("modified");
  picture.button("Undo L23H3").click();
  expect(port.get("interventions")).toEqual([]);
});

test("two prompts: their tokens, the divergence in colour, and both lists", async () => {
  const compare = ["The", " capital", " of", " Italy", " is"];
  const port = samplePort({ compare });
  const picture = await show(port);
  const at = { row: 20, col: 3 };
  const lens = readLens(port.traits);
  expect(lens.divergence(20, 3)).toBeGreaterThan(lens.divergence(20, 0));
  expect(colourBeside(picture.grid, { row: 20, col: 0 }, BESIDE_TEXT)).toEqual([255, 255, 255]);
  expect(luminance(colourBeside(picture.grid, at, BESIDE_TEXT) as unknown as Rgb)).toBeLessThan(0.5);
  await hoverCell(picture.grid, at);
  expect(status(picture.root)).toMatch(
    /^After layer 19, position 3 ' France'\/' Italy' → first '.*' [\d.]+, second '.*' [\d.]+, KL [\d.]+ nats$/,
  );
  expect(panel(picture)).toContain("second prompt");
  await choose(picture, "colour", "entropy, first − second");
  expect(picture.text()).toContain("entropy, first − second, nats");
  picture.button("Don't compare").click();
  await painted();
  expect(port.sentTo("set_inputs").map(({ args }) => args)).toEqual([{ compare: "" }]);
  expect(panel(picture)).not.toContain("second prompt");
  picture.button("Compare…").click();
  await painted();
  expect(picture.root.querySelector("[name=compare]")).not.toBeNull();
});

test("without a kernel the kept numbers stay readable, and nothing is asked", async () => {
  const port = samplePort();
  port.setCapabilities({ live: false, detached: true });
  port.update({ layer: 20, position: 4 });
  const picture = await show(port);
  expect(panel(picture)).toContain("After layer 20");
  expect(picture.text()).toContain("Following a token takes a running kernel.");
  expect(port.sent).toEqual([]);
});

test("a new prompt is asked for and drawn", async () => {
  const port = samplePort();
  const picture = await show(port);
  await fill(picture.find<HTMLTextAreaElement>("[name=prompt]"), "Two words");
  picture.find<HTMLFormElement>("form").requestSubmit();
  await painted();
  expect(port.sentTo("set_inputs").map(({ args }) => args)).toEqual([{ prompt: "Two words" }]);
  expect(picture.grid.getAttribute("aria-colcount")).toBe("2");
  expect(picture.root.dataset.state).toBe("ready");
});

test("a prompt that cannot be run leaves its reason, and the picture as it was", async () => {
  const port = samplePort();
  port.answer("set_inputs", () => {
    throw new RequestError("The prompt is empty. Type at least one token.", "ValueError");
  });
  const picture = await show(port);
  picture.find<HTMLFormElement>("form").requestSubmit();
  await painted();
  expect(picture.find("[role=alert]").textContent).toBe("The prompt is empty. Type at least one token.");
  expect(picture.root.dataset.state).toBe("error");
  await hoverCell(picture.grid, { row: 1, col: 0 });
  expect(status(picture.root)).toContain("After layer 0");
});

test("token text is text", async () => {
  const hostile = ["<img src=x onerror=alert(1)>", "\n\t"];
  const picture = await show(samplePort({ tokens: hostile, answers: hostile, layers: 2 }));
  expect(picture.root.querySelector("img")).toBeNull();
  await hoverCell(picture.grid, { row: 2, col: 0 });
  expect(status(picture.root)).toContain("'<img src=x onerror=alert(1)>'");
  await hoverCell(picture.grid, { row: 2, col: 1 });
  expect(panel(picture)).toContain("⏎⇥");
});

test("a long prompt scrolls in its box, and the keyboard brings its cells into sight", async () => {
  const tokens = Array.from({ length: 256 }, (_, at) => FRANCE_TOKENS[at % 5] ?? "");
  const picture = await show(samplePort({ tokens }));
  const canvas = picture.find<HTMLCanvasElement>("canvas");
  expect(canvas.clientWidth).toBeLessThan(picture.root.clientWidth);
  expect(picture.root.scrollWidth).toBe(picture.root.clientWidth);
  await press(picture.grid, "{End}");
  expect(picture.grid.scrollLeft).toBeGreaterThan(10_000);
  expect(status(picture.root)).toContain("position 255");
});

test("a picture that keeps fewer tokens asks for the others where one points, and says so without a kernel", async () => {
  const whole = await show(samplePort());
  expect(panel(whole)).not.toContain("kept");
  const port = samplePort({ k: 2 });
  const short = await show(port);
  await until(() => port.sentTo("column").length === 1, "the request");
  short.end();
  const slow = samplePort({ k: 2 });
  slow.update({ keeps_states: false });
  const waiting = await show(slow);
  await hoverCell(waiting.grid, { row: 3, col: 1 });
  await new Promise((done) => setTimeout(done, 200));
  expect(slow.sentTo("column")).toEqual([]);
  expect(panel(waiting)).toContain("only the top 2 tokens are kept; choose the cell for more.");
  await clickCell(waiting.grid, { row: 3, col: 1 });
  await until(() => slow.sentTo("column").length === 1, "the request");
  waiting.end();
  const gone = samplePort({ k: 2 });
  gone.setCapabilities({ live: false, detached: true });
  expect(panel(await show(gone))).toContain("Of a long prompt, only the top 2 tokens are kept.");
});

test("arrays that do not fit their labels are an error in the picture's place", async () => {
  const port = samplePort();
  port.update({ tokens: ["one"] });
  const picture = await show(port);
  await painted();
  expect(picture.find("[role=alert]").textContent).toContain(
    "top_tokens has shape [1,31,5,10]; expected [1,31,1]",
  );
});

test("axe finds nothing broken", async () => {
  for (const theme of ["light", "dark"] as const) {
    const port = samplePort();
    port.update({ layer: 3, position: 2 });
    const picture = await show(port, theme);
    expect(await violations(picture.root)).toEqual([]);
    picture.end();
  }
});

test("the end of the view ends its listeners", async () => {
  const port = samplePort();
  const picture = await show(port);
  expect(port.listeners).toBeGreaterThan(0);
  picture.end();
  await painted();
  expect(port.listeners).toBe(0);
  expect(document.querySelector(".mechwidgets")).toBeNull();
});
