/** The head's pattern on this prompt, its scores, and the prompt coloured by it. */
import { useSignal } from "@preact/signals";
import { Legend } from "../../core/components";
import { useFrame } from "../../core/frame";
import { headName } from "../../core/intervention";
import type { Port } from "../../core/port";
import { colourScale, legendTicks } from "../../core/scale";
import { HeadMatrix } from "../attention/head_matrix";
import { trianglePattern } from "../attention/pattern";
import { TokenStrip } from "../attention/token_strip";
import type { Direction } from "../attention/traits";
import { Panel } from "./panel";
import type { Asked, Chosen } from "./questions";
import type { PatternAnswer, Traits } from "./traits";
import { scoreText } from "./words";

export interface PatternPanelProps {
  port: Port<Traits>;
  tokens: string[];
  chosen: Chosen;
  asked: Asked<PatternAnswer>;
  onToggle: () => void;
}

const RANGE = { low: 0, high: 1, diverging: false, negativeColor: "", positiveColor: "" };

export function PatternPanel(props: PatternPanelProps) {
  return (
    <Panel title="Attends" kind="pattern" asked={props.asked}>
      {(answer) => <Pattern {...props} answer={answer} />}
    </Panel>
  );
}

function Pattern({ port, tokens, chosen, answer, onToggle }: PatternPanelProps & { answer: PatternAnswer }) {
  const theme = useFrame().theme.value;
  const direction = useSignal<Direction>("from");
  const hovered = useSignal<number | null>(null);
  const locked = chosen.position !== null && chosen.position < tokens.length ? chosen.position : null;
  const token = hovered.value ?? locked;
  const scale = colourScale(theme, RANGE);
  const pattern = trianglePattern(tokens.length, answer.pattern, null);
  const shared = {
    ...{ tokens, pattern, scale },
    causal: true,
    direction: direction.value,
    onToken: (at: number | null) => {
      hovered.value = at;
    },
    onLock: (at: number | null) => port.set("position", at),
  };
  return (
    <>
      <div class="mw-muted mw-head-scores">
        {Object.entries(answer.scores).map(([name, value]) => (
          <span key={name}>{scoreText(name, value)}</span>
        ))}
      </div>
      <HeadMatrix
        {...shared}
        name={headName(chosen.layer, chosen.head)}
        token={token}
        locked={locked !== null}
        onToggle={onToggle}
      />
      <Legend label="attention" map={scale.map} {...legendTicks(RANGE)} />
      <TokenStrip
        {...shared}
        token={token ?? tokens.length - 1}
        locked={locked}
        onDirection={(next) => {
          direction.value = next;
        }}
      />
    </>
  );
}
