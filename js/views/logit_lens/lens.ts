/** The lens' arrays as questions the picture asks of a cell. */
import type { Stream, Traits } from "./traits";

export interface Candidate {
  readonly id: number;
  readonly token: string;
  readonly probability: number;
}

export interface Lens {
  /** The tokens of each prompt. */
  readonly prompts: readonly (readonly string[])[];
  readonly tokens: readonly string[];
  readonly rowLabels: readonly string[];
  readonly stream: Stream;
  readonly maxEntropy: number;
  /** Two prompts are compared. */
  readonly compares: boolean;
  /** One token is the target of all positions; otherwise each has the output's. */
  readonly hasTarget: boolean;
  /** The row of the model's real output. */
  readonly outputRow: number;
  /** How many of the most probable tokens each cell has; a long prompt has fewer. */
  readonly kept: number;
  /** Largest finite `kl` and `divergence`. */
  readonly most: { readonly kl: number; readonly divergence: number };
  /** The most probable tokens, best first. */
  candidates(prompt: number, row: number, position: number): Candidate[];
  top(prompt: number, row: number, position: number): Candidate;
  entropy(prompt: number, row: number, position: number): number;
  kl(prompt: number, row: number, position: number): number;
  /** Rank (0 = top) that the row gives the target; NaN where there is none. */
  rank(prompt: number, row: number, position: number): number;
  targetProbability(prompt: number, row: number, position: number): number;
  divergence(row: number, position: number): number;
  target(position: number): string;
  rowOfLayer(layer: number): number | null;
  layerOfRow(row: number): number | null;
}

export type LensTraits = Pick<
  Traits,
  | "tokens"
  | "compare_tokens"
  | "stream"
  | "target_text"
  | "target"
  | "row_labels"
  | "vocabulary"
  | "vocabulary_ids"
  | "top_tokens"
  | "top_probs"
  | "entropy"
  | "max_entropy"
  | "kl"
  | "rank"
  | "target_probs"
  | "divergence"
>;

export function readLens(traits: LensTraits): Lens {
  checkShapes(traits);
  const { tokens, row_labels: rowLabels } = traits;
  const outputRow = rowLabels.length - 1;
  const cell = (prompt: number, row: number, position: number) =>
    (prompt * rowLabels.length + row) * tokens.length + position;
  const { top, candidates, kept } = readTop(traits, cell);
  const number = (name: "entropy" | "kl" | "target_probs") => {
    const { data } = traits[name];
    return (prompt: number, row: number, position: number) => data[cell(prompt, row, position)] ?? Number.NaN;
  };
  const hasTarget = traits.target !== "";
  return {
    ...{ tokens, rowLabels, outputRow, kept, top, candidates, hasTarget },
    stream: traits.stream,
    prompts: traits.compare_tokens.length > 0 ? [tokens, traits.compare_tokens] : [tokens],
    compares: traits.compare_tokens.length > 0,
    maxEntropy: traits.max_entropy,
    most: { kl: largest(traits.kl.data), divergence: largest(traits.divergence.data) },
    entropy: number("entropy"),
    kl: number("kl"),
    targetProbability: number("target_probs"),
    rank: (prompt, row, position) => {
      const rank = traits.rank.data[cell(prompt, row, position)] ?? -1;
      return rank < 0 ? Number.NaN : rank;
    },
    divergence: (row, position) => traits.divergence.data[cell(0, row, position)] ?? Number.NaN,
    target: (position) => (hasTarget ? traits.target_text : top(0, outputRow, position).token),
    rowOfLayer: (layer) => nullIf(rowLabels.indexOf(String(layer)), -1),
    layerOfRow: (row) => nullIf(Number(rowLabels[row]), Number.NaN),
  };
}

function readTop(traits: LensTraits, cell: (prompt: number, row: number, position: number) => number) {
  const { vocabulary, vocabulary_ids: ids } = traits;
  const kept = traits.top_tokens.shape[3] ?? 0;
  const candidate = (index: number): Candidate => {
    const known = traits.top_tokens.data[index] ?? -1;
    return {
      id: ids.data[known] ?? -1,
      token: vocabulary[known] ?? "",
      probability: traits.top_probs.data[index] ?? Number.NaN,
    };
  };
  return {
    kept,
    top: (prompt: number, row: number, position: number) => candidate(cell(prompt, row, position) * kept),
    candidates: (prompt: number, row: number, position: number) => {
      const first = cell(prompt, row, position) * kept;
      return Array.from({ length: kept }, (_, place) => candidate(first + place));
    },
  };
}

function largest(values: Float32Array): number {
  return values.reduce((most, value) => (value > most && Number.isFinite(value) ? value : most), 0);
}

function nullIf(value: number, none: number): number | null {
  return Object.is(value, none) ? null : value;
}

/** Arrays of another shape than the labels would be drawn as another prompt's numbers. */
function checkShapes(traits: LensTraits): void {
  const prompts = traits.compare_tokens.length > 0 ? 2 : 1;
  const expected = [prompts, traits.row_labels.length, traits.tokens.length];
  for (const name of ["top_tokens", "top_probs", "entropy", "kl", "rank", "target_probs"] as const) {
    const { shape } = traits[name];
    if (expected.some((length, axis) => shape[axis] !== length)) {
      throw new RangeError(
        `${name} has shape [${shape}]; expected [${expected}] (prompts, rows, positions) as the labels have.`,
      );
    }
  }
}
