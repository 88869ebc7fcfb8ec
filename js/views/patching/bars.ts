/** Cells in a list, each a bar from the run that was changed: as long as its change, in its colour, with its number. */
import type { CellRange } from "../../core/canvas";
import { hatchRect, outlineRect } from "../../core/canvas";
import { colourAt } from "../../core/colour";
import type { Theme } from "../../core/theme";
import type { Details } from "./details";
import type { Marks } from "./draw";
import type { Scale } from "./scale";
import type { Table } from "./sweep";

export interface Bars {
  readonly table: Table;
  readonly scale: Scale;
  readonly marks: Marks;
  readonly details: Details;
  /** Of the cells in the list, into the table. */
  readonly indices: readonly number[];
  readonly width: number;
  readonly height: number;
}

/** Room for a number behind its bar. */
const NUMBER = 54;
const PAD = 3;

export function drawBars(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  bars: Bars,
): void {
  const across = barPlaces(bars);
  drawBaselines(context, theme, bars, across);
  context.font = `11px ${theme.uiFont}`;
  context.textBaseline = "middle";
  for (let row = range.row0; row < range.row1; row++) drawBar(context, theme, bars, across, row);
}

/** From a place in the colour map to pixels: as far as bars, intervals and exact values reach. */
function barPlaces({ indices, table, scale, details, width }: Bars): (place: number) => number {
  let [low, high] = [0.5, 0.5];
  const take = (value: number | null) => {
    const place = value === null ? Number.NaN : scale.place(value);
    if (!Number.isFinite(place)) return;
    low = Math.min(low, place);
    high = Math.max(high, place);
  };
  for (const index of indices) {
    take(table.values[index] ?? null);
    take(details.exact(index));
    for (const bound of details.interval(index) ?? []) take(bound);
  }
  const room = width - 2 * NUMBER;
  return (place) => NUMBER + (room * (place - low)) / (high - low || 1);
}

function drawBaselines(
  context: CanvasRenderingContext2D,
  theme: Theme,
  { indices, scale, width, height }: Bars,
  across: (place: number) => number,
): void {
  context.strokeStyle = theme.muted;
  context.lineWidth = 1;
  for (const { place } of scale.ticks.filter(({ isBaseline }) => isBaseline)) {
    const x = Math.round(across(place)) + 0.5;
    if (x < 0 || x > width) continue;
    context.setLineDash(place === 0.5 ? [] : [3, 3]);
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, indices.length * height);
    context.stroke();
  }
  context.setLineDash([]);
}

function drawBar(
  context: CanvasRenderingContext2D,
  theme: Theme,
  { table, scale, marks, details, indices, height }: Bars,
  across: (place: number) => number,
  row: number,
): void {
  const index = indices[row] ?? 0;
  const value = table.values[index] ?? Number.NaN;
  const [start, top] = [across(0.5), row * height];
  const box = { y: top + PAD, height: height - 2 * PAD - 1 };
  if (!Number.isFinite(value)) {
    if (!table.done[index] && !table.absent[index])
      hatchRect(context, { x: start, width: 24, ...box }, theme.missing, theme.muted);
    context.fillStyle = theme.muted;
    const said = table.absent[index] ? "no such cell" : table.done[index] ? scale.text(value) : "";
    context.fillText(said, start + 4, top + height / 2);
    return;
  }
  const end = across(scale.place(value));
  const bar = { x: Math.min(start, end), width: Math.max(1, Math.abs(end - start)), ...box };
  context.fillStyle = colourAt(theme.diverging, scale.place(value));
  context.fillRect(bar.x, bar.y, bar.width, bar.height);
  outlineRect(context, bar, theme.line, 1);
  const far = drawDetails(context, theme, details, index, scale, across, top + height / 2);
  const upward = end >= start;
  context.textAlign = upward ? "left" : "right";
  context.fillStyle = marks.dotted(index) ? theme.ink : theme.muted;
  const beside = upward ? Math.max(end, ...far) + 5 : Math.min(end, ...far) - 5;
  context.fillText(`${scale.text(value)}${marks.dotted(index) ? " •" : ""}`, beside, top + height / 2);
  context.textAlign = "left";
}

/** The interval as a whisker, the exact value as a diamond; returns how far they reach. */
function drawDetails(
  context: CanvasRenderingContext2D,
  theme: Theme,
  details: Details,
  index: number,
  scale: Scale,
  across: (place: number) => number,
  middle: number,
): number[] {
  context.strokeStyle = theme.ink;
  context.fillStyle = theme.ink;
  const ends = (details.interval(index) ?? []).map((bound) => across(scale.place(bound)));
  const [low, high] = ends;
  if (low !== undefined && high !== undefined) {
    context.beginPath();
    for (const x of [low, high]) {
      context.moveTo(x, middle - 3);
      context.lineTo(x, middle + 3);
    }
    context.moveTo(low, middle);
    context.lineTo(high, middle);
    context.stroke();
  }
  const exact = details.exact(index);
  if (exact === null) return ends;
  const x = across(scale.place(exact));
  context.beginPath();
  context.moveTo(x - 4, middle);
  context.lineTo(x, middle - 4);
  context.lineTo(x + 4, middle);
  context.lineTo(x, middle + 4);
  context.fill();
  return [...ends, x];
}
