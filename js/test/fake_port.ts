/** A Port without a kernel: traits in memory, requests answered by the test. */
import { mount, type View } from "../core/mount";
import type { Capabilities, Port, RequestOptions } from "../core/port";

/** Answers one request; may wait, report progress, or throw a RequestError. */
export type Answerer = (args: object, options: RequestOptions) => unknown;

export interface SentRequest {
  readonly name: string;
  readonly args: object;
  readonly signal: AbortSignal | undefined;
}

export class FakePort<Traits extends object> implements Port<Traits> {
  capabilities: Capabilities = { live: true, detached: false };
  /** Everything the view asked, in order. */
  readonly sent: SentRequest[] = [];
  readonly #traits: Traits;
  readonly #answerers: Record<string, Answerer>;
  readonly #events = new EventTarget();
  readonly #children = new Map<string, (el: HTMLElement, signal: AbortSignal) => void>();
  #listeners = 0;

  constructor(traits: Traits, answerers: Record<string, Answerer> = {}) {
    this.#traits = { ...traits };
    this.#answerers = { ...answerers };
  }

  /** The traits as they are now. */
  get traits(): Traits {
    return { ...this.#traits };
  }

  /** Listeners whose signal has not aborted. */
  get listeners(): number {
    return this.#listeners;
  }

  get<Name extends keyof Traits & string>(name: Name): Traits[Name] {
    return this.#traits[name];
  }

  set<Name extends keyof Traits & string>(name: Name, value: Traits[Name]): void {
    this.update({ [name]: value } as unknown as Partial<Traits>);
  }

  /** As the kernel changes traits: all at once, then the listeners hear of each. */
  update(changes: Partial<Traits>): void {
    Object.assign(this.#traits, changes);
    for (const name of Object.keys(changes)) this.#events.dispatchEvent(new Event(name));
  }

  on(name: keyof Traits & string, listener: () => void, signal: AbortSignal): void {
    this.#listen(name, listener, signal);
  }

  onCapabilities(listener: () => void, signal: AbortSignal): void {
    this.#listen(" capabilities", listener, signal);
  }

  setCapabilities(capabilities: Capabilities): void {
    this.capabilities = capabilities;
    this.#events.dispatchEvent(new Event(" capabilities"));
  }

  /** What a trait may refer to. */
  addChild<T extends object>(reference: string, kind: string, view: View<T>, port: Port<T>): void {
    this.#children.set(reference, (el, signal) => mount(el, kind, view, port, signal));
  }

  async drawChild(reference: string, el: HTMLElement, signal: AbortSignal): Promise<void> {
    const draw = this.#children.get(reference);
    if (!draw) throw new Error(`The test has no view ${reference}.`);
    draw(el, signal);
  }

  answer(name: string, answerer: Answerer): void {
    this.#answerers[name] = answerer;
  }

  sentTo(name: string): SentRequest[] {
    return this.sent.filter((request) => request.name === name);
  }

  request<Answer>(name: string, args: object, options: RequestOptions = {}): Promise<Answer> {
    this.sent.push({ name, args, signal: options.signal });
    options.onState?.("sent");
    return new Promise((resolve, reject) => {
      options.signal?.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
      const answerer = this.#answerers[name];
      if (!answerer) throw new Error(`The test gives no answer to ${name}.`);
      Promise.resolve()
        .then(() => answerer(args, options))
        .then((answer) => resolve(answer as Answer), reject);
    });
  }

  #listen(event: string, listener: () => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#listeners += 1;
    this.#events.addEventListener(event, listener, { signal });
    signal.addEventListener("abort", () => {
      this.#listeners -= 1;
    });
  }
}

/** An answer that the test gives when it wants to. */
export interface Held<Answer> {
  readonly answerer: () => Promise<Answer>;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

export function held<Answer>(): Held<Answer> {
  let settle: [(answer: Answer) => void, (error: unknown) => void] | null = null;
  const promise = new Promise<Answer>((resolve, reject) => {
    settle = [resolve, reject];
  });
  // A rejection that comes before anyone asked is not an unhandled one.
  promise.catch(() => undefined);
  return {
    answerer: () => promise,
    resolve: (answer) => settle?.[0](answer),
    reject: (error) => settle?.[1](error),
  };
}
