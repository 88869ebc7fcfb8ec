/** The next-token distribution, without and with the changes, and the list of changes. */
import { Button, ErrorLine } from "../../core/components";
import { formatChange, formatNumber } from "../../core/format";
import { useFrame } from "../../core/frame";
import { type Intervention, interventionLabel, isSwitchOff } from "../../core/intervention";
import type { UsedRequest } from "../../core/request";
import { shorten, tokenLabel } from "../../core/tokens";
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
      {answer ? <Distribution {...{ answer, compares, stale }} /> : <div class="mw-bars-space" />}
    </section>
  );
}

function Distribution({
  answer,
  compares,
  stale,
}: {
  answer: PredictAnswer;
  compares: boolean;
  stale: boolean;
}) {
  const { tokens, before, after } = answer;
  const largest = Math.max(...before.data, ...after.data);
  const width = (probability: number) => `${(100 * probability) / largest}%`;
  return (
    <table class="mw-bars" data-stale={stale} aria-busy={stale}>
      <thead>
        <tr class={compares ? "mw-muted" : "mw-hidden"}>
          <th scope="col">token</th>
          <td />
          <th scope="col">before</th>
          <th scope="col">after</th>
          <th scope="col">change</th>
        </tr>
      </thead>
      <tbody>
        {tokens.map((token, index) => {
          const [was = 0, is = 0] = [before.data[index], after.data[index]];
          return (
            <tr key={index}>
              <th scope="row" class="mw-code" title={token}>
                {shorten(tokenLabel(token), 14)}
              </th>
              <td class="mw-bar" aria-hidden="true">
                <div>
                  <span class="mw-bar-after" style={{ width: width(is) }} />
                  {compares && <span class="mw-bar-before" style={{ width: width(was) }} />}
                </div>
              </td>
              {compares && <td class="mw-muted">{probabilityText(was)}</td>}
              <td>{probabilityText(is)}</td>
              {compares && <td>{formatChange(is - was)}</td>}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function probabilityText(probability: number): string {
  return probability > 0 && probability < 0.0005 ? "<0.001" : probability.toFixed(3);
}
