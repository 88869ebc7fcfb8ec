/** The next-token distribution, without and with the changes, and the list of changes. */
import { titleOf, useAnswers } from "../../core/answers";
import { Changes } from "../../core/changes";
import { Button, ErrorLine } from "../../core/components";
import { Distribution, DistributionSpace } from "../../core/distribution";
import { formatNumber } from "../../core/format";
import type { Intervention } from "../../core/intervention";
import type { UsedRequest } from "../../core/request";
import type { PredictAnswer } from "./traits";

export interface PredictionProps {
  answer: PredictAnswer | null;
  /** The answer is about changes, not about the model as it is. */
  compares: boolean;
  /** The answer is the one before the prompt or the changes that are shown now. */
  stale: boolean;
  /** Whose it is, where that needs saying. */
  note: string;
  request: UsedRequest<PredictAnswer>;
  interventions: readonly Intervention[];
  onInterventions: (interventions: Intervention[]) => void;
  onRetry: () => void;
  /** Whether somebody says what the model predicts under these. */
  isAnswered: (interventions: readonly Intervention[]) => boolean;
}

export function Prediction(props: PredictionProps) {
  const { answer, compares, stale, note, request, interventions, onInterventions, onRetry, isAnswered } =
    props;
  const modified = interventions.length > 0;
  const { live, any } = useAnswers();
  return (
    <section class="mw-prediction" aria-label="Next token">
      <div class="mw-row">
        <strong>Next token</strong>
        {note && <span class="mw-muted">{note}</span>}
        {compares && answer && !stale && <span class="mw-muted">KL {formatNumber(answer.kl)} nats</span>}
        <span class="mw-space" />
        {modified && any && (
          <Button
            onClick={() => onInterventions([])}
            disabled={!isAnswered([])}
            title={titleOf(isAnswered([]))}
          >
            Reset
          </Button>
        )}
      </div>
      <Changes interventions={interventions} onChange={onInterventions} isAnswered={isAnswered} />
      {!modified && any && <div class="mw-row mw-muted">Switch a head off to see what changes.</div>}
      <ErrorLine request={request} />
      {request.error.value && live && (
        <div>
          <Button onClick={onRetry}>Try again</Button>
        </div>
      )}
      {answer ? <Distribution {...{ answer, compares, stale }} /> : <DistributionSpace />}
    </section>
  );
}
