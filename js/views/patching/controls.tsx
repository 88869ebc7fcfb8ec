/** What is patched, read and shown: the choices above the picture. */
import { Choice, Header } from "../../core/components";
import { useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import type { UsedRequest } from "../../core/request";
import { Selector } from "../../core/selector";
import { useTrait } from "../../core/trait";
import type { Scale } from "./scale";
import type { Traits } from "./traits";
import { metricName, pictureTitle, siteName, whatIsDone } from "./words";

const SCALES = [
  { value: "normalized", text: "normalised" },
  { value: "raw", text: "raw" },
] as const;

export interface ControlsProps {
  port: Port<Traits>;
  scale: Scale;
  /** Asks another question of the pair. */
  question: UsedRequest<object>;
}

export function Controls({ port, scale, question }: ControlsProps) {
  const site = useTrait(port, "site").value;
  const direction = useTrait(port, "direction").value;
  const axes = useTrait(port, "axes").value[site] ?? [];
  const approximate = useTrait(port, "approximate").value;
  return (
    <>
      <Header
        name={pictureTitle(site, direction, approximate)}
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
        badge={approximate ? "approximate" : null}
      >
        {scale.normalizable && (
          <Choice
            label="Scale"
            options={SCALES}
            value={scale.unit}
            onChange={(unit) => port.set("scale", unit)}
          />
        )}
      </Header>
      <div class="mw-muted">{whatIsDone(site, direction, axes)}</div>
      <Question port={port} question={question} />
    </>
  );
}

/** The choices that make another table; none where nobody would compute it. */
function Question({ port, question }: { port: Port<Traits>; question: UsedRequest<object> }) {
  const { live } = useFrame().capabilities.value;
  const sites = useTrait(port, "sites").value;
  const metrics = useTrait(port, "metrics").value;
  const directions = useTrait(port, "directions").value;
  const site = useTrait(port, "site").value;
  const metric = useTrait(port, "metric").value;
  const direction = useTrait(port, "direction").value;
  if (sites.length < 2) return null;
  return (
    <div class="mw-question">
      <Selector
        name="Patch"
        count={sites.length}
        labels={sites.map(siteName)}
        value={sites.indexOf(site)}
        onChange={(index) => port.set("site", sites[index] ?? site)}
      />
      {metrics.length > 1 && (
        <Selector
          name="Read"
          count={metrics.length}
          labels={metrics.map(metricName)}
          value={metrics.indexOf(metric)}
          onChange={(index) => question.send({ metric: metrics[index] })}
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
