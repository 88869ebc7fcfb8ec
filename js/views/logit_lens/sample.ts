/** A made-up lens of SmolLM2's depth for tests and screenshots: unsure at first, sure of an answer in the end. */
import type { NdArray } from "../../core/arrays";
import { FakePort } from "../../test/fake_port";
import type { Traits } from "./traits";

export const FRANCE_TOKENS = ["The", " capital", " of", " France", " is"];
/** What the model says after each position of FRANCE_TOKENS; other prompts repeat it. */
const ANSWERS = [" following", " of", " the", " is", " Paris"];
const OTHERS = [" a", " located", ",", "\n", " known", "Paris", " called", " in", " not", " Lyon", " the"];

export interface SampleSize {
  layers: number;
  tokens: string[];
  k: number;
  /** Other answers than ANSWERS. */
  answers: string[];
}

const DEFAULT_SIZE: SampleSize = { layers: 30, tokens: FRANCE_TOKENS, k: 10, answers: ANSWERS };

export function sampleTraits(size: Partial<SampleSize> = {}): Traits {
  const { layers, tokens, k, answers } = { ...DEFAULT_SIZE, ...size };
  const rows = layers + 1;
  const cells = rows * tokens.length;
  const vocabulary = [...answers, ...OTHERS];
  const top = { ids: new Int32Array(cells * k), probabilities: new Float32Array(cells * k) };
  const [entropy, rank] = [new Float32Array(cells), new Int32Array(cells)];
  for (let cell = 0; cell < cells; cell++) {
    const [row, position] = [Math.floor(cell / tokens.length), cell % tokens.length];
    const sure = certainty(row / layers, position);
    entropy[cell] = 10.8 * (1 - sure) ** 1.5;
    rank[cell] = sure > 0.45 || row === layers ? 0 : Math.ceil((1 - sure) ** 6 * 4000);
    for (let place = 0; place < k; place++) {
      const shift = rank[cell] === 0 ? 0 : 1;
      const id =
        place + shift === 0 ? position % answers.length : answers.length + ((row + place) % OTHERS.length);
      top.ids[cell * k + place] = id;
      top.probabilities[cell * k + place] = place === 0 ? sure : sure * (1 - sure) * 0.5 ** place;
    }
  }
  return {
    title: "",
    model_name: "smollm2-135m",
    prompt: tokens.join(""),
    tokens,
    row_labels: ["embed", ...Array.from({ length: layers }, (_, layer) => String(layer))],
    vocabulary,
    top_tokens: array("int32", [rows, tokens.length, k], top.ids),
    top_probs: array("float32", [rows, tokens.length, k], top.probabilities),
    entropy: array("float32", [rows, tokens.length], entropy),
    max_entropy: Math.log(49152),
    rank: array("int32", [rows, tokens.length], rank),
    color_by: "probability",
    row: null,
    position: null,
  };
}

/** Grows with depth, for some positions sooner and further than for others. */
function certainty(depth: number, position: number): number {
  const [most, turn] = [0.35 + 0.55 * noise(position), 0.45 + 0.4 * noise(position + 100)];
  return 0.03 + most / (1 + Math.exp(-12 * (depth - turn)));
}

function noise(index: number): number {
  const wave = Math.sin(index * 127.1 + 11) * 43758.5453;
  return wave - Math.floor(wave);
}

function array<D extends "int32" | "float32">(
  dtype: D,
  shape: number[],
  data: NdArray<D>["data"],
): NdArray<D> {
  return { dtype, shape, data };
}

export function samplePort(size: Partial<SampleSize> = {}): FakePort<Traits> {
  const port: FakePort<Traits> = new FakePort(sampleTraits(size), {
    set_prompt: (args) => {
      const tokens = (args as { prompt: string }).prompt.match(/ ?[^ ]+/g) ?? [];
      port.update(sampleTraits({ ...size, tokens }));
      return {};
    },
  });
  return port;
}
