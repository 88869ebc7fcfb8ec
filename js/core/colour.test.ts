import { expect, it } from "vitest";
import { attachRoot } from "../test/dom";
import { colourAt, colourMap, inkAt, luminance, pixel, type Rgb } from "./colour";
import { readTheme } from "./theme";

const THEMES = ["light", "dark"] as const;

it("packs pixels as canvas stores them", () => {
  const bytes = new Uint8Array(Uint32Array.of(pixel([1, 2, 3])).buffer);
  expect([...bytes]).toEqual([1, 2, 3, 255]);
});

it("passes through its stops, and through their middle in between", () => {
  const map = colourMap([
    [255, 255, 255],
    [0, 0, 0],
  ]);
  expect(colourAt(map, 0)).toBe("rgb(255, 255, 255)");
  expect(colourAt(map, 1)).toBe("rgb(0, 0, 0)");
  // The OKLab middle of black and white, as CSS color-mix has it.
  expect(colourAt(map, 0.5)).toMatch(/^rgb\((98|99|100), \1, \1\)$/);
  expect(colourAt(map, -3)).toBe("rgb(255, 255, 255)");
});

it.each(THEMES)("starts the sequential map at the %s surface and moves away from it evenly", (name) => {
  const theme = readTheme(attachRoot(name));
  expect(theme.dark).toBe(name === "dark");
  expect(colourAt(theme.sequential, 0)).toBe(theme.surface);
  const steps = theme.sequential.colours.map(lightness);
  const sign = name === "dark" ? 1 : -1;
  const changes = steps.slice(1).map((step, index) => sign * (step - (steps[index] ?? 0)));
  expect(Math.min(...changes)).toBeGreaterThanOrEqual(-0.4);
  // A quarter of the map is about a quarter of the way: nothing hides, nothing shouts.
  const span = Math.abs((steps[256] ?? 0) - (steps[0] ?? 0));
  for (const quarter of [64, 128, 192]) {
    const share = Math.abs((steps[quarter] ?? 0) - (steps[0] ?? 0)) / span;
    expect(Math.abs(share - quarter / 256)).toBeLessThan(0.08);
  }
});

it.each(THEMES)(
  "has the surface in the middle of the diverging map, and ends of like strength (%s)",
  (name) => {
    const theme = readTheme(attachRoot(name));
    const [low, middle, high] = [0, 128, 256].map((index) => theme.diverging.colours[index] ?? [0, 0, 0]);
    expect(colourAt(theme.diverging, 0.5)).toBe(theme.surface);
    expect(middle).toBeDefined();
    expect(Math.abs(lightness(low as Rgb) - lightness(high as Rgb))).toBeLessThan(12);
    expect(low?.[0]).toBeGreaterThan(low?.[2] ?? 0);
    expect(high?.[2]).toBeGreaterThan(high?.[0] ?? 0);
  },
);

it.each(THEMES)("writes readable ink on every colour of a map (%s)", (name) => {
  const { sequential, diverging } = readTheme(attachRoot(name));
  for (const map of [sequential, diverging]) {
    map.colours.forEach((colour, index) => {
      const ink = inkAt(map, index / 256) === "#000" ? 0 : 1;
      const [lighter, darker] = [luminance(colour), ink].sort((a, b) => b - a) as [number, number];
      expect((lighter + 0.05) / (darker + 0.05)).toBeGreaterThanOrEqual(4.5);
    });
  }
});

/** CIE L*, 0 to 100. */
function lightness(colour: Rgb): number {
  const light = luminance(colour);
  return light <= 0.008856 ? 903.3 * light : 116 * Math.cbrt(light) - 16;
}
