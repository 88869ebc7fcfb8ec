/** The list of interventions that all pictures share. */
import { useRef } from "preact/hooks";
import { type Entry, type Intervention, isSwitchOff } from "../../core/intervention";
import type { Port } from "../../core/port";
import { useTrait } from "../../core/trait";
import type { WorkbenchTraits } from "./traits";

/** None until the host has found the shared list. */
export function useEntries(port: Port<WorkbenchTraits>): readonly Entry[] {
  return useTrait(port, "entries").value ?? [];
}

/** The list as the page found it. */
export function useFirstEntries(port: Port<WorkbenchTraits>): readonly Entry[] {
  const entries = useTrait(port, "entries").value;
  const first = useRef(entries);
  first.current ??= entries;
  return first.current ?? [];
}

export function isOn(entries: readonly Entry[], change: Intervention): boolean {
  return entries.some((entry) => entry.on && isSame(entry.intervention, change));
}

/** The list with the change carried out, or no longer. */
export function toggled(entries: readonly Entry[], change: Intervention): Entry[] {
  const at = entries.findIndex((entry) => isSame(entry.intervention, change));
  if (at < 0) return [...entries, { intervention: change, on: true }];
  return entries[at]?.on ? without(entries, at) : switched(entries, at);
}

/** The list with a head switched off, or on again, where a document has one besides those with which it was saved. */
export function toggledAlone(
  entries: readonly Entry[],
  change: Intervention,
  saved: readonly Entry[],
): Entry[] {
  if (isOn(entries, change)) return toggled(entries, change);
  const isSaved = (one: Intervention) => saved.some(({ intervention }) => isSame(intervention, one));
  const others = entries.filter(({ intervention }) => !isSwitchOff(intervention) || isSaved(intervention));
  return toggled(others, change);
}

export function switched(entries: readonly Entry[], at: number): Entry[] {
  return entries.map((entry, index) => (index === at ? { ...entry, on: !entry.on } : entry));
}

export function without(entries: readonly Entry[], at: number): Entry[] {
  return entries.filter((_, index) => index !== at);
}

/** Of those that switch something off; other values are arrays, and the same only by chance. */
function isSame(one: Intervention, other: Intervention): boolean {
  const key = ({ site, layer, head, position, neuron = null, op, value }: Intervention) =>
    JSON.stringify([site, layer, head, position, neuron, op, op === "zero" ? null : value]);
  return key(one) === key(other);
}

/** Whether a prompt of so many tokens has the positions that are changed. */
export function isInPrompt({ position }: Intervention, count: number): boolean {
  const positions = position === null ? [] : [position].flat();
  return positions.every((one) => one < count && one >= -count);
}
