/** A made-up lens of SmolLM2's depth for tests and screenshots: unsure at first, sure of an answer in the end. */
import type { NdArray } from "../../core/arrays";
import { FakePort } from "../../test/fake_port";
import type { ColumnAnswer, Traits } from "./traits";

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
  /** A second prompt, of as many tokens; none where empty. */
  compare: string[];
}

const DEFAULT_SIZE: SampleSize = { layers: 30, tokens: FRANCE_TOKENS, k: 10, answers: ANSWERS, compare: [] };

export function sampleTraits(size: Partial<SampleSize> = {}): Traits {
  const { layers, tokens, k, answers, compare } = { ...DEFAULT_SIZE, ...size };
  const [rows, prompts] = [layers + 1, compare.length > 0 ? 2 : 1];
  const cells = rows * tokens.length;
  const vocabulary = [...answers, ...OTHERS];
  const shape = [prompts, rows, tokens.length];
  const top = {
    ids: new Int32Array(prompts * cells * k),
    probabilities: new Float32Array(prompts * cells * k),
  };
  const [entropy, kl, target] = [0, 0, 0].map(() => new Float32Array(prompts * cells)) as [
    Float32Array<ArrayBuffer>,
    Float32Array<ArrayBuffer>,
    Float32Array<ArrayBuffer>,
  ];
  const rank = new Int32Array(prompts * cells);
  for (let at = 0; at < prompts * cells; at++) {
    const [prompt, cell] = [Math.floor(at / cells), at % cells];
    const [row, position] = [Math.floor(cell / tokens.length), cell % tokens.length];
    const sure = certainty(row / layers, position + 50 * prompt);
    entropy[at] = 10.8 * (1 - sure) ** 1.5;
    kl[at] = row === layers ? 0 : 9 * (1 - row / layers) ** 0.7;
    rank[at] = sure > 0.45 || row === layers ? 0 : Math.ceil((1 - sure) ** 6 * 4000);
    target[at] = rank[at] === 0 ? sure : sure * 0.1;
    for (let place = 0; place < k; place++) {
      const shift = rank[at] === 0 ? 0 : 1;
      const id =
        place + shift === 0
          ? (position + prompt) % answers.length
          : answers.length + ((row + place + 3 * prompt) % OTHERS.length);
      top.ids[at * k + place] = id;
      top.probabilities[at * k + place] = place === 0 ? sure : sure * (1 - sure) * 0.5 ** place;
    }
  }
  const divergence = Float32Array.from({ length: prompts > 1 ? cells : 0 }, (_, cell) =>
    cell % tokens.length < 3 ? 0 : 2 * Math.abs((entropy[cell] ?? 0) - (entropy[cells + cell] ?? 0)),
  );
  return {
    title: "",
    model_name: "smollm2-135m",
    prompt: tokens.join(""),
    compare: compare.join(""),
    stream: "resid_post",
    streams: ["resid_post", "resid_pre", "resid_mid", "attn_out", "mlp_out"],
    target: "",
    target_text: "",
    tuned: false,
    interventions: [],
    answered: { interventions: [] },
    has_tuned_lens: false,
    tokens,
    compare_tokens: compare,
    n_layers: layers,
    keeps_states: true,
    row_labels: ["embed", ...Array.from({ length: layers }, (_, layer) => String(layer))],
    vocabulary,
    vocabulary_ids: array(
      "int32",
      [vocabulary.length],
      Int32Array.from(vocabulary, (_, id) => 100 + id),
    ),
    top_tokens: array("int32", [...shape, k], top.ids),
    top_probs: array("float32", [...shape, k], top.probabilities),
    entropy: array("float32", shape, entropy),
    max_entropy: Math.log(49152),
    kl: array("float32", shape, kl),
    rank: array("int32", shape, rank),
    target_probs: array("float32", shape, target),
    divergence: array("float32", [prompts > 1 ? rows : 0, tokens.length], divergence),
    color_by: prompts > 1 ? "divergence" : "probability",
    layer: null,
    position: null,
  };
}

/** The column of a sample lens; every followed token goes its own way. */
export function sampleColumn(
  traits: Traits,
  { position, follow, typed }: { position: number; follow: number[]; typed: string | null },
): ColumnAnswer {
  const [prompts = 1, rows = 1, positions = 1, k = 0] = traits.top_tokens.shape;
  const ids = typed === null ? follow : [...follow, 999];
  const texts = ids.map((id) => (id === 999 ? (typed ?? "") : (traits.vocabulary[id - 100] ?? "")));
  const lines = (value: (at: number) => number) =>
    array(
      "float32",
      [prompts, ids.length, rows],
      Float32Array.from({ length: prompts * ids.length * rows }, (_, at) => value(at)),
    );
  const likely = (at: number) => certainty((at % rows) / rows, position + Math.floor(at / rows) * 7);
  const column = <A extends Float32Array | Int32Array>(data: A) =>
    Array.from({ length: prompts * rows * k }, (_, at) => {
      const cell = Math.floor(at / k) * positions + position;
      return data[cell * k + (at % k)] ?? 0;
    });
  return {
    ids,
    texts,
    probability: lines(likely),
    rank: lines((at) => Math.floor((1 - likely(at)) ** 6 * 4000)),
    logit: lines((at) => 20 * likely(at) - 4),
    vocabulary: traits.vocabulary,
    vocabulary_ids: traits.vocabulary_ids,
    top_tokens: array("int32", [prompts, rows, k], Int32Array.from(column(traits.top_tokens.data))),
    top_probs: array("float32", [prompts, rows, k], Float32Array.from(column(traits.top_probs.data))),
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
  const words = (text: string) => text.match(/ ?[^ ]+/g) ?? [];
  const port: FakePort<Traits> = new FakePort(sampleTraits(size), {
    set_inputs: (args) => {
      const {
        prompt = port.get("prompt"),
        compare = port.get("compare"),
        ...changes
      } = args as Partial<Traits>;
      const { title, layer, position, color_by } = port.traits;
      const traits = sampleTraits({ ...size, tokens: words(prompt), compare: words(compare) });
      const target_text = changes.target === undefined || changes.target === "" ? "" : " Paris";
      port.update({ ...traits, title, color_by, layer, position, ...changes, target_text });
      return {};
    },
    column: (args) => sampleColumn(port.traits, args as Parameters<typeof sampleColumn>[1]),
  });
  return port;
}
