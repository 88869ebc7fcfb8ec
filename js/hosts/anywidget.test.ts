import type { Host } from "@anywidget/types";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { NdArray } from "../core/arrays";
import { RequestError, type RequestProgress } from "../core/port";
import { FakeModel } from "../test/fake_model";
import { define, modelPort } from "./anywidget";

interface Traits {
  layer: number;
  head: number;
  scores: NdArray<"float32">;
}

function connect(traits: Record<string, unknown> = {}) {
  const model = new FakeModel(traits);
  const controller = new AbortController();
  return { model, port: modelPort<Traits>(model.asModel, controller.signal) };
}

describe("traits", () => {
  it("are decoded once for each value", () => {
    const scores = { dtype: "float32", shape: [2], data: new DataView(Float32Array.of(1, 2).buffer) };
    const { port, model } = connect({ layer: 3, scores });
    expect(port.get("layer")).toBe(3);
    expect([...port.get("scores").data]).toEqual([1, 2]);
    expect(port.get("scores")).toBe(port.get("scores"));
    model.set("scores", { ...scores, data: new DataView(Float32Array.of(5, 6).buffer) });
    expect([...port.get("scores").data]).toEqual([5, 6]);
  });

  it("that are set together reach the kernel in one message", async () => {
    const { port, model } = connect();
    port.set("layer", 1);
    port.set("head", 2);
    await Promise.resolve();
    expect(model.saves).toBe(1);
    expect([model.get("layer"), model.get("head")]).toEqual([1, 2]);
  });

  it("are followed until the signal aborts", () => {
    const { port, model } = connect();
    const controller = new AbortController();
    const listener = vi.fn();
    port.on("layer", listener, controller.signal);
    model.set("layer", 1);
    controller.abort();
    model.set("layer", 2);
    expect(listener).toHaveBeenCalledTimes(1);
  });
});

describe("a request", () => {
  it("ends in its result, with the arrays decoded", async () => {
    const { port, model } = connect();
    const answer = port.request<{ pattern: NdArray }>("pattern", { layer: 1, head: 2 });
    const { id, args } = model.request("pattern");
    expect(args).toEqual({ layer: 1, head: 2 });
    const value = { pattern: { dtype: "float32", shape: [1, 2], buffer: 0 } };
    model.receive({ kind: "mw-result", id, value }, [new DataView(Float32Array.of(0.25, 0.75).buffer)]);
    expect([...(await answer).pattern.data]).toEqual([0.25, 0.75]);
  });

  it("ends in the kernel's error", async () => {
    const { port, model } = connect();
    const answer = port.request("set_prompt", { prompt: "" });
    const { id } = model.request("set_prompt");
    model.receive({ kind: "mw-error", id, message: "The prompt is empty.", error_type: "ValueError" });
    await expect(answer).rejects.toThrow(RequestError);
    await expect(answer).rejects.toMatchObject({ message: "The prompt is empty.", errorType: "ValueError" });
  });

  it("ends in an error when its arrays do not fit", async () => {
    const { port, model } = connect();
    const answer = port.request("pattern", {});
    const value = { pattern: { dtype: "float32", shape: [2, 2], buffer: 0 } };
    const { id } = model.request("pattern");
    model.receive({ kind: "mw-result", id, value }, [new DataView(new ArrayBuffer(4))]);
    await expect(answer).rejects.toThrow(/needs 16 bytes; 4 arrived/);
  });

  it("tells the kernel when it is cancelled, and rejects at once", async () => {
    const { port, model } = connect();
    const controller = new AbortController();
    const answer = port.request("sweep", { site: "z" }, { signal: controller.signal });
    controller.abort();
    await expect(answer).rejects.toMatchObject({ name: "AbortError" });
    const { id } = model.request("sweep");
    expect(model.sent.at(-1)).toEqual({ kind: "mw-cancel", id });
    // What was on its way when we cancelled is ignored.
    expect(() => model.receive({ kind: "mw-result", id, value: {} })).not.toThrow();
  });

  it("is not sent when its signal has aborted before", async () => {
    const { port, model } = connect();
    await expect(port.request("sweep", {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: "AbortError",
    });
    expect(model.sent).toEqual([]);
  });

  it("is cancelled by the kernel", async () => {
    const { port, model } = connect();
    const answer = port.request("sweep", {});
    model.receive({ kind: "mw-cancelled", id: model.request("sweep").id });
    await expect(answer).rejects.toMatchObject({ name: "AbortError" });
  });

  it("reports its states and its progress", async () => {
    const { port, model } = connect();
    const states: RequestProgress[] = [];
    const values: unknown[] = [];
    const answer = port.request(
      "sweep",
      {},
      { onState: (s) => states.push(s), onProgress: (v) => values.push(v) },
    );
    const { id } = model.request("sweep");
    model.receive({ kind: "mw-ack", id, state: "waiting" });
    const cells = { dtype: "int32", shape: [1, 2], buffer: 0 };
    model.receive({ kind: "mw-progress", id, value: { done: 1, cells } }, [
      new DataView(Int32Array.of(3, 4).buffer),
    ]);
    model.receive({ kind: "mw-result", id, value: null });
    await expect(answer).resolves.toBeNull();
    expect(states).toEqual(["sent", "waiting", "running"]);
    expect(values).toEqual([
      { done: 1, cells: { dtype: "int32", shape: [1, 2], data: Int32Array.of(3, 4) } },
    ]);
  });

  it("hears only its own messages", async () => {
    const { port, model } = connect();
    const first = port.request("pattern", { head: 1 });
    const { id } = model.request("pattern");
    const second = port.request("pattern", { head: 2 });
    const other = model.request("pattern").id;
    expect(other).not.toBe(id);
    model.receive({ kind: "mw-result", id: other, value: "second" });
    model.receive({ kind: "anywidget-command-response", id, response: "not ours" });
    model.receive(["no", "message"]);
    model.receive({ kind: "mw-result", id, value: "first" });
    expect(await Promise.all([first, second])).toEqual(["first", "second"]);
  });

  describe("that the kernel does not acknowledge", () => {
    beforeEach(() => void vi.useFakeTimers());
    afterEach(() => void vi.useRealTimers());

    it("is unanswered after five seconds, and still waits", async () => {
      const { port, model } = connect();
      const states: RequestProgress[] = [];
      const answer = port.request("pattern", {}, { onState: (state) => states.push(state) });
      vi.advanceTimersByTime(4999);
      expect(states).toEqual(["sent"]);
      vi.advanceTimersByTime(1);
      expect(states).toEqual(["sent", "unanswered"]);
      const { id } = model.request("pattern");
      model.receive({ kind: "mw-ack", id, state: "running" });
      model.receive({ kind: "mw-result", id, value: 1 });
      await expect(answer).resolves.toBe(1);
      expect(states).toEqual(["sent", "unanswered", "running"]);
    });

    it("is not unanswered once acknowledged", () => {
      const { port, model } = connect();
      const states: RequestProgress[] = [];
      void port.request("sweep", {}, { onState: (state) => states.push(state) });
      model.receive({ kind: "mw-ack", id: model.request("sweep").id, state: "running" });
      vi.advanceTimersByTime(60_000);
      expect(states).toEqual(["sent", "running"]);
    });
  });
});

describe("a kernel that is gone", () => {
  it.each([
    ["restarted", "comm_live_update"],
    ["closed the widget", "comm:close"],
  ])("%s: ends the requests that wait, and refuses new ones", async (_, event) => {
    const { port, model } = connect();
    const changed = vi.fn();
    port.onCapabilities(changed, new AbortController().signal);
    const waiting = port.request("pattern", {});
    expect(port.capabilities).toEqual({ live: true, detached: false });
    model.trigger(event);
    await expect(waiting).rejects.toMatchObject({ errorType: "Detached" });
    expect(changed).toHaveBeenCalledOnce();
    expect(port.capabilities).toEqual({ live: false, detached: true });
    await expect(port.request("pattern", {})).rejects.toThrow(/Run the cell again/);
  });

  it("was never there where a saved notebook is opened again", async () => {
    const { port, model } = connect({ layout: { comm_live: false } });
    expect(port.capabilities).toEqual({ live: false, detached: true });
    await expect(port.request("pattern", {})).rejects.toMatchObject({ errorType: "Detached" });
    expect(model.sent).toEqual([]);
  });

  it.each([
    ["of a live model", { comm_live: true }],
    ["of a host that is not ipywidgets", "IPY_MODEL_1234"],
    ["that is not there", undefined],
  ])("is not taken for gone by a layout %s", (_, layout) => {
    expect(connect({ layout }).port.capabilities).toEqual({ live: true, detached: false });
  });

  it("is noticed when nothing can be sent to it", async () => {
    const { port, model } = connect();
    vi.spyOn(model, "send").mockImplementation(() => {
      throw new Error("Cannot send");
    });
    await expect(port.request("pattern", {})).rejects.toMatchObject({ errorType: "Detached" });
    expect(port.capabilities.detached).toBe(true);
  });
});

describe("define", () => {
  it("draws into the cell, and leaves nothing behind when the view ends", () => {
    const model = new FakeModel({ layer: 1 });
    const el = document.createElement("div");
    const disposed = vi.fn();
    const widget = define<Traits>("attention", (body, port, signal) => {
      port.on("layer", () => undefined, signal);
      body.textContent = `layer ${port.get("layer")}`;
      return disposed;
    });
    const end = widget.render(renderProps(model, el));
    expect(el.querySelector('.mechwidgets[data-view="attention"]')?.textContent).toContain("layer 1");
    expect(model.listenerCount).toBeGreaterThan(0);
    end();
    expect(disposed).toHaveBeenCalledOnce();
    expect(model.listenerCount).toBe(0);
    expect(el.childElementCount).toBe(0);
  });

  it("ends with the host's signal too", () => {
    const model = new FakeModel();
    const el = document.createElement("div");
    const controller = new AbortController();
    define<Traits>("attention", () => () => undefined).render({
      ...renderProps(model, el),
      signal: controller.signal,
    });
    controller.abort();
    expect(model.listenerCount).toBe(0);
    expect(el.childElementCount).toBe(0);
  });

  it("writes an error of the view into the picture", () => {
    const el = document.createElement("div");
    const widget = define<Traits>("attention", () => {
      throw new RangeError("A float32 array of shape [3] needs 12 bytes; 8 arrived.");
    });
    widget.render(renderProps(new FakeModel(), el));
    expect(el.querySelector<HTMLElement>(".mechwidgets")?.dataset.state).toBe("error");
    const alert = el.querySelector('[role="alert"].mw-error');
    expect(alert?.textContent).toContain("The attention picture could not be drawn.");
    expect(alert?.textContent).toContain("RangeError: A float32 array of shape [3] needs 12 bytes");
  });
});

describe("a view inside a view", () => {
  it("is drawn by the host, unless the outer one has ended meanwhile", async () => {
    const render = vi.fn(async () => undefined);
    const host = { getWidget: vi.fn(async () => ({ exports: {}, render })), getModel: vi.fn() };
    const port = modelPort<Traits>(
      new FakeModel().asModel,
      new AbortController().signal,
      host as unknown as Host,
    );
    const [el, controller] = [document.createElement("div"), new AbortController()];
    await port.drawChild("IPY_MODEL_a", el, controller.signal);
    expect(host.getWidget).toHaveBeenCalledWith("anywidget:a");
    expect(render).toHaveBeenCalledWith({ el, signal: controller.signal });
    const late = port.drawChild("IPY_MODEL_b", el, controller.signal);
    controller.abort();
    await late;
    expect(render).toHaveBeenCalledOnce();
  });

  it("is refused where the host cannot", async () => {
    const { port } = connect();
    const drawn = port.drawChild("IPY_MODEL_a", document.createElement("div"), new AbortController().signal);
    await expect(drawn).rejects.toThrow(
      "This notebook's anywidget shows no pictures inside others; 0.11 does.",
    );
  });
});

type Props = Parameters<ReturnType<typeof define<Traits>>["render"]>[0];

function renderProps(model: FakeModel, el: HTMLElement): Props {
  return { model: model.asModel, el } as unknown as Props;
}
