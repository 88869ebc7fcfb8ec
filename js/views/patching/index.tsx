/** Patching: each cell is one run with one thing changed, and its colour what the metric became. */
import { useMemo } from "preact/hooks";
import { ErrorLine, StatusLine } from "../../core/components";
import { preactView, useTables } from "../../core/frame";
import type { Port } from "../../core/port";
import { type UsedRequest, useRequest } from "../../core/request";
import { useTrait } from "../../core/trait";
import { cellTable } from "./cell_table";
import { Controls } from "./controls";
import { useDetails } from "./details";
import { MapLegend } from "./legend";
import { PairForm, PairStrip } from "./pair";
import { SweepLine } from "./progress";
import { makeScale, type Scale, signed } from "./scale";
import css from "./style.css?inline";
import { type Sweep, useSweep } from "./sweep";
import { TableView, useTokens } from "./table_view";
import type { Traits } from "./traits";

export const patching = preactView<Traits>(Patching, css);

function Patching({ port }: { port: Port<Traits> }) {
  const sweep = useSweep(port);
  const question = useQuestionRequest(port, sweep);
  const table = sweep.table.value;
  const metric = useTrait(port, "metric_name").value;
  const finished = useTrait(port, "finished").value;
  const approximate = useTrait(port, "approximate").value;
  const caption = useTrait(port, "caption").value;
  const scale = useScale(port, table.values);
  const details = useDetails(port, scale);
  const tokens = useTokens(port);
  useTables({
    [`${metric}, ${port.get("site")}`]: () => cellTable(table, metric, scale, details, tokens),
  });
  return (
    <>
      <Controls port={port} question={question} />
      <PairStrip port={port} />
      {!finished && <PairForm port={port} request={question} />}
      <div class="mw-metric">
        <Baselines port={port} metric={metric} />
        <SweepLine sweep={sweep} finished={finished} />
      </div>
      <ErrorLine request={sweep.request} />
      {caption && (
        <p class="mw-note" role="note">
          {caption}
        </p>
      )}
      <FlatNote port={port} scale={scale} />
      <TableView {...{ port, table, scale, details }} />
      <MapLegend {...{ port, table, scale, details, metric, approximate }} />
      <StatusLine hint="Point at a cell, or walk with the arrow keys." />
    </>
  );
}

function useScale(port: Port<Traits>, values: Float32Array): Scale {
  const clean = useTrait(port, "clean_metric").value;
  const corrupted = useTrait(port, "corrupted_metric").value;
  const direction = useTrait(port, "direction").value;
  const wanted = useTrait(port, "scale").value;
  const reach = useTrait(port, "reach").value;
  return useMemo(
    () => makeScale({ clean, corrupted, direction }, values, wanted, reach),
    [clean, corrupted, direction, values, wanted, reach],
  );
}

function Baselines({ port, metric }: { port: Port<Traits>; metric: string }) {
  const clean = useTrait(port, "clean_metric").value;
  const corrupted = useTrait(port, "corrupted_metric").value;
  return (
    <span>
      <span class="mw-muted">metric</span> {metric}:{" "}
      <span class="mw-baselines">
        {corrupted === null
          ? `${signed(clean)} as it is`
          : `clean ${signed(clean)}, corrupted ${signed(corrupted)}`}
      </span>
    </span>
  );
}

function FlatNote({ port, scale }: { port: Port<Traits>; scale: Scale }) {
  const corrupted = useTrait(port, "corrupted_metric").value;
  if (scale.normalizable || corrupted === null) return null;
  return (
    <p class="mw-note" role="note">
      Both prompts give the same metric, so normalised values do not exist; raw values are shown.
    </p>
  );
}

/** set_inputs, which the sweep makes way for: its cells would be of the old question. */
function useQuestionRequest(port: Port<Traits>, sweep: Sweep): UsedRequest<object> {
  const request = useRequest<object, Traits>(port, "set_inputs");
  return useMemo(
    () => ({
      ...request,
      send: async (args: object) => {
        const interrupted = sweep.request.pending.peek();
        sweep.stop();
        const answer = await request.send(args);
        if (answer !== null || interrupted) sweep.run();
        return answer;
      },
    }),
    [request, sweep],
  );
}
