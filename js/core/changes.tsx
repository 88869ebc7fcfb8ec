/** The interventions under which the model ran, each to be undone; and whether the numbers are of them yet. */

import { ONE_AT_A_TIME, titleOf, useAnswers } from "./answers";
import { Button } from "./components";
import { type Intervention, interventionLabel, isSwitchOff } from "./intervention";

export interface ChangesProps {
  interventions: readonly Intervention[];
  onChange: (interventions: Intervention[]) => void;
  /** Whether somebody says what there is under these; by itself, whether the picture's numbers are known for them. */
  isAnswered?: (interventions: Intervention[]) => boolean;
}

export function Changes({ interventions, onChange, isAnswered }: ChangesProps) {
  const answers = useAnswers();
  if (interventions.length === 0) return null;
  const isKnown = (list: Intervention[]) =>
    isAnswered ? isAnswered(list) : answers.with({ interventions: list });
  return (
    <div class="mw-changes">
      <span class="mw-muted">{interventions.every(isSwitchOff) ? "switched off" : "changed"}</span>
      {interventions.map((change, index) => {
        const others = interventions.filter((_, other) => other !== index);
        const usable = isKnown(others);
        return (
          <Button
            key={index}
            label={`Undo ${interventionLabel(change)}`}
            title={titleOf(usable, "Undo")}
            disabled={!usable}
            onClick={() => onChange(others)}
          >
            {interventionLabel(change)} ×
          </Button>
        );
      })}
      {!answers.live && interventions.some(isSwitchOff) && isKnown([...interventions]) && (
        <span class="mw-muted">{ONE_AT_A_TIME}</span>
      )}
    </div>
  );
}

/** What the kernel's numbers are of; what is wanted may be ahead of it. */
export interface Answered {
  interventions: Intervention[];
  position?: number;
}

export function isStale(
  answered: Answered,
  interventions: readonly Intervention[],
  position = answered.position,
): boolean {
  const same = JSON.stringify(answered.interventions) === JSON.stringify(interventions);
  return !same || answered.position !== position;
}
