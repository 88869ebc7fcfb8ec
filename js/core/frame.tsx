/** What every component of a view can reach: theme, size, the status line, and the state of the view's requests. */
import { computed, effect, signal as makeSignal, type ReadonlySignal, type Signal } from "@preact/signals";
import { Component, type ComponentChildren, type ComponentType, createContext, render } from "preact";
import { useContext, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { setViewState, showFailure, type View, type ViewState, viewRoot } from "./mount";
import type { Capabilities, Port } from "./port";
import type { RequestHandle } from "./request";
import type { Table, TableSource } from "./table";
import { readTheme, type Theme, watchPixelRatio, watchTheme, watchWidth } from "./theme";

export interface Frame {
  readonly root: HTMLElement;
  readonly port: Port<object>;
  readonly signal: AbortSignal;
  readonly theme: ReadonlySignal<Theme>;
  readonly pixelRatio: ReadonlySignal<number>;
  /** The view's width in CSS pixels, 0 while it is not laid out. */
  readonly width: ReadonlySignal<number>;
  readonly capabilities: ReadonlySignal<Capabilities>;
  readonly requests: Signal<readonly RequestHandle[]>;
  /** What is under the pointer or the focus, for the status line; "" when there is nothing. */
  readonly status: Signal<string>;
  /** What the view shows in numbers, for its menu; see useTables. */
  readonly tables: Signal<readonly TableSource[]>;
  /** Draws the view as on paper, with this many device pixels a CSS pixel, until it is told null. */
  print(scale: number | null): void;
  /** Ends the view with this error in its place; for code that runs outside Preact's rendering. */
  fail(error: unknown): void;
}

const FrameContext = createContext<Frame | null>(null);

export function useFrame(): Frame {
  const frame = useContext(FrameContext);
  if (!frame) throw new Error("useFrame() works in components that preactView() renders.");
  return frame;
}

/** Offers tables in the view's menu, by what they hold, while the component is there. */
export function useTables(made: Readonly<Record<string, () => Table>>): void {
  const { tables } = useFrame();
  const latest = useRef(made);
  latest.current = made;
  const names = Object.keys(made);
  useEffect(() => {
    const mine = names.map((name) => ({
      name,
      make: () => latest.current[name]?.() ?? { columns: [], rows: [] },
    }));
    tables.value = [...tables.peek(), ...mine];
    return () => {
      tables.value = tables.peek().filter((other) => !mine.includes(other));
    };
  }, [tables, names.join("\n")]);
}

/** The element's width in CSS pixels, 0 until it is laid out. */
export function useElementWidth(element: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!element.current) return;
    const controller = new AbortController();
    const measured = watchWidth(element.current, controller.signal);
    const stop = measured.subscribe(setWidth);
    return () => {
      stop();
      controller.abort();
    };
  }, [element]);
  return width;
}

/** A view drawn by a Preact component, with its own style beside the shared one. */
export function preactView<Traits extends object>(
  App: ComponentType<{ port: Port<Traits> }>,
  styleText: string,
): View<Traits> {
  return (el, port, signal) => {
    const style = document.createElement("style");
    style.textContent = ofKind(styleText, viewRoot(el).dataset.view ?? "");
    el.before(style);
    const frame = makeFrame(el, port, signal);
    const fence = (
      <FrameContext.Provider value={frame}>
        <Fence onError={frame.fail}>
          <App port={port} />
        </Fence>
      </FrameContext.Provider>
    );
    render(fence, el);
    return () => render(null, el);
  };
}

/** Style rules reach all of the page, where other kinds of pictures have other things of the same names. */
function ofKind(styleText: string, kind: string): string {
  return styleText.replace(/\.mechwidgets(?![\w-])/g, `.mechwidgets[data-view="${kind}"]`);
}

function makeFrame<Traits extends object>(el: HTMLElement, port: Port<Traits>, signal: AbortSignal): Frame {
  const root = viewRoot(el);
  const capabilities = makeSignal(readCapabilities(port));
  port.onCapabilities(() => {
    capabilities.value = readCapabilities(port);
  }, signal);
  const requests = makeSignal<readonly RequestHandle[]>([]);
  const stopFollowing = effect(() => setViewState(root, viewState(capabilities.value, requests.value)));
  signal.addEventListener("abort", stopFollowing, { once: true });
  const printScale = makeSignal<number | null>(null);
  const [theme, pixelRatio] = [watchTheme(root, signal), watchPixelRatio(signal)];
  return {
    signal,
    root,
    port: port as unknown as Port<object>,
    theme: computed(() => (printScale.value === null ? theme.value : readTheme(root))),
    pixelRatio: computed(() => printScale.value ?? pixelRatio.value),
    tables: makeSignal<readonly TableSource[]>([]),
    print: (scale) => {
      root.classList.toggle("mw-print", scale !== null);
      printScale.value = scale;
    },
    width: watchWidth(el, signal),
    capabilities,
    requests,
    status: makeSignal(""),
    fail: (error) => {
      stopFollowing();
      render(null, el);
      showFailure(el, error);
    },
  };
}

/** Copied, because a host may answer with one object that it keeps up to date. */
function readCapabilities({ capabilities }: Port<object>): Capabilities {
  return { live: capabilities.live, detached: capabilities.detached, recorded: capabilities.recorded };
}

function viewState(capabilities: Capabilities, requests: readonly RequestHandle[]): ViewState {
  if (capabilities.detached) return "detached";
  if (requests.some((request) => request.pending.value)) return "busy";
  return requests.some((request) => request.error.value) ? "error" : "ready";
}

class Fence extends Component<{ onError: (error: unknown) => void; children: ComponentChildren }> {
  override componentDidCatch(error: unknown): void {
    // Not at once: this runs in the middle of the rendering that `onError` takes down.
    queueMicrotask(() => this.props.onError(error));
  }

  override render(): ComponentChildren {
    return this.props.children;
  }
}
