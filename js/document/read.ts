/**
 * Documents of pictures: their traits and recorded answers, read and checked; the twin of mechwidgets/share/document.py.
 *
 * Nothing in a document is run or becomes markup, and no more memory is taken than what its own length makes possible.
 */
import schema from "../../mechwidgets/share/document.schema.json";
import { decodeArrays } from "../core/arrays";
import { canonical } from "./canonical";
import { type Schema, schemaError } from "./schema";
import { checksum } from "./sha256";

const KIND = "views";
const VERSION = 1;
const MOST_INFLATED = 256 * 1024 ** 2;
/** Deflate makes at most so many bytes of one. */
const MOST_RATIO = 1032;

/** What the kernel answered to a request. */
export interface Reply {
  readonly name: string;
  readonly args: object;
  readonly value: unknown;
}

/** What a picture shows with other inputs than those that it was saved with; what is not there is as it was saved. */
export interface SavedState {
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly traits: Readonly<Record<string, unknown>>;
  readonly answers: readonly Reply[];
}

export interface SavedView {
  readonly id: string;
  readonly kind: string;
  /** The Python that draws it. */
  readonly code: string;
  readonly model: {
    readonly name: string;
    readonly revision: string | null;
    readonly loading: string | null;
  } | null;
  /** The traits that its numbers are computed from. */
  readonly inputs: readonly string[];
  /** Requests whose answer about a list is that about each of its members, put together; and the argument that is the list. */
  readonly lists: Readonly<Record<string, string>>;
  readonly traits: Readonly<Record<string, unknown>>;
  /** With the inputs that it was saved with. */
  readonly answers: readonly Reply[];
  readonly states: readonly SavedState[];
  /** What could have been recorded and was not, in words. */
  readonly left_out: readonly string[];
}

/** What several pictures share; their traits name it by "IPY_MODEL_" and its id. */
export interface SavedShared {
  readonly id: string;
  readonly kind: "selection" | "interventions";
  readonly traits: Readonly<Record<string, unknown>>;
}

export interface SavedDocument {
  /** The ids of the views that stand one below the other. */
  readonly shown: readonly string[];
  readonly views: readonly SavedView[];
  readonly shared: readonly SavedShared[];
}

/** Why a document cannot be opened, for the reader of the page. */
export class DocumentError extends Error {
  override readonly name = "DocumentError";

  constructor(what: string) {
    super(`This is no document that this version of mechwidgets can open: ${what}.`);
  }
}

type Content = Omit<SavedDocument, "views"> & {
  views: (Omit<SavedView, "answers" | "states"> & { recorded: number | null })[];
  buffers: { sizes: number[]; deflated: string };
};

/** Rejects with a DocumentError. */
export async function readDocument(text: string): Promise<SavedDocument> {
  try {
    return await read(text);
  } catch (error) {
    if (error instanceof DocumentError) throw error;
    throw new DocumentError(error instanceof Error ? error.message.replace(/\.$/, "") : String(error));
  }
}

async function read(text: string): Promise<SavedDocument> {
  const content = await checkedContent(parsed(text, "it"));
  const buffers = await inflated(content.buffers);
  const views = content.views.map(({ recorded, ...view }): SavedView => {
    const said = recorded === null ? { answers: [], states: [] } : readRecorded(recorded, buffers);
    return { ...view, ...said, traits: decodeArrays(view.traits, buffers) as SavedView["traits"] };
  });
  const ids = [...views, ...content.shared].map(({ id }) => id);
  if (new Set(ids).size < ids.length)
    throw new DocumentError("two of its views or shared objects have one id");
  const missing = content.shown.filter((id) => !views.some((view) => view.id === id));
  if (missing.length > 0) throw new DocumentError(`it shows views that are not in it: ${missing.join(", ")}`);
  return { shown: content.shown, views, shared: content.shared };
}

function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new DocumentError(`${what} is not a whole JSON file: cut off, changed, or something else`);
  }
}

async function checkedContent(whole: unknown): Promise<Content> {
  const { mechwidgets: head, content } = whole as {
    mechwidgets?: Record<string, unknown>;
    content?: unknown;
  };
  if (typeof head !== "object" || head === null || typeof content !== "object" || content === null) {
    throw new DocumentError("it has no head of mechwidgets, or no content");
  }
  if (head.kind !== KIND) throw new DocumentError(`it is of the kind ${short(head.kind)}, expected ${KIND}`);
  if ((await checksum(new TextEncoder().encode(canonical(content)))) !== head.sha256) {
    throw new DocumentError(
      "it is damaged: its content does not have its checksum, so a part of it was changed",
    );
  }
  if (head.version !== VERSION) {
    const by = head.made_with ? `, written by mechwidgets ${short(head.made_with)}` : "";
    throw new DocumentError(
      `it is of version ${short(head.version)}${by}; this page reads version ${VERSION}. Make the page anew with that mechwidgets`,
    );
  }
  check(content, schema);
  return content as Content;
}

function check(value: unknown, against: Schema): void {
  const error = schemaError(value, against, schema);
  if (error) throw new DocumentError(error);
}

function short(value: unknown): string {
  return String(JSON.stringify(value)).replace(/^"|"$/g, "").slice(0, 40);
}

function readRecorded(
  index: number,
  buffers: readonly Uint8Array[],
): { answers: Reply[]; states: SavedState[] } {
  const bytes = buffers[index];
  if (!bytes) throw new DocumentError(`what was recorded is in buffer ${index}, of ${buffers.length}`);
  const recorded = parsed(new TextDecoder().decode(bytes), "what was recorded in it");
  check(recorded, schema.$defs.recorded);
  return decodeArrays(recorded, buffers) as { answers: Reply[]; states: SavedState[] };
}

/** The buffers, unless they claim to be more than can be. */
async function inflated({ sizes, deflated }: Content["buffers"]): Promise<Uint8Array[]> {
  const bytes = fromBase64(deflated);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > Math.min(MOST_INFLATED, MOST_RATIO * bytes.length)) {
    throw new DocumentError(
      `its buffers claim ${total} bytes, which ${bytes.length} deflated ones cannot hold`,
    );
  }
  const whole = new Uint8Array(total);
  let end = 0;
  for await (const chunk of inflate(bytes)) {
    if (end + chunk.length > total) throw new DocumentError(`its buffers are not ${total} bytes, as it says`);
    whole.set(chunk, end);
    end += chunk.length;
  }
  if (end !== total) throw new DocumentError(`its buffers are not ${total} bytes, as it says`);
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return whole.subarray(start - size, start);
  });
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    throw new DocumentError("its buffers are not base64");
  }
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

async function* inflate(bytes: Uint8Array<ArrayBuffer>): AsyncGenerator<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch {
    throw new DocumentError("its buffers are damaged: they cannot be inflated");
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
