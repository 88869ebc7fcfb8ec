import axe from "axe-core";
import { describe, expect, it } from "vitest";
import recorded from "../../../tests/fixtures/attention.json";
import { type Intervention, switchOff } from "../../core/intervention";
import { DETACHED, RequestError } from "../../core/port";
import {
  button,
  cellColour,
  clickCell,
  grid,
  hoverCell,
  painted,
  press,
  show,
  status,
  type ThemeName,
  until,
} from "../../test/dom";
import { type FakePort, held } from "../../test/fake_port";
import { fixturePort } from "../../test/fixture";
import { attention } from ".";
import { IOI_TOKENS, samplePattern, samplePort, triangle } from "./sample";
import type { PatternsAnswer, PredictAnswer, Traits } from "./traits";

const SURFACE = { light: [255, 255, 255], dark: [17, 17, 17] };
const STRONGEST = { light: [8, 56, 122], dark: [227, 241, 255] };

async function showAttention(port: FakePort<Traits> = samplePort(), theme: ThemeName = "light") {
  const shown = await show("attention", attention, port, theme);
  const heads = () => grid(shown.root, "Attention heads");
  const matrix = () => grid(shown.root, `Attention of L${port.get("layer")}H${port.get("head")}`);
  return { ...shown, port, heads, matrix };
}

/** The kernel's answer about one head, from its matrix. */
function whole(matrix: Float32Array): PatternsAnswer {
  return { patterns: [triangle(matrix)], compared: [] };
}

/** The texts of the prediction's rows, cell by cell. */
function predictionRows(root: HTMLElement): string[][] {
  return [...root.querySelectorAll(".mw-bars tbody tr")].map((row) =>
    [...row.querySelectorAll("th, td:not(.mw-bar)")].map((cell) => cell.textContent ?? ""),
  );
}

function tokenColours(root: HTMLElement): string[] {
  return [...root.querySelectorAll<HTMLElement>('[role="option"]')].map((token) => token.style.background);
}

describe("the picture", () => {
  it.each(["light", "dark"] as const)("draws weights in their colours (%s)", async (theme) => {
    const identity = Float32Array.from({ length: 14 * 14 }, (_, at) => (at % 15 === 0 ? 1 : 0));
    const port = samplePort();
    port.answer("patterns", () => whole(identity));
    const { matrix } = await showAttention(port, theme);
    expect(cellColour(matrix(), { row: 6, col: 6 })).toEqual(STRONGEST[theme]);
    expect(cellColour(matrix(), { row: 6, col: 2 })).toEqual(SURFACE[theme]);
  });

  it.each(["light", "dark"] as const)("draws each head's thumbnail (%s)", async (theme) => {
    const { port, heads } = await showAttention(samplePort({ layers: 4, heads: 3 }), theme);
    const strong = {
      dtype: "uint8",
      shape: [4, 3, 14, 14],
      data: new Uint8Array(4 * 3 * 14 * 14).fill(1),
    } as const;
    strong.data.fill(255, (2 * 3 + 1) * 196, (2 * 3 + 2) * 196);
    port.update({ thumbnails: strong });
    await painted();
    expect(cellColour(heads(), { row: 2, col: 1 })).toEqual(STRONGEST[theme]);
    expect(cellColour(heads(), { row: 2, col: 2 })).toEqual(SURFACE[theme]);
  });

  it("shows the recorded run of the real model", async () => {
    const { root, matrix } = await showAttention(fixturePort<Traits>(recorded));
    await until(() => root.dataset.state === "ready", "the recorded answers");
    expect(root.querySelector(".mw-header")?.textContent).toContain("smollm2-135m");
    expect(predictionRows(root)[0]).toEqual(["·Mary", "0.923"]);
    await hoverCell(matrix(), { row: 13, col: 9 });
    expect(status(root)).toMatch(/^' to' → ' John': 0\.\d+$/);
  });

  it("has no accessibility violations", async () => {
    for (const theme of ["light", "dark"] as const) {
      const port = samplePort();
      port.set("interventions", [switchOff(4, 7), switchOff(9, 1)]);
      const { root, end } = await showAttention(port, theme);
      const { violations } = await axe.run(root, { rules: { region: { enabled: false } } });
      expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
      end();
    }
  });

  it("shows token text as text", async () => {
    const tokens = ["<img src=x onerror=alert(1)>", "\u0000\n", " ", "<b>bold</b>"];
    const port = samplePort({ layers: 2, heads: 2, tokens });
    port.answer("predict", () => ({
      ...{ tokens: ["<i>x</i>", "\t"], kl: 0 },
      before: { dtype: "float32", shape: [2], data: Float32Array.of(0.6, 0.4) },
      after: { dtype: "float32", shape: [2], data: Float32Array.of(0.6, 0.4) },
    }));
    const { root } = await showAttention(port);
    expect(root.querySelectorAll("img, b, i")).toHaveLength(0);
    expect([...root.querySelectorAll('[role="option"]')].map((token) => token.textContent)).toEqual([
      "<img src=x onerror=aler…",
      "␀⏎",
      "·",
      "<b>bold</b>",
    ]);
    expect(predictionRows(root).map(([token]) => token)).toEqual(["<i>x</i>", "⇥"]);
  });

  it("leaves no listener behind", async () => {
    const { port, root, end } = await showAttention();
    expect(port.listeners).toBeGreaterThan(0);
    end();
    await painted();
    expect(port.listeners).toBe(0);
    expect(root.isConnected).toBe(false);
    port.update({ layer: 2 });
  });

  it("draws a single token, and a prompt of hundreds", async () => {
    const port = samplePort({ layers: 2, heads: 2, tokens: ["one"] });
    const { root, matrix } = await showAttention(port);
    await hoverCell(matrix(), { row: 0, col: 0 });
    expect(status(root)).toBe("'one' → 'one': 1");
    const tokens = Array.from({ length: 300 }, (_, at) => ` ${at}`);
    const { prompt, thumbnails, alternatives } = samplePort({
      layers: 2,
      heads: 2,
      tokens,
      block: 10,
    }).traits;
    port.update({ prompt, tokens, thumbnails, alternatives, thumbnail_block: 10 });
    await painted();
    await painted();
    const overview = () => grid(root, "Attention of L1H1, in blocks of 3 tokens");
    expect(overview().getAttribute("aria-rowcount")).toBe("100");
    const weights = samplePattern(1, 1, tokens);
    const inBlock = (row: number, col: number) => row >= 120 && row < 123 && col >= 60 && col < 63;
    const largest = Math.max(...weights.filter((_, at) => inBlock(Math.floor(at / 300), at % 300)));
    const at = weights.indexOf(largest);
    const [row, col] = [Math.floor(at / 300), at % 300];
    await hoverCell(overview(), { row: 40, col: 20 });
    expect(status(root)).toContain(`${row} → ${col}, strongest of 3 × 3: ' ${row}' → ' ${col}': `);
    // A click goes there.
    await clickCell(overview(), { row: 40, col: 20 });
    expect(matrix().getAttribute("aria-rowcount")).toBe("300");
    expect(port.get("position")).toBe(row);
    expect(matrix().scrollTop).toBeGreaterThan(0);
    // So does the button, to the token that is locked.
    button(root, "whole prompt").click();
    port.update({ position: 290 });
    await painted();
    button(root, "every token").click();
    await painted();
    expect(matrix().scrollTop).toBeGreaterThan(1000);
    expect(root.textContent).toContain("largest value of 10 × 10 tokens");
  });
});

describe("choosing a head", () => {
  it("by click asks for its pattern, and shows its thumbnail until the answer is there", async () => {
    const port = samplePort();
    const answer = held<PatternsAnswer>();
    const { root, heads, matrix } = await showAttention(port);
    port.answer("patterns", answer.answerer);
    await clickCell(heads(), { row: 9, col: 2 });
    expect([port.get("layer"), port.get("head")]).toEqual([9, 2]);
    expect(port.sentTo("patterns").at(-1)?.args).toEqual({ heads: [[9, 2]] });
    expect(root.dataset.state).toBe("busy");
    await hoverCell(matrix(), { row: 3, col: 1 });
    const weight = samplePattern(9, 2, IOI_TOKENS)[3 * 14 + 1] ?? 0;
    expect(status(root)).toBe(`' John' → ' Mary': about ${weight.toFixed(2)}`);
    const exact = new Float32Array(196).fill(0.125);
    answer.resolve(whole(exact));
    await painted();
    expect(root.dataset.state).toBe("ready");
    await hoverCell(matrix(), { row: 4, col: 1 });
    expect(status(root)).toBe("' went' → ' Mary': 0.125");
  });

  it("by keyboard, and from Python", async () => {
    const { root, port, heads } = await showAttention();
    await press(heads(), "{ArrowDown}{ArrowLeft}");
    expect(status(root)).toContain("L5H6");
    await press(heads(), "{Enter}");
    expect([port.get("layer"), port.get("head")]).toEqual([5, 6]);
    port.update({ layer: 20, head: 8 });
    await painted();
    expect(root.querySelector(".mw-head strong")?.textContent).toBe("Head L20H8");
    expect(grid(root, "Attention of L20H8")).toBeTruthy();
  });

  it("keeps the answer of the last of several", async () => {
    const port = samplePort();
    const { root, matrix } = await showAttention(port);
    const [slow, fast] = [held<PatternsAnswer>(), held<PatternsAnswer>()];
    const filled = (value: number) => whole(new Float32Array(196).fill(value));
    port.answer("patterns", slow.answerer);
    port.update({ layer: 1, head: 1 });
    await painted();
    port.answer("patterns", fast.answerer);
    port.update({ layer: 2, head: 2 });
    await painted();
    expect(port.sentTo("patterns").at(-2)?.signal?.aborted).toBe(true);
    fast.resolve(filled(0.5));
    slow.resolve(filled(0.25));
    await painted();
    await hoverCell(matrix(), { row: 5, col: 5 });
    expect(status(root)).toMatch(/: 0\.5$/);
  });

  it("that the kernel cannot show says why, and the others still can be chosen", async () => {
    const port = samplePort();
    port.answer("patterns", () => {
      throw new RequestError("Layer 4 gives no attention pattern for this architecture.", "ValueError");
    });
    const { root, heads } = await showAttention(port);
    expect(root.querySelector('.mw-heads-panel [role="alert"]')?.textContent).toBe(
      "Layer 4 gives no attention pattern for this architecture.",
    );
    port.answer("patterns", () => whole(new Float32Array(196)));
    await clickCell(heads(), { row: 1, col: 1 });
    expect(root.querySelector('[role="alert"]')).toBeNull();
    expect(root.dataset.state).toBe("ready");
  });

  it("says which scores the prompt does not define", async () => {
    const { root } = await showAttention(samplePort({ tokens: ["no", " token", " twice"] }));
    const scores = [...root.querySelectorAll(".mw-score")];
    expect(scores.map((score) => score.textContent)).toEqual([
      expect.stringMatching(/^previous token 0\.\d+$/),
      "duplicate token –",
      "induction –",
    ]);
    expect(scores[1]?.getAttribute("title")).toContain("Undefined for this prompt");
  });
});

describe("the tokens", () => {
  it("are coloured by what the last token attends to, or by what is under the pointer", async () => {
    const { root, matrix } = await showAttention();
    const resting = tokenColours(root);
    await hoverCell(matrix(), { row: 5, col: 2 });
    expect(tokenColours(root)).not.toEqual(resting);
    expect(root.querySelector(".mw-current")?.textContent).toBe("·to");
    matrix().dispatchEvent(new PointerEvent("pointerleave"));
    await painted();
    expect(tokenColours(root)).toEqual(resting);
  });

  it("lock a token by click or key, and Escape unlocks it", async () => {
    const { root } = await showAttention();
    const list = root.querySelector<HTMLElement>('[role="listbox"]');
    const option = (at: number) => root.querySelectorAll<HTMLElement>('[role="option"]')[at];
    if (!list) throw new Error("There is no list of tokens.");
    option(3)?.click();
    await painted();
    expect(option(3)?.getAttribute("aria-selected")).toBe("true");
    await press(list, "{Escape}");
    expect(root.querySelector('[aria-selected="true"][role="option"]')).toBeNull();
    await press(list, "{Home}{ArrowRight}{Enter}");
    expect(option(1)?.getAttribute("aria-selected")).toBe("true");
    expect(list.getAttribute("aria-activedescendant")).toBe(option(1)?.id);
  });

  it("can show what attends to a token instead", async () => {
    const { root, port, matrix } = await showAttention();
    button(root, "is attended by").click();
    await hoverCell(matrix(), { row: 6, col: 5 });
    expect(root.querySelector(".mw-current")?.textContent).toBe("·to");
    expect(button(root, "is attended by").getAttribute("aria-pressed")).toBe("true");
    expect(port.get("direction")).toBe("to");
    // Nothing before a token can attend to it.
    expect(tokenColours(root)[0]).toBe("");
  });
});

describe("switching heads off", () => {
  it("shows the plain distribution while all are on", async () => {
    const { root, port } = await showAttention();
    expect(port.sentTo("predict").map(({ args }) => args)).toEqual([{ interventions: [] }]);
    expect(predictionRows(root)[0]).toEqual(["·Mary", "0.916"]);
    expect(root.querySelector(".mw-badge")).toBeNull();
  });

  it("by the button asks the kernel, and shows before, after and change", async () => {
    const { root, port } = await showAttention();
    button(root, "Switch head off").click();
    await painted();
    const off = switchOff(4, 7);
    expect(off).toEqual({ site: "z", layer: 4, head: 7, position: null, op: "zero", value: null });
    expect(port.get("interventions")).toEqual([off]);
    expect(port.sentTo("predict").at(-1)?.args).toEqual({ interventions: [off] });
    expect(predictionRows(root)[0]).toEqual(["·Mary", "0.916", "0.680", "−0.236"]);
    expect(root.querySelector(".mw-badge")?.textContent).toBe("modified");
    expect(root.textContent).toContain("KL 0.498 nats");
    button(root, "Switch head on").click();
    await painted();
    expect(port.get("interventions")).toEqual([]);
    expect(predictionRows(root)[0]).toEqual(["·Mary", "0.916"]);
  });

  it("by the key x crosses the head out on the map, without choosing it", async () => {
    const { root, port, heads } = await showAttention();
    await press(heads(), "{ArrowUp}x");
    expect(port.get("interventions")).toEqual([switchOff(3, 7)]);
    expect(port.get("layer")).toBe(4);
    // The cross goes through the middle of the cell, in the ink's colour.
    expect(Math.max(...cellColour(heads(), { row: 3, col: 7 }))).toBeLessThan(90);
    await hoverCell(heads(), { row: 3, col: 7 });
    expect(status(root)).toMatch(/^L3H7 · switched off/);
  });

  it("lists them, and takes them back one by one or all at once", async () => {
    const port = samplePort();
    port.set("interventions", [switchOff(1, 2), switchOff(3, 4), switchOff(5, 6)]);
    const { root } = await showAttention(port);
    button(root, "Undo L3H4").click();
    await painted();
    expect(port.get("interventions")).toEqual([switchOff(1, 2), switchOff(5, 6)]);
    button(root, "Reset").click();
    await painted();
    expect(port.get("interventions")).toEqual([]);
  });

  it("honours what Python sets, other kinds of change included", async () => {
    const { root, port } = await showAttention();
    const patch: Intervention = {
      site: "resid_pre",
      layer: 3,
      head: null,
      position: 5,
      op: "patch",
      value: null,
    };
    port.update({ interventions: [switchOff(4, 7), patch] });
    await painted();
    expect(button(root, "Undo L4H7")).toBeTruthy();
    expect(button(root, "Undo patch resid_pre L3 at 5")).toBeTruthy();
    expect(button(root, "Switch head on")).toBeTruthy();
    expect(root.dataset.state).toBe("ready");
  });

  it("says of each change what it is, several of one head too", async () => {
    const change = (fields: Partial<Intervention>): Intervention => ({ ...switchOff(4, 7), ...fields });
    const changes = [
      change({ op: "add", value: 2 }),
      change({ op: "add", value: [1, 2] }),
      change({ op: "add", value: [3, 4] }),
      change({ position: 5 }),
      change({ site: "mlp_out", head: null }),
      switchOff(1, 2),
    ];
    const port = samplePort();
    port.set("interventions", changes);
    const { root } = await showAttention(port);
    const panel = root.querySelector(".mw-prediction");
    const labels = () =>
      [...(panel?.querySelectorAll('[aria-label^="Undo"]') ?? [])].map((undo) => undo.textContent);
    expect(panel?.textContent).not.toContain("switched off");
    expect(labels()).toEqual([
      "add z L4H7: 2 ×",
      "add z L4H7 ×",
      "add z L4H7 ×",
      "zero z L4H7 at 5 ×",
      "zero mlp_out L4 ×",
      "L1H2 ×",
    ]);
    panel?.querySelectorAll<HTMLButtonElement>('[aria-label="Undo add z L4H7"]')[1]?.click();
    await painted();
    expect(port.get("interventions")).toEqual(changes.filter((_, at) => at !== 2));
    expect(labels()).toHaveLength(5);
    port.set("interventions", [switchOff(1, 2)]);
    await painted();
    expect(panel?.textContent).toContain("switched off");
  });

  it("keeps the last distribution while the next is asked for, and when it fails", async () => {
    const port = samplePort();
    const { root } = await showAttention(port);
    const answer = held<PredictAnswer>();
    port.answer("predict", answer.answerer);
    button(root, "Switch head off").click();
    await painted();
    expect(root.dataset.state).toBe("busy");
    // What is shown is still about the model as it is, and says so: no zeros as if the head did nothing.
    expect(predictionRows(root)[0]).toEqual(["·Mary", "0.916"]);
    expect(root.querySelector<HTMLElement>(".mw-bars")?.dataset.stale).toBe("true");
    answer.reject(new RequestError("The model gave NaN with L4H7 off.", "ValueError"));
    await painted();
    expect(root.dataset.state).toBe("error");
    expect(root.querySelector('.mw-prediction [role="alert"]')?.textContent).toBe(
      "The model gave NaN with L4H7 off.",
    );
    expect(predictionRows(root)[0]).toEqual(["·Mary", "0.916"]);
    port.answer("predict", () => samplePortPrediction());
    button(root, "Try again").click();
    await painted();
    expect(root.dataset.state).toBe("ready");
  });
});

it("without a kernel shows what was saved, and offers nothing that takes one", async () => {
  const port = samplePort();
  port.set("interventions", [switchOff(4, 7)]);
  port.setCapabilities({ live: false, detached: true });
  for (const name of ["patterns", "predict"]) {
    port.answer(name, () => {
      throw new RequestError("The kernel that drew this picture is gone.", DETACHED);
    });
  }
  const { root, heads } = await showAttention(port);
  expect(root.dataset.state).toBe("detached");
  expect(root.querySelector('[role="alert"]')).toBeNull();
  const offered = [...root.querySelectorAll<HTMLButtonElement>("button:not(.mw-menu *):not(:disabled)")];
  expect(offered.map((one) => one.textContent)).toEqual(["Keep", "attends to", "is attended by"]);
  await press(heads(), "{ArrowDown}x{Enter}");
  expect(port.get("interventions")).toEqual([switchOff(4, 7)]);
  expect(root.querySelector(".mw-head strong")?.textContent).toBe("Head L5H7");
});

describe("a new prompt", () => {
  it("draws the new tokens and asks again", async () => {
    const { root, port, matrix } = await showAttention();
    const field = root.querySelector("textarea");
    if (!field) throw new Error("There is no prompt field.");
    field.select();
    await press(field, "Hello there world{Enter}");
    await painted();
    expect(port.sentTo("set_inputs")[0]?.args).toEqual({ prompt: "Hello there world" });
    expect(matrix().getAttribute("aria-rowcount")).toBe("3");
    expect(port.sentTo("predict")).toHaveLength(2);
    expect(port.sentTo("patterns")).toHaveLength(2);
    expect(root.dataset.state).toBe("ready");
  });

  it("that the kernel refuses leaves the picture as it was, and usable", async () => {
    const port = samplePort();
    port.answer("set_inputs", () => {
      throw new RequestError("The prompt is empty. Type at least one token.", "ValueError");
    });
    const { root, heads, matrix } = await showAttention(port);
    button(root, "Run").click();
    await painted();
    expect(root.dataset.state).toBe("error");
    expect(root.querySelector('[role="alert"].mw-error')?.textContent).toBe(
      "The prompt is empty. Type at least one token.",
    );
    expect(matrix().getAttribute("aria-rowcount")).toBe("14");
    await clickCell(heads(), { row: 2, col: 3 });
    expect(port.get("layer")).toBe(2);
  });
});

it("tokens of a long prompt are coloured when they come into sight, and those in it at once", async () => {
  const tokens = Array.from({ length: 600 }, (_, at) => ` w${at}`);
  const port = samplePort({ layers: 1, heads: 1, tokens: ["a"] });
  const first = new Float32Array((600 * 601) / 2);
  for (let row = 0; row < 600; row++) first[(row * (row + 1)) / 2] = 1;
  port.answer("patterns", () => ({
    patterns: [{ dtype: "float32", shape: [first.length], data: first }],
    compared: [],
  }));
  port.update({ tokens, alternatives: tokens.map(() => []) });
  const { root } = await showAttention(port);
  await painted();
  const strip = root.querySelector<HTMLElement>(".mw-tokens");
  if (!strip) throw new Error("There is no strip of tokens.");
  // the last token is in sight, and the first, which all attend to, is not
  expect(strip.scrollTop).toBeGreaterThan(0);
  expect(tokenColours(root)[0]).toBe("");
  expect(tokenColours(root)[598]).not.toBe("");
  strip.scrollTop = 0;
  await painted();
  expect(tokenColours(root)[0]).not.toBe("");
  expect(tokenColours(root)[0]).not.toBe(tokenColours(root)[1]);
});

function samplePortPrediction(): PredictAnswer {
  const one = { dtype: "float32", shape: [1], data: Float32Array.of(1) } as const;
  return { tokens: [" Mary"], before: one, after: one, kl: 0 };
}

describe("without the next token", () => {
  it("asks for none, and says by itself what is switched off", async () => {
    const sample = samplePort();
    sample.update({ prediction: false, interventions: [switchOff(1, 2)] });
    const { root, port } = await showAttention(sample);
    expect(root.querySelector(".mw-prediction")).toBeNull();
    expect(port.sentTo("predict")).toEqual([]);
    button(root, "L1H2 ×").click();
    await painted();
    expect(port.get("interventions")).toEqual([]);
    expect((await axe.run(root, { resultTypes: ["violations"] })).violations).toEqual([]);
  });
});
