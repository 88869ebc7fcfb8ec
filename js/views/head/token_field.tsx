/** A token of the vocabulary that the reader asks about. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { uniqueId } from "../../core/accessibility";
import { Button } from "../../core/components";

export interface TokenFieldProps {
  /** null: none. */
  token: string | null;
  disabled: boolean;
  onToken: (token: string | null) => void;
}

export function TokenField({ token, disabled, onToken }: TokenFieldProps) {
  const id = useMemo(uniqueId, []);
  const [draft, setDraft] = useState(token ?? "");
  useEffect(() => setDraft(token ?? ""), [token]);
  const look = () => onToken(draft === "" ? null : draft);
  return (
    <span class="mw-selector mw-head-token">
      <label class="mw-muted" for={id} title="The text of one token, with the space that words begin with">
        Another token
      </label>
      <input
        id={id}
        name="token"
        class="mw-input mw-code"
        value={draft}
        placeholder="such as ' Paris'"
        disabled={disabled}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={(event) => {
          // In a JupyterLab notebook Enter in a field submits no form.
          if (event.key !== "Enter" || event.isComposing) return;
          event.preventDefault();
          look();
        }}
      />
      <Button disabled={disabled} onClick={look}>
        Look
      </Button>
      {token !== null && (
        <Button label="Look at no other token" title="Look at no other token" onClick={() => onToken(null)}>
          ×
        </Button>
      )}
    </span>
  );
}
