/** A made-up head for tests and screenshots: one that looks for the token after earlier copies of its own. */
import type { NdArray } from "../../core/arrays";
import { FakePort } from "../../test/fake_port";
import { IOI_TOKENS, samplePattern, triangle } from "../attention/sample";
import { argumentsOf } from "./questions";
import type { AnswerOf, CompositionAnswer, LooksAnswer, PatternAnswer, Traits, WritesAnswer } from "./traits";

export interface SampleSize {
  layers: number;
  heads: number;
  tokens: string[];
}

const DEFAULT_SIZE: SampleSize = { layers: 30, heads: 9, tokens: IOI_TOKENS };
const UP = [" Mary", " Maria", "Mary", " Jane", " Ann"];
const DOWN = [" John", "John", " Johnny", " Jack", " him"];
/** Chance, in d_model 576. */
const BASELINE = 1 / 24;

export function sampleTraits(size: Partial<SampleSize> = {}): Traits {
  const { layers, heads, tokens } = { ...DEFAULT_SIZE, ...size };
  return {
    title: "",
    model_name: "smollm2-135m",
    prompt: tokens.join(""),
    tokens,
    n_layers: layers,
    n_heads: heads,
    n_ctx: 2048,
    answers: {},
    layer: Math.min(9, layers - 1),
    head: Math.min(1, heads - 1),
    position: null,
    token: null,
    stream: "prompt",
    distance: 0,
    composition: "K",
    interventions: [],
  };
}

/** Answers as the kernel does. */
export function samplePort(size: Partial<SampleSize> = {}): FakePort<Traits> {
  const whole = { ...DEFAULT_SIZE, ...size };
  const port: FakePort<Traits> = new FakePort(sampleTraits(size), {
    set_inputs: (args) => {
      const { prompt } = args as { prompt: string };
      port.update({ prompt, tokens: prompt.match(/ ?[^ ]+/g) ?? [] });
      return {};
    },
    pattern: (args) => samplePatternAnswer(args as Asked, port.get("tokens")),
    writes: (args) => sampleWrites(args as Asked, port.get("tokens")),
    looks: () => sampleLooks(),
    composition: (args) => sampleComposition(args as Asked, whole.heads),
    copying: (args) => ({ score: 0.8 * noise(7 * (args as Asked).layer) }),
  });
  return port;
}

/** The same, with its first answers in the state, as the kernel sends it. */
export function toldPort(size: Partial<SampleSize> = {}): FakePort<Traits> {
  const port = samplePort(size);
  const traits = port.traits;
  const args = argumentsOf(traits);
  const { heads, tokens } = { ...DEFAULT_SIZE, ...size };
  const asked = { layer: traits.layer, head: traits.head, token: null };
  const values: AnswerOf = {
    pattern: samplePatternAnswer(asked, tokens),
    writes: sampleWrites(asked, tokens),
    composition: sampleComposition(asked, heads),
    copying: { score: 0.62 },
    looks: sampleLooks(),
  };
  const answers = Object.entries(values).map(([name, value]) => [
    name,
    { args: args[name as keyof AnswerOf], value },
  ]);
  port.update({ answers: Object.fromEntries(answers) });
  return port;
}

interface Asked {
  layer: number;
  head: number;
  token: string | null;
}

function samplePatternAnswer({ layer, head }: Asked, tokens: readonly string[]): PatternAnswer {
  return {
    pattern: triangle(samplePattern(layer, head, tokens)),
    scores: {
      previous_token: 0.042,
      duplicate_token: 0.11,
      induction: 0.831,
      entropy: 1.27,
      first_token: 0.4,
    },
  };
}

export function sampleWrites({ layer, token }: Asked, tokens: readonly string[]): WritesAnswer {
  const places = Array.from({ length: Math.min(8, tokens.length) }, (_, at) => tokens.length - 1 - at);
  const sources = token === null ? places : [-1, ...places];
  const falling = (seed: number, sign: number) =>
    Array.from({ length: 5 }, (_, at) => sign * (2.4 * noise(seed) * 0.85 ** at + 0.2));
  const rows = sources.map((_, row) => ({
    up: falling(row + layer, 1),
    down: falling(row + layer + 50, -1),
  }));
  return {
    position: tokens.length - 1,
    sources: { dtype: "int32", shape: [sources.length], data: Int32Array.from(sources) },
    attention: floats(
      [sources.length],
      sources.map((place, at) => (place < 0 ? Number.NaN : 0.5 * 0.6 ** at)),
    ),
    tokens: sources.map((place) => (place < 0 ? (token ?? "") : (tokens[place] ?? ""))),
    d_vocab: 49152,
    up: rows.map(() => UP),
    up_values: floats(
      [sources.length, 5],
      rows.flatMap(({ up }) => up),
    ),
    down: rows.map(() => DOWN),
    down_values: floats(
      [sources.length, 5],
      rows.flatMap(({ down }) => down),
    ),
    own_values: floats(
      [sources.length],
      sources.map((_, at) => (at === 1 ? -2.2 : 2.6 - 0.5 * at)),
    ),
    own_ranks: {
      dtype: "int32",
      shape: [sources.length],
      data: Int32Array.from(sources, (_, at) => (at === 0 ? 0 : at === 1 ? 49151 : 300 * at)),
    },
    together: {
      up: UP,
      up_values: floats([5], falling(3, 1)),
      down: DOWN,
      down_values: floats([5], falling(4, -1)),
    },
  };
}

export function sampleLooks(): LooksAnswer {
  const scores = (sign: number) => Array.from({ length: 10 }, (_, at) => -2 + sign * (6 - at / 3));
  return {
    up: [...UP, " Beth", " Sue", " Kate", " Anna", " Rose"],
    up_values: floats([10], scores(1)),
    down: [...DOWN, " .", "\n", " the", " of", " in"],
    down_values: floats([10], scores(-1)),
    mean: -2,
    rotated: true,
  };
}

export function sampleComposition({ layer, head }: Asked, heads: number): CompositionAnswer {
  const scores = Array.from({ length: 3 * layer * heads }, (_, at) => {
    const strong = noise(at + 31 * head) > 0.97 ? 0.09 : 0;
    return BASELINE + 0.012 * (noise(at + layer) - 0.4) + strong;
  });
  return { scores: floats([3, layer, heads], scores), baseline: BASELINE };
}

function noise(index: number): number {
  const wave = Math.sin(index * 127.1 + 11) * 43758.5453;
  return wave - Math.floor(wave);
}

function floats(shape: number[], values: readonly number[]): NdArray<"float32"> {
  return { dtype: "float32", shape, data: Float32Array.from(values) };
}
