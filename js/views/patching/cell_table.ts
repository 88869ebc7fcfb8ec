/** The picture's numbers for the menu: a row for each cell that exists. */
import type { Table as Rows, Value } from "../../core/table";
import { placesOf } from "./axes";
import type { Details } from "./details";
import type { Scale } from "./scale";
import type { Table } from "./sweep";
import { isPositions, type Tokens } from "./words";

export function cellTable(
  { axes, values, done, absent }: Table,
  metric: string,
  { normalizable, normalize }: Scale,
  details: Details,
  tokens: Tokens,
): Rows {
  const sides = (["clean", "corrupted"] as const).filter((side) => tokens[side].length > 0);
  const columns = axes.flatMap(({ name }) =>
    isPositions(name) ? [name, ...sides.map((side) => `${name}_${side}_token`)] : [name],
  );
  const more = normalizable ? [metric, "normalised"] : [metric];
  const rows = Array.from(values.keys())
    .filter((index) => !absent[index])
    .map((index): Value[] => {
      const places = placesOf(axes, index);
      const where = axes.flatMap(({ name, values: labels }, at): Value[] => {
        const label = labels[places[at] ?? 0] ?? null;
        const there = isPositions(name) ? sides.map((side) => tokens[side][Number(label)] ?? null) : [];
        return [label, ...there];
      });
      const value = done[index] ? (values[index] ?? null) : null;
      const read = normalizable ? [value, value === null ? null : Math.fround(normalize(value))] : [value];
      return [...where, ...read, ...details.names.map((name) => details.number(name, index))];
    });
  return { columns: [...columns, ...more, ...details.names], rows };
}
