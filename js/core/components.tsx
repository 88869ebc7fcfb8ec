/** The parts that all views are put together from: header, buttons, prompt form, legend, status line. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { titleOf, useAnswers } from "./answers";
import { type ColourMap, gradient } from "./colour";
import { formatNumber } from "./format";
import { useFrame } from "./frame";
import type { Intervention } from "./intervention";
import { Menu } from "./menu";
import { DETACHED, type Port } from "./port";
import type { RequestHandle, UsedRequest } from "./request";
import { useTrait } from "./trait";

export interface HeaderProps {
  name: string;
  modelName: string;
  /** The user's own title; "" for none. */
  title: string;
  /** A word about the picture's state, as "modified". */
  badge?: string | null;
  /** Controls, at the right. */
  children?: ComponentChildren;
}

export function Header({ name, modelName, title, badge, children }: HeaderProps) {
  const frame = useFrame();
  const { detached, recorded } = frame.capabilities.value;
  const busy = frame.requests.value.some((request) => request.pending.value);
  const modified = useModified();
  return (
    <div class="mw-header">
      <bdi class="mw-title">{title || name}</bdi>
      <bdi class="mw-muted">{title ? `${name} · ${modelName}` : modelName}</bdi>
      {(badge || modified) && (
        <span class="mw-badge" title={modified ?? undefined}>
          {badge ?? "modified"}
        </span>
      )}
      {detached && (
        <span
          class="mw-badge"
          title={
            recorded
              ? "What is shown is of other inputs: for these, nothing was recorded when the page was made."
              : "Run the cell again to get a picture that answers."
          }
        >
          {recorded ? "needs a running kernel" : "kernel gone: run the cell again"}
        </span>
      )}
      {busy && <span class="mw-spinner" aria-hidden="true" />}
      <span class="mw-space" />
      {children}
      <Menu modelName={modelName} />
    </div>
  );
}

/** What is done to the model that the picture shows, in words; null: nothing. */
function useModified(): string | null {
  const port = useFrame().port as unknown as Port<ModelTraits>;
  const count = useTrait(port, "interventions").value?.length ?? 0;
  const changes = count > 0 && `${count} ${count === 1 ? "intervention" : "interventions"} switched on.`;
  const hooks =
    useTrait(port, "hooks_added").value &&
    "Hooks were added to the model, with which every run begins; model.reset_hooks() removes them.";
  return [changes, hooks].filter(Boolean).join(" ") || null;
}

/** Of pictures that run a model; others have neither. */
interface ModelTraits {
  interventions?: Intervention[];
  hooks_added?: boolean;
}

export interface Field {
  /** The name of the argument in the request. */
  name: string;
  label: string;
  value: string;
  /** In characters; without it the field takes the room there is. */
  width?: number;
}

/** One or more text fields that are sent together: `request` gets {name: text, …}. Its error shows below. */
export function PromptForm({ fields, request }: { fields: readonly Field[]; request: UsedRequest<unknown> }) {
  const { live, any } = useAnswers();
  const [draft, setDraft] = useState<Readonly<Record<string, string>>>({});
  // What the kernel holds wins over an old draft.
  useEffect(() => setDraft({}), [JSON.stringify(fields)]);
  const pending = request.pending.value;
  const submit = (event: Event) => {
    event.preventDefault();
    if (pending) request.abort();
    else request.send(Object.fromEntries(fields.map(({ name, value }) => [name, draft[name] ?? value])));
  };
  return (
    <>
      <form class="mw-prompt" onSubmit={submit}>
        {fields.map(({ name, label, value, width }) => (
          <label key={name} class="mw-field" style={width ? { flex: `0 1 ${width}ch` } : undefined}>
            <span class="mw-muted">{label}</span>
            <textarea
              class="mw-input mw-code"
              name={name}
              rows={1}
              value={draft[name] ?? value}
              readOnly={pending || !live}
              title={titleOf(live || !any)}
              spellcheck={false}
              autocomplete="off"
              onInput={(event) => setDraft({ ...draft, [name]: event.currentTarget.value })}
              onKeyDown={submitOnEnter}
            />
          </label>
        ))}
        {any && (
          <button class="mw-button" type="submit" aria-busy={pending} disabled={!live} title={titleOf(live)}>
            {pending ? "Stop" : "Run"}
          </button>
        )}
      </form>
      <ErrorLine request={request} />
    </>
  );
}

/** A prompt may have line breaks, which an <input> would drop; so Enter submits, and Shift+Enter breaks the line. */
export function submitOnEnter(event: KeyboardEvent): void {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (event.currentTarget instanceof HTMLTextAreaElement) event.currentTarget.form?.requestSubmit();
}

/** Why a request failed, in the kernel's words; the picture stays as it was. */
export function ErrorLine({ request }: { request: RequestHandle }) {
  const error = request.error.value;
  if (!error) return null;
  // Nothing went wrong: a saved notebook, for one, begins without its kernel.
  if (error.errorType === DETACHED) return <div class="mw-muted">{error.message}</div>;
  return (
    <div class="mw-error" role="alert">
      {error.message}
    </div>
  );
}

/** How much of something long is done. */
export function ProgressBar({ label, done, total }: { label: string; done: number; total: number }) {
  return (
    <div
      class="mw-progress"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={total}
      aria-valuenow={done}
    >
      <div style={{ width: `${total > 0 ? (100 * done) / total : 0}%` }} />
    </div>
  );
}

export interface ButtonProps {
  onClick: () => void;
  children: ComponentChildren;
  disabled?: boolean;
  title?: string;
  label?: string;
}

export function Button({ onClick, children, disabled, title, label }: ButtonProps) {
  return (
    <button
      type="button"
      class="mw-button"
      disabled={disabled}
      title={title}
      aria-label={label}
      onClick={onClick}
    >
      {children}
    </button>
  );
}

export interface ChoiceProps<Value extends string> {
  label: string;
  options: readonly { value: Value; text: string }[];
  value: Value;
  onChange: (value: Value) => void;
}

/** One of a few, side by side. */
export function Choice<Value extends string>({ label, options, value, onChange }: ChoiceProps<Value>) {
  return (
    <fieldset class="mw-choice" aria-label={label}>
      {options.map((option) => (
        <button
          key={option.value}
          type="button"
          class="mw-button"
          aria-pressed={option.value === value}
          onClick={() => onChange(option.value)}
        >
          {option.text}
        </button>
      ))}
    </fieldset>
  );
}

export interface LegendProps {
  /** What the colours stand for. */
  label: string;
  map: ColourMap;
  /** Values at the bar's two ends. */
  domain: readonly [number, number];
  /** Values to write under the bar; the ends when not given. */
  ticks?: readonly number[];
  format?: (value: number) => string;
  /** Marks beside the bar, as for cells without a value. */
  children?: ComponentChildren;
}

export function Legend({ label, map, domain, ticks = domain, format = formatNumber, children }: LegendProps) {
  const [low, high] = domain;
  const place = (value: number) => (high === low ? 0 : (100 * (value - low)) / (high - low));
  return (
    <div class="mw-legend">
      <span class="mw-muted">{label}</span>
      <span class="mw-legend-scale">
        <span class="mw-legend-bar" style={{ background: gradient(map) }} />
        <span class="mw-legend-ticks">
          {ticks.map((tick) => (
            <span key={tick} style={{ left: `${place(tick)}%` }}>
              {format(tick)}
            </span>
          ))}
        </span>
      </span>
      {children}
    </div>
  );
}

/** A legend entry for hatched cells (see hatchRect). */
export function HatchMark({ children }: { children: ComponentChildren }) {
  return (
    <span class="mw-legend-mark">
      <span class="mw-hatch" aria-hidden="true" />
      <span class="mw-muted">{children}</span>
    </span>
  );
}

/** What is under the pointer or the focus, said aloud too; or a hint. At its end, what the kernel is doing. */
export function StatusLine({ hint, doing = "Running the model…" }: { hint: string; doing?: string }) {
  const frame = useFrame();
  const activity = activityText(frame.requests.value, doing);
  return (
    <div class="mw-footer">
      <span class="mw-status" aria-live="polite">
        {frame.status.value}
      </span>
      {!frame.status.value && <span class="mw-muted">{hint}</span>}
      <span class="mw-space" />
      <span class="mw-activity" role="status">
        {activity && <span class="mw-spinner" aria-hidden="true" />}
        {activity}
      </span>
    </div>
  );
}

function activityText(requests: readonly RequestHandle[], doing: string): string {
  const states = requests.map((request) => request.progress.value);
  if (states.includes("unanswered")) return "The kernel has not answered yet; it may be busy or stopped.";
  if (states.includes("waiting")) return "Waiting: the model is busy with another cell, picture or request.";
  return states.some((state) => state !== null) ? doing : "";
}
