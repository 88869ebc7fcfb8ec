import { describe, expect, it, onTestFinished, vi } from "vitest";
import attentionFixture from "../../tests/fixtures/attention.json";
import lensFixture from "../../tests/fixtures/logit_lens.json";
import { type Entry, type Intervention, switchOff } from "../core/intervention";
import { mount, type View } from "../core/mount";
import { clickCell, grid, painted, press } from "../test/dom";
import { FakeModel } from "../test/fake_model";
import { type Fixture, withBytes } from "../test/fixture";
import { attention } from "../views/attention";
import { logitLens } from "../views/logit_lens";
import { modelPort } from "./anywidget";
import { takeChange } from "./shared";

interface Traits {
  layer: number;
  head: number;
  position: number | null;
  interventions: Intervention[];
  entries: Entry[];
}

const OFF = switchOff(4, 7);
const OTHER = switchOff(2, 1);

function entry(intervention: Intervention, on = true) {
  return { intervention, on };
}

/** Views on one selection and one list of interventions, which the test holds too. */
async function share(...views: Record<string, unknown>[]) {
  const selection = new FakeModel({ layer: null, head: null, position: null, token: null });
  const interventions = new FakeModel({ entries: [] });
  const references = { selection: "IPY_MODEL_s", shared_interventions: "IPY_MODEL_i" };
  const controller = new AbortController();
  const models = views.map(
    (traits) => new FakeModel({ ...references, ...traits }, { s: selection, i: interventions }),
  );
  const ports = models.map((model) => modelPort<Traits>(model.asModel, controller.signal));
  await painted();
  return { selection, interventions, models, ports, end: () => controller.abort() };
}

const HEADS = { layer: 1, head: 1, n_layers: 30, n_heads: 9, _always_chosen: ["layer", "head"] };
const TOKENS = { layer: null, position: null, n_layers: 30, tokens: ["a", "b", "c"], _always_chosen: [] };

describe("a shared selection", () => {
  it("moves all its views at once, and tells the kernel of itself alone", async () => {
    const { selection, models, ports } = await share(HEADS, HEADS);
    const [one, other] = ports;
    const heard = vi.fn(() => other?.get("layer"));
    other?.on("layer", heard, new AbortController().signal);
    one?.set("layer", 4);
    one?.set("head", 7);
    expect(heard.mock.results.map(({ value }) => value)).toEqual([4]);
    expect([other?.get("layer"), other?.get("head")]).toEqual([4, 7]);
    await Promise.resolve();
    expect([selection.saves, ...models.map(({ saves }) => saves)]).toEqual([1, 0, 0]);
  });

  it("is not moved by what the kernel says late to the views' own traits", async () => {
    const { selection, models, ports } = await share(HEADS, TOKENS);
    ports[0]?.set("layer", 4);
    ports[0]?.set("layer", 5);
    for (const model of models) model.set("layer", 4);
    expect(selection.get("layer")).toBe(5);
    expect(ports.map((port) => port.get("layer"))).toEqual([5, 5]);
  });

  it("moves them when Python sets it", async () => {
    const { selection, ports } = await share(HEADS, TOKENS);
    selection.set("layer", 12);
    expect(ports.map((port) => port.get("layer"))).toEqual([12, 12]);
    await Promise.resolve();
    expect(selection.saves).toBe(0);
  });

  it("is nothing to a view that does not have the place, until a prompt has it", async () => {
    const { selection, models, ports } = await share(TOKENS);
    const heard = vi.fn();
    ports[0]?.on("position", heard, new AbortController().signal);
    selection.set("position", 5);
    expect([ports[0]?.get("position"), selection.get("position")]).toEqual([null, 5]);
    models[0]?.set("tokens", ["a", "b", "c", "d", "e", "f"]);
    expect(ports[0]?.get("position")).toBe(5);
    expect(heard).toHaveBeenCalledTimes(2);
  });

  it("leaves a view where it is in which something is always chosen", async () => {
    const { selection, ports } = await share(HEADS);
    expect(ports[0]?.get("layer")).toBe(1);
    selection.set("layer", 7);
    selection.set("layer", 30);
    expect(ports[0]?.get("layer")).toBe(7);
    selection.set("layer", null);
    expect(ports[0]?.get("layer")).toBe(7);
  });

  it("leaves alone what a view shares with nobody", async () => {
    const { selection, ports } = await share({ ...TOKENS, _own_places: ["position"] });
    selection.set("position", 2);
    selection.set("layer", 2);
    expect([ports[0]?.get("position"), ports[0]?.get("layer")]).toEqual([null, 2]);
    ports[0]?.set("position", 1);
    expect([ports[0]?.get("position"), selection.get("position")]).toEqual([1, 2]);
  });

  it("can be another one, or none", async () => {
    const { selection, models, ports } = await share(HEADS);
    selection.set("layer", 7);
    models[0]?.set("selection", null);
    await painted();
    expect(ports[0]?.get("layer")).toBe(1);
    ports[0]?.set("layer", 3);
    expect([selection.get("layer"), models[0]?.get("layer")]).toEqual([7, 3]);
  });

  it("is left to the kernel where the host has no other models", async () => {
    const model = new FakeModel({ ...HEADS, selection: "IPY_MODEL_elsewhere" });
    const port = modelPort<Traits>(model.asModel, new AbortController().signal);
    await painted();
    port.set("layer", 3);
    expect(model.get("layer")).toBe(3);
  });

  it("keeps no listeners of views that ended", async () => {
    const { selection, interventions, models, end } = await share(HEADS, TOKENS);
    expect(selection.listenerCount).toBeGreaterThan(0);
    end();
    expect([selection, interventions, ...models].map(({ listenerCount }) => listenerCount)).toEqual([
      0, 0, 0, 0,
    ]);
  });
});

describe("shared interventions", () => {
  it("are those that are on and that the view's model has", async () => {
    const { interventions, ports } = await share(HEADS, { ...HEADS, n_layers: 3 });
    interventions.set("entries", [entry(OFF), entry(OTHER), entry(switchOff(0, 0), false)]);
    expect(ports.map((port) => port.get("interventions"))).toEqual([[OFF, OTHER], [OTHER]]);
  });

  it("are left out where the view's prompt has not their position, until one has", async () => {
    const { interventions, models, ports } = await share({ ...HEADS, tokens: ["a", "b", "c"] });
    const [late, last] = [
      { ...OFF, position: [1, 4] },
      { ...OFF, position: -3 },
    ];
    interventions.set("entries", [entry(late), entry(last)]);
    expect(ports[0]?.get("interventions")).toEqual([last]);
    const heard = vi.fn();
    ports[0]?.on("interventions", heard, new AbortController().signal);
    models[0]?.set("tokens", ["a", "b", "c", "d", "e"]);
    expect(ports[0]?.get("interventions")).toEqual([late, last]);
    expect(heard).toHaveBeenCalled();
  });

  it("stay the same array while they are the same", async () => {
    const { interventions, ports } = await share(HEADS);
    interventions.set("entries", [entry(OFF)]);
    const list = ports[0]?.get("interventions");
    interventions.set("entries", [entry({ ...OFF })]);
    expect(ports[0]?.get("interventions")).toBe(list);
    interventions.set("entries", [entry(OFF, false)]);
    expect(ports[0]?.get("interventions")).toEqual([]);
  });

  it("change for all views when one changes its own", async () => {
    const { interventions, models, ports } = await share(HEADS, HEADS);
    const heard = vi.fn();
    ports[1]?.on("interventions", heard, new AbortController().signal);
    ports[0]?.set("interventions", [OFF]);
    expect(ports[1]?.get("interventions")).toEqual([OFF]);
    expect(heard).toHaveBeenCalledOnce();
    await Promise.resolve();
    expect([interventions.saves, ...models.map(({ saves }) => saves)]).toEqual([1, 0, 0]);
  });

  it("are all of them, on or off, to a view that asks for entries", async () => {
    const { interventions, models, ports } = await share(HEADS, HEADS);
    const heard = vi.fn();
    ports[0]?.on("entries", heard, new AbortController().signal);
    interventions.set("entries", [entry(OFF), entry(OTHER, false)]);
    expect(ports[0]?.get("entries")).toEqual([entry(OFF), entry(OTHER, false)]);
    ports[0]?.set("entries", [entry(OFF, false), entry(OTHER)]);
    expect(ports[1]?.get("interventions")).toEqual([OTHER]);
    expect(heard).toHaveBeenCalledTimes(2);
    await Promise.resolve();
    expect([interventions.saves, ...models.map(({ saves }) => saves)]).toEqual([1, 0, 0]);
  });

  it("keep what is switched off, and what a view does not show", () => {
    const far = switchOff(40, 0);
    const entries = [entry(OFF, false), entry(far), entry(OTHER)];
    expect(takeChange(entries, [OTHER], [])).toEqual([entry(OFF, false), entry(far)]);
    // switched on again, not added once more; fields may come in any order
    const same = Object.fromEntries(Object.entries(OFF).reverse()) as unknown as Intervention;
    expect(takeChange(entries, [OTHER], [OTHER, same])).toEqual([entry(OFF), entry(far), entry(OTHER)]);
    expect(takeChange(entries, [OTHER], [OTHER, OTHER])).toEqual([...entries, entry(OTHER)]);
  });
});

describe("two pictures on one selection", () => {
  async function draw<T extends object>(
    kind: string,
    view: View<T>,
    fixture: Fixture,
    shared: Record<string, FakeModel>,
  ) {
    const traits = withBytes(fixture.traits) as Record<string, unknown>;
    const always = kind === "attention" ? ["layer", "head"] : [];
    const model = new FakeModel(
      { ...traits, selection: "IPY_MODEL_s", shared_interventions: "IPY_MODEL_i", _always_chosen: always },
      shared,
    );
    const host = document.createElement("div");
    document.body.append(host);
    const controller = new AbortController();
    onTestFinished(() => {
      controller.abort();
      host.remove();
    });
    mount(host, kind, view, modelPort<T>(model.asModel, controller.signal), controller.signal);
    await painted();
    const root = host.querySelector<HTMLElement>(".mechwidgets");
    if (!root) throw new Error("mount() made no root.");
    return { root, model };
  }

  it("follow each other's clicks within a frame, with no kernel there", async () => {
    const s = new FakeModel({ layer: null, head: null, position: null, token: null });
    const i = new FakeModel({ entries: [] });
    const one = await draw("attention", attention, attentionFixture, { s, i });
    const other = await draw("attention", attention, attentionFixture, { s, i });
    await draw("logit_lens", logitLens, lensFixture, { s, i });
    for (const { model } of [one, other]) model.trigger("comm_live_update");
    await clickCell(grid(one.root, "Attention heads"), { row: 11, col: 2 });
    expect([s.get("layer"), s.get("head")]).toEqual([11, 2]);
    expect(other.root.querySelector('[aria-label="Head L11H2"]')).not.toBeNull();
    s.set("head", 5);
    await new Promise((done) => requestAnimationFrame(done));
    expect(other.root.querySelector('[aria-label="Head L11H5"]')).not.toBeNull();
  });

  it("switch heads off together, and both ask the kernel again", async () => {
    const s = new FakeModel({ layer: 4, head: 7, position: null, token: null });
    const i = new FakeModel({ entries: [] });
    const one = await draw("attention", attention, attentionFixture, { s, i });
    const other = await draw("attention", attention, attentionFixture, { s, i });
    await press(grid(one.root, "Attention heads"), "x");
    expect(i.get("entries")).toEqual([{ intervention: switchOff(4, 7), on: true }]);
    for (const { model } of [one, other]) {
      expect(model.request("predict").args).toEqual({ interventions: [switchOff(4, 7)] });
    }
  });
});
