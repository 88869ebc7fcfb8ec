/** All interventions of the workbench: each can be switched off without being dropped. */
import { useSignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { ONE_AT_A_TIME, useAnswers } from "../../core/answers";
import { Button, ErrorLine } from "../../core/components";
import { useFrame } from "../../core/frame";
import { interventionLabel, isSwitchOff } from "../../core/intervention";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { copyText } from "../../core/save";
import { useTrait } from "../../core/trait";
import { isInPrompt, switched, useEntries, without } from "./entries";
import type { WorkbenchTraits } from "./traits";

export function ChangesList({ port }: { port: Port<WorkbenchTraits> }) {
  const entries = useEntries(port);
  const tokens = useTrait(port, "tokens").value;
  // In a document each picture says for itself whether it has an answer.
  const { live, any } = useAnswers();
  const undo = useRequest<object, WorkbenchTraits>(port, "undo");
  // Something that can be taken back, as far as this page knows.
  const [changed, setChanged] = useState(false);
  useEffect(() => {
    if (entries.length > 0) setChanged(true);
  }, [entries]);
  return (
    <fieldset class="mw-bench-changes-list" aria-label="Interventions">
      {entries.length === 0 ? (
        <span class="mw-muted">The model runs as it is.</span>
      ) : (
        <span class="mw-muted">Runs with</span>
      )}
      {entries.map(({ intervention, on }, index) => {
        const name = `${interventionLabel(intervention)}${isSwitchOff(intervention) ? " off" : ""}`;
        const isThere = isInPrompt(intervention, tokens.length);
        return (
          <span key={index} class="mw-bench-change" data-on={on && isThere}>
            <label class="mw-bench-check">
              <input
                type="checkbox"
                checked={on}
                disabled={!any}
                onChange={() => port.set("entries", switched(entries, index))}
              />
              {name}
              {!isThere && " (not in this prompt)"}
            </label>
            <button
              type="button"
              class="mw-bench-change-drop"
              aria-label={`Drop ${name}`}
              disabled={!any}
              onClick={() => port.set("entries", without(entries, index))}
            >
              ×
            </button>
          </span>
        );
      })}
      {!live && any && entries.some(({ intervention, on }) => on && isSwitchOff(intervention)) && (
        <span class="mw-muted">{ONE_AT_A_TIME}</span>
      )}
      {live && (
        <>
          {changed && (
            <Button label="Undo the last change" onClick={() => undo.send({})}>
              Undo
            </Button>
          )}
          {entries.length > 0 && <CopyChanges port={port} />}
        </>
      )}
      <ErrorLine request={undo} />
    </fieldset>
  );
}

function CopyChanges({ port }: { port: Port<WorkbenchTraits> }) {
  const frame = useFrame();
  const note = useSignal("");
  const copy = async () => {
    note.value = "";
    try {
      const { code } = await port.request<{ code: string }>("changes_code", {}, { signal: frame.signal });
      note.value = (await copyText(code)) ? "Copied" : "The browser does not let the page copy.";
    } catch (error) {
      note.value = error instanceof Error ? error.message : String(error);
    }
  };
  return (
    <>
      <Button label="Copy as Python: the interventions" onClick={copy}>
        Copy as Python
      </Button>
      <span class="mw-muted" role="status">
        {note.value}
      </span>
    </>
  );
}
