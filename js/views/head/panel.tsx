/** A part of the picture: its title, what it shows or why it cannot, and how its numbers are made. */
import type { ComponentChildren } from "preact";
import { ErrorLine } from "../../core/components";
import type { Asked } from "./questions";

export interface PanelProps<Answer> {
  title: string;
  /** For its place in the picture. */
  kind: string;
  asked: Asked<Answer>;
  /** Beside the title. */
  controls?: ComponentChildren;
  children: (answer: Answer) => ComponentChildren;
}

export function Panel<Answer>({ title, kind, asked, controls, children }: PanelProps<Answer>) {
  const { answer, unavailable, stale, isAnswered, request } = asked;
  return (
    <section class={`mw-head-panel mw-head-${kind}`} aria-label={title} aria-busy={stale && isAnswered}>
      <div class="mw-head-title">
        <strong>{title}</strong>
        {controls}
      </div>
      <ErrorLine request={request} />
      {unavailable && <div class="mw-muted mw-head-why">Not available: {unavailable}</div>}
      {!isAnswered && <div class="mw-muted">Of another head or place it takes a running kernel.</div>}
      {answer && !unavailable && (
        <div class="mw-head-body" data-stale={stale}>
          {children(answer)}
        </div>
      )}
      {!answer && !unavailable && isAnswered && !request.error.value && <div class="mw-muted">…</div>}
    </section>
  );
}
