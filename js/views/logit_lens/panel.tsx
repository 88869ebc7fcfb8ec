/** One cell in numbers: its most probable tokens, its entropy, and what it makes of the output's token. */
import type { Cell } from "../../core/canvas";
import { Button } from "../../core/components";
import { formatNumber } from "../../core/format";
import { quoteToken, tokenLabel } from "../../core/tokens";
import type { Candidate, Lens } from "./lens";
import { rowName } from "./words";

/** What the kernel keeps of a prompt that is not long. */
const USUALLY_KEPT = 10;

export interface CellPanelProps {
  lens: Lens;
  cell: Cell;
  locked: boolean;
  onUnlock: () => void;
}

export function CellPanel({ lens, cell, locked, onUnlock }: CellPanelProps) {
  const { row, col } = cell;
  const output = lens.topToken(lens.outputRow, col);
  return (
    <section class="mw-lens-panel" aria-label="The cell's most probable tokens">
      <div class="mw-lens-title">
        <strong>{rowName(lens, row)}</strong>
        {locked && <Button onClick={onUnlock}>Unlock</Button>}
      </div>
      <div class="mw-lens-place">
        <span class="mw-muted">position {col}</span>{" "}
        <span class="mw-code">{tokenLabel(lens.tokens[col] ?? "")}</span>
      </div>
      <ol class="mw-candidates">
        {lens.candidates(row, col).map((candidate, place) => (
          <CandidateRow key={place} candidate={candidate} isOutput={candidate.token === output} />
        ))}
      </ol>
      {lens.kept < USUALLY_KEPT && (
        <div class="mw-muted mw-fewer">
          Of a long prompt, only the top {lens.kept === 1 ? "token is" : `${lens.kept} tokens are`} kept.
        </div>
      )}
      <dl class="mw-facts">
        <dt class="mw-muted">entropy</dt>
        <dd>
          {formatNumber(lens.entropy(row, col))}{" "}
          <span class="mw-muted">of {formatNumber(lens.maxEntropy)} nats</span>
        </dd>
        <dt title={`${quoteToken(output)}, the output's top token`}>
          <span class="mw-muted">rank of</span> <span class="mw-code">{tokenLabel(output)}</span>
        </dt>
        <dd>
          {lens.rank(row, col)} <span class="mw-muted">(0 = top)</span>
        </dd>
      </dl>
    </section>
  );
}

function CandidateRow({ candidate, isOutput }: { candidate: Candidate; isOutput: boolean }) {
  const { token, probability } = candidate;
  return (
    <li class={isOutput ? "mw-is-output" : undefined}>
      <span class="mw-candidate-token mw-code" title={quoteToken(token)}>
        {tokenLabel(token)}
      </span>
      <span class="mw-candidate-bar" aria-hidden="true">
        <span style={{ width: `${100 * probability}%` }} />
      </span>
      <span class="mw-candidate-number">{formatNumber(probability)}</span>
    </li>
  );
}
