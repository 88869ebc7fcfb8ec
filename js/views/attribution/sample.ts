/** A made-up attribution of SmolLM2's shape for tests and screenshots: a few late heads and MLPs carry most of it. */
import type { NdArray } from "../../core/arrays";
import { FakePort } from "../../test/fake_port";
import type { ComponentAnswer, Traits } from "./traits";

export const IOI_TOKENS =
  "When Mary and John went to the store, John gave a drink to".match(/ ?[^ ,]+|,/g) ?? [];

export interface SampleSize {
  layers: number;
  heads: number;
  tokens: string[];
  answer: string;
  wrong: string;
}

const DEFAULT_SIZE: SampleSize = {
  layers: 30,
  heads: 9,
  tokens: IOI_TOKENS,
  answer: " Mary",
  wrong: " John",
};

export function sampleTraits(size: Partial<SampleSize> = {}): Traits {
  const { layers, heads, tokens, answer, wrong } = { ...DEFAULT_SIZE, ...size };
  const heads_ = Float32Array.from({ length: layers * heads }, (_, at) => {
    const depth = Math.floor(at / heads) / layers;
    return 6 * noise(at) ** 5 * depth ** 2 * (noise(at + 7) > 0.3 ? 1 : -1);
  });
  const values = Float32Array.from({ length: layers * 2 }, (_, at) => {
    const layer = Math.floor(at / 2);
    if (at % 2) return 1.4 * (noise(500 + layer) - 0.5) * (layer / layers);
    return heads_.slice(layer * heads, (layer + 1) * heads).reduce((sum, value) => sum + value, 0);
  });
  const others = { embed: 0.12 };
  const total = values.reduce((sum, value) => sum + value, others.embed);
  return {
    title: "",
    model_name: "smollm2-135m",
    prompt: tokens.join(""),
    ...{ answer, wrong, tokens, others, total },
    position: null,
    interventions: [],
    answer_text: answer,
    wrong_text: wrong,
    answered: { position: tokens.length - 1, interventions: [] },
    n_layers: layers,
    n_heads: heads,
    layer_values: array([layers, 2], values),
    head_values: array([layers, heads], heads_),
    head_bias: array([layers], new Float32Array(layers)),
    logit: total,
    capped: false,
    layer: null,
    head: null,
    part: "attn",
    neuron: null,
  };
}

const UP = [" Mary", " Maria", "Mary", " Jane", " her", " Ann", " them", " Marie", " the", "\n"];
const DOWN = [" John", "John", " Johnny", " Jack", " him", " Jon", " Peter", " his", ".", " Johann"];

export function sampleComponent(args: {
  part: string;
  layer: number | null;
  neuron: number | null;
}): ComponentAnswer {
  const seed = (args.layer ?? 0) * 31 + (args.neuron ?? 0);
  const falling = Float32Array.from({ length: 10 }, (_, at) => 3 * noise(seed) * 0.8 ** at + 0.1);
  const neurons = Int32Array.from({ length: 12 }, (_, at) => Math.floor(1536 * noise(seed + at)));
  return {
    up: UP,
    up_values: array([10], falling),
    down: DOWN,
    on_answer: 0.7,
    on_wrong: -0.2,
    down_values: array(
      [10],
      falling.map((value) => -0.8 * value),
    ),
    ...(args.part === "mlp" || args.part === "neuron"
      ? {
          neurons: {
            count: 1536,
            index: { dtype: "int32", shape: [12], data: neurons },
            values: array(
              [12],
              Float32Array.from(neurons, (_, at) => 0.4 * 0.85 ** at * (at % 3 ? 1 : -1)),
            ),
            activations: array(
              [12],
              Float32Array.from(neurons, (_, at) => 4 - at / 2),
            ),
            others: 0.081,
            bias: 0,
            value: args.neuron === null ? null : 0.4,
            activation: args.neuron === null ? null : 4,
          },
        }
      : {}),
  };
}

function noise(index: number): number {
  const wave = Math.sin(index * 127.1 + 11) * 43758.5453;
  return wave - Math.floor(wave);
}

function array(shape: number[], data: Float32Array<ArrayBuffer>): NdArray<"float32"> {
  return { dtype: "float32", shape, data };
}

/** Answers as the kernel: what is set from the page is asked about, and the numbers follow. */
export function samplePort(size: Partial<SampleSize> = {}): FakePort<Traits> {
  const port: FakePort<Traits> = new FakePort(sampleTraits(size), {
    set_inputs: (args) => {
      const { prompt, answer = "", wrong = "" } = args as { prompt: string; answer: string; wrong: string };
      port.update(sampleTraits({ ...size, tokens: prompt.match(/ ?[^ ]+/g) ?? [], answer, wrong }));
      return {};
    },
    component: (args) => sampleComponent(args as Parameters<typeof sampleComponent>[0]),
  });
  return port;
}
