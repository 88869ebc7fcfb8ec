/** What all pictures are asked: a prompt, perhaps a second one to hold it against, and the answers. */
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { uniqueId } from "../../core/accessibility";
import { Button, ErrorLine, submitOnEnter } from "../../core/components";
import { useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import type { UsedRequest } from "../../core/request";
import { tokenLabel } from "../../core/tokens";
import { useTrait } from "../../core/trait";
import type { Field, Question, Typed, TypedPrompt, WorkbenchTraits } from "./traits";
import { useTyped } from "./use_typed";

/** Lines of a message that stand under each other, token by token. */
const ALIGNED = /^(clean|corrupted)? {2,}/;
/** As the kernel says them of what is typed. */
const MOST_TOKENS = 400;

export interface QuestionProps {
  port: Port<WorkbenchTraits>;
  request: UsedRequest<object>;
  /** Whether the second prompt is wanted, though there may be none yet. */
  pair: boolean;
  onPair: (pair: boolean) => void;
}

export function QuestionForm({ port, request, pair, onPair }: QuestionProps) {
  const asked = useQuestion(port);
  const [draft, setDraft] = useState<Partial<Question>>({});
  // What the kernel holds wins over an old draft.
  useEffect(() => setDraft({}), [JSON.stringify(asked)]);
  const question = { ...asked, ...draft, ...(pair ? {} : { corrupted: "" }) };
  const reading = useTyped(port, question);
  const held = useHeld(port);
  const typed = reading.typed ?? (Object.keys(draft).length === 0 ? held : null);
  const { live } = useFrame().capabilities.value;
  const pending = request.pending.value;
  const problems = typed?.problems ?? {};
  const field = (name: Field) => ({
    ...{ name, value: question[name], problem: problems[name] ?? null, readOnly: pending || !live },
    onInput: (text: string) => setDraft({ ...draft, [name]: text }),
  });
  const submit = (event: Event) => {
    event.preventDefault();
    if (pending) request.abort();
    else if (!reading.isCurrent || Object.keys(problems).length === 0) request.send(question);
  };
  const resolved = { answer: useTrait(port, "answer_text").value, wrong: useTrait(port, "wrong_text").value };
  return (
    <form class="mw-bench-question" onSubmit={submit}>
      <TextField {...field("prompt")} label="Prompt" />
      <TokenLine name="Tokens" typed={typed?.prompt} />
      {pair && (
        <>
          <TextField {...field("corrupted")} label="Corrupted prompt" focus={!asked.corrupted}>
            <Button
              label="Remove the corrupted prompt"
              disabled={!live}
              onClick={() => {
                onPair(false);
                if (asked.corrupted) request.send({ ...question, corrupted: "" });
              }}
            >
              ×
            </Button>
          </TextField>
          <TokenLine name="Tokens of the corrupted prompt" typed={typed?.corrupted} />
        </>
      )}
      <div class="mw-bench-question-answers">
        <TextField {...field("answer")} label="Answer" hint={resolved.answer || "most probable"} />
        <TextField {...field("wrong")} label="rather than" hint={resolved.wrong || "nothing"} />
        <span class="mw-space" />
        {!pair && live && (
          <Button
            onClick={() => onPair(true)}
            title="A second prompt of as many tokens that another token follows, to patch activations from one run into the other"
          >
            Add a corrupted prompt
          </Button>
        )}
        {live && (
          <button class="mw-button" type="submit" aria-busy={pending}>
            {pending ? "Stop" : "Run"}
          </button>
        )}
      </div>
      <ErrorLine request={request} />
    </form>
  );
}

function useQuestion(port: Port<WorkbenchTraits>): Question {
  return {
    prompt: useTrait(port, "prompt").value,
    corrupted: useTrait(port, "corrupted").value,
    answer: useTrait(port, "answer").value,
    wrong: useTrait(port, "wrong").value,
  };
}

/** What the kernel read last, where it does not read as one types. */
function useHeld(port: Port<WorkbenchTraits>): Typed {
  const tokens = useTrait(port, "tokens").value;
  const others = useTrait(port, "corrupted_tokens").value;
  const differ = others.length > 0 ? tokens.map((token, at) => token !== others[at]) : [];
  const shown = (all: string[]) => ({ tokens: all.slice(0, MOST_TOKENS), count: all.length, differ });
  return { prompt: shown(tokens), corrupted: shown(others), problems: {} };
}

interface TextFieldProps {
  name: Field;
  label: string;
  value: string;
  problem: string | null;
  readOnly: boolean;
  /** What holds while the field is empty. */
  hint?: string;
  /** It has just been asked for. */
  focus?: boolean;
  onInput: (text: string) => void;
  children?: ComponentChildren;
}

function TextField({
  name,
  label,
  value,
  problem,
  readOnly,
  hint,
  focus,
  onInput,
  children,
}: TextFieldProps) {
  const id = useMemo(uniqueId, []);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (focus) area.current?.focus();
  }, [focus]);
  return (
    <div class="mw-bench-question-field" data-field={name}>
      <label class="mw-field">
        <span class="mw-muted">{label}</span>
        <textarea
          ref={area}
          class="mw-input mw-code"
          name={name}
          rows={1}
          value={value}
          placeholder={hint && tokenLabel(hint)}
          readOnly={readOnly}
          spellcheck={false}
          autocomplete="off"
          aria-invalid={problem !== null}
          aria-describedby={problem ? id : undefined}
          onInput={(event) => onInput(event.currentTarget.value)}
          onKeyDown={submitOnEnter}
        />
      </label>
      {children}
      {problem && (
        <div class="mw-error" id={id}>
          {problem.split("\n").map((line, at) => (
            <div key={at} class={ALIGNED.test(line) ? "mw-code mw-bench-aligned" : undefined}>
              {line}
            </div>
          ))}
        </div>
      )}
    </div>
  );
}

/** A prompt as the tokenizer cuts it, and where the two of a pair differ. */
function TokenLine({ name, typed }: { name: string; typed: TypedPrompt | undefined }) {
  if (!typed || typed.count === 0) return null;
  const { tokens, count, differ } = typed;
  const differing = differ.filter(Boolean).length;
  return (
    <div class="mw-bench-question-tokens">
      <ol class="mw-code" aria-label={name}>
        {tokens.map((token, at) => (
          <li key={at} data-differs={differ[at] ?? false}>
            {tokenLabel(token)}
          </li>
        ))}
      </ol>
      <span class="mw-muted">
        {count > tokens.length && "… "}
        {count} {count === 1 ? "token" : "tokens"}
        {differing > 0 && `, ${differing} ${differing === 1 ? "differs" : "differ"}`}
      </span>
    </div>
  );
}
