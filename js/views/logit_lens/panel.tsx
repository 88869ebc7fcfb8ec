/** One cell in numbers: its most probable tokens, and how it stands to the output or to the other prompt. */
import { Button } from "../../core/components";
import { formatNumber } from "../../core/format";
import { useFrame } from "../../core/frame";
import { quoteToken, tokenLabel } from "../../core/tokens";
import { type Following, USUALLY_KEPT } from "./column";
import type { Candidate, Lens } from "./lens";
import type { Place } from "./place";
import { positionTokens, rowName } from "./words";

/** Of each of two prompts. */
const COMPARED = 5;

export interface CellPanelProps {
  lens: Lens;
  place: Place;
  following: Following;
}

export function CellPanel({ lens, place, following }: CellPanelProps) {
  const { row, col } = place.shown;
  const { live } = useFrame().capabilities.value;
  const waits = lens.kept < USUALLY_KEPT && following.request.pending.value;
  const fewer = lens.kept < USUALLY_KEPT && !following.column && !waits;
  return (
    <section class="mw-lens-panel" aria-label="The cell's most probable tokens">
      <div class="mw-lens-title">
        <strong>{rowName(lens, row)}</strong>
        {place.chosen && <Button onClick={place.leave}>Unlock</Button>}
      </div>
      <div class="mw-lens-place">
        <span class="mw-muted">position {col}</span>{" "}
        <span class="mw-code">{positionTokens(lens, col, tokenLabel)}</span>
      </div>
      {lens.prompts.map((_, prompt) => (
        <Candidates key={prompt} {...{ lens, place, following, prompt }} />
      ))}
      {fewer && (
        <div class="mw-muted mw-fewer">
          Of a long prompt, only the top {lens.kept === 1 ? "token is" : `${lens.kept} tokens are`} kept
          {live ? "; choose the cell for more." : "."}
        </div>
      )}
      <Facts lens={lens} place={place} />
    </section>
  );
}

function Candidates({ lens, place, following, prompt }: CellPanelProps & { prompt: number }) {
  const { row, col } = place.shown;
  const output = lens.top(prompt, lens.outputRow, col).id;
  const all = following.column?.candidates(prompt, row) ?? lens.candidates(prompt, row, col);
  return (
    <>
      {lens.compares && (
        <div class="mw-muted mw-which">{prompt === 0 ? "first prompt" : "second prompt"}</div>
      )}
      <ol class="mw-candidates">
        {all.slice(0, lens.compares ? COMPARED : undefined).map((candidate) => (
          <CandidateRow
            key={candidate.id}
            candidate={candidate}
            isOutput={candidate.id === output}
            canFollow={following.toggled(candidate.id) !== null}
            followed={place.chosen !== null && following.ids.includes(candidate.id)}
            onFollow={() => {
              if (place.chosen === null) place.choose(place.shown);
              following.toggle(candidate.id);
            }}
          />
        ))}
      </ol>
    </>
  );
}

interface CandidateRowProps {
  candidate: Candidate;
  isOutput: boolean;
  followed: boolean;
  canFollow: boolean;
  onFollow: () => void;
}

function CandidateRow({ candidate, isOutput, followed, canFollow, onFollow }: CandidateRowProps) {
  const { token, probability } = candidate;
  const text = (
    <span class="mw-candidate-token mw-code" title={quoteToken(token)}>
      {tokenLabel(token)}
    </span>
  );
  return (
    <li class={isOutput ? "mw-is-output" : undefined}>
      {canFollow ? (
        <button
          type="button"
          class="mw-candidate-button"
          aria-pressed={followed}
          aria-label={`Follow ${quoteToken(token)} through the layers`}
          onClick={onFollow}
        >
          {text}
        </button>
      ) : (
        text
      )}
      <span class="mw-candidate-bar" aria-hidden="true">
        <span style={{ width: `${100 * (Number.isFinite(probability) ? probability : 0)}%` }} />
      </span>
      <span class="mw-candidate-number">{formatNumber(probability)}</span>
    </li>
  );
}

function Facts({ lens, place }: { lens: Lens; place: Place }) {
  const { row, col } = place.shown;
  const both = (read: (prompt: number, row: number, position: number) => number) =>
    lens.prompts.map((_, prompt) => formatNumber(read(prompt, row, col))).join(" / ");
  const target = lens.target(col);
  return (
    <dl class="mw-facts">
      {lens.compares && (
        <Fact name="KL between the prompts" value={formatNumber(lens.divergence(row, col))} unit="nats" />
      )}
      <Fact name="entropy" value={both(lens.entropy)} unit={`of ${formatNumber(lens.maxEntropy)} nats`} />
      <Fact name="KL to the output" value={both(lens.kl)} unit="nats" />
      <Fact name="rank of" token={target} value={both(lens.rank)} unit="(0 = top)" />
      <Fact name="probability of" token={target} value={both(lens.targetProbability)} />
    </dl>
  );
}

function Fact(props: { name: string; token?: string; value: string; unit?: string }) {
  const { name, token, value, unit } = props;
  return (
    <>
      <dt title={token === undefined ? undefined : quoteToken(token)}>
        <span class="mw-muted">{name}</span>
        {token !== undefined && <span class="mw-code"> {tokenLabel(token)}</span>}
      </dt>
      <dd>
        {value} {unit && <span class="mw-muted">{unit}</span>}
      </dd>
    </>
  );
}
