/** What the picture says of its rows and cells. */
import type { Cell } from "../../core/canvas";
import { formatNumber } from "../../core/format";
import { quoteToken, tokenLabel } from "../../core/tokens";
import type { Lens } from "./lens";
import type { Stream } from "./traits";

export const STREAM_NAMES: Readonly<Record<Stream, string>> = {
  resid_post: "stream after each layer",
  resid_pre: "stream before each layer",
  resid_mid: "stream between attention and MLP",
  attn_out: "what attention writes",
  mlp_out: "what the MLP writes",
};

/** A component's output is no prediction; what it stands for is said below the picture. */
export function isComponent(stream: Stream): boolean {
  return stream === "attn_out" || stream === "mlp_out";
}

/** Row labels of the table; the last one also says that this is the model's answer. */
export function rowLabels({ rowLabels, outputRow }: Lens): string[] {
  return rowLabels.map((label, row) =>
    row === outputRow && label !== "output" ? `${label} = output` : label,
  );
}

const ROW_NAMES: Readonly<Record<Stream, (label: string) => string>> = {
  resid_post: (label) => (label === "embed" ? "Embedding" : `After layer ${label}`),
  resid_pre: (label) => `Before layer ${label}`,
  resid_mid: (label) => `In layer ${label}, before its MLP`,
  attn_out: (label) => `Attention of layer ${label}`,
  mlp_out: (label) => `MLP of layer ${label}`,
};

export function rowName({ rowLabels, outputRow, stream }: Lens, row: number): string {
  const label = rowLabels[row] ?? "";
  if (row === outputRow) return label === "output" ? "Output" : `Output (after layer ${label})`;
  return ROW_NAMES[stream](label);
}

/** The token at a position, of both prompts where they differ there. */
export function positionTokens(lens: Lens, position: number, write: (token: string) => string): string {
  const texts = lens.prompts.map((tokens) => write(tokens[position] ?? ""));
  return texts[0] === texts[1] ? (texts[0] ?? "") : texts.join("/");
}

export function columnLabels(lens: Lens): string[] {
  return lens.tokens.map((_, position) => positionTokens(lens, position, tokenLabel));
}

/** A cell's text: its top token, of both prompts where they differ. */
export function cellLabel(lens: Lens, row: number, position: number): string {
  const labels = lens.prompts.map((_, prompt) => tokenLabel(lens.top(prompt, row, position).token));
  return labels[0] === labels[1] ? (labels[0] ?? "") : labels.join("/");
}

export function describeCell(lens: Lens, cell: Cell): string {
  const { row, col } = cell;
  const place = `${rowName(lens, row)}, position ${col} ${positionTokens(lens, col, quoteToken)}`;
  const parts = lens.compares ? describeDifference(lens, row, col) : describeOne(lens, row, col);
  return `${place} → ${parts.join(", ")}`;
}

function describeOne(lens: Lens, row: number, position: number): string[] {
  const parts = [
    describeTop(lens, 0, row, position),
    `entropy ${formatNumber(lens.entropy(0, row, position))} nats`,
  ];
  if (Number.isNaN(lens.entropy(0, row, position))) return ["no finite logits"];
  if (row === lens.outputRow && !lens.hasTarget) return parts;
  const target = quoteToken(lens.target(position));
  const rank = formatNumber(lens.rank(0, row, position));
  return [...parts, `${lens.hasTarget ? target : `output's ${target}`} has rank ${rank}`];
}

function describeDifference(lens: Lens, row: number, position: number): string[] {
  const [first, second] = [0, 1].map((prompt) => describeTop(lens, prompt, row, position));
  return [`first ${first}`, `second ${second}`, `KL ${formatNumber(lens.divergence(row, position))} nats`];
}

function describeTop(lens: Lens, prompt: number, row: number, position: number): string {
  const { token, probability } = lens.top(prompt, row, position);
  return `${quoteToken(token)} ${formatNumber(probability)}`;
}
