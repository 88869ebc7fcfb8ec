/** What the colours and marks of the picture stand for. */
import type { ComponentChildren } from "preact";
import { Choice, HatchMark, Legend } from "../../core/components";
import { useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import { type Details, SIGNIFICANT } from "./details";
import type { Scale } from "./scale";
import { countCells, type Table } from "./sweep";
import type { Traits } from "./traits";

const REACHES = [
  { value: "baselines", text: "the other baseline" },
  { value: "values", text: "the largest change" },
] as const;

export interface MapLegendProps {
  port: Port<Traits>;
  table: Table;
  scale: Scale;
  details: Details;
  metric: string;
  approximate: boolean;
}

export function MapLegend({ port, table, scale, details, metric, approximate }: MapLegendProps) {
  const map = useFrame().theme.value.diverging;
  const labels = new Map(scale.ticks.map(({ place, label }) => [place, label]));
  return (
    <>
      <Legend
        label={`${approximate ? "approximate " : ""}${metric}${scale.unit === "normalized" ? ", normalised" : ""}`}
        map={map}
        domain={[0, 1]}
        ticks={[...labels.keys()]}
        format={(place) => labels.get(place) ?? ""}
      >
        {scale.normalizable && (
          <span class="mw-reach">
            <span class="mw-muted">colours reach</span>
            <Choice
              label="How far the colours reach"
              options={REACHES}
              value={scale.reach}
              onChange={(reach) => port.set("reach", reach)}
            />
          </span>
        )}
      </Legend>
      <Marks {...{ table, scale, details, approximate }} />
    </>
  );
}

function Marks(props: { table: Table; scale: Scale; details: Details; approximate: boolean }) {
  const { table, scale, details, approximate } = props;
  const count = (counts: (value: number, done: number | undefined) => boolean) =>
    table.values.reduce((total, value, cell) => total + Number(counts(value, table.done[cell])), 0);
  const beyond = count((value) => scale.isBeyond(value));
  const { total, missing } = countCells(table);
  const noNumber = count((value, done) => Boolean(done) && Number.isNaN(value));
  const marks = [
    beyond > 0 && (
      <Mark sign="◂ ▸">
        {beyond} {beyond === 1 ? "cell" : "cells"} beyond the ends, in the end's colour
      </Mark>
    ),
    missing > 0 && <HatchMark>not computed</HatchMark>,
    total < table.values.length && <span class="mw-muted">plain: the model has no such cell</span>,
    noNumber > 0 && (
      <Mark sign={<span class="mw-no-number">×</span>}>
        NaN: in {noNumber} {noNumber === 1 ? "cell" : "cells"} the model gave no number
      </Mark>
    ),
    details.hasExact && approximate && <Mark sign="•">also run exactly</Mark>,
    details.hasTest && <Mark sign="•">an effect that the pairs show: corrected p &lt; {SIGNIFICANT}</Mark>,
  ].filter(Boolean);
  return marks.length === 0 ? null : <div class="mw-legend">{marks}</div>;
}

function Mark({ sign, children }: { sign: ComponentChildren; children: ComponentChildren }) {
  return (
    <span class="mw-legend-mark">
      <span aria-hidden="true">{sign}</span>
      <span class="mw-muted">{children}</span>
    </span>
  );
}
