/** Puts a view into a page: its root, the shared style, its state for the eyes of tests, and a fence around its errors. */
import type { Port } from "./port";
import themeCss from "./theme.css?inline";

/** A view draws into `el`, binds its listeners to `signal`, and returns what else there is to clean up. */
export type View<Traits extends object> = (
  el: HTMLElement,
  port: Port<Traits>,
  signal: AbortSignal,
) => () => void;

export type ViewState = "loading" | "ready" | "busy" | "error" | "detached";

export function mount<Traits extends object>(
  host: HTMLElement,
  kind: string,
  view: View<Traits>,
  port: Port<Traits>,
  signal: AbortSignal,
): void {
  const root = document.createElement("div");
  root.className = "mechwidgets";
  root.dataset.view = kind;
  setViewState(root, "loading");
  // Without this, a key typed in the picture is also a notebook command ("d d" deletes the cell). JupyterLab looks for it
  // on the way up to what a command is for, and many are for whatever has the focus: so that has it too.
  root.dataset.lmSuppressShortcuts = "true";
  const suppress = ({ target }: Event) => {
    if (target instanceof HTMLElement) target.dataset.lmSuppressShortcuts = "true";
  };
  root.addEventListener("focusin", suppress, { signal });
  const style = document.createElement("style");
  style.textContent = themeCss;
  const body = document.createElement("div");
  body.className = "mw-view";
  root.append(style, body);
  host.append(root);
  signal.addEventListener("abort", () => root.remove(), { once: true });
  try {
    signal.addEventListener("abort", view(body, port, signal), { once: true });
  } catch (error) {
    showFailure(body, error);
  }
}

export function setViewState(root: HTMLElement, state: ViewState): void {
  root.dataset.state = state;
}

/** The root that `mount` made around `el`. */
export function viewRoot(el: HTMLElement): HTMLElement {
  const root = el.closest<HTMLElement>(".mechwidgets");
  if (!root)
    throw new Error("A view is drawn by mount(); this element is not inside a root that mount made.");
  return root;
}

/** Writes a drawing error into the picture: in a notebook the console is out of sight. */
export function showFailure(body: HTMLElement, error: unknown): void {
  const root = viewRoot(body);
  setViewState(root, "error");
  const message = document.createElement("div");
  message.className = "mw-error mw-failure";
  message.setAttribute("role", "alert");
  const title = document.createElement("strong");
  title.textContent = `The ${root.dataset.view} picture could not be drawn.`;
  const reason = document.createElement("span");
  reason.textContent = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  message.append(title, reason);
  body.replaceChildren(message);
}
