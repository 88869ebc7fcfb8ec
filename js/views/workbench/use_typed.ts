/** How the kernel would read what is being typed; nothing runs for it, and the picture is not busy with it. */
import { useEffect, useState } from "preact/hooks";
import { useFrame } from "../../core/frame";
import type { Port } from "../../core/port";
import type { Question, Typed, WorkbenchTraits } from "./traits";

/** Between a key and the question to the kernel. */
const PAUSE_MS = 120;

export interface Reading {
  /** null until the kernel has read anything, and where there is no kernel. */
  readonly typed: Typed | null;
  /** Whether it is of what is in the fields now, or of what was there some keys ago. */
  readonly isCurrent: boolean;
}

export function useTyped(port: Port<WorkbenchTraits>, question: Question): Reading {
  const frame = useFrame();
  const { live } = frame.capabilities.value;
  const key = JSON.stringify(question);
  const [found, setFound] = useState<{ key: string; typed: Typed } | null>(null);
  useEffect(() => {
    if (!live) return;
    const controller = new AbortController();
    const ask = async () => {
      try {
        const signal = AbortSignal.any([controller.signal, frame.signal]);
        const typed = await port.request<Typed>("check", JSON.parse(key), { signal });
        setFound({ key, typed });
      } catch {
        // Nobody asked for it: what is wrong with the question is said again when it is sent.
      }
    };
    const timer = setTimeout(ask, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [port, frame, key, live]);
  // What was found of the text before the last key is still nearly right, and better than a line that jumps.
  return { typed: live ? (found?.typed ?? null) : null, isCurrent: found?.key === key };
}
