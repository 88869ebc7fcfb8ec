/** What the picture calls what it shows, and what it says of how the numbers are made. */
import { formatNumber, signed } from "../../core/format";
import { quoteToken } from "../../core/tokens";
import type { Kind, Stream, WritesAnswer } from "./traits";

export const STREAMS: readonly { value: Stream; text: string }[] = [
  { value: "prompt", text: "what the prompt has there" },
  { value: "embedding", text: "its embedding" },
  { value: "effective", text: "its embedding and MLP 0" },
];

/** What stands for a token, and what that leaves out. */
export const STREAM_NOTES: Readonly<Record<Stream, string>> = {
  embedding: "A token stands for itself: its embedding, without what earlier layers add to it.",
  effective:
    "A token stands for itself: its embedding and what MLP 0 writes of it, without attention of layer 0 and later layers.",
  prompt:
    "A token of the prompt is what the stream holds there in this run; one of the vocabulary is its embedding.",
};

export const KINDS: readonly { value: Kind; text: string }[] = [
  { value: "Q", text: "as query" },
  { value: "K", text: "as key" },
  { value: "V", text: "as value" },
];

export const KIND_ORDER: readonly Kind[] = ["Q", "K", "V"];

export const READS: Readonly<Record<Kind, string>> = { Q: "queries", K: "keys", V: "values" };

const SCORES: Readonly<Record<string, string>> = {
  previous_token: "to the token before",
  duplicate_token: "to the same token",
  induction: "induction",
  entropy: "entropy (nats)",
  first_token: "to the first token",
};

export function scoreText(name: string, value: number): string {
  return `${SCORES[name] ?? name} ${formatNumber(Number(value.toPrecision(2)))}`;
}

/** The columns of what is written: what rises, what falls, the token itself. */
export interface WrittenCell {
  readonly token: string;
  readonly value: number;
  readonly part: "up" | "down" | "own";
  readonly rank: number;
  /** No token rises more, or none falls more. */
  readonly extreme?: "most" | "least" | undefined;
}

export function describeWritten(answer: WritesAnswer, source: number | null, cell: WrittenCell): string {
  const from =
    source === null
      ? "As it attends"
      : `Attending to ${quoteToken(answer.tokens[source] ?? "")} alone${weightText(answer.attention.data[source])}`;
  const { part, value, token } = cell;
  if (part === "own") {
    if (Number.isNaN(value)) return `${from}: no token that it would copy`;
    const more = ownRank(cell.rank, answer.d_vocab);
    return `${from}: ${signed(value)} for the logit of that token itself, ${more}`;
  }
  return `${from}: ${signed(value)} for the logit of ${quoteToken(token)}`;
}

function ownRank(rank: number, count: number): string {
  if (rank === 0) return "which is what it raises most";
  return rank === count - 1 ? "which is what it lowers most" : `${rank} tokens rise more`;
}

function weightText(weight = Number.NaN): string {
  return Number.isNaN(weight)
    ? ""
    : ` (it attends to it with ${formatNumber(Number(weight.toPrecision(2)))})`;
}

export function copyingText(score: number): string {
  return formatNumber(Number(score.toPrecision(2)));
}
