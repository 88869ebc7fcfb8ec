/** What the picture says of its cells, and of what was done. */
import { capitalized, formatNumber } from "../../core/format";
import { quoteToken, tokenLabel } from "../../core/tokens";
import { placesOf } from "./axes";
import { rounded, type Scale, signed } from "./scale";
import type { Axis } from "./traits";

const SITES: Readonly<Record<string, string>> = {
  resid_pre: "residual stream into the layer",
  resid_mid: "residual stream between attention and MLP",
  resid_post: "residual stream out of the layer",
  attn_out: "what attention writes",
  mlp_out: "what the MLP writes",
  z: "heads",
  q: "queries",
  k: "keys",
  v: "values",
  result: "what each head writes",
  pattern: "attention patterns",
  attn_scores: "attention scores",
  post: "neurons",
};
const METRICS: Readonly<Record<string, string>> = {
  LogitDiff: "logit difference",
  LogProb: "log probability of the answer",
  Prob: "probability of the answer",
  ProbDiff: "probability difference",
  Rank: "rank of the answer",
  KL: "KL to the other run",
};
const DIRECTIONS: Readonly<Record<string, string>> = {
  denoise: "Clean activations into the corrupted run",
  noise: "Corrupted activations into the clean run",
  zero: "Set to zero",
  mean: "Replaced by their mean",
  resample: "Replaced by what other prompts have there",
  steer: "A vector added",
};
const TITLES: Readonly<Record<string, string>> = {
  zero: "Zero ablation",
  mean: "Mean ablation",
  resample: "Resample ablation",
  steer: "Steering",
};

export interface Tokens {
  readonly clean: readonly string[];
  readonly corrupted: readonly string[];
}

/** As in a list: the name that Python has, and what it is. */
export function siteName(site: string): string {
  return SITES[site] ? `${site}: ${SITES[site]}` : site;
}

export function metricName(metric: string): string {
  return METRICS[metric] ?? metric;
}

export function pictureTitle(site: string, direction: string, approximate: boolean): string {
  if (site === "edges") return "Edge attribution";
  if (site.startsWith("path ")) return "Path patching";
  return TITLES[direction] ?? (approximate ? "Attribution patching" : "Activation patching");
}

/** What was done in each cell, as a sentence. */
export function whatIsDone(site: string, direction: string, axes: readonly Axis[]): string {
  const done = DIRECTIONS[direction] ?? capitalized(direction);
  const each = axes.filter(({ name }) => !isListed(name)).map(({ name }) => name);
  const what = SITES[site] ? `${SITES[site]} (${site})` : site;
  const by = each.length > 1 ? `, by ${each.slice(0, -1).join(", ")} and ${each.at(-1)}` : "";
  return `${done}, one at a time: ${what}${by || each.map((name) => `, by ${name}`).join("")}`;
}

/** Labels of an axis' places: tokens at positions (both where the pair differs), else what stands there. */
export function axisLabels({ name, values }: Axis, tokens: Tokens): string[] {
  if (!isPositions(name)) return values.map(valueLabel);
  return values.map((value) => {
    const [token, other] = tokensAt(Number(value), tokens);
    if (token === undefined) return String(value);
    return other === undefined ? tokenLabel(token) : `${tokenLabel(token)}/${tokenLabel(other)}`;
  });
}

export function axisTitle(name: string): string {
  if (name === "destination") return "destination (query)";
  return name === "source" ? "source (key)" : name;
}

/** Cells that stand in a list, the one with the largest change first. */
export function isListed(name: string): boolean {
  return name === "cell" || name === "edge";
}

export function isPositions(name: string): boolean {
  return name === "position" || name === "destination" || name === "source";
}

/** Where a cell is, with the tokens there: "Layer 21, position 9 ' John' (corrupted ' Mary')". */
export function cellName(axes: readonly Axis[], index: number, tokens: Tokens): string {
  const places = placesOf(axes, index);
  return capitalized(axes.map((axis, at) => placeName(axis, places[at] ?? 0, tokens)).join(", "));
}

export function placeName({ name, values }: Axis, place: number, tokens: Tokens): string {
  const value = values[place] ?? "";
  if (isListed(name)) return String(value);
  if (!isPositions(name)) return `${name} ${valueLabel(value)}`;
  const [token, other] = tokensAt(Number(value), tokens);
  const replaced = other === undefined ? "" : ` (corrupted ${quoteToken(other)})`;
  return `${name} ${value}${token === undefined ? "" : ` ${quoteToken(token)}`}${replaced}`;
}

/** In a list: "L23H3", "L21 9 ·John/·Mary". */
export function cellLabel(axes: readonly Axis[], index: number, tokens: Tokens): string {
  const places = placesOf(axes, index);
  const parts = axes.map((axis, at) => {
    const value = axis.values[places[at] ?? 0] ?? "";
    const label = axisLabels({ name: axis.name, values: [value] }, tokens)[0] ?? "";
    if (axis.name === "layer") return `L${label}`;
    if (axis.name === "head") return `H${label}`;
    return isPositions(axis.name) && label !== String(value) ? ` ${value} ${label}` : ` ${label}`;
  });
  return parts.join("").trim();
}

/** A computed cell's value; null where nothing is computed. */
export function valueText(value: number | null, scale: Scale): string {
  if (value === null) return "not computed";
  if (Number.isNaN(value)) return "NaN: the model gave no number";
  if (!scale.normalizable) return `raw ${signed(value)}`;
  return `raw ${signed(value)}, normalised ${formatNumber(rounded(scale.normalize(value)))}`;
}

function valueLabel(value: number | string): string {
  if (typeof value === "string" || Number.isInteger(value)) return String(value).replace("-", "−");
  return formatNumber(value);
}

/** The clean token, and the corrupted one where it is another. */
function tokensAt(position: number, { clean, corrupted }: Tokens): [string | undefined, string | undefined] {
  const [token, other] = [clean[position], corrupted[position]];
  return [token, other === token ? undefined : other];
}
