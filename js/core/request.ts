/** Requests as a component sees them: the latest wins, and every state of the running one can be shown. */
import { computed, signal as makeSignal, type ReadonlySignal, type Signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { type Frame, useFrame } from "./frame";
import { isAbort, type Port, RequestError, type RequestProgress } from "./port";

export interface RequestHandle {
  /** null while nothing is asked. */
  readonly progress: ReadonlySignal<RequestProgress | null>;
  readonly pending: ReadonlySignal<boolean>;
  /** Why the latest request failed; null again when the next one starts. */
  readonly error: ReadonlySignal<RequestError | null>;
}

export interface UsedRequest<Answer> extends RequestHandle {
  /** Resolves to null when it failed (see `error`), was aborted, or a newer one took its place. */
  send(args: object, onProgress?: (value: unknown) => void): Promise<Answer | null>;
  abort(): void;
}

/** A request of this view; what it is doing also shows in the view's data-state and status line. */
export function useRequest<Answer, Traits extends object>(
  port: Port<Traits>,
  name: string,
): UsedRequest<Answer> {
  const frame = useFrame();
  const request = useMemo(() => makeRequest<Answer, Traits>(port, name, frame), [port, name, frame]);
  useEffect(() => {
    frame.requests.value = [...frame.requests.peek(), request];
    return () => {
      request.abort();
      frame.requests.value = frame.requests.peek().filter((other) => other !== request);
    };
  }, [frame, request]);
  return request;
}

function makeRequest<Answer, Traits extends object>(
  port: Port<Traits>,
  name: string,
  frame: Frame,
): UsedRequest<Answer> {
  const progress = makeSignal<RequestProgress | null>(null);
  const error = makeSignal<RequestError | null>(null);
  let current: AbortController | null = null;

  const abort = () => {
    current?.abort();
    current = null;
    progress.value = null;
  };
  const send = async (args: object, onProgress?: (value: unknown) => void): Promise<Answer | null> => {
    abort();
    const mine = new AbortController();
    current = mine;
    error.value = null;
    progress.value = "sent";
    /** Runs `change` unless a newer request, an abort or the view's end came first. */
    const ifCurrent = (change: () => void) => {
      if (current === mine) change();
    };
    try {
      const answer = await port.request<Answer>(name, args, {
        signal: AbortSignal.any([mine.signal, frame.signal]),
        onState: (state) => ifCurrent(() => setSignal(progress, state)),
        onProgress: (value) => ifCurrent(() => onProgress?.(value)),
      });
      return current === mine ? answer : null;
    } catch (reason) {
      if (!isAbort(reason)) ifCurrent(() => setSignal(error, asRequestError(reason)));
      return null;
    } finally {
      ifCurrent(() => setSignal(progress, null));
    }
  };
  return { progress, pending: computed(() => progress.value !== null), error, send, abort };
}

function setSignal<T>(target: Signal<T>, value: T): void {
  target.value = value;
}

function asRequestError(reason: unknown): RequestError {
  if (reason instanceof RequestError) return reason;
  return new RequestError(
    reason instanceof Error ? reason.message : String(reason),
    reason instanceof Error ? reason.name : "Error",
  );
}
