/** The heads of a long prompt: the kernel computes them when the picture is shown, and they are drawn layer by layer as they come. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { NdArray } from "../../core/arrays";
import { useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import { type UsedRequest, useRequest } from "../../core/request";
import type { ThumbnailsProgress, Traits } from "./traits";

export interface Computing {
  /** With the layers that have arrived. */
  readonly traits: Traits;
  /** How many layers are drawn. */
  readonly layers: number;
  readonly request: UsedRequest<object>;
  run(): void;
  /** Ends the request and keeps what is drawn. */
  stop(): void;
}

interface Draft {
  /** The kernel's thumbnails that it fills in: another prompt has others. */
  readonly of: NdArray;
  readonly layers: number;
  readonly traits: Pick<Traits, "thumbnails" | "limits" | "score_values">;
}

/** Starts by itself, and waits while the reader asks for another prompt (`held`). */
export function useThumbnails(port: Port<Traits>, given: Traits, held: boolean): Computing {
  const { complete, thumbnails } = given;
  const { live } = useFrame().capabilities.value;
  const request = useRequest<object, Traits>(port, "thumbnails");
  const draft = useSignal<Draft | null>(null);
  /** The thumbnails that the reader has stopped, or that have failed. */
  const halted = useSignal<NdArray | null>(null);
  const asked = useRef<object | null>(null);
  const ask = async () => {
    const mine = { thumbnails };
    asked.current = mine;
    halted.value = null;
    const answer = await request.send({}, (value) => {
      const known = draft.peek();
      const before = known?.of === thumbnails ? known : { layers: 0, traits: given };
      draft.value = { of: thumbnails, ...withLayers(before, value as ThumbnailsProgress) };
    });
    if (answer === null && asked.current === mine) halted.value = thumbnails;
  };
  const end = () => {
    asked.current = null;
    request.abort();
  };
  const wanted = !complete && live && !held && halted.value !== thumbnails;
  useEffect(() => {
    if (wanted) void ask();
    else end();
  }, [wanted, thumbnails]);
  const known = complete || draft.value?.of !== thumbnails ? null : draft.value;
  return {
    traits: known ? { ...given, ...known.traits } : given,
    layers: complete ? given.n_layers : (known?.layers ?? 0),
    request,
    run: () => {
      halted.value = null;
    },
    stop: () => {
      end();
      halted.value = thumbnails;
    },
  };
}

function withLayers(
  before: Pick<Draft, "layers" | "traits">,
  { layers, first, thumbnails, limits, score_values }: ThumbnailsProgress,
): Pick<Draft, "layers" | "traits"> {
  const known = before.traits.thumbnails;
  const data = known.data.slice();
  data.set(thumbnails.data, (first * data.length) / (known.shape[0] ?? 1));
  return { layers, traits: { thumbnails: { ...known, data }, limits, score_values } };
}
