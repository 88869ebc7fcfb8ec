/** The model that anywidget gives to render(), and the kernel's side of it in the test's hands. */
import type { AnyModel } from "@anywidget/types";

type Listener = (...args: unknown[]) => void;

export interface WireMessage {
  kind: string;
  id: string;
  name?: string;
  args?: unknown;
}

export class FakeModel {
  readonly sent: WireMessage[] = [];
  saves = 0;
  /** As ipywidgets' manager: the models that this one's traits may refer to, by "IPY_MODEL_" and their id. */
  readonly widget_manager = { get_model: (id: string) => this.#find(id) };
  readonly #traits: Record<string, unknown>;
  readonly #others: Record<string, FakeModel>;
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(traits: Record<string, unknown> = {}, others: Record<string, FakeModel> = {}) {
    this.#traits = { ...traits };
    this.#others = others;
  }

  /** As the type that hosts give; only what our host uses is here. */
  get asModel(): AnyModel {
    return this as unknown as AnyModel;
  }

  get listenerCount(): number {
    return [...this.#listeners.values()].reduce((count, listeners) => count + listeners.size, 0);
  }

  get(name: string): unknown {
    return this.#traits[name];
  }

  set(name: string, value: unknown): void {
    this.#traits[name] = value;
    this.trigger(`change:${name}`);
  }

  async #find(id: string): Promise<FakeModel> {
    const found = this.#others[id];
    if (!found) throw new Error(`Model ${id} was not found.`);
    return found;
  }

  save_changes(): void {
    this.saves += 1;
  }

  send(message: WireMessage): void {
    this.sent.push(message);
  }

  on(event: string, listener: Listener): void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
  }

  off(event: string, listener: Listener): void {
    this.#listeners.get(event)?.delete(listener);
  }

  trigger(event: string, ...args: unknown[]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(...args);
  }

  /** A message from the kernel. */
  receive(message: object, buffers: DataView[] = []): void {
    this.trigger("msg:custom", message, buffers);
  }

  /** The latest request of this name that the view has sent. */
  request(name: string): WireMessage {
    const found = this.sent.findLast((message) => message.kind === "mw-request" && message.name === name);
    if (!found) throw new Error(`No request ${name} was sent.`);
    return found;
  }
}
