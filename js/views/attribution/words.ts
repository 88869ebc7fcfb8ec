/** What the picture calls its components and numbers. */

import type { Cell } from "../../core/canvas";
import { signed } from "../../core/format";
import { quoteToken } from "../../core/tokens";
import { barValue, type Component, type Parts } from "./parts";

const OTHER_NAMES: Readonly<Record<string, string>> = {
  embed: "embedding",
  pos_embed: "positions",
  bias: "last biases",
  rest: "rest",
};

export function otherName(name: string): string {
  return OTHER_NAMES[name] ?? name;
}

export function componentName({ part, layer, head, neuron }: Component): string {
  if (layer === null) return capital(otherName(part));
  if (head !== null) return `Head L${layer}H${head}`;
  if (neuron !== null) return `Neuron L${layer}N${neuron}`;
  return part === "mlp" ? `MLP of layer ${layer}` : `Attention of layer ${layer}`;
}

/** In lists. */
export function shortName({ part, layer, head }: Component): string {
  if (layer === null) return otherName(part);
  if (head !== null) return `L${layer}H${head}`;
  return `${part === "mlp" ? "MLP" : "attention"} ${layer}`;
}

export function share(value: number, total: number): string {
  if (total === 0 || !Number.isFinite(value / total)) return "";
  return `${Math.round((100 * value) / total)}% of the total`;
}

/** "logit of ' Mary' − logit of ' John'" */
export function quantity(answer: string, wrong: string): string {
  const of = (token: string) => `logit of ${quoteToken(token)}`;
  return wrong === "" ? of(answer) : `${of(answer)} − ${of(wrong)}`;
}

export function describeBar(parts: Parts, cell: Cell): string {
  const value = barValue(parts, cell);
  const name =
    cell.row < parts.layers
      ? `${cell.col === 0 ? "Attention" : "MLP"} of layer ${cell.row}`
      : capital(otherName(parts.others[cell.row - parts.layers] ?? ""));
  return Number.isNaN(value) ? `${name}: none` : `${name} adds ${signed(value)}`;
}

export function describeHead(parts: Parts, { row, col }: Cell): string {
  const value = parts.head(row, col);
  const name = `Head L${row}H${col}`;
  return Number.isNaN(value)
    ? `${name}: this layer has no heads to tell apart`
    : `${name} adds ${signed(value)}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
