/** The last script of a page: draws each document that stands before it, where it stands. */

/** The name of the object that the scripts of this build leave in the page; the build puts it here. */
declare const REGISTRY: string;

interface Documents {
  open(text: string, el: HTMLElement, signal: AbortSignal): Promise<void>;
}

const TYPE = "application/vnd.mechwidgets.views+json";

function drawAll(): void {
  const page = globalThis as unknown as Record<string, { views: { document: Documents } }>;
  for (const script of document.querySelectorAll<HTMLScriptElement>(`script[type="${TYPE}"]`)) {
    // Another part of the page may have drawn it.
    if (script.dataset.drawn) continue;
    script.dataset.drawn = "true";
    const el = document.createElement("div");
    script.after(el);
    void page[REGISTRY]?.views.document.open(script.textContent ?? "", el, new AbortController().signal);
  }
}

drawAll();
