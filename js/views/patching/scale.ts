/** From the metric to the colour map and to words: the run that was changed in the middle, the other baseline at an end. */
import { formatNumber } from "../../core/format";
import type { Traits } from "./traits";

export interface Tick {
  /** 0..1 along the colour map. */
  readonly place: number;
  readonly label: string;
  /** One of the runs as they are. */
  readonly isBaseline: boolean;
}

export interface Baselines {
  readonly clean: number;
  /** null: there is one prompt only. */
  readonly corrupted: number | null;
  /** "denoise" changes the corrupted run; everything else the clean one. */
  readonly direction: string;
}

export interface Scale {
  /** False where there are no two baselines to lie between: normalised values do not exist, and the picture shows raw ones. */
  readonly normalizable: boolean;
  readonly unit: Traits["scale"];
  readonly reach: "baselines" | "values";
  /** The metric of the run that was changed. */
  readonly base: number;
  readonly ticks: readonly Tick[];
  /** 0..1 along the colour map, 0.5 at the run that was changed; outside 0..1 where the value is beyond the map. */
  place(value: number): number;
  /** 0 = corrupted, 1 = clean. */
  normalize(value: number): number;
  isBeyond(value: number): boolean;
  /** A change of the metric, in the scale's unit. */
  effect(change: number): number;
  /** The value in the scale's unit. */
  text(value: number): string;
}

/** A value so little outside the map has the end's colour anyway: the baselines themselves are rounded. */
const END_TOLERANCE = 0.02;
/** A difference this small beside the metric itself is rounding. */
const ROUNDING = 1e-4;
/** Where no change comes so far, the colours would not be told apart between the baselines. */
const SMALL = 0.5;
/** Along the map: a baseline this near to an end is the end. */
const SAME_PLACE = 1e-6;

export function makeScale(
  { clean, corrupted, direction }: Baselines,
  values: ArrayLike<number>,
  wanted: Traits["scale"],
  wantedReach: Traits["reach"] = "baselines",
): Scale {
  const base = direction === "denoise" && corrupted !== null ? corrupted : clean;
  const normalizable =
    corrupted !== null &&
    Math.abs(clean - corrupted) > ROUNDING * Math.max(Math.abs(clean), Math.abs(corrupted));
  const unit = normalizable ? wanted : "raw";
  const distance = clean - (corrupted ?? clean);
  const farthest = largestChange(values, base);
  const automatic = farthest > 0 && farthest < SMALL * Math.abs(distance) ? "values" : "baselines";
  const reach = normalizable ? (wantedReach ?? automatic) : "values";
  // Blue is the clean run's side, also where the metric is lower there.
  const extent = reach === "baselines" ? distance : Math.sign(distance || 1) * (farthest || 1);
  const normalize = (value: number) => (value - (corrupted ?? 0)) / distance;
  const text = (value: number) =>
    unit === "normalized" ? formatNumber(rounded(normalize(value))) : signed(value);
  const place = (value: number) => 0.5 + (value - base) / extent / 2;
  const effect = (change: number) => (unit === "normalized" ? change / distance : change);
  const scale = { normalizable, unit, reach, base, place, normalize, effect, text };
  return {
    ...scale,
    ticks: makeTicks(scale, extent, { clean, corrupted }),
    isBeyond: (value) => Math.abs(2 * place(value) - 1) > 1 + END_TOLERANCE,
  };
}

/** A share of the way between the baselines: what is smaller than this is the rounding of float32. */
export function rounded(share: number): number {
  return Math.abs(share) < 1e-4 ? 0 : share;
}

/** The metric has a sign to read: +6.12, −5.49. */
export function signed(value: number): string {
  return value > 0 ? `+${formatNumber(value)}` : formatNumber(value);
}

function makeTicks(
  scale: Omit<Scale, "ticks" | "isBeyond">,
  extent: number,
  baselines: { clean: number; corrupted: number | null },
): Tick[] {
  const named = namedBaselines(scale, baselines);
  const ends = [0, 0.5, 1]
    .filter((place) => named.every((one) => Math.abs(one.place - place) > SAME_PLACE))
    .map((place) => ({ place, label: scale.text(scale.base + (2 * place - 1) * extent), isBaseline: false }));
  const inside = named.filter(({ place }) => place > -SAME_PLACE && place < 1 + SAME_PLACE);
  return [...ends, ...inside].sort((one, other) => one.place - other.place);
}

/** The metric of the prompts as they are, under their names; under one where they agree. */
function namedBaselines(
  { unit, place, normalizable }: Omit<Scale, "ticks" | "isBeyond">,
  { clean, corrupted }: { clean: number; corrupted: number | null },
): Tick[] {
  if (corrupted === null)
    return [{ place: place(clean), label: `as it is: ${signed(clean)}`, isBaseline: true }];
  if (!normalizable) return [{ place: 0.5, label: `corrupted = clean: ${signed(clean)}`, isBaseline: true }];
  const [zero, one] = unit === "normalized" ? ["0 = ", "1 = "] : ["", ""];
  return [
    { place: place(corrupted), label: `${zero}corrupted: ${signed(corrupted)}`, isBaseline: true },
    { place: place(clean), label: `${one}clean: ${signed(clean)}`, isBaseline: true },
  ];
}

function largestChange(values: ArrayLike<number>, base: number): number {
  let largest = 0;
  for (let index = 0; index < values.length; index++) {
    const change = Math.abs((values[index] ?? Number.NaN) - base);
    if (Number.isFinite(change) && change > largest) largest = change;
  }
  return largest;
}
