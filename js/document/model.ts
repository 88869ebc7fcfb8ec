/** What stands in a page for a model of ipywidgets: values in memory, and nobody at the other end. */
import type { AnyModel } from "@anywidget/types";

type Listener = (...args: unknown[]) => void;

/** The id in a reference, as ipywidgets and anywidget write them. */
const REFERENCE = /^(?:IPY_MODEL_|anywidget:)(.+)$/;

export function referredId(reference: unknown): string | null {
  return (typeof reference === "string" && REFERENCE.exec(reference)?.[1]) || null;
}

export class MemoryModel {
  readonly widget_manager: { get_model(id: string): Promise<AnyModel> };
  readonly #traits: Record<string, unknown>;
  readonly #listeners = new Map<string, Set<Listener>>();

  /** `others` are the models that its traits may refer to, by id. */
  constructor(traits: Readonly<Record<string, unknown>>, others: ReadonlyMap<string, MemoryModel>) {
    this.#traits = { ...traits };
    this.widget_manager = {
      get_model: async (id) => {
        const found = others.get(id);
        if (!found) throw new Error(`There is no ${id} in the document.`);
        return found.asModel;
      },
    };
  }

  /** As the type that hosts give; only what ours use is here. */
  get asModel(): AnyModel {
    return this as unknown as AnyModel;
  }

  get(name: string): unknown {
    return this.#traits[name];
  }

  set(name: string, value: unknown): void {
    this.update({ [name]: value });
  }

  /** All at once, then listeners hear of each. */
  update(changes: Readonly<Record<string, unknown>>): void {
    const changed = Object.keys(changes).filter((name) => this.#traits[name] !== changes[name]);
    Object.assign(this.#traits, changes);
    for (const name of changed) {
      for (const listener of [...(this.#listeners.get(`change:${name}`) ?? [])]) listener();
    }
  }

  save_changes(): void {}

  on(event: string, listener: Listener): void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
  }

  off(event: string, listener: Listener): void {
    this.#listeners.get(event)?.delete(listener);
  }
}
