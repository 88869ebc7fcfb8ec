/** What the picture says of its cells, and of what was done. */
import { capitalized, formatNumber } from "../../core/format";
import { quoteToken, tokenLabel } from "../../core/tokens";
import { placesOf } from "./axes";
import { rounded, type Scale, signed } from "./scale";
import type { Axis } from "./traits";

/** What sites, metrics and directions are in words, as the kernel knows them. */
export type Names = Readonly<Record<string, string>>;

export interface Tokens {
  readonly clean: readonly string[];
  readonly corrupted: readonly string[];
}

/** As in a list: the name that Python has, and what it is. */
export function siteName(site: string, names: Names): string {
  return names[site] ? `${site}: ${names[site]}` : site;
}

/** What was done in each cell, as a sentence. */
export function whatIsDone(site: string, direction: string, axes: readonly Axis[], names: Names): string {
  const each = axes.filter(({ name }) => !isListed(name)).map(({ name }) => name);
  const what = names[site] ? `${names[site]} (${site})` : site;
  return `${names[direction] ?? direction}, one at a time: ${what}${each.length > 0 ? `, by ${each.join(" × ")}` : ""}`;
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
