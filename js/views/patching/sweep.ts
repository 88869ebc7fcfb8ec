/** The sweep of the chosen site: cells as they arrive, and what becomes of them when it is stopped or the question changes. */
import { signal as makeSignal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { NdArray } from "../../core/arrays";
import { useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import { type UsedRequest, useRequest } from "../../core/request";
import { cellCount, flatIndex } from "./axes";
import type { Axis, Traits } from "./traits";

/** One number a cell, in the order of the axes (the last one fastest). */
export interface Table {
  readonly axes: readonly Axis[];
  /** NaN where nothing is computed, or where the model gave NaN. */
  readonly values: Float32Array;
  /** 1 where a cell is computed. */
  readonly done: Uint8Array;
  /** 1 where the model has no such cell. */
  readonly absent: Uint8Array;
}

/** How many cells the model has, and how many of them are not computed. */
export function countCells({ done, absent }: Table): { total: number; missing: number } {
  const total = absent.reduce((count, isAbsent) => count - isAbsent, absent.length);
  return { total, missing: done.reduce((count, isDone) => count - isDone, total) };
}

export interface Sweep {
  /** A new one whenever cells have arrived. */
  readonly table: ReadonlySignal<Table>;
  readonly request: UsedRequest<object>;
  /** Asks for what is missing of the chosen site; cells that are drawn stay. */
  run(): void;
  /** Ends the running request and keeps the cells that have arrived. */
  stop(): void;
}

/** What the kernel says while it sweeps; each cell is told once. */
interface Progress {
  /** int32 [n, axes]: indices into the axes */
  readonly cells: NdArray<"int32">;
  /** float32 [n] */
  readonly values: NdArray<"float32">;
}

/** The sweep starts by itself where the kernel has no results yet, and again when the question changes. */
export function useSweep(port: Port<Traits>): Sweep {
  const request = useRequest<object, Traits>(port, "sweep");
  const sweep = useMemo(() => new RunningSweep(port, request), [port, request]);
  const { fail } = useFrame();
  useEffect(() => {
    const controller = new AbortController();
    sweep.follow(controller.signal, fail);
    return () => controller.abort();
  }, [sweep, fail]);
  return sweep;
}

class RunningSweep implements Sweep {
  readonly request: UsedRequest<object>;
  readonly table = makeSignal<Table>(emptyTable([]));
  readonly #port: Port<Traits>;
  /** What has arrived for sites whose results the kernel has not set. */
  readonly #drafts = new Map<string, Table>();
  /** Sites whose sweep ended early: they go on when the reader asks, not by themselves. */
  readonly #halted = new Set<string>();
  #running: string | null = null;
  #question: string;

  constructor(port: Port<Traits>, request: UsedRequest<object>) {
    this.#port = port;
    this.request = request;
    this.#question = questionOf(port);
    this.#show();
  }

  /** Keeps up with what the kernel and the other controls change, until `signal` aborts. */
  follow(signal: AbortSignal, fail: (error: unknown) => void): void {
    let scheduled = false;
    // One look after all of a message's changes: results of the new question may come before its prompts.
    const schedule = () => {
      if (scheduled) return;
      scheduled = true;
      queueMicrotask(() => {
        scheduled = false;
        if (signal.aborted) return;
        try {
          this.#keepUp();
        } catch (error) {
          fail(error);
        }
      });
    };
    for (const name of ["site", "axes", "results", "absent", ...ASKED] as const) {
      this.#port.on(name, schedule, signal);
    }
    this.#port.onCapabilities(schedule, signal);
    schedule();
  }

  run(): void {
    const site = this.#port.get("site");
    if (this.#port.get("results")[site] || !this.#port.capabilities.live || this.#running === site) return;
    this.stop();
    this.#halted.delete(site);
    this.#running = site;
    const draft = this.#drafts.get(site) ?? this.#empty(site);
    this.#drafts.set(site, draft);
    void this.#ask(site, draft);
  }

  stop(): void {
    if (this.#running !== null) this.#halted.add(this.#running);
    this.#running = null;
    this.request.abort();
    this.#show();
  }

  async #ask(site: string, draft: Table): Promise<void> {
    let frame = 0;
    const answer = await this.request.send({ site }, (value) => {
      fill(draft, value as Progress);
      // Many messages may come in one frame; they are drawn together.
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => this.#show());
    });
    // An answer means the results are set; null, that it failed or was stopped.
    if (this.#drafts.get(site) !== draft || this.#running !== site) return;
    this.#running = null;
    if (answer === null) this.#halted.add(site);
    this.#show();
  }

  #keepUp(): void {
    const site = this.#port.get("site");
    const question = questionOf(this.#port);
    if (question !== this.#question) {
      this.#question = question;
      this.stop();
      this.#drafts.clear();
      this.#halted.clear();
    } else if (this.#running !== null && this.#running !== site) {
      // The kernel keeps what is done, so coming back to this site goes on from there.
      const left = this.#running;
      this.stop();
      this.#halted.delete(left);
    }
    this.#show();
    if (!this.#halted.has(site)) this.run();
  }

  #show(): void {
    const site = this.#port.get("site");
    const empty = this.#empty(site);
    const results = this.#port.get("results")[site]?.data;
    const computed = this.#port.get("computed")[site]?.data;
    const known = results ? givenTable(results, empty, computed) : (this.#drafts.get(site) ?? empty);
    if (known.values.length !== empty.values.length) {
      throw new RangeError(
        `The results of ${site} have ${known.values.length} cells; expected ${empty.values.length}, as many as its axes have.`,
      );
    }
    this.table.value = { ...empty, values: known.values.slice(), done: known.done.slice() };
  }

  #empty(site: string): Table {
    return emptyTable(this.#port.get("axes")[site] ?? [], this.#port.get("absent")[site]?.data);
  }
}

/** What the cells are numbers of: when it changes, those that have arrived are another question's. */
const ASKED = ["clean", "corrupted", "answer", "wrong", "metric", "direction"] as const;

function questionOf(port: Port<Traits>): string {
  return JSON.stringify(ASKED.map((name) => port.get(name)));
}

function emptyTable(axes: readonly Axis[], absent?: Uint8Array): Table {
  const cells = axes.length ? cellCount(axes) : 0;
  return {
    axes,
    values: new Float32Array(cells).fill(Number.NaN),
    done: new Uint8Array(cells),
    absent: absent ?? new Uint8Array(cells),
  };
}

/** A NaN in results is what the model gave, unless it is said that it was not asked. */
function givenTable(values: Float32Array, { axes, absent }: Table, computed?: Uint8Array): Table {
  return { axes, values, done: computed ?? absent.map((isAbsent) => 1 - isAbsent), absent };
}

function fill({ axes, values: numbers, done }: Table, { cells, values }: Progress): void {
  values.data.forEach((value, index) => {
    const at = flatIndex(axes, cells.data.subarray(axes.length * index, axes.length * (index + 1)));
    numbers[at] = value;
    done[at] = 1;
  });
}
