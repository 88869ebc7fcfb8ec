/** The heads that are shown large, and the text below them, coloured by one of them. */
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { ErrorLine } from "../../core/components";
import { useFrame } from "../../core/frame";
import { headName } from "../../core/intervention";
import type { Port } from "../../core/port";
import { colourScale } from "../../core/scale";
import { HeadCard } from "./cards";
import { TokenStrip } from "./token_strip";
import type { Head, Traits } from "./traits";
import { headRange, usePatterns } from "./use_patterns";
import { sharedTokens } from "./words";

export interface HeadsPanelProps {
  port: Port<Traits>;
  traits: Traits;
  isOff: (layer: number, head: number) => boolean;
  onKeep: (head: Head) => void;
  onToggle: (head: Head) => void;
  canToggle: (head: Head) => boolean;
}

export function HeadsPanel({ port, traits, isOff, onKeep, onToggle, canToggle }: HeadsPanelProps) {
  const { heads, position, direction, interventions } = traits;
  const theme = useFrame().theme.value;
  const tokens = useMemo(() => sharedTokens(traits), [traits.tokens, traits.alternatives]);
  const shown = shownHeads(traits);
  const { patternOf, request } = usePatterns(port, traits, shown);
  const hovered = useSignal<number | null>(null);
  const entered = useSignal<string | null>(null);
  const locked = position !== null && position < tokens.length ? position : null;
  const token = hovered.value ?? locked;
  const chosen: Head = [traits.layer, traits.head];
  const ofStrip = shown.find((one) => String(one) === entered.value) ?? chosen;
  const point = (at: number | null) => {
    hovered.value = at;
  };
  const lock = (at: number | null) => port.set("position", at);
  return (
    <section class="mw-heads-panel" aria-label="Heads enlarged">
      <ErrorLine request={request} />
      <div class="mw-cards" data-count={Math.min(shown.length, 3)}>
        {shown.map((one) => (
          <HeadCard
            key={String(one)}
            {...{ traits, tokens, token }}
            head={one}
            pattern={patternOf(one)}
            off={isOff(...one)}
            kept={heads.some((other) => String(other) === String(one))}
            alone={shown.length === 1}
            direction={direction}
            locked={locked !== null}
            onToken={point}
            onLock={lock}
            onEnter={() => {
              entered.value = String(one);
            }}
            onKeep={() => onKeep(one)}
            onToggle={() => onToggle(one)}
            canToggle={canToggle(one)}
          />
        ))}
      </div>
      <TokenStrip
        tokens={tokens}
        pattern={patternOf(ofStrip)}
        scale={colourScale(theme, headRange(traits, ofStrip))}
        name={shown.length > 1 ? headName(...ofStrip) : undefined}
        causal
        direction={direction}
        token={token ?? tokens.length - 1}
        locked={locked}
        onDirection={(next) => {
          port.set("direction", next);
        }}
        onToken={point}
        onLock={lock}
      />
      <div class="mw-muted mw-note" data-shown={interventions.length > 0}>
        Patterns are those of the unmodified model.
      </div>
    </section>
  );
}

/** The kept ones, and the chosen one in front of them unless it is one of them. */
function shownHeads({ layer, head, heads }: Traits): readonly Head[] {
  const isKept = heads.some((one) => one[0] === layer && one[1] === head);
  return isKept ? heads : [[layer, head], ...heads];
}
