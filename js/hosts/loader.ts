/**
 * The module that anywidget loads for each picture, without the code that draws it: that is once in the page and once in
 * a saved notebook, as the text of models of its own, to which the picture refers.
 */
import type { AnyModel, RenderProps } from "@anywidget/types";

interface Widget {
  render(props: RenderProps): () => void;
}

/** What the scripts of one build leave in the page. */
interface Registry {
  readonly modules?: object;
  readonly views: Record<string, Widget>;
  /** The scripts that are on their way, so that fifty pictures that are drawn at once load them once. */
  readonly loading: Record<string, Promise<void>>;
}

/** The registry's name, which the build puts here. */
declare const REGISTRY: string;

const MOST_WAIT_MS = 1000;
const RUN_AGAIN = "Run the cell again to draw it.";

/** Draws a view; its code is there already, or is read from the models that the picture refers to. */
export function load(kind: string) {
  return {
    async render(props: RenderProps): Promise<() => void> {
      const { el, model, signal } = props;
      try {
        if (!registry().views[kind]) await loadScripts(kind, model);
        await whenIdle();
        if (signal?.aborted) return () => {};
        const view = registry().views[kind];
        if (view) return view.render(props);
        throw new Error(`There is no ${kind} in the code that came with it.`);
      } catch (error) {
        return showFailure(el, kind, error);
      }
    },
  };
}

/**
 * anywidget gives a model two seconds to begin, and tells it nothing more if it takes longer. So that fifty pictures that
 * come at once all begin, none is drawn while others are on their way.
 */
function whenIdle(): Promise<void> {
  return new Promise((done) => {
    if ("requestIdleCallback" in globalThis) requestIdleCallback(() => done(), { timeout: MOST_WAIT_MS });
    else setTimeout(done);
  });
}

function registry(): Registry {
  const page = globalThis as unknown as Record<string, Registry | undefined>;
  page[REGISTRY] ??= { views: {}, loading: {} };
  return page[REGISTRY];
}

/** In the order in which the picture names them: what they share, then its own. */
async function loadScripts(kind: string, model: AnyModel): Promise<void> {
  const references: unknown = model.get("_bundles");
  // A document draws pictures of several kinds itself.
  const others: unknown = model.get("_kinds");
  const names = ["core", ...(Array.isArray(others) ? others.map(String) : []), kind];
  for (const [i, name] of names.entries()) {
    await once(name, async () => run(await textOf(model, Array.isArray(references) ? references[i] : null)));
  }
}

/** What fails is tried again by the next picture. */
function once(name: string, action: () => Promise<void>): Promise<void> {
  const { loading } = registry();
  loading[name] ??= action().catch((error) => {
    delete loading[name];
    throw error;
  });
  return loading[name];
}

async function textOf(model: AnyModel, reference: unknown): Promise<string> {
  const id = /^IPY_MODEL_(.+)$/.exec(String(reference))?.[1];
  if (!id) throw new Error(`It does not say where its code is. ${RUN_AGAIN}`);
  if (typeof model.widget_manager?.get_model !== "function") {
    throw new Error("This notebook program does not give pictures the other models of the kernel.");
  }
  let text: unknown;
  try {
    text = (await model.widget_manager.get_model(id)).get("text");
  } catch (error) {
    throw new Error(
      `Its code is neither in the kernel nor in the notebook any more (${error}). ${RUN_AGAIN}`,
    );
  }
  if (typeof text !== "string" || !text) throw new Error(`Its code is empty. ${RUN_AGAIN}`);
  return text;
}

async function run(text: string): Promise<void> {
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    await import(/* @vite-ignore */ url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** As core/mount.ts shows what fails in a view, without the style, which is in the code that is missing. */
function showFailure(el: HTMLElement, kind: string, error: unknown): () => void {
  const root = document.createElement("div");
  root.className = "mechwidgets";
  root.dataset.view = kind;
  root.dataset.state = "error";
  root.setAttribute("role", "alert");
  root.textContent = `The ${kind} picture could not be drawn. ${error instanceof Error ? error.message : error}`;
  el.append(root);
  return () => root.remove();
}
