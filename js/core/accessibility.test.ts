import { describe, expect, it } from "vitest";
import { clampCell, nextCell } from "./accessibility";

const square = { rows: 5, cols: 5, page: 3, triangular: false };
const causal = { ...square, triangular: true };

describe("nextCell", () => {
  it.each([
    ["ArrowUp", { row: 1, col: 1 }],
    ["ArrowDown", { row: 3, col: 1 }],
    ["ArrowLeft", { row: 2, col: 0 }],
    ["ArrowRight", { row: 2, col: 2 }],
    ["Home", { row: 2, col: 0 }],
    ["End", { row: 2, col: 4 }],
    ["PageUp", { row: 0, col: 1 }],
    ["PageDown", { row: 4, col: 1 }],
  ])("%s", (key, cell) => {
    expect(nextCell(key, { row: 2, col: 1 }, square, false)).toEqual(cell);
  });

  it("goes to the corners with Ctrl", () => {
    expect(nextCell("Home", { row: 2, col: 1 }, square, true)).toEqual({ row: 0, col: 0 });
    expect(nextCell("End", { row: 2, col: 1 }, square, true)).toEqual({ row: 4, col: 4 });
  });

  it("leaves other keys alone", () => {
    expect(nextCell("a", { row: 2, col: 1 }, square, false)).toBeNull();
  });

  it("stays at the edges, and on or below the diagonal of a causal matrix", () => {
    expect(nextCell("ArrowRight", { row: 2, col: 2 }, causal, false)).toEqual({ row: 2, col: 2 });
    expect(nextCell("ArrowUp", { row: 2, col: 2 }, causal, false)).toEqual({ row: 1, col: 1 });
    expect(nextCell("End", { row: 3, col: 0 }, causal, false)).toEqual({ row: 3, col: 3 });
    expect(clampCell({ row: 9, col: 9 }, causal)).toEqual({ row: 4, col: 4 });
  });
});
