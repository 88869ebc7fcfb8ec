/** What the colour of a cell can stand for. */
import type { ColourMap } from "../../core/colour";
import { formatNumber } from "../../core/format";
import type { Theme } from "../../core/theme";
import { quoteToken, shorten } from "../../core/tokens";
import type { Lens } from "./lens";
import type { ColourBy } from "./traits";

type Read = (row: number, position: number) => number;

export interface CellColour {
  readonly map: ColourMap;
  /** The cell's place in the map, 0..1; NaN where there is no number. */
  place(row: number, position: number): number;
  readonly legend: {
    readonly label: string;
    /** Values at the bar's ends, in the units of `ticks`. */
    readonly domain: readonly [number, number];
    readonly ticks: readonly number[];
    readonly format: (value: number) => string;
  };
}

const LONGEST_TARGET = 20;
/** What a logarithmic legend marks between its ends, where it has room for one number. */
const MARKS = [100, 10, 1];

/** What can be chosen; the first is what is shown when the choice does not fit. */
export function colourOptions(lens: Lens): { value: ColourBy; text: string }[] {
  const target = targetName(lens);
  if (lens.compares) {
    return [
      { value: "divergence", text: "KL between the prompts" },
      { value: "target_probability", text: `probability of ${target}, first − second` },
      { value: "entropy", text: "entropy, first − second" },
    ];
  }
  return [
    { value: "probability", text: "probability of the top token" },
    { value: "target_probability", text: `probability of ${target}` },
    { value: "rank", text: `rank of ${target}` },
    { value: "entropy", text: "entropy" },
    { value: "kl", text: "KL to the output" },
  ];
}

export function fittingColour(lens: Lens, wanted: ColourBy): ColourBy {
  const offered = colourOptions(lens).map(({ value }) => value);
  return offered.includes(wanted) ? wanted : (offered[0] ?? "probability");
}

export function targetName(lens: Lens): string {
  return lens.hasTarget ? shorten(quoteToken(lens.target(0)), LONGEST_TARGET) : "the output's token";
}

export function cellColour(lens: Lens, by: ColourBy, theme: Theme): CellColour {
  return lens.compares ? ofDifference(lens, by, theme) : ofCell(lens, by, theme);
}

/** Sure, or close to the output, is strong, whatever measures it. */
function ofCell(lens: Lens, by: ColourBy, { sequential: map }: Theme): CellColour {
  const name = targetName(lens);
  switch (by) {
    case "rank": {
      const last = Math.round(Math.exp(lens.maxEntropy)) - 1;
      const read: Read = (row, position) => lens.rank(0, row, position);
      return logarithmic(map, `rank of ${name} (0 = top)`, read, last, "falling");
    }
    case "kl": {
      const read: Read = (row, position) => lens.kl(0, row, position);
      return logarithmic(map, "KL of the distribution to the output's, nats", read, lens.most.kl, "falling");
    }
    case "entropy": {
      const read: Read = (row, position) => lens.entropy(0, row, position);
      return linear(map, "entropy of the distribution, nats", read, [lens.maxEntropy, 0]);
    }
    case "target_probability": {
      const read: Read = (row, position) => lens.targetProbability(0, row, position);
      return linear(map, `probability of ${name}`, read, [0, 1]);
    }
    default: {
      const read: Read = (row, position) => lens.top(0, row, position).probability;
      return linear(map, "probability of the top token", read, [0, 1]);
    }
  }
}

function ofDifference(lens: Lens, by: ColourBy, theme: Theme): CellColour {
  if (by === "divergence") {
    const label = "KL of the second prompt's distribution to the first's, nats";
    return logarithmic(theme.sequential, label, lens.divergence, lens.most.divergence, "rising");
  }
  const read = by === "entropy" ? lens.entropy : lens.targetProbability;
  const difference: Read = (row, position) => read(0, row, position) - read(1, row, position);
  const end = largestDifference(lens, difference) || 1;
  const what = by === "entropy" ? "entropy" : `probability of ${targetName(lens)}`;
  const unit = by === "entropy" ? ", nats" : "";
  return linear(theme.diverging, `${what}, first − second${unit}`, difference, [-end, end]);
}

/** From the map's weak end to its strong one. */
function linear(map: ColourMap, label: string, value: Read, domain: readonly [number, number]): CellColour {
  const [weak, strong] = domain;
  return {
    map,
    place: (row, position) => (value(row, position) - weak) / (strong - weak),
    legend: { label, domain, ticks: [weak, (weak + strong) / 2, strong], format: formatNumber },
  };
}

/** Of numbers from 0 up, of which some are far larger: whether a token is first or tenth matters more than whether it is 1,000th or 1,010th. */
function logarithmic(
  map: ColourMap,
  label: string,
  value: Read,
  most: number,
  direction: "rising" | "falling",
): CellColour {
  const end = most || 1;
  const place = (number: number) => {
    const share = Math.log1p(number) / Math.log1p(end);
    return direction === "rising" ? share : 1 - share;
  };
  const between = MARKS.find((mark) => mark < end / 4);
  const marks = [0, ...(between === undefined ? [] : [between]), end];
  const texts = new Map(marks.map((mark) => [place(mark), formatNumber(mark)]));
  return {
    map,
    place: (row, position) => place(value(row, position)),
    legend: {
      label: `${label}, logarithmic`,
      domain: [0, 1],
      ticks: [...texts.keys()].sort((one, other) => one - other),
      format: (at) => texts.get(at) ?? "",
    },
  };
}

function largestDifference(lens: Lens, difference: Read): number {
  let most = 0;
  for (let row = 0; row < lens.rowLabels.length; row++) {
    for (let position = 0; position < lens.tokens.length; position++) {
      const size = Math.abs(difference(row, position));
      if (size > most && Number.isFinite(size)) most = size;
    }
  }
  return most;
}
