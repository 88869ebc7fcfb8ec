/** The pair of prompts: token under token, and the fields to change it. */
import { useLayoutEffect, useRef } from "preact/hooks";
import { type Field, PromptForm } from "../../core/components";
import type { Port } from "../../core/port";
import type { UsedRequest } from "../../core/request";
import { quoteToken, tokenLabel } from "../../core/tokens";
import { useTrait } from "../../core/trait";
import type { Traits } from "./traits";

/** A longer pair scrolls where the picture is narrow, so the keyboard must reach it. */
const LONG = 24;

/** Both prompts, or the one that there is; nothing for means over many pairs. */
export function PairStrip({ port }: { port: Port<Traits> }) {
  const clean = useTrait(port, "clean_tokens").value;
  const corrupted = useTrait(port, "corrupted_tokens").value;
  return clean.length === 0 ? null : <Strip clean={clean} corrupted={corrupted} />;
}

function Strip({ clean, corrupted }: { clean: readonly string[]; corrupted: readonly string[] }) {
  const isPair = corrupted.length > 0;
  const strip = useScrollToDifference([clean, corrupted]);
  const differing = clean.flatMap((token, position) =>
    !isPair || token === corrupted[position] ? [] : [position],
  );
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for controls
    <div
      class="mw-pair"
      role="group"
      aria-label={isPair ? pairSentence(clean, corrupted, differing) : "The prompt"}
    >
      <div class="mw-pair-column mw-muted">
        <span>{isPair ? "clean" : "prompt"}</span>
        {isPair && <span>corrupted</span>}
      </div>
      <div ref={strip} class="mw-pair-tokens mw-code" tabIndex={clean.length > LONG ? 0 : undefined}>
        {clean.map((token, position) => (
          <PairColumn
            key={position}
            position={position}
            clean={token}
            corrupted={isPair ? (corrupted[position] ?? "") : null}
          />
        ))}
      </div>
    </div>
  );
}

/** In a long pair the first difference, which is what a reader looks for, may be out of sight. */
function useScrollToDifference(pair: readonly (readonly string[])[]) {
  const strip = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const first = strip.current?.querySelector(".mw-differs");
    if (!strip.current || !first) return;
    const [box, target] = [strip.current.getBoundingClientRect(), first.getBoundingClientRect()];
    if (target.bottom > box.bottom || target.top < box.top) strip.current.scrollTop += target.top - box.top;
  }, pair);
  return strip;
}

function PairColumn(props: { position: number; clean: string; corrupted: string | null }) {
  const { position, clean, corrupted } = props;
  const differs = corrupted !== null && clean !== corrupted;
  const words = differs ? `${quoteToken(clean)}, corrupted ${quoteToken(corrupted)}` : quoteToken(clean);
  return (
    <span class={`mw-pair-column ${differs ? "mw-differs" : ""}`} title={`position ${position}: ${words}`}>
      <span class="mw-pair-token">{tokenLabel(clean)}</span>
      {corrupted !== null && <span class="mw-pair-token">{tokenLabel(corrupted)}</span>}
    </span>
  );
}

function pairSentence(clean: readonly string[], corrupted: readonly string[], differing: number[]): string {
  const places = differing.map(
    (position) =>
      `position ${position}, ${quoteToken(clean[position] ?? "")} and ${quoteToken(corrupted[position] ?? "")}`,
  );
  if (places.length === 0) return "The clean and the corrupted prompt, which are the same";
  return `The clean and the corrupted prompt; they differ at ${places.join("; ")}`;
}

export function PairForm({ port, request }: { port: Port<Traits>; request: UsedRequest<object> }) {
  const fields: Field[] = [
    { name: "clean", label: "Clean", value: useTrait(port, "clean").value },
    { name: "corrupted", label: "Corrupted", value: useTrait(port, "corrupted").value },
    { name: "answer", label: "Answer", value: useTrait(port, "answer").value, width: 24 },
    { name: "wrong", label: "Wrong", value: useTrait(port, "wrong").value, width: 24 },
  ];
  return (
    <details class="mw-pair-form">
      <summary>Edit pair</summary>
      <PromptForm fields={fields} request={request} />
      <p class="mw-muted">Answers are one token each and usually begin with a space.</p>
    </details>
  );
}
