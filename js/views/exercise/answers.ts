/** A reader's answers. */
import { quoteToken } from "../../core/tokens";
import type { Answer, Place } from "./traits";

export type Choice = Partial<Record<Place, number>>;

/** An answer in a few words: "L5H1", "layer 5", "position 3 ' Mary'". */
export function placeName(choice: Choice, tokens: readonly string[]): string {
  const { layer, head, position } = choice;
  const where =
    layer !== undefined && head !== undefined
      ? [`L${layer}H${head}`]
      : [layer === undefined ? "" : `layer ${layer}`, head === undefined ? "" : `head ${head}`];
  const token = position === undefined ? undefined : tokens[position];
  const at =
    position === undefined ? "" : `position ${position}${token === undefined ? "" : ` ${quoteToken(token)}`}`;
  return [...where, at].filter(Boolean).join(", ");
}

export function isSame(one: Choice, other: Choice, asks: readonly Place[]): boolean {
  return asks.every((place) => one[place] === other[place]);
}

/** How many right answers were found. */
export function countRight(answers: readonly Answer[], asks: readonly Place[]): number {
  const right = answers.filter((answer) => answer.right);
  return right.filter((answer, at) => right.findIndex((other) => isSame(answer, other, asks)) === at).length;
}
