/** What is chosen in all pictures, and what can be switched off there. */
import { useState } from "preact/hooks";
import { titleOf, useAnswers } from "../../core/answers";
import { Button } from "../../core/components";
import { headName, type Intervention, isSwitchOff, switchOff } from "../../core/intervention";
import type { Port } from "../../core/port";
import { Select } from "../../core/select";
import { shorten, tokenLabel } from "../../core/tokens";
import { useTrait } from "../../core/trait";
import { isOn, toggled, toggledAlone, useEntries, useFirstEntries } from "./entries";
import type { WorkbenchTraits } from "./traits";

const LONGEST_LABEL = 24;

export function Chosen({ port }: { port: Port<WorkbenchTraits> }) {
  const layer = useTrait(port, "layer").value;
  const head = useTrait(port, "head").value;
  const position = useTrait(port, "position").value;
  const tokens = useTrait(port, "tokens").value;
  const [only, setOnly] = useState(false);
  const at = only && position !== null ? position : null;
  return (
    <fieldset class="mw-bench-chosen" aria-label="Chosen place">
      <span class="mw-muted">Chosen</span>
      <Place name="layer" count={useTrait(port, "n_layers").value} value={layer} port={port} />
      <Place name="head" count={useTrait(port, "n_heads").value} value={head} port={port} />
      <Place
        name="position"
        count={tokens.length}
        value={position}
        port={port}
        label={(index) => `${index} ${shorten(tokenLabel(tokens[index] ?? ""), LONGEST_LABEL)}`}
      />
      {layer === null ? (
        <span class="mw-muted">
          Click a head, a layer or a token in a picture: it is chosen in all of them, and can be switched off
          here.
        </span>
      ) : (
        <span class="mw-bench-chosen-switches">
          {head !== null && (
            <Switch port={port} name={headName(layer, head)} change={off("z", layer, head, at)} />
          )}
          <Switch port={port} name={`attention ${layer}`} change={off("attn_out", layer, null, at)} />
          <Switch port={port} name={`MLP ${layer}`} change={off("mlp_out", layer, null, at)} />
          {position !== null && (
            <label class="mw-bench-check">
              <input
                type="checkbox"
                checked={only}
                onChange={(event) => setOnly(event.currentTarget.checked)}
              />
              only at {position} {shorten(tokenLabel(tokens[position] ?? ""), LONGEST_LABEL)}
            </label>
          )}
        </span>
      )}
    </fieldset>
  );
}

function off(site: string, layer: number, head: number | null, position: number | null): Intervention {
  if (head !== null) return { ...switchOff(layer, head), position };
  return { site, layer, head, position, op: "zero", value: null };
}

interface PlaceProps {
  name: "layer" | "head" | "position";
  count: number;
  value: number | null;
  port: Port<WorkbenchTraits>;
  label?: (index: number) => string;
}

function Place({ name, count, value, port, label = String }: PlaceProps) {
  const options = [
    { value: "", text: "none" },
    ...Array.from({ length: count }, (_, index) => ({ value: String(index), text: label(index) })),
  ];
  return (
    <Select
      label={name}
      options={options}
      value={value === null ? "" : String(value)}
      onChange={(chosen) => port.set(name, chosen === "" ? null : Number(chosen))}
    />
  );
}

function Switch({ port, name, change }: { port: Port<WorkbenchTraits>; name: string; change: Intervention }) {
  const entries = useEntries(port);
  const saved = useFirstEntries(port);
  const { live, any } = useAnswers();
  // Whole heads are what a document has.
  const usable = live || (any && (isSwitchOff(change) || isOn(entries, change)));
  return (
    <Button
      disabled={!usable}
      title={titleOf(usable)}
      onClick={() =>
        port.set("entries", live ? toggled(entries, change) : toggledAlone(entries, change, saved))
      }
    >
      Switch {name} {isOn(entries, change) ? "on" : "off"}
    </Button>
  );
}
