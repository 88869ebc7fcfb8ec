/** The parts of a logit as the picture asks for them. */
import type { Cell } from "../../core/canvas";
import type { Part, Traits } from "./traits";

/** A component: a head, the attention or the MLP of a layer, a neuron, or what is no layer's. */
export interface Component {
  readonly part: Part;
  readonly layer: number | null;
  readonly head: number | null;
  readonly neuron: number | null;
}

export interface Parts {
  readonly layers: number;
  readonly heads: number;
  readonly total: number;
  /** Names of the rows below the layers. */
  readonly others: readonly string[];
  /** Largest size of a bar, and of a head. */
  readonly most: { readonly bar: number; readonly head: number };
  other(name: string): number;
  /** NaN where a layer has none. */
  attn(layer: number): number;
  mlp(layer: number): number;
  head(layer: number, head: number): number;
  /** What attention adds besides its heads. */
  headBias(layer: number): number;
  value(component: Component): number;
  /** Heads and MLPs by the size of what they add, the largest first. */
  largest(count: number): Component[];
}

type PartTraits = Pick<
  Traits,
  "n_layers" | "n_heads" | "layer_values" | "head_values" | "head_bias" | "others" | "total"
>;

export function readParts(traits: PartTraits): Parts {
  const { n_layers: layers, n_heads: heads } = traits;
  checkShapes(traits);
  const values = traits.layer_values.data;
  const attn = (layer: number) => values[2 * layer] ?? Number.NaN;
  const mlp = (layer: number) => values[2 * layer + 1] ?? Number.NaN;
  const head = (layer: number, at: number) => traits.head_values.data[layer * heads + at] ?? Number.NaN;
  const other = (name: string) => traits.others[name] ?? Number.NaN;
  const value = ({ part, layer, head: at, neuron }: Component): number => {
    if (neuron !== null) return Number.NaN;
    if (layer === null) return other(part);
    if (at !== null) return head(layer, at);
    return part === "mlp" ? mlp(layer) : attn(layer);
  };
  const others = OTHERS.filter((name) => name in traits.others);
  return {
    ...{ layers, heads, others, attn, mlp, head, other, value },
    total: traits.total,
    most: {
      bar: largestSize([...values, ...others.map(other)]),
      head: largestSize([...traits.head_values.data]),
    },
    headBias: (layer) => traits.head_bias.data[layer] ?? Number.NaN,
    largest: (count) =>
      allOf(layers, heads)
        .filter((component) => !Number.isNaN(value(component)))
        .sort((one, two) => Math.abs(value(two)) - Math.abs(value(one)))
        .slice(0, count),
  };
}

const OTHERS = ["embed", "pos_embed", "bias", "rest"];

function allOf(layers: number, heads: number): Component[] {
  return Array.from({ length: layers }, (_, layer): Component[] => [
    { part: "mlp", layer, head: null, neuron: null },
    ...Array.from({ length: heads }, (_, head): Component => ({ part: "attn", layer, head, neuron: null })),
  ]).flat();
}

function largestSize(values: readonly number[]): number {
  return Math.max(0, ...values.filter(Number.isFinite).map(Math.abs)) || 1;
}

/** Arrays of another shape than the model would be drawn in the wrong places. */
function checkShapes({ n_layers, n_heads, layer_values, head_values, head_bias }: PartTraits): void {
  const expected = [
    ["layer_values", layer_values.shape, [n_layers, 2]],
    ["head_values", head_values.shape, [n_layers, n_heads]],
    ["head_bias", head_bias.shape, [n_layers]],
  ] as const;
  for (const [name, shape, wanted] of expected) {
    if (String(shape) !== String(wanted)) {
      throw new RangeError(`${name} has shape [${shape}]; expected [${wanted}].`);
    }
  }
}

/** The table of bars: layers, then what is no layer's; attention and MLP side by side. */
export function barValue(parts: Parts, { row, col }: Cell): number {
  if (row < parts.layers) return col === 0 ? parts.attn(row) : parts.mlp(row);
  return col === 0 ? parts.other(parts.others[row - parts.layers] ?? "") : Number.NaN;
}

/** The component of a cell of that table; null where nothing can be chosen. */
export function barComponent(parts: Parts, cell: Cell): Component | null {
  if (Number.isNaN(barValue(parts, cell))) return null;
  if (cell.row < parts.layers) {
    return { part: cell.col === 0 ? "attn" : "mlp", layer: cell.row, head: null, neuron: null };
  }
  const name = parts.others[cell.row - parts.layers];
  if (name !== "embed" && name !== "pos_embed") return null;
  return { part: name, layer: null, head: null, neuron: null };
}

export function barCell(parts: Parts, { part, layer, head }: Component): Cell | null {
  if (head !== null) return null;
  if (layer !== null) return { row: layer, col: part === "mlp" ? 1 : 0 };
  const at = parts.others.indexOf(part);
  return at < 0 ? null : { row: parts.layers + at, col: 0 };
}
