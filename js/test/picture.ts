/** A mounted picture as its tests look at it: what is in it, and what is wrong with it. */
import axe from "axe-core";
import { onTestFinished, vi } from "vitest";
import { page, userEvent } from "vitest/browser";
import type { Cell } from "../core/canvas";
import type { View } from "../core/mount";
import type { Port } from "../core/port";
import { button, cellCentre, painted, show, type ThemeName } from "./dom";

export interface Picture {
  readonly root: HTMLElement;
  readonly grid: HTMLElement;
  find<E extends HTMLElement = HTMLElement>(selector: string): E;
  button(text: string): HTMLButtonElement;
  /** All its text, whitespace folded. */
  text(): string;
  /** Ends the view. */
  end(): void;
}

export async function showPicture<Traits extends object>(
  kind: string,
  view: View<Traits>,
  port: Port<Traits>,
  theme: ThemeName = "light",
): Promise<Picture> {
  const { root, end } = await show(kind, view, port, theme);
  const find = <E extends HTMLElement = HTMLElement>(selector: string) => {
    const found = root.querySelector<E>(selector);
    if (!found) throw new Error(`Nothing in the picture is ${selector}.`);
    return found;
  };
  return {
    root,
    get grid() {
      return find("[role=grid]");
    },
    find,
    button: (text) => button(root, text),
    text: () => (root.querySelector(".mw-view")?.textContent ?? "").replace(/\s+/g, " "),
    end,
  };
}

/** The canvas' colour at `offset` CSS pixels from the middle of a cell: beside its text, in its corner. */
export function colourBeside(grid: HTMLElement, cell: Cell, offset: { x: number; y: number }): number[] {
  const { x, y } = cellCentre(grid, cell);
  const ratio = window.devicePixelRatio;
  const pen = grid.querySelector("canvas")?.getContext("2d");
  const pixel = pen?.getImageData((x + offset.x) * ratio, (y + offset.y) * ratio, 1, 1);
  return [...(pixel?.data ?? [])].slice(0, 3);
}

/** What an item of the picture's menu puts on the clipboard. */
export async function copied(root: HTMLElement, item: string): Promise<string> {
  const written = vi.spyOn(navigator.clipboard, "writeText").mockImplementation(async () => undefined);
  onTestFinished(() => written.mockRestore());
  const items = [...root.querySelectorAll<HTMLElement>("[role=menuitem]")];
  const found = items.find(({ textContent }) => textContent === item);
  if (!found) throw new Error(`The menu has no "${item}": ${items.map(({ textContent }) => textContent)}`);
  found.click();
  await painted();
  return String(written.mock.calls.at(-1)?.[0]);
}

export async function fill(field: HTMLElement, text: string): Promise<void> {
  await userEvent.fill(page.elementLocator(field), text);
}

/** What axe finds broken inside the picture. */
export async function violations(root: HTMLElement): Promise<string[]> {
  const result = await axe.run(root, { resultTypes: ["violations"] });
  return result.violations.map(
    ({ id, help, nodes }) => `${id}: ${help} (${nodes.map(({ html }) => html).join(" ")})`,
  );
}
