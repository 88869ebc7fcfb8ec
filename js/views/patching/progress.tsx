/** How far the sweep is, and its one button: Stop while it runs, Run when cells are missing. */
import { Button, ProgressBar } from "../../core/components";
import { useFrame } from "../../core/frame";
import { countCells, type Sweep } from "./sweep";

export function SweepLine({ sweep, finished }: { sweep: Sweep; finished: boolean }) {
  const { live } = useFrame().capabilities.value;
  const running = sweep.request.pending.value;
  const { total, missing } = countCells(sweep.table.value);
  return (
    <div class="mw-sweep">
      {(running || missing > 0) && (
        <ProgressBar label="Cells computed" done={total - missing} total={total} />
      )}
      <span class={missing > 0 && !running ? undefined : "mw-muted"}>
        {finished ? finishedText(total, missing) : sweepText(total, missing, running, live)}
      </span>
      {running && <Button onClick={() => sweep.stop()}>Stop</Button>}
      {!running && missing > 0 && live && !finished && (
        <Button onClick={() => sweep.run()} title="Run the cells that are missing">
          Run
        </Button>
      )}
    </div>
  );
}

function finishedText(total: number, missing: number): string {
  return missing > 0 ? `${missing} of ${total} cells have not been run.` : `${total} cells`;
}

function sweepText(total: number, missing: number, running: boolean, live: boolean): string {
  if (running) return `${total - missing} of ${total} cells`;
  if (missing === 0) return `all ${total} cells computed`;
  if (live) return `Stopped at ${total - missing} of ${total} cells`;
  return `${missing} of ${total} cells are not computed; that takes a running kernel.`;
}
