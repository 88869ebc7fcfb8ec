/** What is patched, read and shown: the choices above the picture. */
import { Choice, Header } from "../../core/components";
import { useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import type { UsedRequest } from "../../core/request";
import { Select } from "../../core/select";
import { useTrait } from "../../core/trait";
import type { Traits } from "./traits";
import { siteName, whatIsDone } from "./words";

export interface ControlsProps {
  port: Port<Traits>;
  /** Asks another question of the pair. */
  question: UsedRequest<object>;
}

export function Controls({ port, question }: ControlsProps) {
  const site = useTrait(port, "site").value;
  const direction = useTrait(port, "direction").value;
  const axes = useTrait(port, "axes").value[site] ?? [];
  const approximate = useTrait(port, "approximate").value;
  return (
    <>
      <Header
        name={useTrait(port, "heading").value}
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
        badge={approximate ? "approximate" : null}
      />
      <div class="mw-muted">{whatIsDone(site, direction, axes, useTrait(port, "names").value)}</div>
      <Question port={port} question={question} />
    </>
  );
}

/** The choices that make another table; none where nobody would compute it. */
function Question({ port, question }: { port: Port<Traits>; question: UsedRequest<object> }) {
  const { live } = useFrame().capabilities.value;
  const sites = useTrait(port, "sites").value;
  const metrics = useTrait(port, "metrics").value;
  const names = useTrait(port, "names").value;
  const directions = useTrait(port, "directions").value;
  const site = useTrait(port, "site").value;
  const metric = useTrait(port, "metric").value;
  const direction = useTrait(port, "direction").value;
  if (sites.length < 2) return null;
  return (
    <div class="mw-question">
      <Select
        label="Patch"
        options={sites.map((value) => ({ value, text: siteName(value, names) }))}
        value={site}
        onChange={(chosen) => port.set("site", chosen)}
      />
      {metrics.length > 1 && (
        <Select
          label="Read"
          options={metrics.map((value) => ({ value, text: names[value] ?? value }))}
          value={metric}
          onChange={(chosen) => question.send({ metric: chosen })}
          disabled={!live}
        />
      )}
      {directions.length > 1 && live && (
        <Choice
          label="Direction"
          options={directions.map((value) => ({ value, text: value }))}
          value={direction}
          onChange={(value) => value !== direction && question.send({ direction: value })}
        />
      )}
    </div>
  );
}
