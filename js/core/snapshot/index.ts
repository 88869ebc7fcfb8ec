/** A picture as a file: on white, and sharp enough to be printed. */
import type { Frame } from "../frame";
import { type Snapshot, snapshotOf } from "./svg";

/** Device pixels a CSS pixel; fewer where a browser could not hold the picture. */
const SCALE = 3;
const MAX_PIXELS = 60_000_000;

/** The picture as it is, redrawn for a moment as on paper. */
export async function takeSnapshot(frame: Frame): Promise<Snapshot> {
  const { width, height } = frame.root.getBoundingClientRect();
  const scale = Math.min(SCALE, Math.max(1, Math.sqrt(MAX_PIXELS / (width * height))));
  frame.print(scale);
  try {
    await settled();
    return snapshotOf(frame.root);
  } finally {
    frame.print(null);
  }
}

export function svgFile({ svg }: Snapshot): Blob {
  return new Blob([svg], { type: "image/svg+xml" });
}

export async function pngFile({ svg, width, height }: Snapshot): Promise<Blob> {
  const scale = Math.min(SCALE, Math.sqrt(MAX_PIXELS / (width * height)));
  const image = new Image();
  // Not a blob: pages may forbid images from those.
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob) resolve(blob);
      else reject(new Error("The browser could not write the picture as PNG. Save it as SVG."));
    }, "image/png");
  });
}

/** Rendering takes a task, and canvases are painted in the frame after it. */
async function settled(): Promise<void> {
  for (let frame = 0; frame < 3; frame++) {
    await new Promise((done) => requestAnimationFrame(done));
    await new Promise((done) => setTimeout(done));
  }
}
