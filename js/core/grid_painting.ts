/** When a grid paints: after every rendering, scroll and change of size, at most once a frame. */
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { prepareCanvas } from "./canvas";
import type { Frame } from "./frame";
import { type Viewport, viewportOf } from "./grid_layout";

type Paint = (context: CanvasRenderingContext2D, viewport: Viewport) => void;

export function usePainting(
  box: { current: HTMLDivElement | null },
  canvas: { current: HTMLCanvasElement | null },
  frame: Frame,
  paint: Paint,
): void {
  // What the next frame paints with; the frame itself is asked for once.
  const latest = useRef({ paint, pixelRatio: 1 });
  latest.current = { paint, pixelRatio: frame.pixelRatio.value };
  const schedule = useMemo(() => {
    let scheduled = 0;
    const paintNow = () => {
      if (!box.current || !canvas.current) return;
      const viewport = viewportOf(box.current);
      // Not laid out yet, or in a hidden cell: the ResizeObserver tells when that changes.
      if (viewport.width === 0 || viewport.height === 0) return;
      const { pixelRatio, paint: paintLatest } = latest.current;
      try {
        paintLatest(prepareCanvas(canvas.current, viewport.width, viewport.height, pixelRatio), viewport);
      } catch (error) {
        frame.fail(error);
      }
    };
    return () => {
      cancelAnimationFrame(scheduled);
      scheduled = requestAnimationFrame(paintNow);
    };
  }, [box, canvas, frame]);
  useLayoutEffect(schedule);
  useLayoutEffect(() => {
    if (!box.current) return;
    const controller = new AbortController();
    box.current.addEventListener("scroll", schedule, { signal: controller.signal, passive: true });
    const observer = new ResizeObserver(schedule);
    observer.observe(box.current);
    return () => {
      controller.abort();
      observer.disconnect();
    };
  }, [box, schedule]);
}
