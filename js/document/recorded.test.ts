/** A saved view in a page: what was recorded answers, what was not is greyed and says so. */
import { describe, expect, it, onTestFinished, vi } from "vitest";
import attentionFixture from "../../tests/fixtures/attention.json";
import lensFixture from "../../tests/fixtures/logit_lens.json";
import { decodeArrays } from "../core/arrays";
import { type Intervention, switchOff } from "../core/intervention";
import { DETACHED, RequestError } from "../core/port";
import { define } from "../hosts/anywidget";
import { painted, until } from "../test/dom";
import { type Fixture, withBytes } from "../test/fixture";
import { attention } from "../views/attention";
import { logitLens } from "../views/logit_lens";
import { MemoryModel } from "./model";
import type { SavedView } from "./read";
import { recordedPort } from "./recorded";

const OFF = switchOff(23, 3);

function saved(changes: Partial<SavedView>): SavedView {
  return {
    ...{ id: "view-1", kind: "prediction", code: "import mechwidgets\n", model: null },
    ...{ inputs: [], lists: {}, traits: {}, answers: [], states: [], left_out: [] },
    ...changes,
  };
}

function connect(view: SavedView, shared: Record<string, MemoryModel> = {}) {
  const others = new Map(Object.entries(shared));
  const model = new MemoryModel(view.traits, others);
  const { signal } = new AbortController();
  return { model, port: recordedPort(view, model, async () => undefined, signal) };
}

const STATES = saved({
  inputs: ["interventions", "position"],
  traits: { interventions: [], position: null, numbers: [1], other: "a" },
  answers: [{ name: "write", args: {}, value: "plain" }],
  states: [
    {
      inputs: { interventions: [OFF] },
      traits: { numbers: [2] },
      answers: [{ name: "write", args: {}, value: "off" }],
    },
    { inputs: { position: 2 }, traits: { numbers: [3], other: "b" }, answers: [] },
  ],
});

describe("a recorded picture", () => {
  it("answers what was recorded, and nothing else", async () => {
    const { port } = connect(
      saved({ answers: [{ name: "predict", args: { interventions: [OFF], typed: null }, value: 7 }] }),
    );
    // What is null in Python may be missing here.
    expect(await port.request("predict", { interventions: [{ ...OFF, neuron: null }] })).toBe(7);
    expect(port.capabilities.recorded?.answers("predict", { interventions: [] })).toBe(false);
    const error = await port.request("predict", { interventions: [] }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RequestError);
    expect([(error as RequestError).errorType, (error as RequestError).message]).toEqual([
      DETACHED,
      expect.stringContaining("needs a running kernel"),
    ]);
    expect(await port.request("code", {})).toEqual({ code: "import mechwidgets\n" });
  });

  it("puts answers about a list together, where that is what they mean", async () => {
    const answers = [0, 1, 2].map((head) => ({
      name: "patterns",
      args: { heads: [[4, head]] },
      value: { patterns: [`pattern ${head}`], compared: [] },
    }));
    const { port } = connect(saved({ answers, lists: { patterns: "heads" } }));
    const heads = [
      [4, 2],
      [4, 0],
    ];
    expect(await port.request("patterns", { heads })).toEqual({
      patterns: ["pattern 2", "pattern 0"],
      compared: [],
    });
    expect(port.capabilities.recorded?.answers("patterns", { heads: [...heads, [5, 0]] })).toBe(false);
    const { port: alone } = connect(saved({ answers }));
    expect(alone.capabilities.recorded?.answers("patterns", { heads })).toBe(false);
  });

  it("moves between the states that were recorded, and back", async () => {
    const { port } = connect(STATES);
    const { recorded } = port.capabilities;
    expect([
      recorded?.shows({ interventions: [OFF] }),
      recorded?.shows({ interventions: [OFF, OFF] }),
    ]).toEqual([true, false]);
    port.set("interventions", [OFF]);
    expect([port.get("numbers"), await port.request("write", {})]).toEqual([[2], "off"]);
    port.set("interventions", []);
    expect([port.get("numbers"), await port.request("write", {})]).toEqual([[1], "plain"]);
    await port.request("set_inputs", { position: 2 });
    expect([port.get("numbers"), port.get("other"), port.get("position")]).toEqual([[3], "b", 2]);
    await port.request("set_inputs", { position: null });
    expect([port.get("numbers"), port.get("other")]).toEqual([[1], "a"]);
  });

  it("says so where nothing was recorded, and what it shows stays", async () => {
    const { port } = connect(STATES);
    const heard = vi.fn();
    port.onCapabilities(heard, new AbortController().signal);
    port.set("interventions", [OFF]);
    port.set("position", 2);
    expect([port.capabilities.detached, port.get("numbers")]).toEqual([true, [2]]);
    await expect(port.request("write", {})).rejects.toBeInstanceOf(RequestError);
    port.set("interventions", []);
    expect([port.capabilities.detached, port.get("numbers")]).toEqual([false, [3]]);
    expect(heard).toHaveBeenCalledTimes(3);
    await expect(port.request("set_inputs", { position: 5 })).rejects.toBeInstanceOf(RequestError);
    expect(port.get("position")).toBe(2);
  });

  it("follows what it shares with others", async () => {
    const i = new MemoryModel({ entries: [] }, new Map());
    const view = {
      ...STATES,
      traits: { ...STATES.traits, n_layers: 30, shared_interventions: "IPY_MODEL_i" },
    };
    const { port } = connect(view, { i });
    await painted();
    i.set("entries", [{ intervention: OFF, on: true }]);
    expect([port.get("interventions"), port.get("numbers")]).toEqual([[OFF], [2]]);
    port.set("interventions", []);
    expect([i.get("entries"), port.get("numbers")]).toEqual([[], [1]]);
  });
});

async function draw(kind: string, view: typeof attention | typeof logitLens, one: SavedView) {
  const { port, model } = connect(one);
  const el = document.createElement("div");
  document.body.append(el);
  const controller = new AbortController();
  onTestFinished(() => {
    controller.abort();
    el.remove();
  });
  // biome-ignore lint/suspicious/noExplicitAny: the views' traits differ, and a document knows none of them
  define(kind, view as any).draw(el, port as any, controller.signal);
  await painted();
  const root = el.querySelector<HTMLElement>(".mechwidgets");
  if (!root) throw new Error("Nothing was drawn.");
  return { root, port, model };
}

function recordedFixture(fixture: Fixture): SavedView {
  return saved({
    traits: decodeArrays(withBytes(fixture.traits)) as Record<string, unknown>,
    answers: fixture.replies.map((reply) => ({ ...reply, value: decodeArrays(withBytes(reply.value)) })),
  });
}

const button = (root: HTMLElement, text: string) =>
  [...root.querySelectorAll("button")].find(({ textContent }) => textContent?.trim() === text);

describe("a recorded AttentionView", () => {
  it("switches off the heads whose answer was recorded; others are greyed", async () => {
    const view = { ...recordedFixture(attentionFixture), lists: { patterns: "heads" } };
    const { root, port } = await draw("attention", attention, view);
    expect(root.dataset.state).toBe("ready");
    expect(root.textContent).not.toContain("kernel gone");
    const off = button(root, "Switch head off");
    expect(off?.disabled).toBe(false);
    off?.click();
    await painted();
    expect(port.get("interventions") as Intervention[]).toEqual([OFF]);
    await until(() => /KL [\d.]+ nats/.test(root.textContent ?? ""), "the recorded prediction");
    expect(button(root, "Reset")?.disabled).toBe(false);
    port.set("head", 5);
    await painted();
    const other = button(root, "Switch head off");
    expect([other?.disabled, other?.title]).toEqual([true, "Needs a running kernel"]);
    expect(root.textContent).toContain("needs a running kernel");
    const run = root.querySelector<HTMLButtonElement>('button[type="submit"]');
    expect([run?.disabled, run?.title]).toEqual([true, "Needs a running kernel"]);
  });
});

describe("a recorded LogitLensView", () => {
  it("says that what is switched off elsewhere is not in its numbers", async () => {
    const view = { ...recordedFixture(lensFixture), inputs: ["interventions"] };
    const { root, port } = await draw("logit_lens", logitLens, view);
    expect(root.dataset.state).toBe("ready");
    port.set("interventions", [OFF]);
    await painted();
    expect(root.dataset.state).toBe("detached");
    expect(root.textContent).toContain("needs a running kernel");
    expect(root.querySelector(".mw-lens")?.getAttribute("data-stale")).toBe("true");
    const undo = button(root, "L23H3 ×");
    expect(undo?.disabled).toBe(false);
    undo?.click();
    await painted();
    expect(root.dataset.state).toBe("ready");
  });
});
