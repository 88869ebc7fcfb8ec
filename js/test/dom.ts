/** Helpers for tests of what is on the page. */
import { onTestFinished } from "vitest";
import { page, userEvent } from "vitest/browser";
import type { Cell } from "../core/canvas";
import { mount, type View } from "../core/mount";
import type { Port } from "../core/port";
import { FakePort } from "./fake_port";

export interface Shown {
  readonly root: HTMLElement;
  /** Ends the view, as removing the cell does. */
  end(): void;
}

export type ThemeName = "light" | "dark";

/** Mounts a view for one test and takes it away after it. */
export async function show<Traits extends object>(
  kind: string,
  view: View<Traits>,
  port: Port<Traits>,
  theme: ThemeName = "light",
): Promise<Shown> {
  setTheme(theme);
  const host = document.createElement("div");
  document.body.append(host);
  const controller = new AbortController();
  mount(host, kind, view, port, controller.signal);
  const end = () => controller.abort();
  onTestFinished(() => {
    end();
    host.remove();
  });
  const root = host.querySelector<HTMLElement>(".mechwidgets");
  if (!root) throw new Error("mount() made no root.");
  await painted();
  return { root, end };
}

/** An empty root, for tests of what CSS makes of the theme. */
export function attachRoot(theme: ThemeName): HTMLElement {
  setTheme(theme);
  const host = document.createElement("div");
  document.body.append(host);
  onTestFinished(() => host.remove());
  mount(host, "empty", () => () => undefined, new FakePort({}), new AbortController().signal);
  const root = host.querySelector<HTMLElement>(".mechwidgets");
  if (!root) throw new Error("mount() made no root.");
  return root;
}

/** As JupyterLab marks it. */
export function setTheme(theme: ThemeName): void {
  document.body.dataset.jpThemeLight = String(theme === "light");
}

/** Until effects have run, what they changed is rendered, and the canvas is painted: each takes a frame and a timer. */
export async function painted(): Promise<void> {
  for (let frame = 0; frame < 3; frame++) {
    await new Promise((done) => requestAnimationFrame(done));
    await new Promise((done) => setTimeout(done));
  }
}

export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 3000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain for: ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

export function grid(root: HTMLElement, label: string): HTMLElement {
  const found = [...root.querySelectorAll<HTMLElement>('[role="grid"]')].find(
    (element) => element.getAttribute("aria-label") === label,
  );
  if (!found) throw new Error(`There is no grid "${label}".`);
  return found;
}

export function button(root: HTMLElement, text: string): HTMLButtonElement {
  const found = [...root.querySelectorAll("button")].find(
    (element) => element.textContent?.trim() === text || element.getAttribute("aria-label") === text,
  );
  if (!found) throw new Error(`There is no button "${text}".`);
  return found;
}

export function status(root: HTMLElement): string {
  return root.querySelector(".mw-status")?.textContent ?? "";
}

/** The middle of a cell, in CSS pixels from the grid's corner, before any scrolling. */
export function cellCentre(element: HTMLElement, { row, col }: Cell): { x: number; y: number } {
  const [left = 0, top = 0, width = 0, height = 0] = (element.dataset.cells ?? "").split(" ").map(Number);
  return { x: left + (col + 0.5) * width, y: top + (row + 0.5) * height };
}

export async function hoverCell(element: HTMLElement, cell: Cell): Promise<void> {
  await userEvent.hover(page.elementLocator(element), { position: cellCentre(element, cell) });
  await painted();
}

export async function clickCell(element: HTMLElement, cell: Cell): Promise<void> {
  await userEvent.click(page.elementLocator(element), { position: cellCentre(element, cell) });
  await painted();
}

/** Presses keys as a user does ("{ArrowDown}x"), in the element. */
export async function press(element: HTMLElement, keys: string): Promise<void> {
  element.focus();
  await userEvent.keyboard(keys);
  await painted();
}

/** The colour on the canvas in the middle of a cell. */
export function cellColour(element: HTMLElement, cell: Cell): [number, number, number] {
  const canvas = element.querySelector("canvas");
  const context = canvas?.getContext("2d");
  if (!context) throw new Error("The grid has no canvas.");
  const { x, y } = cellCentre(element, cell);
  const ratio = window.devicePixelRatio;
  const [red = 0, green = 0, blue = 0, alpha] = context.getImageData(x * ratio, y * ratio, 1, 1).data;
  if (alpha === 0) throw new Error(`Nothing is drawn at row ${cell.row}, column ${cell.col}.`);
  return [red, green, blue];
}
