/** A question that is answered by clicking in a picture; each answer is checked at once. */
import { useState } from "preact/hooks";
import { titleOf, useAnswers } from "../../core/answers";
import { Child } from "../../core/child";
import { Button, ErrorLine, Header } from "../../core/components";
import { preactView } from "../../core/frame";
import type { Port } from "../../core/port";
import { useRequest } from "../../core/request";
import { useTrait } from "../../core/trait";
import { type Choice, countRight, isSame, placeName } from "./answers";
import css from "./style.css?inline";
import type { Answer, Traits, Verdict } from "./traits";

export const exercise = preactView<Traits>(Exercise, css);

function Exercise({ port }: { port: Port<Traits> }) {
  const question = useTrait(port, "question").value;
  return (
    <>
      <Header
        name="Exercise"
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
      />
      <div class="mw-exercise">
        {question && <p class="mw-exercise-question">{question}</p>}
        <Answering port={port} />
        <Answers port={port} />
        <Hint text={useTrait(port, "hint").value} />
      </div>
      <Child reference={useTrait(port, "view").value} />
    </>
  );
}

function Answering({ port }: { port: Port<Traits> }) {
  const asks = useTrait(port, "asks").value;
  const tokens = useTrait(port, "tokens").value;
  const answers = useTrait(port, "answers").value;
  const choice = useChoice(port);
  const check = useRequest<Verdict, Traits>(port, "check");
  const given = choice && answers.some((answer) => isSame(answer, choice, asks));
  const answer = async () => {
    if (!choice) return;
    const verdict = await check.send(choice);
    if (verdict) port.set("answers", [...port.get("answers"), { ...choice, ...verdict }]);
  };
  const { to } = useAnswers();
  const usable = choice !== null && to("check", choice);
  return (
    <>
      <div class="mw-exercise-row">
        <Button
          disabled={!usable || given === true || check.pending.value}
          title={choice ? titleOf(usable) : undefined}
          onClick={() => void answer()}
        >
          {choice ? `Answer ${placeName(choice, tokens)}` : "Answer"}
        </Button>
        {!choice && <span class="mw-muted">Choose {wanted(asks)} in the picture.</span>}
        {given && <span class="mw-muted">Answered already.</span>}
      </div>
      <ErrorLine request={check} />
    </>
  );
}

/** null until all that is asked for is chosen. */
function useChoice(port: Port<Traits>): Choice | null {
  const chosen = {
    layer: useTrait(port, "layer").value,
    head: useTrait(port, "head").value,
    position: useTrait(port, "position").value,
  };
  const asks = useTrait(port, "asks").value;
  if (asks.some((place) => chosen[place] === null)) return null;
  return Object.fromEntries(asks.map((place) => [place, chosen[place] ?? 0]));
}

function wanted(asks: readonly string[]): string {
  const words = asks.map((place) => `a ${place}`).join(" and ");
  return words === "a layer and a head" ? "a head" : words;
}

function Answers({ port }: { port: Port<Traits> }) {
  const answers = useTrait(port, "answers").value;
  const asks = useTrait(port, "asks").value;
  const tokens = useTrait(port, "tokens").value;
  const count = useTrait(port, "count").value;
  const found = countRight(answers, asks);
  return (
    <>
      {answers.length > 0 && (
        <ul class="mw-exercise-answers">
          {answers.map((answer, at) => (
            <li key={at} data-right={answer.right}>
              <span aria-hidden="true">{answer.right ? "✓" : "✗"}</span> {said(answer, tokens)}
            </li>
          ))}
        </ul>
      )}
      <div class="mw-exercise-row">
        <span role="status">
          {found >= count ? <strong>Solved.</strong> : count > 1 ? `${found} of ${count} found.` : ""}
        </span>
        {answers.length > 0 && <Button onClick={() => port.set("answers", [])}>Start over</Button>}
      </div>
    </>
  );
}

function said(answer: Answer, tokens: readonly string[]): string {
  const verdict = `${placeName(answer, tokens)} is ${answer.right ? "right" : "not it"}.`;
  return answer.feedback ? `${verdict} ${answer.feedback}` : verdict;
}

function Hint({ text }: { text: string }) {
  const [shown, setShown] = useState(false);
  if (!text) return null;
  if (shown) return <p class="mw-exercise-hint">{text}</p>;
  return (
    <div class="mw-exercise-row">
      <Button onClick={() => setShown(true)}>Hint</Button>
    </div>
  );
}
