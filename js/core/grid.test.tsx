import { expect, it, vi } from "vitest";
import {
  cellCentre,
  cellColour,
  clickCell,
  grid,
  hoverCell,
  painted,
  press,
  setTheme,
  show,
  status,
} from "../test/dom";
import { FakePort } from "../test/fake_port";
import type { Cell } from "./canvas";
import { paintCells } from "./canvas";
import { StatusLine } from "./components";
import { preactView } from "./frame";
import { Grid, type GridProps } from "./grid";
import { mount } from "./mount";

const SURFACE = { light: [255, 255, 255], dark: [17, 17, 17] };

/** A 4 x 5 grid whose cell (r, c) has the value (5 r + c) / 19. */
function gridView(props: Partial<GridProps> = {}) {
  const whole: GridProps = {
    label: "Cells",
    rows: 4,
    cols: 5,
    cellWidth: 20,
    cellHeight: 20,
    draw: (context, range, { sequential }) =>
      paintCells(context, {
        range,
        cellWidth: 20,
        cellHeight: 20,
        map: sequential,
        value: (row, col) => (5 * row + col) / 19,
      }),
    describe: ({ row, col }) => `row ${row}, column ${col}`,
    ...props,
  };
  return preactView(
    () => (
      <>
        <Grid {...whole} />
        <StatusLine hint="a hint" />
      </>
    ),
    "",
  );
}

async function showGrid(props: Partial<GridProps> = {}) {
  const shown = await show("grid", gridView(props), new FakePort({}));
  return { ...shown, element: grid(shown.root, "Cells") };
}

it("draws the value of each cell, and draws again when the theme changes", async () => {
  const { element } = await showGrid();
  expect(cellColour(element, { row: 0, col: 0 })).toEqual(SURFACE.light);
  expect(cellColour(element, { row: 3, col: 4 })).toEqual([8, 56, 122]);
  setTheme("dark");
  await painted();
  await painted();
  expect(cellColour(element, { row: 0, col: 0 })).toEqual(SURFACE.dark);
  expect(cellColour(element, { row: 3, col: 4 })).toEqual([227, 241, 255]);
});

it("takes its colours when it comes into the page, if it was drawn before that", async () => {
  setTheme("dark");
  const host = document.createElement("div");
  const controller = new AbortController();
  mount(host, "grid", gridView(), new FakePort({}), controller.signal);
  await painted();
  document.body.append(host);
  await painted();
  await painted();
  expect(cellColour(grid(host, "Cells"), { row: 3, col: 4 })).toEqual([227, 241, 255]);
  controller.abort();
  host.remove();
});

it("says what is under the pointer, and a hint when nothing is", async () => {
  const onHover = vi.fn();
  const { element, root } = await showGrid({ onHover });
  expect(root.querySelector(".mw-footer")?.textContent).toBe("a hint");
  await hoverCell(element, { row: 2, col: 3 });
  expect(status(root)).toBe("row 2, column 3");
  expect(onHover).toHaveBeenLastCalledWith({ row: 2, col: 3 });
  element.dispatchEvent(new PointerEvent("pointerleave"));
  await painted();
  expect(status(root)).toBe("");
  expect(onHover).toHaveBeenLastCalledWith(null);
});

it("is walked through and chosen from with the keyboard", async () => {
  const onChoose = vi.fn();
  const onKey = vi.fn((key: string) => key === "x");
  const { element, root } = await showGrid({ onChoose, onKey });
  await press(element, "{ArrowDown}{ArrowRight}{ArrowRight}");
  expect(status(root)).toBe("row 1, column 2");
  await press(element, "{End}{Enter}");
  expect(onChoose).toHaveBeenLastCalledWith({ row: 1, col: 4 });
  await press(element, "x");
  expect(onKey).toHaveBeenLastCalledWith("x", { row: 1, col: 4 });
});

it("shows assistive technology the current cell, and that it is one of many", async () => {
  const { element } = await showGrid({ rows: 2048, cols: 2048, maxHeight: 200, chosen: { row: 5, col: 1 } });
  expect([element.getAttribute("aria-rowcount"), element.getAttribute("aria-colcount")]).toEqual([
    "2048",
    "2048",
  ]);
  const current = () =>
    element.querySelector<HTMLElement>(`#${element.getAttribute("aria-activedescendant")}`);
  expect(current()?.textContent).toBe("row 5, column 1");
  expect(current()?.getAttribute("aria-selected")).toBe("true");
  await press(element, "{ArrowDown}");
  expect(current()?.textContent).toBe("row 6, column 1");
  expect(current()?.parentElement?.getAttribute("aria-rowindex")).toBe("7");
  expect(current()?.getAttribute("aria-colindex")).toBe("2");
});

it("scrolls to the cell that the keyboard reaches, and draws only what shows", async () => {
  const drawn: { row0: number; row1: number }[] = [];
  const { element, root } = await showGrid({
    ...{ rows: 2048, cols: 2048, maxHeight: 200 },
    draw: (_, range) => drawn.push(range),
  });
  await press(element, "{Control>}{End}{/Control}");
  await painted();
  expect(status(root)).toBe("row 2047, column 2047");
  expect(element.scrollTop).toBeGreaterThan(2048 * 20 - 250);
  const last = drawn.at(-1);
  expect(last?.row1).toBe(2048);
  expect((last?.row1 ?? 0) - (last?.row0 ?? 0)).toBeLessThan(13);
  const canvas = element.querySelector("canvas");
  expect(canvas?.clientHeight).toBeLessThanOrEqual(200);
});

it("has no cells above the diagonal when it is triangular", async () => {
  const { element, root } = await showGrid({ triangular: true });
  await hoverCell(element, { row: 1, col: 3 });
  expect(status(root)).toBe("");
  await press(element, "{ArrowRight}{ArrowRight}");
  expect(status(root)).toBe("row 0, column 0");
});

it("unlocks with Escape, and leaves Escape alone when nothing is locked", async () => {
  const onUnlock = vi.fn();
  const outer = vi.fn();
  const locked = await showGrid({ onUnlock });
  document.addEventListener("keydown", outer);
  await press(locked.element, "{Escape}");
  expect(onUnlock).toHaveBeenCalledOnce();
  expect(outer).not.toHaveBeenCalled();
  locked.end();
  const free = await showGrid();
  await press(free.element, "{Escape}");
  expect(outer).toHaveBeenCalled();
  document.removeEventListener("keydown", outer);
});

it("leaves Shift+Enter to the notebook, which runs the cell with it", async () => {
  const onChoose = vi.fn();
  const { element } = await showGrid({ onChoose });
  await press(element, "{Shift>}{Enter}{/Shift}");
  expect(onChoose).not.toHaveBeenCalled();
});

it("finds the clicked cell after scrolling", async () => {
  const chosen: Cell[] = [];
  const { element } = await showGrid({
    ...{ rows: 100, maxHeight: 150 },
    onChoose: (cell) => chosen.push(cell),
  });
  element.scrollTop = 400;
  await painted();
  await clickCell(element, { row: 2, col: 1 });
  expect(chosen).toEqual([{ row: 22, col: 1 }]);
});

it("writes an error of the drawing into the picture", async () => {
  const draw = () => {
    throw new RangeError("no such row");
  };
  const { root } = await show("grid", gridView({ draw }), new FakePort({}));
  expect(root.dataset.state).toBe("error");
  expect(root.querySelector('[role="alert"]')?.textContent).toContain("RangeError: no such row");
});

it("keeps its labels beside the cells", async () => {
  const { element } = await showGrid({
    rowLabels: ["a", "b", "c", "d"],
    colLabels: ["0", "1", "2", "3", "4"],
  });
  const { x, y } = cellCentre(element, { row: 0, col: 0 });
  expect(x).toBeGreaterThan(16);
  expect(y).toBeGreaterThan(20);
  expect(cellColour(element, { row: 3, col: 4 })).toEqual([8, 56, 122]);
});
