/** The interventions under which the model ran, each to be undone; and whether the numbers are of them yet. */
import { Button } from "./components";
import { useFrame } from "./frame";
import { type Intervention, interventionLabel } from "./intervention";

export interface ChangesProps {
  interventions: readonly Intervention[];
  onChange: (interventions: Intervention[]) => void;
}

export function Changes({ interventions, onChange }: ChangesProps) {
  const { live } = useFrame().capabilities.value;
  if (interventions.length === 0) return null;
  return (
    <div class="mw-changes">
      <span class="mw-muted">changed</span>
      {interventions.map((change, index) => (
        <Button
          key={index}
          label={`Undo ${interventionLabel(change)}`}
          title="Undo"
          disabled={!live}
          onClick={() => onChange(interventions.filter((_, other) => other !== index))}
        >
          {interventionLabel(change)} ×
        </Button>
      ))}
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
