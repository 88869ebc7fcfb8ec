/** Long prompts: the picture is there before its heads are. */
import { describe, expect, it } from "vitest";
import { RequestError } from "../../core/port";
import { button, grid, hoverCell, painted, show, status, until } from "../../test/dom";
import { attention } from ".";
import { sampleLongPort, samplePort } from "./sample";

async function showLong() {
  const { port, compute } = sampleLongPort({ layers: 4, heads: 3 });
  const { root, end } = await show("attention", attention, port);
  const asked = () => port.sent.map(({ name }) => name);
  return { root, end, port, compute, asked };
}

function progress(root: HTMLElement): string | undefined {
  return root.querySelector(".mw-heads [role=progressbar]")?.getAttribute("aria-valuenow") ?? undefined;
}

describe("a long prompt", () => {
  it("draws layers as they come, and asks for all else when it knows them", async () => {
    const { root, port, compute, asked } = await showLong();
    expect(root.dataset.state).toBe("busy");
    expect(asked()).toEqual(["thumbnails"]);
    expect(progress(root)).toBe("0");
    const empty = port.get("thumbnails");
    compute(2);
    await painted();
    expect(progress(root)).toBe("2");
    const heads = grid(root, "Attention heads");
    await hoverCell(heads, { row: 1, col: 0 });
    expect(status(root)).toMatch(/^L1H0 · previous token/);
    await hoverCell(heads, { row: 2, col: 0 });
    expect(status(root)).toBe("L2H0");
    expect(port.get("thumbnails")).toBe(empty);
    expect(asked()).toEqual(["thumbnails"]);
    compute(4);
    await until(() => asked().length === 3, "what else there is to ask");
    expect(progress(root)).toBeUndefined();
    expect(asked()).toEqual(["thumbnails", "patterns", "predict"]);
    await until(() => root.dataset.state === "ready", "the whole picture");
    await hoverCell(grid(root, "Attention heads"), { row: 2, col: 0 });
    expect(status(root)).toMatch(/^L2H0 · previous token/);
  });

  it("shows of a head that is not computed nothing that is not so", async () => {
    const { root, port, compute } = await showLong();
    port.update({ layer: 3, head: 0 });
    compute(1);
    await painted();
    await hoverCell(grid(root, "Attention of L3H0"), { row: 5, col: 2 });
    expect(status(root)).toContain("not computed yet");
    port.update({ layer: 0 });
    await painted();
    await hoverCell(grid(root, "Attention of L0H0"), { row: 5, col: 2 });
    expect(status(root)).toMatch(/: about 0\.\d\d$/);
  });

  it("can be stopped, and goes on when the reader says so", async () => {
    const { root, port, compute, asked } = await showLong();
    compute(1);
    await painted();
    button(root, "Stop").click();
    await painted();
    expect(port.sent[0]?.signal?.aborted).toBe(true);
    expect(root.dataset.state).toBe("ready");
    expect(progress(root)).toBe("1");
    button(root.querySelector<HTMLElement>(".mw-heads") ?? root, "Run").click();
    await painted();
    expect(asked()).toEqual(["thumbnails", "thumbnails"]);
    compute(4);
    await until(() => root.dataset.state === "ready", "the whole picture");
    expect(progress(root)).toBeUndefined();
  });

  it("says why it failed, and can be asked again", async () => {
    const { port } = sampleLongPort({ layers: 4, heads: 3 });
    port.answer("thumbnails", () => {
      throw new RequestError("The weights hold NaN.", "ValueError");
    });
    const { root } = await show("attention", attention, port);
    await until(() => root.dataset.state === "error", "the error");
    expect(root.querySelector('.mw-heads [role="alert"]')?.textContent).toBe("The weights hold NaN.");
    expect(port.sent.length).toBe(1);
    button(root.querySelector<HTMLElement>(".mw-heads") ?? root, "Run").click();
    await painted();
    expect(port.sent.length).toBe(2);
  });

  it("makes way for another prompt", async () => {
    const { root, port } = await showLong();
    port.answer("set_inputs", () => new Promise(() => undefined));
    const field = root.querySelector<HTMLTextAreaElement>("textarea[name=prompt]");
    if (!field) throw new Error("There is no prompt to edit.");
    field.value = "Another prompt";
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
    field.form?.requestSubmit();
    await painted();
    expect(port.sent[0]?.signal?.aborted).toBe(true);
    // stopped, so what was there is computed after all
    field.form?.requestSubmit();
    await painted();
    expect(port.sent.map(({ name }) => name)).toEqual(["thumbnails", "set_inputs", "thumbnails"]);
  });

  it("asks for nothing where no kernel answers", async () => {
    const { port } = sampleLongPort({ layers: 4, heads: 3 });
    port.setCapabilities({ live: false, detached: false });
    const { root } = await show("attention", attention, port);
    expect(port.sent.map(({ name }) => name)).toEqual([]);
    expect(root.textContent).toContain("0 of 4 layers, computed by a running kernel");
  });

  it("asks no more when the picture ends", async () => {
    const { port, end } = await showLong();
    end();
    expect(port.sent[0]?.signal?.aborted).toBe(true);
  });
});

it("a short prompt is never asked for", async () => {
  const port = samplePort({ layers: 4, heads: 3 });
  await show("attention", attention, port);
  expect(port.sent.map(({ name }) => name)).not.toContain("thumbnails");
});
