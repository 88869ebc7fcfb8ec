/** A made-up prediction for tests and screenshots. */
import type { NdArray } from "../../core/arrays";
import { FakePort } from "../../test/fake_port";
import type { DistributionChange, Traits } from "./traits";

const TOKENS = "When Mary and John went to the store, John gave a drink to".match(/ ?[^ ,]+|,/g) ?? [];

export function sampleTraits(changes: Partial<Traits> = {}): Traits {
  return {
    title: "",
    model_name: "smollm2-135m",
    prompt: TOKENS.join(""),
    interventions: [],
    position: null,
    order: "change",
    tokens: TOKENS,
    answered: { position: TOKENS.length - 1, interventions: [] },
    distribution: distribution(
      [" Mary", " John", " the", " her"],
      [0.6, 0.1, 0.08, 0.04],
      [0.6, 0.1, 0.08, 0.04],
    ),
    ...changes,
  };
}

export function samplePort(changes: Partial<Traits> = {}): FakePort<Traits> {
  return new FakePort(sampleTraits(changes), {
    write: () => ({
      before: { token_ids: [1, 2, 3], tokens: [" Mary", ".", " She"] },
      after: { token_ids: [1, 5, 6], tokens: [" Mary", " and", " John"] },
    }),
    behind: () => distribution([".", " and", ","], [0.5, 0.2, 0.1], [0.2, 0.45, 0.1]),
  });
}

export function distribution(tokens: string[], before: number[], after: number[]): DistributionChange {
  const kl = before.reduce((sum, was, index) => sum + was * Math.log(was / (after[index] ?? was)), 0);
  return { tokens, before: array(before), after: array(after), kl: Math.max(0, kl) };
}

function array(data: number[]): NdArray<"float32"> {
  return { dtype: "float32", shape: [data.length], data: Float32Array.from(data) };
}
