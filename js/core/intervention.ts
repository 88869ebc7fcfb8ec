/** A change to a model's run, as it travels: change what, where, to what. The twin of mechwidgets/model/intervention.py. */
import { formatNumber } from "./format";

export interface Intervention {
  site: string;
  /** null: a site that is not in a layer. */
  layer: number | null;
  /** One or several; null (or, for a neuron, nothing): all of them. */
  head: number | number[] | null;
  position: number | number[] | null;
  neuron?: number | number[] | null;
  op: "zero" | "mean" | "patch" | "add" | "scale" | "freeze";
  value: unknown;
}

/** One of a list that pictures share: switched off is not dropped. */
export interface Entry {
  intervention: Intervention;
  on: boolean;
}

/** A head whose output is set to zero. */
export function switchOff(layer: number, head: number): Intervention {
  return { site: "z", layer, head, position: null, op: "zero", value: null };
}

export function isHeadOff(interventions: readonly Intervention[], layer: number, head: number): boolean {
  return interventions.some((change) => switchesOff(change, layer, head));
}

/** The list with the head switched off, or on again if it was off. */
export function toggleHead(
  interventions: readonly Intervention[],
  layer: number,
  head: number,
): Intervention[] {
  const others = interventions.filter((change) => !switchesOff(change, layer, head));
  return others.length < interventions.length ? others : [...others, switchOff(layer, head)];
}

export function headName(layer: number, head: number): string {
  return `L${layer}H${head}`;
}

/** A change in a few characters: "L4H7" for a head switched off, else how, what, where and, if it is one number, to what. */
export function interventionLabel(change: Intervention): string {
  const { site, layer, head, position, neuron = null, op, value } = change;
  const where = `${layer === null ? "" : `L${layer}`}${head === null ? "" : `H${head}`}`;
  if (isSwitchOff(change)) return where;
  const at = `${neuron === null ? "" : ` N${neuron}`}${position === null ? "" : ` at ${position}`}`;
  const number = typeof value === "number" ? `: ${formatNumber(value)}` : "";
  return `${op} ${site}${where && ` ${where}`}${at}${number}`;
}

/** Whether the change switches whole heads off, and does nothing else. */
export function isSwitchOff({ site, head, position, neuron = null, op }: Intervention): boolean {
  return site === "z" && head !== null && position === null && neuron === null && op === "zero";
}

function switchesOff(change: Intervention, layer: number, head: number): boolean {
  return isSwitchOff(change) && change.layer === layer && change.head === head;
}
