/** One of many by number or by name: a list where there are names, a number to type and step where there are thousands. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { uniqueId } from "./accessibility";
import { titleOf, useAnswers } from "./answers";
import { shorten } from "./tokens";

export interface SelectorProps {
  name: string;
  count: number;
  /** null: numbers from 0. */
  labels: readonly string[] | null;
  value: number;
  onChange: (value: number) => void;
  /** Whether somebody says what there is at a place; by itself, whether there is a kernel. */
  isAnswered?: (value: number) => boolean;
}

/** More options than this are no list that anybody reads. */
const LONGEST_LIST = 400;
const LONGEST_LABEL = 60;

export function Selector({ name, count, labels, value, onChange, isAnswered }: SelectorProps) {
  const { live } = useAnswers();
  const usable = (at: number) => live || at === value || (isAnswered?.(at) ?? false);
  // Of the many, those beside it tell for all.
  const some = [0, 1, value - 1, value + 1, count - 1].some(
    (at) => at !== value && at >= 0 && at < count && usable(at),
  );
  const id = useMemo(uniqueId, []);
  // What was chosen shows at once, and gives way to what the kernel says.
  const [draft, setDraft] = useState<number | null>(null);
  useEffect(() => setDraft(null), [value, count]);
  const choose = (chosen: number) => {
    if (!Number.isInteger(chosen) || chosen < 0 || chosen >= count || !usable(chosen)) return;
    setDraft(chosen);
    if (chosen !== value) onChange(chosen);
  };
  const shown = draft ?? value;
  const listed = labels && count <= LONGEST_LIST;
  return (
    <span class="mw-selector">
      <label class="mw-muted" for={id}>
        {name}
      </label>
      {listed ? (
        <select
          id={id}
          class="mw-input"
          disabled={!some}
          title={titleOf(some)}
          value={String(shown)}
          onChange={(event) => choose(Number(event.currentTarget.value))}
        >
          {labels.map((label, index) => (
            <option key={index} value={String(index)} disabled={!usable(index)}>
              {shorten(label, LONGEST_LABEL)}
            </option>
          ))}
        </select>
      ) : (
        <>
          <input
            id={id}
            class="mw-input"
            type="number"
            min={0}
            max={count - 1}
            step={1}
            disabled={!some}
            title={titleOf(some)}
            value={String(shown)}
            onInput={(event) => choose(event.currentTarget.valueAsNumber)}
          />
          <span class="mw-muted">{labels?.[shown] ?? `of ${count}`}</span>
        </>
      )}
    </span>
  );
}
