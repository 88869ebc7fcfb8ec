/** What the model writes on, without the changes and with them, token by token. */
import { useEffect } from "preact/hooks";
import { titleOf, useAnswers } from "../../core/answers";
import { Button, ErrorLine } from "../../core/components";
import type { UsedRequest } from "../../core/request";
import { quoteToken, shorten, tokenLabel } from "../../core/tokens";
import { firstDifference } from "./order";
import type { Side, WriteAnswer } from "./traits";

/** Behind how many of the tokens of which text a reader looks. */
export interface Step {
  readonly side: Side;
  readonly count: number;
}

export interface WrittenTextProps {
  answer: WriteAnswer | null;
  /** The answer is of another prompt or other changes. */
  stale: boolean;
  modified: boolean;
  step: Step | null;
  onStep: (step: Step | null) => void;
  onWrite: () => void;
  request: UsedRequest<WriteAnswer>;
}

export function WrittenText({ answer, stale, modified, step, onStep, onWrite, request }: WrittenTextProps) {
  const answers = useAnswers();
  const answered = answers.to("write", {});
  const pending = request.pending.value;
  // What was written before is no answer to a new question; it is asked again, as the reader wanted to see it.
  useEffect(() => {
    if (answer && stale && answered && !pending) onWrite();
  }, [stale]);
  return (
    <section class="mw-written" aria-label="What the model writes on">
      <div class="mw-written-head">
        <strong>Writes on</strong>
        {answers.any && (
          <Button onClick={pending ? request.abort : onWrite} disabled={!answered} title={titleOf(answered)}>
            {pending ? "Stop" : answer ? "Again" : "Write"}
          </Button>
        )}
        <span class="mw-muted">the most probable token at each step</span>
      </div>
      <ErrorLine request={request} />
      {answer && (
        <div data-stale={stale} aria-busy={stale} class="mw-written-both">
          {modified && <Line {...{ answer, step, onStep }} side="before" name="before" />}
          <Line {...{ answer, step, onStep }} side="after" name={modified ? "after" : ""} />
        </div>
      )}
    </section>
  );
}

interface LineProps {
  answer: WriteAnswer;
  side: Side;
  name: string;
  step: Step | null;
  onStep: (step: Step | null) => void;
}

function Line({ answer, side, name, step, onStep }: LineProps) {
  const { tokens, token_ids } = answer[side];
  const differs = firstDifference(answer.before.token_ids, answer.after.token_ids);
  const isChosen = (count: number) => step?.side === side && step.count === count;
  return (
    <div class="mw-written-line">
      {name && <span class="mw-muted mw-written-name">{name}</span>}
      <ol aria-label={`Written ${side === "before" ? "without" : "with"} the changes`}>
        {tokens.map((token, index) => (
          <li key={index}>
            <button
              type="button"
              class="mw-code mw-written-token"
              data-differs={index >= differs}
              aria-pressed={isChosen(index)}
              aria-label={`${quoteToken(token)}, step ${index + 1}: show its distribution`}
              title={quoteToken(token)}
              onClick={() => onStep(isChosen(index) ? null : { side, count: index })}
            >
              {shorten(tokenLabel(token), 20)}
            </button>
          </li>
        ))}
        {token_ids.length === 0 && <li class="mw-muted">nothing: the text is as long as the model reads</li>}
      </ol>
    </div>
  );
}
