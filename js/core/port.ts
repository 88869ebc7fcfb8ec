/** All that a view knows of the outside. A host (a kernel, a saved document, a test) makes one. */

export interface Capabilities {
  /** A kernel answers requests. */
  readonly live: boolean;
  /** What the picture shows is not what it is asked for, and nobody is there to answer: a kernel that is gone, or one that never was. */
  readonly detached: boolean;
  /** There is no kernel, but what one has answered before. */
  readonly recorded?: Recorded | undefined;
}

/** What a document can answer. */
export interface Recorded {
  /** Whether this request would be answered now. */
  answers(name: string, args: object): boolean;
  /** Whether it has what the picture shows with these inputs in place of those that it has now. */
  shows(inputs: object): boolean;
}

/** How far a request has come; `unanswered`: the kernel has not even acknowledged it, and it keeps waiting. */
export type RequestProgress = "sent" | "running" | "waiting" | "unanswered";

export interface RequestOptions {
  signal?: AbortSignal;
  onProgress?: (value: unknown) => void;
  onState?: (state: RequestProgress) => void;
}

/** `Traits` names the synced values and their types; arrays arrive decoded (see arrays.ts). */
export interface Port<Traits extends object> {
  readonly capabilities: Capabilities;
  get<Name extends keyof Traits & string>(name: Name): Traits[Name];
  /** Sets the value here and in the kernel; listeners hear of it as of any other change. */
  set<Name extends keyof Traits & string>(name: Name, value: Traits[Name]): void;
  on(name: keyof Traits & string, listener: () => void, signal: AbortSignal): void;
  onCapabilities(listener: () => void, signal: AbortSignal): void;
  /** Rejects with RequestError, or with an AbortError when `options.signal` aborts or the kernel cancels. */
  request<Answer>(name: string, args: object, options?: RequestOptions): Promise<Answer>;
  /** Draws another view, to which a trait refers, into `el`. Rejects where the host cannot. */
  drawChild(reference: string, el: HTMLElement, signal: AbortSignal): Promise<void>;
}

/** The type of the error of a request that no kernel is there to answer. */
export const DETACHED = "Detached";

/** The kernel answered with an error; its message is written for the reader of the picture. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  /** The Python class of the error, as "ValueError"; or DETACHED. */
  readonly errorType: string;

  constructor(message: string, errorType: string) {
    super(message);
    this.errorType = errorType;
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
