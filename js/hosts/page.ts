/** The last script of a page: draws each document that stands before it, where it stands. */

/** The name of the object that the scripts of this build leave in the page; the build puts it here. */
declare const REGISTRY: string;

interface Page {
  views: {
    document: { open(text: string, el: HTMLElement, signal: AbortSignal, shared: unknown): Promise<void> };
  };
  /** What documents of this page share; another part of the page may have begun it. */
  shared?: Map<unknown, unknown>;
}

const TYPE = "application/vnd.mechwidgets.views+json";

async function drawAll(): Promise<void> {
  const page = (globalThis as unknown as Record<string, Page>)[REGISTRY];
  if (!page) return;
  page.shared ??= new Map();
  const { signal } = new AbortController();
  // One after the other: the first are there soon, and what they share is as the last says.
  for (const [text, el] of places()) await page.views.document.open(text, el, signal, page.shared);
}

/** Where a picture is to be drawn, and the text of its document. */
function places(): [text: string, el: HTMLElement][] {
  const scripts = document.querySelectorAll<HTMLScriptElement>(`script[type="${TYPE}"]`);
  return [...scripts]
    .filter((script) => !script.dataset.drawn) // Another part of the page may have drawn it.
    .map((script) => {
      script.dataset.drawn = "true";
      const el = document.createElement("div");
      el.dataset.document = "loading";
      script.after(el);
      return [script.textContent ?? "", el];
    });
}

void drawAll();
