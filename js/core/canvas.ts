/** Canvas helpers: sharp at any pixel ratio, and cells drawn from numbers. */
import { type ColourMap, mapIndex } from "./colour";

export interface Cell {
  readonly row: number;
  readonly col: number;
}

/** Half-open, in cells. */
export interface CellRange {
  readonly row0: number;
  readonly row1: number;
  readonly col0: number;
  readonly col1: number;
}

/** What draws on a canvas. */
export function penOf(
  canvas: HTMLCanvasElement,
  settings?: CanvasRenderingContext2DSettings,
): CanvasRenderingContext2D {
  const pen = canvas.getContext("2d", settings);
  if (!pen) throw new Error("The browser gives no 2-D canvas, which every picture is drawn on.");
  return pen;
}

/** For measuring text and reading colours: nothing of it is seen. */
export function scratchPen(): CanvasRenderingContext2D {
  return penOf(document.createElement("canvas"), { willReadFrequently: true });
}

/** Sizes the canvas to `width` x `height` CSS pixels and clears it; the context then draws in CSS pixels. */
export function prepareCanvas(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
  pixelRatio: number,
): CanvasRenderingContext2D {
  const context = penOf(canvas);
  const [deviceWidth, deviceHeight] = [Math.round(width * pixelRatio), Math.round(height * pixelRatio)];
  // Setting a size clears the canvas and drops its memory, so only when it differs.
  if (canvas.width !== deviceWidth || canvas.height !== deviceHeight) {
    canvas.width = deviceWidth;
    canvas.height = deviceHeight;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  context.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export interface CellPainting {
  readonly range: CellRange;
  readonly cellWidth: number;
  readonly cellHeight: number;
  readonly map: ColourMap;
  /** The cell's place in the map, 0..1; NaN leaves the cell clear. */
  readonly value: (row: number, col: number) => number;
  /** Whoever draws the same values again and again, because something beside them changes, keeps one of these for as long as they are the same. */
  readonly memo?: CellsMemo;
}

/** The image that cells were last drawn from. */
export interface CellsMemo {
  last?: { readonly range: CellRange; readonly map: ColourMap; readonly image: HTMLCanvasElement };
}

/** Draws one pixel a cell and scales the picture up without smoothing: the cost is that of the cells, not of the pixels. */
export function paintCells(context: CanvasRenderingContext2D, painting: CellPainting): void {
  const { range, cellWidth, cellHeight } = painting;
  const rows = range.row1 - range.row0;
  const cols = range.col1 - range.col0;
  if (rows <= 0 || cols <= 0) return;
  context.imageSmoothingEnabled = false;
  context.drawImage(
    cellsImage(painting),
    range.col0 * cellWidth,
    range.row0 * cellHeight,
    cols * cellWidth,
    rows * cellHeight,
  );
}

function cellsImage({ range, map, value, memo }: CellPainting): HTMLCanvasElement {
  const last = memo?.last;
  if (last && last.map === map && sameRange(last.range, range)) return last.image;
  const image = pixelImage(range.row1 - range.row0, range.col1 - range.col0, (row, col) => {
    const place = value(row + range.row0, col + range.col0);
    return Number.isNaN(place) ? 0 : (map.pixels[mapIndex(place)] ?? 0);
  });
  if (memo) memo.last = { range, map, image };
  return image;
}

function sameRange(one: CellRange, other: CellRange): boolean {
  return (
    one.row0 === other.row0 && one.row1 === other.row1 && one.col0 === other.col0 && one.col1 === other.col1
  );
}

/** An image of packed pixels (see ColourMap.pixels; 0 is clear), to be drawn with drawImage. */
export function pixelImage(
  rows: number,
  cols: number,
  pixelAt: (row: number, col: number) => number,
): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = cols;
  canvas.height = rows;
  const context = penOf(canvas);
  const image = context.createImageData(cols, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) pixels[row * cols + col] = pixelAt(row, col);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Diagonal lines for "no value": told from any colour, also without colour. */
export function hatchRect(
  context: CanvasRenderingContext2D,
  area: { x: number; y: number; width: number; height: number },
  ground: string,
  line: string,
): void {
  const { x, y, width, height } = area;
  const spacing = 5;
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.fillStyle = ground;
  context.fillRect(x, y, width, height);
  context.beginPath();
  // Lines start at multiples of the spacing, so that neighbouring cells join without a seam.
  const first = Math.floor((x - height) / spacing) * spacing;
  for (let start = first; start < x + width + height; start += spacing) {
    context.moveTo(start, y + height);
    context.lineTo(start + height, y);
  }
  context.strokeStyle = line;
  context.lineWidth = 1;
  context.stroke();
  context.restore();
}

export function outlineRect(
  context: CanvasRenderingContext2D,
  area: { x: number; y: number; width: number; height: number },
  colour: string,
  thickness: number,
): void {
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  const half = thickness / 2;
  context.strokeRect(area.x + half, area.y + half, area.width - thickness, area.height - thickness);
}
