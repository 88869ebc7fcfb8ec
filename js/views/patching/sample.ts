/** A made-up sweep of an IOI pair for tests and screenshots: the name moves from where it stands to the end. */
import type { NdArray } from "../../core/arrays";
import type { Intervention } from "../../core/intervention";
import type { RequestOptions } from "../../core/port";
import { FakePort } from "../../test/fake_port";
import type { Axis, Traits } from "./traits";

export const CLEAN_TOKENS = [
  ...["When", " Mary", " and", " John", " went", " to", " the", " store", ",", " John", " gave", " a"],
  ...[" drink", " to"],
];
/** Where the pair differs. */
export const CHANGED = 9;
export const CORRUPTED_TOKENS = CLEAN_TOKENS.map((token, position) =>
  position === CHANGED ? " Mary" : token,
);
const [CLEAN_METRIC, CORRUPTED_METRIC] = [6.12, -5.49];
const [LAYERS, HEADS] = [30, 9];

export function sampleTraits(changes: Partial<Traits> = {}): Traits {
  return {
    title: "",
    heading: "Activation patching",
    names: {
      resid_pre: "residual stream into the layer",
      z: "heads",
      LogitDiff: "logit difference",
      Prob: "probability of the answer",
      denoise: "Clean activations into the corrupted run",
    },
    model_name: "smollm2-135m",
    clean: CLEAN_TOKENS.join(""),
    corrupted: CORRUPTED_TOKENS.join(""),
    answer: " Mary",
    wrong: " John",
    clean_tokens: CLEAN_TOKENS,
    corrupted_tokens: CORRUPTED_TOKENS,
    metrics: ["LogitDiff", "Prob"],
    metric: "LogitDiff",
    metric_name: "logit difference ' Mary' − ' John'",
    directions: ["denoise", "noise"],
    direction: "denoise",
    sites: ["resid_pre", "z"],
    site: "resid_pre",
    axes: { resid_pre: layersBy("position", CLEAN_TOKENS.length), z: layersBy("head", HEADS) },
    results: { resid_pre: null, z: null },
    computed: {},
    absent: {},
    details: {},
    caption: "",
    approximate: false,
    finished: false,
    clean_metric: CLEAN_METRIC,
    corrupted_metric: CORRUPTED_METRIC,
    scale: "normalized",
    reach: "baselines",
    layer: null,
    head: null,
    position: null,
    interventions: [],
    ...changes,
  };
}

/** The axes of a table of all layers. */
export function layersBy(name: string, count: number): Axis[] {
  return [axis("layer", LAYERS), axis(name, count)];
}

export function axis(name: string, count: number): Axis {
  return { name, values: Array.from({ length: count }, (_, value) => value) };
}

/** What makes a port of one finished table. */
export function finishedTraits(site: string, axes: Axis[], data: Float32Array): Partial<Traits> {
  return {
    ...{ site, sites: [site], metrics: [], metric: "", directions: [], finished: true, reach: null },
    axes: { [site]: axes },
    results: { [site]: { dtype: "float32", shape: axes.map(({ values }) => values.length), data } },
  };
}

/** The metric after patching, [layer, column]. */
export function sampleResult(
  site: string,
  columns = site === "z" ? HEADS : CLEAN_TOKENS.length,
): NdArray<"float32"> {
  const normalised = site === "z" ? headEffect : streamEffect;
  const data = Float32Array.from({ length: LAYERS * columns }, (_, index) => {
    const share = normalised(Math.floor(index / columns), index % columns, columns);
    return CORRUPTED_METRIC + share * (CLEAN_METRIC - CORRUPTED_METRIC);
  });
  return { dtype: "float32", shape: [LAYERS, columns], data };
}

function streamEffect(layer: number, position: number, columns: number): number {
  const moved = 1 / (1 + Math.exp(-1.4 * (layer - 21)));
  if (position === CHANGED) return 1 - moved;
  if (position === columns - 1) return moved * 0.96;
  return position > CHANGED ? 0.05 * Math.sin(layer * 1.7 + position) : 0;
}

function headEffect(layer: number, head: number): number {
  const noise = Math.sin(layer * 127.1 + head * 311.7) * 43758.5453;
  const size = noise - Math.floor(noise);
  if (layer < 15) return 0.02 * (size - 0.5);
  return size > 0.93 ? 1.08 : size > 0.85 ? 0.45 : size < 0.06 ? -0.5 : 0.08 * (size - 0.5);
}

/** Answers a sweep as the kernel does: in portions, each cell once, and the results at the end. */
export function samplePort(
  changes: Partial<Traits> = {},
  until = Number.POSITIVE_INFINITY,
): FakePort<Traits> {
  const port: FakePort<Traits> = new FakePort(sampleTraits(changes), {
    sweep: async (args, options) => {
      const { site } = args as { site: string };
      const result = sampleResult(site);
      await tellCells(result, options, until);
      port.update({ results: { ...port.get("results"), [site]: result } });
      return {};
    },
  });
  return port;
}

/** Waits for ever after `until` cells. */
async function tellCells(result: NdArray<"float32">, options: RequestOptions, until: number): Promise<void> {
  const [, columns = 1] = result.shape;
  const total = result.data.length;
  for (let start = 0; start < Math.min(total, until); start += 60) {
    const cells = Array.from({ length: Math.min(60, total - start, until - start) }, (_, at) => start + at);
    options.onProgress?.({
      done: start + cells.length,
      total,
      cells: {
        dtype: "int32",
        shape: [cells.length, 2],
        data: Int32Array.from(cells.flatMap((cell) => [Math.floor(cell / columns), cell % columns])),
      },
      values: {
        dtype: "float32",
        shape: [cells.length],
        data: Float32Array.from(cells, (cell) => result.data[cell] ?? Number.NaN),
      },
    });
    await Promise.resolve();
  }
  if (until < total) await new Promise(() => undefined);
}

/** As the kernel pins: the patch of a head is at all positions. */
export function patch(
  site: string,
  layer: number,
  place: { head?: number; position?: number },
): Intervention {
  const { head = null, position = Array.from({ length: 14 }, (_, at) => at) } = place;
  return { site, layer, head, position, op: "patch", value: [0.5] };
}

/** A kernel that pins, and for which effects `alone` add up to three quarters of their sum. */
export function pinning(changes: Partial<Traits> = {}): FakePort<Traits> {
  const port = samplePort({
    results: { resid_pre: sampleResult("resid_pre"), z: sampleResult("z") },
    ...changes,
  });
  port.answer("pin", (args) => {
    const { site, layer, ...place } = args as { site: string; layer: number };
    port.update({ interventions: [...(port.get("interventions") ?? []), patch(site, layer, place)] });
    return {};
  });
  port.answer("joint", () => {
    const alone = (port.get("interventions") ?? []).map((_, at) => CORRUPTED_METRIC + 2 * (at + 1));
    const sum = alone.reduce((total, value) => total + value - CORRUPTED_METRIC, 0);
    return { alone, together: CORRUPTED_METRIC + (alone.length > 1 ? 0.75 : 1) * sum };
  });
  return port;
}
