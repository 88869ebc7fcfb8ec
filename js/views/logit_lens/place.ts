/** The chosen place, and the one that is shown: under the pointer, chosen, or the model's answer to the whole prompt. */
import { type Signal, useSignal } from "@preact/signals";
import type { Cell } from "../../core/canvas";
import type { Port } from "../../core/port";
import { useTrait } from "../../core/trait";
import type { Lens } from "./lens";
import type { Traits } from "./traits";

export interface Place {
  /** null while no position is chosen. */
  readonly chosen: Cell | null;
  readonly hovered: Signal<Cell | null>;
  readonly shown: Cell;
  choose(cell: Cell): void;
  leave(): void;
}

export function usePlace(port: Port<Traits>, lens: Lens): Place {
  const layer = useTrait(port, "layer").value;
  const position = useTrait(port, "position").value;
  const hovered = useSignal<Cell | null>(null);
  // The rows of the embedding and of the output are no layer, so no other picture could follow them there.
  const ownRow = useSignal<number | null>(null);
  const last = lens.tokens.length - 1;
  const row = (layer === null ? ownRow.value : lens.rowOfLayer(layer)) ?? lens.outputRow;
  const chosenRow = Math.min(row, lens.outputRow);
  const chosen = position === null || position > last ? null : { row: chosenRow, col: position };
  const pointed = hovered.value && isInside(lens, hovered.value) ? hovered.value : null;
  return {
    chosen,
    hovered,
    shown: chosen ?? pointed ?? { row: chosenRow, col: last },
    choose: (cell) => {
      ownRow.value = cell.row;
      port.set("layer", lens.layerOfRow(cell.row));
      port.set("position", cell.col);
    },
    leave: () => {
      ownRow.value = null;
      port.set("layer", null);
      port.set("position", null);
    },
  };
}

function isInside({ rowLabels, tokens }: Lens, { row, col }: Cell): boolean {
  return row < rowLabels.length && col < tokens.length;
}
