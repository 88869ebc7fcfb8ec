import type { RenderProps } from "@anywidget/types";
import { openDocument, type SharedModels } from "../document";

/** The name of the object that the scripts of this build leave in the page; the build puts it here. */
declare const REGISTRY: string;

const views = () =>
  (globalThis as unknown as Record<string, { views: Record<string, unknown> }>)[REGISTRY]?.views ?? {};

export default {
  open: (text: string, el: HTMLElement, signal: AbortSignal, shared?: SharedModels) =>
    openDocument(text, el, views(), signal, shared),

  render({ model, el, signal }: RenderProps): () => void {
    const ended = new AbortController();
    const whole = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
    void openDocument(String(model.get("text")), el, views(), whole);
    return () => ended.abort();
  },
};
