/** What is known of cells beside their value: exact ones beside approximate ones, and how sure means over pairs are. */

import { formatNumber } from "../../core/format";
import type { Port } from "../../core/port";
import { useTrait } from "../../core/trait";
import { type Scale, signed } from "./scale";
import type { Traits } from "./traits";

/** As in the field: effects that would be this rare by chance count as shown. */
export const SIGNIFICANT = 0.05;

export interface Details {
  /** What there is, and a number of it; null where it is not known. */
  readonly names: readonly string[];
  number(name: string, index: number): number | null;
  /** The metric, run exactly; null where it is not known. */
  exact(index: number): number | null;
  /** Between which metrics the mean lies, with 95 % confidence. */
  interval(index: number): [number, number] | null;
  /** Whether the pairs show an effect, corrected for the number of cells. */
  isShown(index: number): boolean;
  /** A sentence about a cell, behind its value; "" for nothing. */
  text(index: number): string;
  readonly hasExact: boolean;
  readonly hasTest: boolean;
}

export function useDetails(port: Port<Traits>, scale: Scale): Details {
  const given = useTrait(port, "details").value;
  const number = (name: string, index: number) => {
    const value = given[name]?.data[index];
    return value === undefined || Number.isNaN(value) ? null : value;
  };
  const exact = (index: number) => number("exact", index);
  const interval = (index: number): [number, number] | null => {
    const [low, high] = [number("low", index), number("high", index)];
    return low === null || high === null ? null : [scale.base + low, scale.base + high];
  };
  return {
    names: Object.keys(given),
    number,
    exact,
    interval,
    isShown: (index) => (number("p", index) ?? 1) < SIGNIFICANT,
    hasExact: given.exact !== undefined,
    hasTest: given.p !== undefined,
    text: (index) => {
      const said = [];
      const known = exact(index);
      if (known !== null) said.push(`exact ${signed(known)}`);
      const error = number("stderr", index);
      const bounds = interval(index)?.map((bound) => signed(bound - scale.base));
      if (error !== null)
        said.push(
          `standard error ${formatNumber(error)}${bounds ? `, effect ${bounds.join(" to ")} (95 %)` : ""}`,
        );
      const p = number("p", index);
      if (p !== null) said.push(`corrected p ${p < 0.001 ? "< 0.001" : formatNumber(p)}`);
      return said.join("; ");
    },
  };
}
