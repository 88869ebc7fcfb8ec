/** The models of ipywidgets as our hosts use them. */
import type { AnyModel } from "@anywidget/types";

/** `model.on` with an end. The listener is given no arguments that hosts differ in. */
export function listen(
  model: AnyModel,
  event: string,
  listener: (...args: unknown[]) => void,
  signal: AbortSignal,
): void {
  if (signal.aborted) return;
  model.on(event, listener);
  signal.addEventListener("abort", () => model.off(event, listener), { once: true });
}

/** Values set together (a layer and a head) reach the kernel in one message. */
export function oncePerTask(action: () => void): () => void {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    queueMicrotask(() => {
      due = false;
      action();
    });
  };
}
