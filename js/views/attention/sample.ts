/** A made-up model of SmolLM2's size for tests and screenshots: heads of the kinds that real models have. */
import type { NdArray } from "../../core/arrays";
import type { Intervention } from "../../core/intervention";
import { FakePort } from "../../test/fake_port";
import type { Head, PatternsAnswer, PredictAnswer, ThumbnailsProgress, Traits } from "./traits";

export const IOI_TOKENS = [
  ...["When", " Mary", " and", " John", " went", " to", " the", " store", ",", " John", " gave", " a"],
  ...[" drink", " to"],
];

export interface SampleSize {
  layers: number;
  heads: number;
  tokens: string[];
  block: number;
}

const DEFAULT_SIZE: SampleSize = { layers: 30, heads: 9, tokens: IOI_TOKENS, block: 1 };
const KINDS = ["first", "previous", "first", "diffuse", "induction", "self", "first", "duplicate"] as const;
type Kind = (typeof KINDS)[number];

/** The attention of one head, [destination, source]. */
export function samplePattern(layer: number, head: number, tokens: readonly string[]): Float32Array {
  const size = tokens.length;
  const kind = kindOf(layer, head);
  const sharpness = 1.5 + 3 * noise(layer, head, 7);
  const pattern = new Float32Array(size * size);
  for (let destination = 0; destination < size; destination++) {
    const targets = new Set(targetOf(kind, tokens, destination));
    const scores = Array.from({ length: destination + 1 }, (_, source) => {
      const wanted = targets.has(source) ? sharpness : 0;
      return Math.exp(wanted + 1.2 * noise(layer * 31 + head, destination, source));
    });
    const total = scores.reduce((sum, score) => sum + score, 0);
    scores.forEach((score, source) => {
      pattern[destination * size + source] = score / total;
    });
  }
  return pattern;
}

function kindOf(layer: number, head: number): Kind {
  const index = Math.floor(noise(layer, head, 3) * KINDS.length);
  return KINDS[index] ?? "first";
}

/** The sources that a head of this kind looks for. */
function targetOf(kind: Kind, tokens: readonly string[], destination: number): number[] {
  const earlier = tokens.flatMap((token, at) =>
    at < destination && token === tokens[destination] ? [at] : [],
  );
  switch (kind) {
    case "previous":
      return [Math.max(0, destination - 1)];
    case "self":
      return [destination];
    case "duplicate":
      return earlier.length > 0 ? earlier : [0];
    case "induction":
      return earlier.length > 0 ? earlier.map((at) => at + 1) : [0];
    case "diffuse":
      return [];
    default:
      return [0];
  }
}

/** A fixed number in 0..1 for three whole numbers. */
function noise(a: number, b: number, c: number): number {
  const wave = Math.sin(a * 127.1 + b * 311.7 + c * 74.7) * 43758.5453;
  return wave - Math.floor(wave);
}

export function sampleTraits(size: Partial<SampleSize> = {}): Traits {
  const { layers, heads, tokens, block } = { ...DEFAULT_SIZE, ...size };
  return {
    title: "",
    model_name: "SmolLM2-135M-Instruct",
    prompt: tokens.join(""),
    compare: "",
    attention_type: "standard",
    tokens,
    alternatives: tokens.map(() => []),
    n_layers: layers,
    n_heads: heads,
    complete: true,
    thumbnails: sampleThumbnails(layers, heads, tokens, block),
    thumbnail_block: block,
    limits: {
      dtype: "float32",
      shape: [layers, heads, 2],
      data: Float32Array.from({ length: 2 * layers * heads }, (_, at) => at % 2),
    },
    diverging: false,
    score_names: ["previous_token", "duplicate_token", "induction"],
    score_values: sampleScores(layers, heads, tokens),
    score: "",
    order: "layer",
    layer: Math.min(4, layers - 1),
    head: Math.min(7, heads - 1),
    heads: [],
    position: null,
    direction: "from",
    prediction: true,
    interventions: [],
  };
}

function sampleThumbnails(
  layers: number,
  heads: number,
  tokens: readonly string[],
  block: number,
): NdArray<"uint8"> {
  const side = Math.ceil(tokens.length / block);
  const data = new Uint8Array(layers * heads * side * side);
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < heads; head++) {
      const start = (layer * heads + head) * side * side;
      samplePattern(layer, head, tokens).forEach((weight, index) => {
        const row = Math.floor(Math.floor(index / tokens.length) / block);
        const col = Math.floor((index % tokens.length) / block);
        const at = start + row * side + col;
        data[at] = Math.max(data[at] ?? 0, Math.round(1 + 254 * weight));
      });
    }
  }
  return { dtype: "uint8", shape: [layers, heads, side, side], data };
}

function sampleScores(layers: number, heads: number, tokens: readonly string[]): NdArray<"float32"> {
  const kinds: Kind[] = ["previous", "duplicate", "induction"];
  const repeats = new Set(tokens).size < tokens.length;
  const data = kinds.flatMap((kind) =>
    Array.from({ length: layers * heads }, (_, index) => {
      const [layer, head] = [Math.floor(index / heads), index % heads];
      if (kind !== "previous" && !repeats) return Number.NaN;
      return kindOf(layer, head) === kind
        ? 0.6 + 0.38 * noise(layer, head, 11)
        : 0.2 * noise(layer, head, 12);
    }),
  );
  return { dtype: "float32", shape: [kinds.length, layers, heads], data: Float32Array.from(data) };
}

/** The distribution moves further with every head that is off. */
export function samplePrediction(interventions: readonly Intervention[]): PredictAnswer {
  const tokens = [" Mary", " the", " her", " a", " John", " them", " him", " Jane", " his", " someone"];
  const before = [0.916, 0.021, 0.0135, 0.0083, 0.0061, 0.0042, 0.0031, 0.0024, 0.0013, 0.0004];
  const shift = 1 - 0.62 ** interventions.length;
  const gains = [-0.62, 0.03, 0.02, 0.01, 0.36, 0.05, 0.04, 0.002, 0.001, 0.0005];
  const after = before.map((probability, index) => Math.max(0, probability + shift * (gains[index] ?? 0)));
  const row = (values: number[]): NdArray<"float32"> => ({
    dtype: "float32",
    shape: [values.length],
    data: Float32Array.from(values),
  });
  return { tokens, before: row(before), after: row(after), kl: 1.31 * shift };
}

export function samplePort(size: Partial<SampleSize> = {}): FakePort<Traits> {
  const traits = sampleTraits(size);
  const port: FakePort<Traits> = new FakePort(traits, {
    set_inputs: (args) => {
      const given = args as Partial<Pick<Traits, "prompt" | "compare" | "attention_type">>;
      const text = given.prompt;
      if (typeof text === "string") {
        const tokens = text.match(/ ?[^ ]+/g) ?? [];
        const { prompt, thumbnails, alternatives, score_values } = sampleTraits({ ...size, tokens });
        port.update({ ...given, prompt, tokens, thumbnails, alternatives, score_values });
      } else port.update(given);
      return {};
    },
    patterns: (args): PatternsAnswer => {
      const { heads } = args as { heads: Head[] };
      const tokens = port.get("tokens");
      return {
        patterns: heads.map((head) => triangle(samplePattern(...head, tokens))),
        compared: [],
      };
    },
    predict: (args) => samplePrediction((args as { interventions: Intervention[] }).interventions),
  });
  return port;
}

/** The sample less itself on other tokens, as many. */
export function sampleDifferencePort(others: string[], size: Partial<SampleSize> = {}): FakePort<Traits> {
  const { layers, heads, tokens } = { ...DEFAULT_SIZE, ...size };
  const port = samplePort(size);
  const side = tokens.length;
  const differences = Array.from({ length: layers * heads }, (_, index) => {
    const head = [Math.floor(index / heads), index % heads] as const;
    const subtracted = samplePattern(...head, others);
    return samplePattern(...head, tokens).map((weight, at) => weight - (subtracted[at] ?? 0));
  });
  const reach = differences.reduce((most, one) => Math.max(most, ...one.map(Math.abs)), 0);
  const limits = Float32Array.from({ length: 2 * layers * heads }, (_, at) => (at % 2 ? reach : -reach));
  const bytes = differences.flatMap((one) =>
    Array.from(one, (value) => 128 + Math.round((127 * value) / reach)),
  );
  port.update({
    compare: others.join(""),
    alternatives: tokens.map((token, at) => (others[at] === token ? [] : [others[at] ?? ""])),
    thumbnails: { dtype: "uint8", shape: [layers, heads, side, side], data: Uint8Array.from(bytes) },
    limits: { dtype: "float32", shape: [layers, heads, 2], data: limits },
    diverging: true,
  });
  port.answer("patterns", (args): PatternsAnswer => {
    const { heads: asked } = args as { heads: Head[] };
    const of = (texts: readonly string[]) => asked.map((head) => triangle(samplePattern(...head, texts)));
    return { patterns: of(tokens), compared: of(others) };
  });
  return port;
}

/** The sample's scores before the softmax, with a window of `window` tokens. */
export function sampleScoresPort(window: number, size: Partial<SampleSize> = {}): FakePort<Traits> {
  const { layers, heads, tokens } = { ...DEFAULT_SIZE, ...size };
  const port = samplePort(size);
  const side = tokens.length;
  const scoresOf = (layer: number, head: number) =>
    samplePattern(layer, head, tokens).map((weight, at) => {
      const distance = Math.floor(at / side) - (at % side);
      return distance < 0 || distance >= window ? Number.NaN : 2 * Math.log(weight) + 3;
    });
  const all = Array.from({ length: layers * heads }, (_, at) => scoresOf(Math.floor(at / heads), at % heads));
  const ends = all
    .map((one) => one.filter(Number.isFinite))
    .map((one) => [Math.min(...one), Math.max(...one)] as const);
  const bytes = all.flatMap((one, head) => {
    const [low, high] = ends[head] ?? [0, 1];
    return Array.from(one, (value) =>
      Number.isNaN(value) ? 0 : Math.round(1 + (254 * (value - low)) / (high - low)),
    );
  });
  port.update({
    attention_type: "pre-softmax",
    thumbnails: { dtype: "uint8", shape: [layers, heads, side, side], data: Uint8Array.from(bytes) },
    limits: { dtype: "float32", shape: [layers, heads, 2], data: Float32Array.from(ends.flat()) },
  });
  port.answer("patterns", (args): PatternsAnswer => {
    const { heads: asked } = args as { heads: Head[] };
    return { patterns: asked.map((head) => triangle(scoresOf(...head))), compared: [] };
  });
  return port;
}

/** The sample before its heads are computed; `compute` tells of layers up to one, and at the last one that it is done. */
export function sampleLongPort(size: Partial<SampleSize> = {}): {
  port: FakePort<Traits>;
  compute: (layers: number) => void;
} {
  const port = samplePort(size);
  const { thumbnails, limits, score_values, n_layers, n_heads } = port.traits;
  const each = thumbnails.data.length / n_layers;
  const empty = {
    complete: false,
    thumbnails: { ...thumbnails, data: new Uint8Array(thumbnails.data.length) },
    score_values: { ...score_values, data: score_values.data.slice().fill(Number.NaN) },
  };
  port.update(empty);
  let told: ((value: ThumbnailsProgress) => void) | undefined;
  let done: (answer: object) => void = () => undefined;
  let first = 0;
  port.answer("thumbnails", (_, { onProgress }) => {
    told = onProgress;
    first = 0;
    return new Promise((resolve) => {
      done = resolve;
    });
  });
  const compute = (layers: number) => {
    if (layers === n_layers) {
      port.update({ complete: true, thumbnails, limits, score_values });
      done({});
      return;
    }
    const known = score_values.data.map((value, at) =>
      Math.floor(at / n_heads) % n_layers < layers ? value : Number.NaN,
    );
    told?.({
      ...{ layers, first, limits },
      thumbnails: {
        dtype: "uint8",
        shape: [layers - first, ...thumbnails.shape.slice(1)],
        data: thumbnails.data.slice(first * each, layers * each),
      },
      score_values: { ...score_values, data: known },
    });
    first = layers;
  };
  return { port, compute };
}

/** A whole matrix as the wire carries it: its lower triangle, row by row. */
export function triangle(matrix: Float32Array): NdArray<"float32"> {
  const size = Math.sqrt(matrix.length);
  const data = matrix.filter((_, at) => at % size <= Math.floor(at / size));
  return { dtype: "float32", shape: [data.length], data };
}
