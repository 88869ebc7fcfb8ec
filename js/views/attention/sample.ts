/** A made-up model of SmolLM2's size for tests and screenshots: heads of the kinds that real models have. */
import type { NdArray } from "../../core/arrays";
import type { Intervention } from "../../core/intervention";
import { FakePort } from "../../test/fake_port";
import type { PatternAnswer, PredictAnswer, Traits } from "./traits";

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
    tokens,
    n_layers: layers,
    n_heads: heads,
    thumbnails: sampleThumbnails(layers, heads, tokens, block),
    thumbnail_block: block,
    score_names: ["previous_token", "duplicate_token", "induction"],
    scores: sampleScores(layers, heads, tokens),
    layer: Math.min(4, layers - 1),
    head: Math.min(7, heads - 1),
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
        data[at] = Math.max(data[at] ?? 0, Math.round(255 * weight));
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
    set_prompt: (args) => {
      const tokens = (args as { prompt: string }).prompt.match(/ ?[^ ]+/g) ?? [];
      const { prompt, thumbnails, scores } = sampleTraits({ ...size, tokens });
      port.update({ prompt, tokens, thumbnails, scores });
      return {};
    },
    pattern: (args): PatternAnswer => {
      const { layer, head } = args as { layer: number; head: number };
      const tokens = port.get("tokens");
      const shape = [tokens.length, tokens.length];
      return { pattern: { dtype: "float32", shape, data: samplePattern(layer, head, tokens) } };
    },
    predict: (args) => samplePrediction((args as { interventions: Intervention[] }).interventions),
  });
  return port;
}
