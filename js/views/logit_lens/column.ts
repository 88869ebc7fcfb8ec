/** One position through the layers, asked of the kernel: more top tokens than the picture came with, and the followed tokens. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { useAnswers } from "../../core/answers";
import { SERIES } from "../../core/line_plot";
import type { Port } from "../../core/port";
import { type UsedRequest, useRequest } from "../../core/request";
import { useTrait } from "../../core/trait";
import type { Candidate, Lens } from "./lens";
import type { Place } from "./place";
import type { ColumnAnswer, Traits } from "./traits";

/** What the kernel keeps of a prompt that is not long. */
export const USUALLY_KEPT = 10;
/** A pointer on its way across the table asks for nothing. */
const REST = 120;

export interface Column {
  readonly answer: ColumnAnswer;
  candidates(prompt: number, row: number): Candidate[];
}

export interface Following {
  /** The ids that are followed. */
  readonly ids: readonly number[];
  /** Of the shown position; null until the kernel has answered. */
  readonly column: Column | null;
  readonly request: UsedRequest<ColumnAnswer>;
  readonly full: boolean;
  /** The ids with this one, or without it; null where nobody could say what becomes of them. */
  toggled(id: number): readonly number[] | null;
  toggle(id: number): void;
  /** Follow the token of this text; the request says what is wrong with it. */
  type(text: string): Promise<boolean>;
}

export function useFollowing(port: Port<Traits>, lens: Lens, place: Place): Following {
  const answers = useAnswers();
  const request = useRequest<ColumnAnswer, Traits>(port, "column");
  const chosenIds = useSignal<readonly number[] | null>(null);
  const known = useSignal<{ of: Lens; position: number; column: Column } | null>(null);
  const position = place.shown.col;
  // Until the reader chooses: what the model finally says there.
  const ids = chosenIds.value ?? [lens.top(0, lens.outputRow, position).id];
  const ask = async (typed: string | null = null): Promise<boolean> => {
    const answer = await request.send({ position, follow: ids, typed });
    if (!answer) return false;
    known.value = { of: lens, position, column: readColumn(answer) };
    if (typed !== null) chosenIds.value = [...new Set(answer.ids)];
    return true;
  };
  const quick = useTrait(port, "keeps_states").value;
  const isAnswered = (follow: readonly number[]) => answers.to("column", { position, follow, typed: null });
  const answered = isAnswered(ids);
  const wanted = place.chosen !== null || (quick && lens.kept < USUALLY_KEPT);
  useEffect(() => {
    if (!answered || !wanted) return;
    const due = setTimeout(() => void ask(), place.chosen ? 0 : REST);
    return () => clearTimeout(due);
  }, [lens, answered, wanted, position, ids.join(" ")]);
  const toggled = (id: number) => {
    const next = ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id].slice(-SERIES);
    if (isAnswered(next)) return next;
    // A document has few lists: the token alone, if not together with the others.
    return isAnswered([id]) ? [id] : null;
  };
  const fits = known.value?.of === lens && known.value.position === position;
  return {
    ids,
    column: fits ? (known.value?.column ?? null) : null,
    request,
    full: ids.length >= SERIES,
    toggled,
    toggle: (id) => {
      const next = toggled(id);
      if (next) chosenIds.value = next;
    },
    type: (text) => ask(text),
  };
}

export function readColumn(answer: ColumnAnswer): Column {
  const [, rows = 0, k = 0] = answer.top_tokens.shape;
  return {
    answer,
    candidates: (prompt, row) =>
      Array.from({ length: k }, (_, place) => {
        const at = (prompt * rows + row) * k + place;
        const known = answer.top_tokens.data[at] ?? -1;
        return {
          id: answer.vocabulary_ids.data[known] ?? -1,
          token: answer.vocabulary[known] ?? "",
          probability: answer.top_probs.data[at] ?? Number.NaN,
        };
      }),
  };
}

/** The values of one followed token, row by row. */
export function lineValues(
  { answer }: Column,
  quantity: "probability" | "rank" | "logit",
  prompt: number,
  token: number,
): number[] {
  const { data, shape } = answer[quantity];
  const [, tokens = 0, rows = 0] = shape;
  const first = (prompt * tokens + token) * rows;
  return [...data.subarray(first, first + rows)];
}
