/** What the picture asks the kernel, and what it is told already. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { useAnswers } from "../../core/answers";
import type { Port } from "../../core/port";
import { type RequestHandle, useRequest } from "../../core/request";
import { useTrait } from "../../core/trait";
import type { AnswerOf, Question, Traits, Unavailable } from "./traits";

/** What the picture is of. */
export type Chosen = Pick<
  Traits,
  "layer" | "head" | "position" | "token" | "stream" | "distance" | "interventions"
>;

/** The arguments of each question; mechwidgets/widgets/head.py asks the same first. */
export function argumentsOf(chosen: Chosen): Record<Question, object> {
  const { layer, head, interventions, position, token, stream, distance } = chosen;
  const run = { layer, head, interventions };
  const reads = { ...run, position, token, stream };
  return {
    pattern: run,
    writes: reads,
    composition: { layer, head },
    copying: { layer, head, stream: stream === "prompt" ? "embedding" : stream },
    looks: { ...reads, distance },
  };
}

export interface Asked<Answer> {
  /** The last answer; null before there is one. */
  readonly answer: Answer | null;
  /** Why there is none for what is chosen. */
  readonly unavailable: string | null;
  /** The answer is one of what was chosen before. */
  readonly stale: boolean;
  /** There is an answer, or somebody who gives one. */
  readonly isAnswered: boolean;
  readonly request: RequestHandle;
}

/** Asks whenever the arguments or the prompt change, unless the answer came with the picture; the latest question wins. */
export function useAnswer<Name extends Question>(
  port: Port<Traits>,
  name: Name,
  args: object,
): Asked<AnswerOf[Name]> {
  type Value = AnswerOf[Name] | Unavailable;
  const answers = useAnswers();
  const tokens = useTrait(port, "tokens").value;
  const first = useTrait(port, "answers").value[name];
  const request = useRequest<Value, Traits>(port, name);
  const key = canonical(args);
  const answered = useSignal<Known<Value> | null>(null);
  const isNow = (one: Known<Value> | null) => one?.key === key && one.tokens === tokens;
  const told = first?.args && first.value && canonical(first.args) === key ? (first.value as Value) : null;
  const known = told ?? (isNow(answered.value) ? (answered.value?.value ?? null) : null);
  const isKnown = known !== null;
  const isAnswered = answers.to(name, args);
  useEffect(() => {
    if (isKnown || !isAnswered) {
      request.abort();
      return;
    }
    const ask = async () => {
      const value = await request.send(args);
      if (value) answered.value = { key, tokens, value };
    };
    void ask();
  }, [key, tokens, isKnown, isAnswered]);
  // What was there before stays, paled, until the next is; but not that of another prompt.
  const shown = useRef<Known<Value> | null>(null);
  if (known !== null) shown.current = { key, tokens, value: known };
  const before = shown.current?.tokens === tokens ? shown.current.value : ((first?.value as Value) ?? null);
  const value = known ?? before;
  const isAnswer = value !== null && !("unavailable" in value);
  return {
    answer: isAnswer ? (value as AnswerOf[Name]) : null,
    unavailable: value && "unavailable" in value && isKnown ? value.unavailable : null,
    stale: !isKnown,
    isAnswered: isKnown || isAnswered,
    request,
  };
}

interface Known<Value> {
  readonly key: string;
  /** The prompt's. */
  readonly tokens: unknown;
  readonly value: Value;
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([one], [other]) => (one < other ? -1 : 1)))
      : item,
  );
}
