/** A Port on an anywidget model: traits by ipywidgets, requests by the messages that ARCHITECTURE.md lists. */
import type { AnyModel, Host, RenderProps } from "@anywidget/types";
import { uniqueId } from "../core/accessibility";
import { decodeArrays } from "../core/arrays";
import { mount, type View } from "../core/mount";
import { type Capabilities, DETACHED, type Port, RequestError, type RequestOptions } from "../core/port";
import { listen } from "./model";
import { traitPort } from "./traits";

/** How long the kernel may take to acknowledge a request before the picture says so. */
const ACKNOWLEDGE_MS = 5000;
const DETACHED_MESSAGE =
  "The kernel that drew this picture is gone. Run the cell again to get one that answers.";

/** The module that anywidget loads: a view bound to the model in the kernel; or to what else a page has for it. */
export function define<Traits extends object>(kind: string, view: View<Traits>) {
  return {
    draw(el: HTMLElement, port: Port<Traits>, signal: AbortSignal): void {
      mount(el, kind, view, port, signal);
    },
    render({ model, el, signal, host }: RenderProps): () => void {
      // A host older than anywidget 0.11 gives no signal and calls the function returned here.
      const ended = new AbortController();
      const whole = signal ? AbortSignal.any([signal, ended.signal]) : ended.signal;
      mount(el, kind, view, modelPort<Traits>(model, whole, host), whole);
      return () => ended.abort();
    },
  };
}

export function modelPort<Traits extends object>(
  model: AnyModel,
  signal: AbortSignal,
  host?: Host,
): Port<Traits> {
  const connection = new Connection(model, signal);
  const requests = new Requests(model, connection, signal);
  return {
    ...traitPort<Traits>(model, signal),
    get capabilities() {
      return connection.capabilities;
    },
    onCapabilities: (listener, until) => connection.listen(listener, until),
    request: (name, args, options) => requests.start(name, args, options ?? {}),
    async drawChild(reference, el, until) {
      if (!host) throw new Error("This notebook's anywidget shows no pictures inside others; 0.11 does.");
      // ipywidgets' way of referring, by which it also finds what a saved picture needs, in anywidget's words.
      const child = await host.getWidget(reference.replace(/^IPY_MODEL_/, "anywidget:"));
      if (!until.aborted) await child.render({ el, signal: until });
    },
  };
}

/** Whether the kernel's side of the model is there. */
class Connection {
  readonly #events = new EventTarget();
  #lost: boolean;

  constructor(model: AnyModel, signal: AbortSignal) {
    this.#lost = isRestored(model);
    // ipywidgets gives a model its connection once, when it makes it; afterwards it only takes it away: on a restart of
    // the kernel by the first event, when the widget is closed by the second.
    listen(model, "comm_live_update", () => this.lose(), signal);
    listen(model, "comm:close", () => this.lose(), signal);
  }

  get capabilities(): Capabilities {
    return { live: !this.#lost, detached: this.#lost };
  }

  listen(listener: () => void, signal: AbortSignal): void {
    this.#events.addEventListener("change", listener, { signal });
  }

  lose(): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#events.dispatchEvent(new Event("change"));
  }
}

/**
 * Whether the model comes from a saved notebook and never had a kernel's side. What anywidget gives us does not say so;
 * the layout, ipywidgets' own model that is made or restored together with ours, does. Hosts that are not ipywidgets
 * have something else there, and no saved notebooks.
 */
function isRestored(model: AnyModel): boolean {
  const layout: unknown = model.get("layout");
  return typeof layout === "object" && layout !== null && "comm_live" in layout && layout.comm_live === false;
}

interface Pending {
  acknowledge(state: unknown): void;
  progress(value: unknown): void;
  resolve(value: unknown): void;
  reject(reason: unknown): void;
}

interface KernelMessage {
  kind: string;
  id: string;
  [field: string]: unknown;
}

class Requests {
  readonly #model: AnyModel;
  readonly #connection: Connection;
  readonly #signal: AbortSignal;
  readonly #pending = new Map<string, Pending>();

  constructor(model: AnyModel, connection: Connection, signal: AbortSignal) {
    this.#model = model;
    this.#connection = connection;
    this.#signal = signal;
    listen(model, "msg:custom", (message, buffers) => this.#receive(message, buffers), signal);
    connection.listen(() => this.#rejectAll(), signal);
  }

  start<Answer>(
    name: string,
    args: object,
    { signal, onProgress, onState }: RequestOptions,
  ): Promise<Answer> {
    if (!this.#connection.capabilities.live) {
      return Promise.reject(new RequestError(DETACHED_MESSAGE, DETACHED));
    }
    const until = signal ? AbortSignal.any([signal, this.#signal]) : this.#signal;
    if (until.aborted) return Promise.reject(aborted());
    return new Promise<Answer>((resolve, reject) => {
      const id = uniqueId();
      const timer = setTimeout(() => onState?.("unanswered"), ACKNOWLEDGE_MS);
      /** Wraps what ends the request. */
      const ending =
        <Outcome>(settle: (outcome: Outcome) => void) =>
        (outcome: Outcome) => {
          clearTimeout(timer);
          this.#pending.delete(id);
          until.removeEventListener("abort", cancel);
          settle(outcome);
        };
      const fail = ending<unknown>(reject);
      const cancel = () => {
        fail(aborted());
        this.#send({ kind: "mw-cancel", id });
      };
      until.addEventListener("abort", cancel, { once: true });
      this.#pending.set(id, {
        acknowledge: (state) => {
          clearTimeout(timer);
          onState?.(state === "waiting" ? "waiting" : "running");
        },
        progress: (value) => {
          // Another cell may have had the model when the request was acknowledged.
          onState?.("running");
          onProgress?.(value);
        },
        resolve: ending((value) => resolve(value as Answer)),
        reject: fail,
      });
      onState?.("sent");
      this.#send({ kind: "mw-request", id, name, args });
    });
  }

  #send(message: { kind: string; id: string; [field: string]: unknown }): void {
    try {
      this.#model.send(message);
    } catch {
      // The kernel's connection is closed for good; that ends every request, this one too.
      this.#connection.lose();
    }
  }

  /** Messages of other views, of finished requests and of other protocols share this channel. */
  #receive(message: unknown, buffers: unknown): void {
    if (!isKernelMessage(message)) return;
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    try {
      deliver(message, Array.isArray(buffers) ? buffers : [], pending);
    } catch (error) {
      // Arrays that do not fit their description: the request's failure, which the picture shows.
      pending.reject(error);
    }
  }

  #rejectAll(): void {
    const lost = new RequestError(DETACHED_MESSAGE, DETACHED);
    for (const pending of [...this.#pending.values()]) pending.reject(lost);
  }
}

function deliver(message: KernelMessage, buffers: DataView[], pending: Pending): void {
  switch (message.kind) {
    case "mw-ack":
      pending.acknowledge(message.state);
      break;
    case "mw-progress":
      pending.progress(decodeArrays(message.value, buffers));
      break;
    case "mw-result":
      pending.resolve(decodeArrays(message.value, buffers));
      break;
    case "mw-error":
      pending.reject(new RequestError(String(message.message), String(message.error_type)));
      break;
    case "mw-cancelled":
      pending.reject(aborted());
      break;
  }
}

function isKernelMessage(message: unknown): message is KernelMessage {
  return (
    typeof message === "object" &&
    message !== null &&
    "kind" in message &&
    "id" in message &&
    typeof message.id === "string"
  );
}

function aborted(): DOMException {
  return new DOMException("The request was cancelled.", "AbortError");
}
