/** Pins: what cells put in, kept as interventions, and what they do together. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { useFrame } from "../../core/frame";
import { type Intervention, interventionLabel } from "../../core/intervention";
import type { Port } from "../../core/port";
import { type UsedRequest, useRequest } from "../../core/request";
import { useTrait } from "../../core/trait";
import { placesOf } from "./axes";
import type { Table } from "./sweep";
import type { Axis, Traits } from "./traits";
import { axisLabels, type Tokens } from "./words";

/** The metric with the interventions: all of them, and each by itself. */
export interface Joint {
  readonly together: number;
  readonly alone: readonly number[];
}

export interface Pins {
  readonly list: readonly Intervention[];
  /** null while it is not known. */
  readonly joint: Joint | null;
  /** Cells can be pinned: somebody can run them. */
  readonly isLive: boolean;
  readonly requests: readonly UsedRequest<unknown>[];
  /** Whether the cell's patch is among the interventions. */
  has(index: number): boolean;
  /** Pins a cell, or takes its pin away. */
  toggle(index: number): void;
  drop(at: number): void;
  clear(): void;
}

const NONE: readonly Intervention[] = [];

export function usePins(port: Port<Traits>, table: Table): Pins {
  const { live } = useFrame().capabilities.value;
  const finished = useTrait(port, "finished").value;
  const site = useTrait(port, "site").value;
  const length = useTrait(port, "clean_tokens").value.length;
  const list = useTrait(port, "interventions").value ?? NONE;
  const pin = useRequest<object, Traits>(port, "pin");
  const { joint, request } = useJoint(port, list);
  const find = (index: number) => {
    const place = placeOf(table.axes, index);
    return current(port).findIndex((one) => isPatchOf(one, site, place, length));
  };
  // Looked up for every cell that is drawn.
  const pinned = useMemo(() => {
    const isPinned = (index: number) => {
      const place = placeOf(table.axes, index);
      return list.some((one) => isPatchOf(one, site, place, length));
    };
    return new Set(list.length > 0 ? Array.from(table.values.keys()).filter(isPinned) : []);
  }, [list, table.axes, site, length]);
  const drop = (at: number) =>
    port.set(
      "interventions",
      current(port).filter((_, index) => index !== at),
    );
  // One after the other: a later request of the same name would take the place of an earlier one.
  const last = useRef(Promise.resolve());
  return {
    ...{ list, joint, isLive: live && !finished, requests: [pin, request] },
    has: (index) => pinned.has(index),
    toggle: (index) => {
      last.current = last.current.then(async () => {
        const at = find(index);
        if (at >= 0) drop(at);
        else await pin.send({ site, ...placeOf(table.axes, index) });
      });
    },
    drop,
    clear: () => port.set("interventions", []),
  };
}

function current(port: Port<Traits>): readonly Intervention[] {
  return port.get("interventions") ?? NONE;
}

/** Asks anew whenever the interventions or the question change. */
function useJoint(port: Port<Traits>, list: readonly Intervention[]) {
  const { live } = useFrame().capabilities.value;
  const request = useRequest<Joint, Traits>(port, "joint");
  const joint = useSignal<Joint | null>(null);
  const metric = useTrait(port, "metric_name").value;
  const clean = useTrait(port, "clean_metric").value;
  const corrupted = useTrait(port, "corrupted_metric").value;
  useEffect(() => {
    joint.value = null;
    if (list.length === 0 || !live) {
      request.abort();
      return;
    }
    void request.send({}).then((answer) => {
      // The kernel answers for the list that it has; of another one it will be asked again.
      if (answer && answer.alone.length === list.length) joint.value = answer;
    });
  }, [list, live, metric, clean, corrupted, request]);
  return { joint: joint.value, request };
}

/** What an intervention is called in the list: the place that a reader clicked, with its token. */
export function pinName(change: Intervention, tokens: Tokens): string {
  if (change.op !== "patch") return interventionLabel(change);
  const { site, layer, head, position } = change;
  const where = `${site} L${layer}${head === null ? "" : `H${head}`}`;
  if (typeof position !== "number") return where;
  return `${where} at ${position} ${axisLabels({ name: "position", values: [position] }, tokens)[0]}`;
}

type Place = Record<string, number>;

function placeOf(axes: readonly Axis[], index: number): Place {
  const places = placesOf(axes, index);
  return Object.fromEntries(axes.map(({ name, values }, at) => [name, Number(values[places[at] ?? 0])]));
}

function isPatchOf(change: Intervention, site: string, place: Place, length: number): boolean {
  if (change.op !== "patch" || change.site !== site || change.layer !== place.layer) return false;
  const isWhole = (part: unknown) => part === null || (Array.isArray(part) && part.length >= length);
  return (["head", "position"] as const).every((name) =>
    place[name] === undefined ? isWhole(change[name]) : change[name] === place[name],
  );
}
