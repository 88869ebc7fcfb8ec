/** The next-token distribution, without and with the changes, and the list of changes. */
import { Button, ErrorLine } from "../../core/components";
import { Distribution, DistributionSpace } from "../../core/distribution";
import { formatNumber } from "../../core/format";
import { useFrame } from "../../core/frame";
import { type Intervention, interventionLabel, isSwitchOff } from "../../core/intervention";
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
}

export function Prediction(props: PredictionProps) {
  const { answer, compares, stale, note, request, interventions, onInterventions, onRetry } = props;
  const modified = interventions.length > 0;
  const { live } = useFrame().capabilities.value;
  return (
    <section class="mw-prediction" aria-label="Next token">
      <div class="mw-row">
        <strong>Next token</strong>
        {note && <span class="mw-muted">{note}</span>}
        {compares && answer && !stale && <span class="mw-muted">KL {formatNumber(answer.kl)} nats</span>}
        <span class="mw-space" />
        {modified && live && <Button onClick={() => onInterventions([])}>Reset</Button>}
      </div>
      <div class="mw-row">
        {modified ? (
          <>
            <span class="mw-muted">{interventions.every(isSwitchOff) ? "Switched off" : "Changed"}</span>
            {interventions.map((change, index) => (
              <Button
                key={index}
                label={`Undo ${interventionLabel(change)}`}
                title="Undo"
                disabled={!live}
                onClick={() => onInterventions(interventions.filter((_, other) => other !== index))}
              >
                {interventionLabel(change)} ×
              </Button>
            ))}
          </>
        ) : (
          live && <span class="mw-muted">Switch a head off to see what changes.</span>
        )}
      </div>
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
