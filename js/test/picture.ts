/** A mounted picture for tests: what shows in it, and hands to point and type with. */
import axe from "axe-core";
import type { Cell } from "../core/canvas";
import { mount, type View } from "../core/mount";
import type { Port } from "../core/port";

export interface Picture {
  readonly root: HTMLElement;
  readonly grid: HTMLElement;
  find<E extends HTMLElement = HTMLElement>(selector: string): E;
  button(text: string): HTMLButtonElement;
  /** What a reader sees, whitespace folded. */
  text(): string;
  end(): void;
}

/** Mounts the view in a host of its own, `width` pixels wide, in JupyterLab's light or dark theme. */
export async function showPicture<Traits extends object>(
  kind: string,
  view: View<Traits>,
  port: Port<Traits>,
  { width = 900, theme = "light" }: { width?: number; theme?: "light" | "dark" } = {},
): Promise<Picture> {
  document.body.replaceChildren();
  document.body.dataset.jpThemeLight = String(theme === "light");
  const host = document.createElement("div");
  host.style.width = `${width}px`;
  document.body.append(host);
  const controller = new AbortController();
  mount(host, kind, view, port, controller.signal);
  await frames();
  const find = <E extends HTMLElement = HTMLElement>(selector: string) => {
    const found = host.querySelector<E>(selector);
    if (!found) throw new Error(`Nothing in the picture is ${selector}.`);
    return found;
  };
  return {
    root: find(".mechwidgets"),
    get grid() {
      return find("[role=grid]");
    },
    find,
    button(text) {
      const found = [...host.querySelectorAll("button")].find((button) => button.textContent === text);
      if (!found) throw new Error(`No button says ${text}.`);
      return found;
    },
    text: () => (host.textContent ?? "").replace(/\s+/g, " "),
    end: () => controller.abort(),
  };
}

/** Until what has changed is rendered and painted. */
export async function frames(count = 3): Promise<void> {
  for (let left = count; left > 0; left--) await new Promise(requestAnimationFrame);
}

/** The middle of a cell, relative to the grid's box. */
function centreOf(grid: HTMLElement, { row, col }: Cell): { x: number; y: number } {
  const [left = 0, top = 0, width = 0, height = 0] = (grid.dataset.cells ?? "").split(" ").map(Number);
  return {
    x: left + (col + 0.5) * width - grid.scrollLeft,
    y: top + (row + 0.5) * height - grid.scrollTop,
  };
}

/** The canvas' colour at the middle of a cell, moved by `offset` CSS pixels. */
export function colourOf(
  grid: HTMLElement,
  cell: Cell,
  offset: { x: number; y: number } = { x: 0, y: 0 },
): number[] {
  const canvas = grid.querySelector("canvas");
  const { x, y } = centreOf(grid, cell);
  const ratio = window.devicePixelRatio;
  const at = [(x + offset.x) * ratio, (y + offset.y) * ratio] as const;
  return [...(canvas?.getContext("2d")?.getImageData(at[0], at[1], 1, 1).data ?? [])].slice(0, 3);
}

export async function pointAt(grid: HTMLElement, cell: Cell): Promise<void> {
  grid.dispatchEvent(new PointerEvent("pointermove", pointerEvent(grid, cell)));
  await frames();
}

export async function clickCell(grid: HTMLElement, cell: Cell): Promise<void> {
  grid.dispatchEvent(new MouseEvent("click", pointerEvent(grid, cell)));
  await frames();
}

function pointerEvent(grid: HTMLElement, cell: Cell): MouseEventInit {
  const { x, y } = centreOf(grid, cell);
  const box = grid.getBoundingClientRect();
  return { bubbles: true, clientX: box.left + x, clientY: box.top + y };
}

export async function press(target: HTMLElement, ...keys: string[]): Promise<void> {
  target.focus();
  for (const key of keys) {
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  }
  await frames();
}

export async function type(field: HTMLInputElement | HTMLTextAreaElement, text: string): Promise<void> {
  field.value = text;
  field.dispatchEvent(new InputEvent("input", { bubbles: true }));
  await frames();
}

/** Rules that axe finds broken inside the picture. */
export async function violations(root: HTMLElement): Promise<string[]> {
  const result = await axe.run(root, { resultTypes: ["violations"] });
  return result.violations.map(
    ({ id, help, nodes }) => `${id}: ${help} (${nodes.map(({ html }) => html).join(" ")})`,
  );
}
