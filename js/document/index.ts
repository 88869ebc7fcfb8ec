/** A document in a page: its pictures one below the other, linked as they were. */
import { mount } from "../core/mount";
import type { Port } from "../core/port";
import { MemoryModel, referredId } from "./model";
import { readDocument, type SavedDocument, type SavedView } from "./read";
import { recordedPort } from "./recorded";

/** What a page has to draw a kind of view with. */
export interface Drawn {
  draw(el: HTMLElement, port: Port<Record<string, unknown>>, signal: AbortSignal): void;
}

/** What the documents of a page share, by kind and id. */
export type SharedModels = Map<string, MemoryModel>;

/** Draws the document in the text; what is wrong with it is said in its place. Documents that are given the same `shared` are linked. */
export async function openDocument(
  text: string,
  el: HTMLElement,
  views: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
  shared: SharedModels = new Map(),
): Promise<void> {
  el.dataset.document = "loading";
  try {
    const document = await readDocument(text);
    if (signal.aborted) return;
    new Pages(document, views, shared, signal).draw(el);
    el.dataset.document = "ready";
  } catch (error) {
    el.dataset.document = "error";
    showError(el, error, signal);
  }
}

class Pages {
  readonly #document: SavedDocument;
  readonly #views: Readonly<Record<string, unknown>>;
  readonly #signal: AbortSignal;
  readonly #models = new Map<string, MemoryModel>();

  constructor(
    document: SavedDocument,
    views: Readonly<Record<string, unknown>>,
    shared: SharedModels,
    signal: AbortSignal,
  ) {
    this.#document = document;
    this.#views = views;
    this.#signal = signal;
    for (const { id, traits } of document.views) {
      this.#models.set(id, new MemoryModel(traits, this.#models));
    }
    for (const { id, kind, traits } of document.shared) {
      const there = shared.get(`${kind} ${id}`);
      // As in a notebook, what was said last holds in all pictures.
      there?.update(traits);
      const model = there ?? new MemoryModel(traits, new Map());
      shared.set(`${kind} ${id}`, model);
      this.#models.set(id, model);
    }
  }

  draw(el: HTMLElement): void {
    for (const id of this.#document.shown) {
      const place = document.createElement("div");
      el.append(place);
      this.#drawView(id, place, this.#signal);
    }
    this.#signal.addEventListener("abort", () => el.replaceChildren(), { once: true });
  }

  #drawView(id: string, el: HTMLElement, signal: AbortSignal): void {
    const view = this.#document.views.find((one) => one.id === id);
    const model = this.#models.get(id);
    if (!view || !model) throw new Error(`There is no view ${id} in the document.`);
    const drawn = this.#codeOf(view);
    drawn.draw(
      el,
      recordedPort(
        view,
        model,
        (reference, child, until) => this.#drawChild(reference, child, until),
        signal,
      ),
      signal,
    );
  }

  async #drawChild(reference: string, el: HTMLElement, signal: AbortSignal): Promise<void> {
    this.#drawView(referredId(reference) ?? reference, el, signal);
  }

  #codeOf({ kind }: SavedView): Drawn {
    const code = Object.hasOwn(this.#views, kind) ? this.#views[kind] : undefined;
    if (typeof code === "object" && code !== null && "draw" in code) return code as Drawn;
    throw new Error(
      `The document has a picture of the kind ${kind}, and this page has no code that draws it.`,
    );
  }
}

function showError(el: HTMLElement, error: unknown, signal: AbortSignal): void {
  const fails = () => {
    throw error;
  };
  mount(el, "document", fails, {} as Port<object>, signal);
}
