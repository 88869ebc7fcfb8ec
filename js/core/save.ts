/** Files for the reader, and text for the clipboard; nothing of it leaves the machine. */
import { focusedElement } from "./accessibility";

export function saveFile(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  // Notebooks follow clicks on links inside them; beside the page's content nobody does.
  document.body.append(link);
  link.click();
  link.remove();
  // The browser reads it after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Whether the clipboard took it; browsers refuse where the page is not the one in front, or not trusted. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** The old way, which also works where a notebook is served without TLS from another machine. */
function copyBySelection(text: string): boolean {
  const before = focusedElement();
  const field = document.createElement("textarea");
  field.value = text;
  field.style.cssText = "position: fixed; opacity: 0";
  document.body.append(field);
  field.select();
  let copied = false;
  try {
    copied = document.execCommand("copy");
  } catch {
    copied = false;
  }
  field.remove();
  before?.focus();
  return copied;
}

/** A name that every file system takes: "attention-smollm2-135m.png". */
export function fileName(parts: readonly string[], ending: string): string {
  const words = parts.map((part) =>
    part
      .normalize("NFKC")
      .replace(/[^\p{Letter}\p{Number}.]+/gu, "-")
      .replace(/^[-.]+|[-.]+$/g, "")
      .slice(0, 60),
  );
  return `${words.filter(Boolean).join("-").toLowerCase() || "picture"}.${ending}`;
}
