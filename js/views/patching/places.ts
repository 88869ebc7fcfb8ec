/** The chosen place on each axis: a trait where other pictures know the axis, else the picture's own. */
import { useSignal } from "@preact/signals";
import type { Port } from "../../core/port";
import { useTrait } from "../../core/trait";
import { placesOf, placeTrait } from "./axes";
import type { Table } from "./sweep";
import type { Axis, Traits } from "./traits";

type Value = number | string;

export interface Places {
  /** Index into the axis; null where nothing is chosen, or what is chosen is not on this axis. */
  at(axis: Axis): number | null;
  choose(chosen: readonly (readonly [Axis, number])[]): void;
  clear(axes: readonly Axis[]): void;
}

export function usePlaces(port: Port<Traits>): Places {
  const known = {
    layer: useTrait(port, "layer").value,
    head: useTrait(port, "head").value,
    position: useTrait(port, "position").value,
  };
  const own = useSignal<Readonly<Record<string, Value>>>({});
  const set = (axis: Axis, value: Value | null) => {
    const trait = placeTrait(axis.name);
    if (trait === null) {
      const { [axis.name]: _, ...others } = own.peek();
      own.value = value === null ? others : { ...others, [axis.name]: value };
    } else if (value === null || typeof value === "number") port.set(trait, value);
  };
  return {
    at: (axis) => {
      const trait = placeTrait(axis.name);
      const value = trait === null ? own.value[axis.name] : known[trait];
      const index = value === null || value === undefined ? -1 : axis.values.indexOf(value);
      return index < 0 ? null : index;
    },
    choose: (chosen) => {
      for (const [axis, index] of chosen) set(axis, axis.values[index] ?? null);
    },
    clear: (axes) => {
      for (const axis of axes) set(axis, null);
    },
  };
}

/** Where to cut an axis before a reader has: at the cell with the largest change, which is what there is to see. */
export function strongestCell({ axes, values }: Table, base: number): number[] {
  let [strongest, most] = [0, -1];
  for (let index = 0; index < values.length; index++) {
    const change = Math.abs((values[index] ?? Number.NaN) - base);
    if (change > most) [strongest, most] = [index, change];
  }
  return placesOf(axes, strongest);
}
