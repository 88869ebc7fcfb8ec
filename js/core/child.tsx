/** A picture inside a picture. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useFrame } from "./frame";
import { isAbort } from "./port";

/** The view to which a trait refers, drawn by the host; why it cannot be, in its place. */
export function Child({ reference }: { reference: string }) {
  const { port, signal } = useFrame();
  const place = useRef<HTMLDivElement>(null);
  const [failure, setFailure] = useState("");
  useEffect(() => {
    const controller = new AbortController();
    const draw = async (el: HTMLElement) => {
      try {
        await port.drawChild(reference, el, AbortSignal.any([controller.signal, signal]));
      } catch (error) {
        if (!isAbort(error)) setFailure(error instanceof Error ? error.message : String(error));
      }
    };
    setFailure("");
    if (place.current) void draw(place.current);
    return () => controller.abort();
  }, [port, reference, signal]);
  return (
    <>
      {failure && (
        <div class="mw-error" role="alert">
          {failure}
        </div>
      )}
      <div ref={place} />
    </>
  );
}
