/** One of a list, by name. */
import { useMemo } from "preact/hooks";
import { uniqueId } from "./accessibility";

export interface SelectProps<Value extends string> {
  label: string;
  options: readonly { value: Value; text: string }[];
  value: Value;
  onChange: (value: Value) => void;
  disabled?: boolean;
}

export function Select<Value extends string>(props: SelectProps<Value>) {
  const { label, options, value, onChange, disabled } = props;
  const id = useMemo(uniqueId, []);
  return (
    <span class="mw-selector">
      <label class="mw-muted" for={id}>
        {label}
      </label>
      <select
        id={id}
        class="mw-input"
        disabled={disabled}
        value={value}
        onChange={(event) => {
          const chosen = options[event.currentTarget.selectedIndex];
          if (chosen) onChange(chosen.value);
        }}
      >
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.text}
          </option>
        ))}
      </select>
    </span>
  );
}
