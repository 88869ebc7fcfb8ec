/**
 * A Port on a saved view: its traits in memory, its requests answered by what the kernel answered when it was saved.
 *
 * An answer holds for the inputs with which it was given. So a view is in one of the states that were recorded, or in
 * none; then what it shows stays as it was, and it says so.
 */
import { isArray, type NdArray } from "../core/arrays";
import { type Capabilities, DETACHED, type Port, RequestError } from "../core/port";
import { type TraitPort, traitPort } from "../hosts/traits";
import { canonical } from "./canonical";
import type { MemoryModel } from "./model";
import type { SavedState, SavedView } from "./read";

type Traits = Record<string, unknown>;

/** Requests by which a view changes its own inputs. */
const MOVES = new Set(["set_inputs", "show"]);
const NOT_RECORDED = "This was not recorded when the page was made: it needs a running kernel.";

export function recordedPort(
  view: SavedView,
  model: MemoryModel,
  drawChild: Port<Traits>["drawChild"],
  signal: AbortSignal,
): Port<Traits> {
  const traits = traitPort<Traits>(model.asModel, signal);
  const recording = new Recording(view, model, traits, signal);
  return {
    ...traits,
    get capabilities() {
      return recording.capabilities;
    },
    onCapabilities: (listener, until) => recording.listen(listener, until),
    async request<Answer>(name: string, args: object) {
      const found = recording.answer(name, args);
      if (!found) throw new RequestError(NOT_RECORDED, DETACHED);
      return found.value as Answer;
    },
    drawChild,
  };
}

class Recording {
  readonly #view: SavedView;
  readonly #model: MemoryModel;
  readonly #traits: TraitPort<Traits>;
  readonly #events = new EventTarget();
  readonly #inputs: readonly string[];
  readonly #states: ReadonlyMap<string, SavedState>;
  /** The traits that differ between states. */
  readonly #moving: ReadonlySet<string>;
  readonly #answers = new WeakMap<SavedState, ReadonlyMap<string, unknown>>();
  #state: SavedState | null;
  #follows = true;

  constructor(view: SavedView, model: MemoryModel, traits: TraitPort<Traits>, signal: AbortSignal) {
    const saved: SavedState = { inputs: {}, traits: {}, answers: view.answers };
    const states = [...view.states, saved];
    this.#view = view;
    this.#model = model;
    this.#traits = traits;
    this.#inputs = view.inputs.filter((name) => name in view.traits);
    this.#moving = new Set(states.flatMap((state) => Object.keys(state.traits)));
    const first = Object.fromEntries(this.#inputs.map((name) => [name, view.traits[name]]));
    this.#states = new Map(states.map((state) => [keyOf({ ...first, ...state.inputs }), state]));
    this.#state = saved;
    for (const name of this.#inputs) traits.on(name, () => this.#follow(), signal);
  }

  get capabilities(): Capabilities {
    return {
      live: false,
      detached: this.#state === null,
      recorded: {
        answers: (name, args) => this.#find(name, args) !== null,
        shows: (inputs) => this.#stateWith(inputs) !== undefined,
      },
    };
  }

  listen(listener: () => void, signal: AbortSignal): void {
    this.#events.addEventListener("change", listener, { signal });
  }

  /** Of a request; null where nobody knows. A request that changes inputs changes them. */
  answer(name: string, args: object): { value: unknown } | null {
    const found = this.#find(name, args);
    if (found && MOVES.has(name)) this.#set(args as Traits);
    return found;
  }

  #find(name: string, args: object): { value: unknown } | null {
    if (name === "code") return { value: { code: this.#view.code } };
    if (MOVES.has(name)) return this.#stateWith(args) ? { value: {} } : null;
    const answers = this.#state && this.#answersOf(this.#state);
    if (!answers) return null;
    const key = answerKey(name, args);
    if (answers.has(key)) return { value: answers.get(key) };
    const list = this.#view.lists[name];
    const members = list === undefined ? null : (args as Traits)[list];
    if (list === undefined || !Array.isArray(members)) return null;
    const keys = members.map((member) => answerKey(name, { ...args, [list]: [member] }));
    if (!keys.every((one) => answers.has(one))) return null;
    return { value: joined(keys.map((one) => answers.get(one))) };
  }

  #answersOf(state: SavedState): ReadonlyMap<string, unknown> {
    const known = this.#answers.get(state);
    if (known) return known;
    const answers = new Map(state.answers.map(({ name, args, value }) => [answerKey(name, args), value]));
    this.#answers.set(state, answers);
    return answers;
  }

  #stateWith(inputs: object): SavedState | undefined {
    const now = Object.fromEntries(this.#inputs.map((name) => [name, this.#traits.get(name)]));
    return this.#states.get(keyOf({ ...now, ...inputs }));
  }

  /** Several inputs change to one state, not through those between. */
  #set(inputs: Traits): void {
    this.#follows = false;
    for (const [name, value] of Object.entries(inputs)) this.#traits.set(name, value);
    this.#follows = true;
    this.#follow();
  }

  #follow(): void {
    if (!this.#follows) return;
    const state = this.#stateWith({}) ?? null;
    if (state === this.#state) return;
    this.#state = state;
    if (state) {
      const names = [...this.#moving].filter((name) => !this.#inputs.includes(name));
      const shown = names.map((name) => [
        name,
        Object.hasOwn(state.traits, name) ? state.traits[name] : this.#view.traits[name],
      ]);
      this.#model.update(Object.fromEntries(shown));
    }
    this.#events.dispatchEvent(new Event("change"));
  }
}

function answerKey(name: string, args: object): string {
  return `${name} ${keyOf(args)}`;
}

/** What is null in Python may be missing in JavaScript, and the other way round. */
function keyOf(value: unknown): string {
  return canonical(withoutNull(value));
}

function withoutNull(value: unknown): unknown {
  if (isArray(value)) return { ...value, data: [...value.data] };
  if (Array.isArray(value)) return value.map(withoutNull);
  if (typeof value !== "object" || value === null) return value;
  const parts = Object.entries(value).filter(([, part]) => part !== null && part !== undefined);
  return Object.fromEntries(parts.map(([name, part]) => [name, withoutNull(part)]));
}

/** Answers about one member each as the answer about all: their lists put together. */
function joined(answers: readonly unknown[]): unknown {
  const [first] = answers;
  if (typeof first !== "object" || first === null) return first;
  return Object.fromEntries(
    Object.entries(first).map(([name, part]) => [
      name,
      Array.isArray(part) ? answers.flatMap((one) => (one as Record<string, NdArray[]>)[name] ?? []) : part,
    ]),
  );
}
