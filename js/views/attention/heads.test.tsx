import axe from "axe-core";
import { describe, expect, it } from "vitest";
import { userEvent } from "vitest/browser";
import { switchOff } from "../../core/intervention";
import { RequestError } from "../../core/port";
import {
  button,
  cellCentre,
  cellColour,
  clickCell,
  grid,
  hoverCell,
  painted,
  press,
  show,
  status,
  type ThemeName,
} from "../../test/dom";
import type { FakePort } from "../../test/fake_port";
import { attention } from ".";
import {
  IOI_TOKENS,
  sampleDifferencePort,
  samplePattern,
  samplePort,
  sampleScoresPort,
  sampleTraits,
} from "./sample";
import type { Traits } from "./traits";

async function showAttention(port: FakePort<Traits> = samplePort(), theme: ThemeName = "light") {
  const shown = await show("attention", attention, port, theme);
  const heads = () => grid(shown.root, "Attention heads");
  const matrix = (name: string) => grid(shown.root, `Attention of ${name}`);
  const cards = () => [...shown.root.querySelectorAll(".mw-head strong")].map((one) => one.textContent);
  return { ...shown, port, heads, matrix, cards };
}

/** Clicks a cell of a grid with Shift held. */
async function shiftClick(element: HTMLElement, cell: { row: number; col: number }): Promise<void> {
  const { left, top } = element.getBoundingClientRect();
  const { x, y } = cellCentre(element, cell);
  const place = { clientX: left + x, clientY: top + y, bubbles: true, shiftKey: true };
  element.querySelector("canvas")?.dispatchEvent(new MouseEvent("click", place));
  await painted();
}

async function choose(root: HTMLElement, score: string): Promise<void> {
  const select = root.querySelector("select");
  if (!select) throw new Error("There is no list of scores.");
  await userEvent.selectOptions(select, score);
  await painted();
}

/** The highest of the sample's induction scores, and whose it is. */
function best(): { layer: number; head: number; value: number } {
  const { data } = sampleTraits().score_values;
  const scores = [...data.slice(2 * 270)];
  const value = Math.max(...scores);
  const at = scores.indexOf(value);
  return { layer: Math.floor(at / 9), head: at % 9, value };
}

describe("scores", () => {
  it.each(["light", "dark"] as const)("tint the ground, with a legend (%s)", async (theme) => {
    const empty = {
      dtype: "uint8",
      shape: [30, 9, 14, 14],
      data: new Uint8Array(270 * 196).fill(1),
    } as const;
    const port = samplePort();
    port.update({ thumbnails: empty });
    const { root, heads } = await showAttention(port, theme);
    const { layer, head } = best();
    const plain = cellColour(heads(), { row: layer, col: head });
    await choose(root, "induction");
    expect(port.get("score")).toBe("induction");
    const [red, green, blue] = cellColour(heads(), { row: layer, col: head });
    expect([red, green, blue]).not.toEqual(plain);
    // Yellow: much red and green, little blue.
    expect(Math.min(red, green) - blue).toBeGreaterThan(80);
    expect(root.textContent).toContain("tint: induction");
    await choose(root, "");
    expect(cellColour(heads(), { row: layer, col: head })).toEqual(plain);
  });

  it("with both signs have a colour each, and nothing at 0", async () => {
    const port = samplePort({ layers: 1, heads: 3 });
    const values = { dtype: "float32", shape: [1, 1, 3], data: Float32Array.of(-2, 0, 1) } as const;
    const thumbnails = {
      dtype: "uint8",
      shape: [1, 3, 14, 14],
      data: new Uint8Array(3 * 196).fill(1),
    } as const;
    port.update({ score_names: ["effect"], score_values: values, score: "effect", thumbnails });
    const { heads } = await showAttention(port);
    const [violet, none, yellow] = [0, 1, 2].map((col) => cellColour(heads(), { row: 0, col }));
    expect(none).toEqual([255, 255, 255]);
    expect(violet?.[2]).toBeGreaterThan(violet?.[1] ?? 255);
    expect(yellow?.[2]).toBeLessThan(yellow?.[1] ?? 0);
  });

  it("put the highest first, and a click there opens that head", async () => {
    const { root, port, heads } = await showAttention();
    expect(button(root, "sort by it").disabled).toBe(true);
    await choose(root, "induction");
    button(root, "sort by it").click();
    await painted();
    const { layer, head, value } = best();
    await hoverCell(heads(), { row: 0, col: 0 });
    expect(status(root)).toContain(`L${layer}H${head} ·`);
    expect(status(root)).toContain(`induction ${value.toFixed(3)}`);
    await clickCell(heads(), { row: 0, col: 0 });
    expect([port.get("layer"), port.get("head")]).toEqual([layer, head]);
    await press(heads(), "{Control>}{End}{/Control}x");
    expect(port.get("interventions")).toHaveLength(1);
    button(root, "sort by it").click();
    await painted();
    expect(heads().getAttribute("aria-rowcount")).toBe("30");
  });

  it("that are gone leave the map as it is", async () => {
    const port = samplePort();
    port.update({ score: "of another run", order: "score" });
    const { root, heads } = await showAttention(port);
    expect(heads().getAttribute("aria-rowcount")).toBe("30");
    expect(root.textContent).not.toContain("tint:");
  });
});

describe("heads side by side", () => {
  it("are kept by a click with Shift, and by k, and asked for together", async () => {
    const { port, heads, cards, matrix } = await showAttention();
    await shiftClick(heads(), { row: 9, col: 1 });
    expect(port.get("heads")).toEqual([[9, 1]]);
    expect([port.get("layer"), port.get("head")]).toEqual([4, 7]);
    expect(cards()).toEqual(["Head L4H7", "Head L9H1"]);
    // The other one is known already.
    expect(port.sentTo("patterns").at(-1)?.args).toEqual({ heads: [[9, 1]] });
    await press(heads(), "{Control>}{Home}{/Control}k");
    expect(port.get("heads")).toEqual([
      [9, 1],
      [0, 0],
    ]);
    expect(matrix("L0H0")).toBeTruthy();
    await press(heads(), "k");
    expect(port.get("heads")).toEqual([[9, 1]]);
  });

  it("stay while others are chosen, and go by their button", async () => {
    const { root, port, heads, cards } = await showAttention();
    button(root, "Keep L4H7 beside others").click();
    await painted();
    await clickCell(heads(), { row: 2, col: 2 });
    expect(cards()).toEqual(["Head L2H2", "Head L4H7"]);
    await clickCell(heads(), { row: 4, col: 7 });
    expect(cards()).toEqual(["Head L4H7"]);
    button(root, "Keep L4H7 beside others").click();
    await painted();
    expect(port.get("heads")).toEqual([]);
    expect(cards()).toEqual(["Head L4H7"]);
  });

  it("colour the text by the one under the pointer", async () => {
    const port = samplePort();
    port.update({ heads: [[9, 1]] });
    const { root, matrix } = await showAttention(port);
    const strip = () => root.querySelector(".mw-strip strong")?.textContent;
    expect(strip()).toBe("L4H7");
    await hoverCell(matrix("L9H1"), { row: 5, col: 3 });
    expect(strip()).toBe("L9H1");
    expect(status(root)).toMatch(/^' to' → ' John': /);
  });

  it("have no accessibility violations, whatever is drawn", async () => {
    for (const theme of ["light", "dark"] as const) {
      for (const port of [samplePort(), sampleDifferencePort(IOI_TOKENS.toReversed()), sampleScoresPort(6)]) {
        port.update({ heads: [[9, 1]], score: "induction", order: "score", position: 3 });
        port.set("interventions", [switchOff(4, 7)]);
        const { root, end } = await showAttention(port, theme);
        const { violations } = await axe.run(root, { rules: { region: { enabled: false } } });
        expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
        end();
      }
    }
  });
});

describe("the locked token", () => {
  const option = (root: HTMLElement, at: number) => root.querySelectorAll<HTMLElement>('[role="option"]')[at];

  it("is a trait, from either side", async () => {
    const { root, port, matrix } = await showAttention();
    option(root, 3)?.click();
    await painted();
    expect(port.get("position")).toBe(3);
    port.update({ position: 9 });
    await painted();
    expect(option(root, 9)?.getAttribute("aria-selected")).toBe("true");
    expect(option(root, 3)?.getAttribute("aria-selected")).toBe("false");
    await press(matrix("L4H7"), "{Escape}");
    expect(port.get("position")).toBeNull();
  });

  it("of another text that is longer does not count", async () => {
    const port = samplePort();
    port.update({ position: 400 });
    const { root } = await showAttention(port);
    expect(root.dataset.state).toBe("ready");
    expect(root.querySelector('[aria-selected="true"][role="option"]')).toBeNull();
  });
});

describe("what is drawn", () => {
  it("is asked for by a button", async () => {
    const { root, port } = await showAttention();
    button(root, "× |v|").click();
    await painted();
    expect(port.sentTo("set_inputs")[0]?.args).toEqual({ attention_type: "value-weighted" });
    expect(button(root, "× |v|").getAttribute("aria-pressed")).toBe("true");
    expect(root.textContent).toContain("the head's largest |v|");
    port.answer("set_inputs", () => {
      throw new RequestError("This architecture does not show its values.", "ValueError");
    });
    button(root, "scores").click();
    await painted();
    expect(root.querySelector('[role="alert"]')?.textContent).toBe(
      "This architecture does not show its values.",
    );
    expect(button(root, "× |v|").getAttribute("aria-pressed")).toBe("true");
  });

  it("leaves no doubt about what a mask hides, nor about where the colours end", async () => {
    const { root, matrix, heads } = await showAttention(sampleScoresPort(6));
    await hoverCell(matrix("L4H7"), { row: 10, col: 2 });
    expect(status(root)).toBe("' gave' → ' and': masked");
    await hoverCell(matrix("L4H7"), { row: 10, col: 9 });
    const score = 2 * Math.log(samplePattern(4, 7, IOI_TOKENS)[10 * 14 + 9] ?? 1) + 3;
    expect(status(root)).toMatch(/^' gave' → ' John': [−-]?\d/);
    expect(Number(status(root).split(": ")[1]?.replace("−", "-"))).toBeCloseTo(score, 1);
    expect(root.querySelector(".mw-head .mw-legend")?.textContent).toContain("score before softmax");
    expect(heads().closest("section")?.textContent).toContain("lowest");
  });
});

describe("a difference of two prompts", () => {
  const others = IOI_TOKENS.map((token, at) => (at === 9 ? " Mary" : token));
  const duplicate = () => {
    const { data } = sampleTraits().score_values;
    const at = data.slice(270, 540).findIndex((value) => value > 0.6);
    return { layer: Math.floor(at / 9), head: at % 9 };
  };

  it("says what it is the difference of, and has a colour for each sign", async () => {
    const port = sampleDifferencePort(others);
    const { layer, head } = duplicate();
    port.update({ layer, head });
    const { root, matrix } = await showAttention(port);
    const name = `L${layer}H${head}`;
    await hoverCell(matrix(name), { row: 9, col: 3 });
    const [one, two] = [IOI_TOKENS, others].map(
      (tokens) => samplePattern(layer, head, tokens)[9 * 14 + 3] ?? 0,
    );
    const said = status(root).match(/^' John\| Mary' → ' John': (\S+) \((\S+) less (\S+)\)$/);
    expect(said?.slice(1).map((text) => Number(text.replace("−", "-")))).toEqual([
      expect.closeTo((one ?? 0) - (two ?? 0), 2),
      expect.closeTo(one ?? 0, 2),
      expect.closeTo(two ?? 0, 2),
    ]);
    const [blue, orange] = [3, 1].map((col) => cellColour(matrix(name), { row: 9, col }));
    expect(blue?.[2]).toBeGreaterThan(blue?.[0] ?? 255);
    expect(orange?.[0]).toBeGreaterThan(orange?.[2] ?? 255);
  });

  it("is asked for with both texts, and given up by a button", async () => {
    const { root, port } = await showAttention();
    button(root, "Compare…").click();
    await painted();
    const field = root.querySelector<HTMLTextAreaElement>('textarea[name="compare"]');
    if (!field) throw new Error("There is no field for the second prompt.");
    await press(field, "Another one{Enter}");
    expect(port.sentTo("set_inputs")[0]?.args).toEqual({
      prompt: IOI_TOKENS.join(""),
      compare: "Another one",
    });
    button(root, "Don't compare").click();
    await painted();
    expect(port.sentTo("set_inputs")[1]?.args).toEqual({ compare: "" });
  });
});

it("shows many prompts as a list, and what stands at a position in any of them", async () => {
  const port = samplePort();
  port.update({
    prompt: ["When Mary", "<img src=x onerror=alert(1)>"],
    alternatives: IOI_TOKENS.map((_, at) => (at === 1 ? [" Ann", "<b>"] : [])),
  });
  const { root, matrix } = await showAttention(port);
  expect(root.querySelector("textarea")).toBeNull();
  expect(root.querySelector("summary")?.textContent).toContain("and 1 more: the mean is shown");
  expect(root.querySelectorAll("img, b")).toHaveLength(0);
  await hoverCell(matrix("L4H7"), { row: 2, col: 1 });
  expect(status(root)).toMatch(/^' and' → ' Mary\| Ann\|<b>': /);
  expect(root.querySelector(".mw-prediction")?.textContent).toContain("of the first prompt");
});
