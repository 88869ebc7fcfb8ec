/** Which tokens stand first. */
import type { NdArray } from "../../core/arrays";
import type { DistributionChange, Order } from "./traits";

/** The same distribution with its tokens in another order: what moved most first, or as it came, most probable before first. */
export function ordered(distribution: DistributionChange, order: Order): DistributionChange {
  if (order === "probability") return distribution;
  const { tokens, before, after } = distribution;
  const moved = (index: number) => Math.abs((after.data[index] ?? 0) - (before.data[index] ?? 0));
  const indices = tokens.map((_, index) => index).sort((one, other) => moved(other) - moved(one));
  return {
    ...distribution,
    tokens: indices.map((index) => tokens[index] ?? ""),
    before: picked(before, indices),
    after: picked(after, indices),
  };
}

function picked(values: NdArray<"float32">, indices: readonly number[]): NdArray<"float32"> {
  return { ...values, data: Float32Array.from(indices, (index) => values.data[index] ?? 0) };
}

/** From which step on two texts differ; their length where they do not. */
export function firstDifference(one: readonly number[], other: readonly number[]): number {
  const found = one.findIndex((token, step) => token !== other[step]);
  return found < 0 ? one.length : found;
}
