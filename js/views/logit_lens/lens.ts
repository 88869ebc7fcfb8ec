/** The lens' arrays as questions the picture asks of a cell. */
import type { Traits } from "./traits";

export type ColourBy = Traits["color_by"];

export interface Candidate {
  readonly token: string;
  readonly probability: number;
}

export interface Lens {
  readonly tokens: readonly string[];
  readonly rowLabels: readonly string[];
  readonly maxEntropy: number;
  /** The row of the model's real output. */
  readonly outputRow: number;
  /** How many of the most probable tokens each cell has; a long prompt keeps fewer. */
  readonly kept: number;
  /** The most probable tokens, best first. */
  candidates(row: number, position: number): Candidate[];
  topToken(row: number, position: number): string;
  topProbability(row: number, position: number): number;
  entropy(row: number, position: number): number;
  /** Rank (0 = top) that the row gives the output's top token. */
  rank(row: number, position: number): number;
}

export type LensTraits = Pick<
  Traits,
  "tokens" | "row_labels" | "vocabulary" | "top_tokens" | "top_probs" | "entropy" | "max_entropy" | "rank"
>;

export function readLens(traits: LensTraits): Lens {
  const { tokens, row_labels: rowLabels, vocabulary } = traits;
  const [ids, probabilities] = [traits.top_tokens.data, traits.top_probs.data];
  checkShapes(traits);
  const k = traits.top_tokens.shape[2] ?? 0;
  const cell = (row: number, position: number) => row * tokens.length + position;
  const tokenAt = (index: number) => vocabulary[ids[index] ?? -1] ?? "";
  return {
    tokens,
    rowLabels,
    maxEntropy: traits.max_entropy,
    outputRow: rowLabels.length - 1,
    kept: k,
    candidates(row, position) {
      const first = cell(row, position) * k;
      return Array.from({ length: k }, (_, place) => ({
        token: tokenAt(first + place),
        probability: probabilities[first + place] ?? Number.NaN,
      }));
    },
    topToken: (row, position) => tokenAt(cell(row, position) * k),
    topProbability: (row, position) => probabilities[cell(row, position) * k] ?? Number.NaN,
    entropy: (row, position) => traits.entropy.data[cell(row, position)] ?? Number.NaN,
    rank: (row, position) => traits.rank.data[cell(row, position)] ?? Number.NaN,
  };
}

/** The cell's place in the sequential map: sure is strong, by either measure. */
export function strength(lens: Lens, colourBy: ColourBy, row: number, position: number): number {
  if (colourBy === "probability") return lens.topProbability(row, position);
  return 1 - lens.entropy(row, position) / lens.maxEntropy;
}

/** Arrays of another shape than the labels would be drawn as another prompt's numbers. */
function checkShapes(traits: LensTraits): void {
  const expected = [traits.row_labels.length, traits.tokens.length];
  for (const name of ["top_tokens", "top_probs", "entropy", "rank"] as const) {
    const { shape } = traits[name];
    if (shape[0] !== expected[0] || shape[1] !== expected[1]) {
      throw new RangeError(
        `${name} has shape [${shape}]; expected [${expected}] (rows, positions) as row_labels and tokens have.`,
      );
    }
  }
}
