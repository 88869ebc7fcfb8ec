/** One of a list, by name. */
import { useMemo } from "preact/hooks";
import { uniqueId } from "./accessibility";
import { titleOf } from "./answers";

export interface SelectProps<Value extends string> {
  label: string;
  options: readonly { value: Value; text: string }[];
  value: Value;
  onChange: (value: Value) => void;
  disabled?: boolean;
  /** Whether somebody says what there is for a value; by itself all are. */
  isAnswered?: (value: Value) => boolean;
}

export function Select<Value extends string>(props: SelectProps<Value>) {
  const { label, options, value, onChange, disabled, isAnswered } = props;
  const usable = (one: Value) => one === value || (isAnswered?.(one) ?? true);
  const none =
    disabled || (options.length > 1 && !options.some((one) => one.value !== value && usable(one.value)));
  const id = useMemo(uniqueId, []);
  return (
    <span class="mw-selector">
      <label class="mw-muted" for={id}>
        {label}
      </label>
      <select
        id={id}
        class="mw-input"
        disabled={none}
        title={titleOf(!none)}
        value={value}
        onChange={(event) => {
          const chosen = options[event.currentTarget.selectedIndex];
          if (chosen) onChange(chosen.value);
        }}
      >
        {options.map((option) => (
          <option key={option.value} value={option.value} disabled={!usable(option.value)}>
            {option.text}
          </option>
        ))}
      </select>
    </span>
  );
}
