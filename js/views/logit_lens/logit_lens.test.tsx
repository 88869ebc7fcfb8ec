import { expect, test } from "vitest";
import recorded from "../../../tests/fixtures/logit_lens.json";
import { luminance, type Rgb } from "../../core/colour";
import { RequestError } from "../../core/port";
import { clickCell, hoverCell, painted, press, status, type ThemeName } from "../../test/dom";
import { fixturePort } from "../../test/fixture";
import { colourBeside, fill, type Picture, showPicture, violations } from "../../test/picture";
import { logitLens } from ".";
import { readLens } from "./lens";
import { FRANCE_TOKENS, samplePort, sampleTraits } from "./sample";
import type { Traits } from "./traits";

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
    top_probs: number([probability, 0], [1, 2, 1]),
    entropy: number([entropy, port.get("max_entropy")], [1, 2]),
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
  picture.button("entropy").click();
  await painted();
  expect(port.get("color_by")).toBe("entropy");
  expect(colourBeside(picture.grid, { row: 0, col: 0 }, BESIDE_TEXT)).toEqual(byProbability);
  expect(picture.text()).toContain("entropy of the distribution, nats");
});

function pick(port: ReturnType<typeof samplePort>): Partial<Traits> {
  return { top_probs: port.get("top_probs"), entropy: port.get("entropy") };
}

test("a cell that already has the output's token is marked in its corner", async () => {
  const picture = await show();
  const lens = readLens(sampleTraits());
  const corner = { x: 104 / 2 - 3, y: -8 };
  const marked = [...Array(OUTPUT).keys()].filter((row) => lens.rank(row, LAST) === 0);
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
  expect([port.get("row"), port.get("position")]).toEqual([2, 1]);
  await press(picture.grid, "{End}");
  expect(status(picture.root)).toContain("position 4");
  expect(panel(picture)).toContain("position 1");
  await press(picture.grid, "{Escape}");
  expect([port.get("row"), port.get("position")]).toEqual([null, null]);
});

test("a click locks, a second click on the cell unlocks; a lock from Python shows", async () => {
  const port = samplePort();
  const picture = await show(port);
  await clickCell(picture.grid, { row: 3, col: 2 });
  expect([port.get("row"), port.get("position")]).toEqual([3, 2]);
  expect(panel(picture)).toContain("After layer 2Unlock");
  await clickCell(picture.grid, { row: 3, col: 2 });
  expect(port.get("row")).toBeNull();
  port.update({ row: OUTPUT, position: 1 });
  await painted();
  expect(panel(picture)).toContain("Output (after layer 29)Unlockposition 1 ·capital");
  picture.button("Unlock").click();
  expect(port.get("position")).toBeNull();
});

test("a new prompt is asked for and drawn", async () => {
  const port = samplePort();
  const picture = await show(port);
  await fill(picture.find<HTMLTextAreaElement>("[name=prompt]"), "Two words");
  picture.find<HTMLFormElement>("form").requestSubmit();
  await painted();
  expect(port.sentTo("set_prompt").map(({ args }) => args)).toEqual([{ prompt: "Two words" }]);
  expect(picture.grid.getAttribute("aria-colcount")).toBe("2");
  expect(picture.root.dataset.state).toBe("ready");
});

test("a prompt that cannot be run leaves its reason, and the picture as it was", async () => {
  const port = samplePort();
  port.answer("set_prompt", () => {
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

test("a picture that keeps fewer tokens says so", async () => {
  const whole = await show(samplePort());
  expect(panel(whole)).not.toContain("kept");
  const short = await show(samplePort({ k: 2 }));
  expect(panel(short)).toContain("Of a long prompt, only the top 2 tokens are kept.");
});

test("arrays that do not fit their labels are an error in the picture's place", async () => {
  const port = samplePort();
  port.update({ tokens: ["one"] });
  const picture = await show(port);
  await painted();
  expect(picture.find("[role=alert]").textContent).toContain(
    "top_tokens has shape [31,5,10]; expected [31,1]",
  );
});

test("axe finds nothing broken", async () => {
  for (const theme of ["light", "dark"] as const) {
    const port = samplePort();
    port.update({ row: 3, position: 2 });
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
