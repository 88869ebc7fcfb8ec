/** Heads enlarged side by side: the chosen one, and those that are kept beside it. */
import { useMemo } from "preact/hooks";
import { titleOf, useAnswers } from "../../core/answers";
import { Button, Legend } from "../../core/components";
import { formatNumber } from "../../core/format";
import { useFrame } from "../../core/frame";
import { headName } from "../../core/intervention";
import { colourScale, legendTicks } from "../../core/scale";
import { HeadMatrix } from "./head_matrix";
import type { Pattern } from "./pattern";
import { headScores } from "./scores";
import type { Direction, Head, Traits } from "./traits";
import { headRange } from "./use_patterns";
import { mapScale, valueName } from "./words";

export interface CardProps {
  traits: Traits;
  head: Head;
  pattern: Pattern;
  /** The tokens' texts, as all prompts have them. */
  tokens: string[];
  off: boolean;
  kept: boolean;
  /** The only one that is shown. */
  alone: boolean;
  direction: Direction;
  token: number | null;
  locked: boolean;
  onToken: (token: number | null) => void;
  onLock: (token: number | null) => void;
  /** The pointer or the focus has come to this head. */
  onEnter: () => void;
  onKeep: () => void;
  onToggle: () => void;
  /** Somebody says what that changes. */
  canToggle: boolean;
}

export function HeadCard(props: CardProps) {
  const { traits, head, pattern, tokens, off, kept, alone, onToggle, canToggle } = props;
  const { any } = useAnswers();
  const theme = useFrame().theme.value;
  const name = headName(...head);
  const range = headRange(traits, head);
  const scale = useMemo(() => colourScale(theme, range), [theme, ...Object.values(range)]);
  const { attention_type, layer, head: chosen } = traits;
  const isChosen = head[0] === layer && head[1] === chosen;
  return (
    <section
      class={isChosen && !alone ? "mw-head mw-chosen" : "mw-head"}
      aria-label={`Head ${name}`}
      onPointerEnter={props.onEnter}
      onFocusCapture={props.onEnter}
    >
      <div class="mw-row">
        <strong>Head {name}</strong>
        {off && <span class="mw-muted">switched off</span>}
        <span class="mw-space" />
        {any && (
          <Button onClick={onToggle} disabled={!canToggle} title={titleOf(canToggle)}>
            Switch head {off ? "on" : "off"}
          </Button>
        )}
        <KeepButton name={name} kept={kept} onKeep={props.onKeep} />
      </div>
      <Scores traits={traits} head={head} />
      <HeadMatrix
        {...{ tokens, pattern, scale, name, onToggle }}
        causal
        masked={attention_type === "pre-softmax"}
        signed={traits.diverging}
        direction={props.direction}
        token={props.token}
        locked={props.locked}
        onToken={props.onToken}
        onLock={props.onLock}
      />
      {mapScale(traits) && <Legend label={valueName(traits)} map={scale.map} {...legendTicks(range)} />}
    </section>
  );
}

function KeepButton({ name, kept, onKeep }: { name: string; kept: boolean; onKeep: () => void }) {
  return (
    <button
      type="button"
      class="mw-button"
      aria-pressed={kept}
      aria-label={`Keep ${name} beside others`}
      title={kept ? "Kept beside others; click to let go" : "Keep beside others"}
      onClick={onKeep}
    >
      Keep
    </button>
  );
}

function Scores({ traits, head: [layer, head] }: { traits: Traits; head: Head }) {
  return (
    <div class="mw-row mw-muted">
      {headScores(traits, layer * traits.n_heads + head).map(({ name, value }) => (
        <span
          key={name}
          class="mw-score"
          title={Number.isNaN(value) ? "Undefined for this prompt: no token in it is repeated." : undefined}
        >
          {name} {Number.isNaN(value) ? "–" : formatNumber(Number(value.toPrecision(2)))}
        </span>
      ))}
    </div>
  );
}
