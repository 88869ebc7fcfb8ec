/** What the colour of a cell can stand for. */
import type { ColourMap } from "../../core/colour";
import { formatNumber } from "../../core/format";
import type { Theme } from "../../core/theme";
import { quoteToken, shorten } from "../../core/tokens";
import type { Lens } from "./lens";
import type { ColourBy } from "./traits";

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
  const label = { ...LABELS, target_probability: `probability of ${targetName(lens)}` }[by];
  if (by === "rank") {
    const last = Math.round(Math.exp(lens.maxEntropy)) - 1;
    const read = (row: number, position: number) => lens.rank(0, row, position);
    return logarithmic(map, `rank of ${targetName(lens)} (0 = top)`, read, last, "falling");
  }
  if (by === "kl") {
    const read = (row: number, position: number) => lens.kl(0, row, position);
    return logarithmic(map, label, read, lens.most.kl, "falling");
  }
  if (by === "entropy") {
    const most = lens.maxEntropy;
    return {
      map,
      place: (row, position) => 1 - lens.entropy(0, row, position) / most,
      legend: { label, domain: [most, 0], ticks: [most, most / 2, 0], format: formatNumber },
    };
  }
  const ofTop = (row: number, position: number) => lens.top(0, row, position).probability;
  const ofTarget = (row: number, position: number) => lens.targetProbability(0, row, position);
  return {
    map,
    place: by === "target_probability" ? ofTarget : ofTop,
    legend: { label, domain: [0, 1], ticks: [0, 0.5, 1], format: formatNumber },
  };
}

const LABELS = {
  probability: "probability of the top token",
  entropy: "entropy of the distribution, nats",
  kl: "KL of the distribution to the output's, nats",
  rank: "rank",
  divergence: "KL of the second prompt's distribution to the first's, nats",
} as const;

/** Of numbers from 0 up, of which some are far larger: whether a token is first or tenth matters more than whether it is 1,000th or 1,010th. */
function logarithmic(
  map: ColourMap,
  label: string,
  read: (row: number, position: number) => number,
  most: number,
  direction: "rising" | "falling",
): CellColour {
  const end = most || 1;
  const place = (value: number) => {
    const share = Math.log1p(value) / Math.log1p(end);
    return direction === "rising" ? share : 1 - share;
  };
  const between = MARKS.find((mark) => mark < end / 4);
  const marks = [0, ...(between === undefined ? [] : [between]), end];
  const texts = new Map(marks.map((mark) => [place(mark), formatNumber(mark)]));
  return {
    map,
    place: (row, position) => place(read(row, position)),
    legend: {
      label: `${label}, logarithmic`,
      domain: [0, 1],
      ticks: [...texts.keys()].sort((one, other) => one - other),
      format: (value) => texts.get(value) ?? "",
    },
  };
}

function ofDifference(lens: Lens, by: ColourBy, theme: Theme): CellColour {
  if (by === "divergence") {
    const most = lens.most.divergence || 1;
    return {
      map: theme.sequential,
      place: (row, position) => lens.divergence(row, position) / most,
      legend: {
        label: LABELS.divergence,
        domain: [0, most],
        ticks: [0, most / 2, most],
        format: formatNumber,
      },
    };
  }
  const read = by === "entropy" ? lens.entropy : lens.targetProbability;
  const difference = (row: number, position: number) => read(0, row, position) - read(1, row, position);
  const end = largestDifference(lens, difference) || 1;
  const what = by === "entropy" ? "entropy" : `probability of ${targetName(lens)}`;
  return {
    map: theme.diverging,
    place: (row, position) => 0.5 + difference(row, position) / (2 * end),
    legend: {
      label: `${what}, first − second${by === "entropy" ? ", nats" : ""}`,
      domain: [-end, end],
      ticks: [-end, 0, end],
      format: formatNumber,
    },
  };
}

function largestDifference(lens: Lens, difference: (row: number, position: number) => number): number {
  let most = 0;
  for (let row = 0; row < lens.rowLabels.length; row++) {
    for (let position = 0; position < lens.tokens.length; position++) {
      const size = Math.abs(difference(row, position));
      if (size > most && Number.isFinite(size)) most = size;
    }
  }
  return most;
}
