/** The QK circuit: which tokens of the vocabulary a query looks for. */
import { useAnswers } from "../../core/answers";
import { signed } from "../../core/format";
import { useTables } from "../../core/frame";
import type { Port } from "../../core/port";
import { Select } from "../../core/select";
import { Bars } from "../../core/signed_bars";
import { quoteToken, shorten, tokenLabel } from "../../core/tokens";
import { Panel } from "./panel";
import { type Asked, argumentsOf, type Chosen } from "./questions";
import type { LooksAnswer, Traits } from "./traits";

const DISTANCES = [0, 1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** In a sentence. */
const LONGEST = 24;

export interface LooksPanelProps {
  port: Port<Traits>;
  /** The query's token. */
  query: string;
  chosen: Chosen;
  /** How far the model can see. */
  context: number;
  asked: Asked<LooksAnswer>;
}

export function LooksPanel({ port, query, chosen, context, asked }: LooksPanelProps) {
  const answers = useAnswers();
  const { distance, stream, token } = chosen;
  const distances = [...new Set([...DISTANCES, distance])]
    .filter((one) => one < context)
    .sort((one, two) => one - two);
  const own = stream === "prompt" && token === null;
  return (
    <Panel title="Looks for" kind="looks" asked={asked}>
      {(answer) => (
        <>
          <div class="mw-muted">
            Tokens of the vocabulary that <bdi class="mw-code">{shorten(tokenLabel(query), LONGEST)}</bdi>{" "}
            scores highest and lowest as the query{own && ", with what the stream holds there in this run"}{" "}
            (its QK circuit). A key is a token's embedding
            {stream === "effective" && " and what MLP 0 writes of it"}.
          </div>
          {answer.rotated && (
            <Select
              label="key before the query by"
              options={distances.map((one) => ({ value: String(one), text: String(one) }))}
              value={String(distance)}
              isAnswered={(next) =>
                answers.to("looks", argumentsOf({ ...chosen, distance: Number(next) }).looks)
              }
              onChange={(next) => port.set("distance", Number(next))}
            />
          )}
          <Found answer={answer} query={query} />
          <div class="mw-muted mw-head-note">
            Before the softmax, beyond the mean of the vocabulary ({signed(answer.mean)}): +1 is e times the
            attention. {positionNote(answer.rotated, distance)} Learned positions, and biases by distance, are
            not in it.
          </div>
        </>
      )}
    </Panel>
  );
}

function positionNote(rotated: boolean, distance: number): string {
  if (!rotated) return "Positions do not rotate queries and keys.";
  return distance === 0 ? "At 0 positions rotate both alike, so that content alone counts." : "";
}

function Found({ answer, query }: { answer: LooksAnswer; query: string }) {
  const { mean } = answer;
  useTables({
    "what it looks for": () => ({
      columns: ["query", "key", "score before softmax", "beyond the mean"],
      rows: [...rowsOf(answer, "up"), ...rowsOf(answer, "down").reverse()].map(({ token, value }) => [
        query,
        token,
        value,
        value - mean,
      ]),
    }),
  });
  const all = [...answer.up_values.data, ...answer.down_values.data];
  const most = Math.max(1e-9, ...all.map((value) => Math.abs(value - mean)));
  const list = (title: string, part: "up" | "down") => (
    <div class="mw-head-list">
      <div class="mw-muted">{title}</div>
      <Bars
        code
        most={most}
        rows={rowsOf(answer, part).map(({ token, value }, at) => ({
          key: `${at} ${token}`,
          name: tokenLabel(token),
          title: quoteToken(token),
          value: value - mean,
        }))}
      />
    </div>
  );
  return (
    <div class="mw-head-lists">
      {list("looks for", "up")}
      {list("looks away from", "down")}
    </div>
  );
}

function rowsOf(answer: LooksAnswer, part: "up" | "down"): { token: string; value: number }[] {
  const values = answer[`${part}_values`].data;
  return answer[part].map((token, at) => ({ token, value: values[at] ?? Number.NaN }));
}
