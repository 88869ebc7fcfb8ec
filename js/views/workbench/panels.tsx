/** The pictures of the workbench: which of them are shown, and each in its place. */
import { useState } from "preact/hooks";
import { Child } from "../../core/child";
import { ErrorLine } from "../../core/components";
import { useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import type { UsedRequest } from "../../core/request";
import { useTrait } from "../../core/trait";
import type { WorkbenchTraits } from "./traits";

const NAMES: Readonly<Record<string, string>> = {
  prediction: "Next token",
  attribution: "Logit attribution",
  attention: "Attention",
  logit_lens: "Logit lens",
  patching: "Patching",
  head: "Head",
};

export interface PanelsProps {
  port: Port<WorkbenchTraits>;
  request: UsedRequest<object>;
  /** A panel was asked for that compares two prompts, and there is one. */
  onPairNeeded: () => void;
}

export function Panels({ port, request, onPairNeeded }: PanelsProps) {
  const shown = useTrait(port, "panels").value;
  const offered = useTrait(port, "offered").value;
  const views = useTrait(port, "views").value;
  const stale = useTrait(port, "stale").value;
  const isPair = useTrait(port, "corrupted").value !== "";
  const { live } = useFrame().capabilities.value;
  const [opening, setOpening] = useState<string | null>(null);
  const toggle = async (name: string) => {
    if (offered[name]?.needs_pair && !isPair) return onPairNeeded();
    const isShown = shown.includes(name);
    setOpening(isShown ? null : name);
    await request.send({ panels: isShown ? shown.filter((other) => other !== name) : [...shown, name] });
    setOpening(null);
  };
  const there = Object.keys(offered).filter((name) => views[name] || name === opening);
  return (
    <>
      <fieldset class="mw-choice mw-bench-panel-choice" aria-label="Pictures">
        {Object.entries(offered).map(([name, { needs_pair }]) => (
          <button
            key={name}
            type="button"
            class="mw-button"
            aria-pressed={shown.includes(name)}
            disabled={!live}
            title={needs_pair && !isPair ? "Compares two prompts: adds a corrupted one first" : undefined}
            onClick={() => void toggle(name)}
          >
            {NAMES[name] ?? name}
          </button>
        ))}
      </fieldset>
      <ErrorLine request={request} />
      <div class="mw-bench-panels">
        {there.map((name) => (
          // biome-ignore lint/a11y/useSemanticElements: a fieldset is for controls
          <div
            key={name}
            role="group"
            class="mw-bench-panel"
            data-panel={name}
            aria-label={`${NAMES[name] ?? name}: picture`}
            aria-busy={stale.includes(name) || !views[name]}
          >
            {stale.includes(name) && <p class="mw-bench-panel-note">Of the last prompt</p>}
            {views[name] ? (
              <Child reference={views[name]} />
            ) : (
              <p class="mw-bench-panel-note">
                <span class="mw-spinner" aria-hidden="true" /> {NAMES[name] ?? name}: running the model…
              </p>
            )}
          </div>
        ))}
      </div>
    </>
  );
}
