/** The next token's distribution without and with interventions, and what the model writes on under them. */
import { useMemo, useState } from "preact/hooks";
import { useAnswers } from "../../core/answers";
import { Changes, isStale } from "../../core/changes";
import { Choice, ErrorLine, Header, PromptForm, StatusLine } from "../../core/components";
import { Distribution, distributionCss } from "../../core/distribution";
import { formatNumber } from "../../core/format";
import { preactView, useTables } from "../../core/frame";
import type { Port } from "../../core/port";
import { PositionSelector } from "../../core/position_selector";
import { useRequest } from "../../core/request";
import { matrixTable } from "../../core/table";
import { tokenLabel } from "../../core/tokens";
import { useTrait } from "../../core/trait";
import { ordered } from "./order";
import css from "./style.css?inline";
import type { DistributionChange, Order, Traits, WriteAnswer } from "./traits";
import { type Step, WrittenText } from "./written";

export const prediction = preactView<Traits>(Prediction, css + distributionCss);

const ORDERS: { value: Order; text: string }[] = [
  { value: "change", text: "by change" },
  { value: "probability", text: "by probability" },
];

function Prediction({ port }: { port: Port<Traits> }) {
  const interventions = useTrait(port, "interventions").value;
  const modified = interventions.length > 0;
  const order = useTrait(port, "order").value;
  const { distribution, stale, step, writing } = usePrediction(port);
  const shown = useMemo(() => ordered(distribution, order), [distribution, order]);
  useTables({
    "next-token probabilities": () =>
      matrixTable(
        "token",
        shown.tokens,
        ["before", "after"],
        (row, col) => (col ? shown.after : shown.before).data[row] ?? null,
      ),
  });
  return (
    <>
      <Header
        name="Next token"
        modelName={useTrait(port, "model_name").value}
        title={useTrait(port, "title").value}
        badge={modified ? "modified" : null}
      >
        <PositionSelector port={port} />
        {modified && (
          <Choice label="Order" options={ORDERS} value={order} onChange={(next) => port.set("order", next)} />
        )}
      </Header>
      <Question port={port} />
      <Changes interventions={interventions} onChange={(changes) => port.set("interventions", changes)} />
      <ErrorLine request={step.request} />
      <div class="mw-prediction-both">
        <section aria-label="Next token">
          <div class="mw-muted mw-prediction-after">
            <Behind {...{ port, step: step.chosen, written: writing.answer }} />
            {modified && !stale && (
              <span class="mw-prediction-kl">KL {formatNumber(distribution.kl)} nats</span>
            )}
          </div>
          <Distribution answer={shown} compares={modified} stale={stale} />
        </section>
        <WrittenText {...writing} modified={modified} step={step.chosen} onStep={step.choose} />
      </div>
      <StatusLine hint="The most probable next tokens; what the model writes on, token by token: a click shows a token's distribution." />
    </>
  );
}

/** What is shown: the kernel's distribution behind the prompt, or the one behind a step of what was written. */
function usePrediction(port: Port<Traits>) {
  const interventions = useTrait(port, "interventions").value;
  const prompt = useTrait(port, "prompt").value;
  const last = useTrait(port, "tokens").value.length - 1;
  const asked = useTrait(port, "position").value ?? last;
  const { any } = useAnswers();
  const write = useRequest<WriteAnswer, Traits>(port, "write");
  const behind = useRequest<DistributionChange, Traits>(port, "behind");
  const question = JSON.stringify([prompt, interventions]);
  const [written, setWritten] = useState<{ answer: WriteAnswer; question: string } | null>(null);
  const [chosen, setChosen] = useState<{ step: Step; found: DistributionChange; question: string } | null>(
    null,
  );
  const onWrite = async () => {
    setChosen(null);
    const answer = await write.send({});
    if (answer) setWritten({ answer, question });
  };
  const choose = async (step: Step | null) => {
    if (step === null || !written) return setChosen(null);
    const found = await behind.send({ token_ids: written.answer[step.side].token_ids.slice(0, step.count) });
    if (found) setChosen({ step, found, question });
  };
  const here = chosen?.question === question ? chosen : null;
  const stale = any && isStale(useTrait(port, "answered").value, interventions, asked);
  const distribution = useTrait(port, "distribution").value;
  return {
    distribution: here ? here.found : distribution,
    stale: stale && !here,
    step: { chosen: here?.step ?? null, choose, request: behind },
    writing: {
      answer: written?.answer ?? null,
      stale: written !== null && written.question !== question,
      onWrite,
      request: write,
    },
  };
}

function Behind({
  port,
  step,
  written,
}: {
  port: Port<Traits>;
  step: Step | null;
  written: WriteAnswer | null;
}) {
  const tokens = useTrait(port, "tokens").value;
  const { position } = useTrait(port, "answered").value;
  const text =
    step && written
      ? [...tokens, ...written[step.side].tokens.slice(0, step.count)]
      : tokens.slice(0, position + 1);
  return (
    <>
      after{text.length > 4 && " …"} <span class="mw-code">{text.slice(-4).map(tokenLabel).join("")}</span>
    </>
  );
}

function Question({ port }: { port: Port<Traits> }) {
  const request = useRequest<object, Traits>(port, "set_inputs");
  const fields = [{ name: "prompt", label: "Prompt", value: useTrait(port, "prompt").value }];
  return <PromptForm fields={fields} request={request} />;
}
