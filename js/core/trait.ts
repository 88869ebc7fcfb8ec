/** A synced value as a signal. */
import { signal as makeSignal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { useFrame } from "./frame";
import type { Port } from "./port";

/** Follows the trait from either side; change it with `port.set`, which comes back here. */
export function useTrait<Traits extends object, Name extends keyof Traits & string>(
  port: Port<Traits>,
  name: Name,
): ReadonlySignal<Traits[Name]> {
  const frame = useFrame();
  const [value, stop] = useMemo(() => {
    const controller = new AbortController();
    const current = makeSignal(port.get(name));
    // Listening starts with the first rendering, so that no change between it and the effect is missed.
    port.on(
      name,
      () => {
        try {
          current.value = port.get(name);
        } catch (error) {
          // An array that does not fit its description; outside rendering nobody else would show it.
          frame.fail(error);
        }
      },
      AbortSignal.any([controller.signal, frame.signal]),
    );
    return [current, () => controller.abort()] as const;
  }, [port, name, frame]);
  useEffect(() => stop, [stop]);
  return value;
}
