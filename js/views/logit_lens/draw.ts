/** The table's cells: the top token's text on a colour that says how sure the row is. */
import type { CellRange } from "../../core/canvas";
import { colourAt, inkAt } from "../../core/colour";
import { fitText } from "../../core/grid_paint";
import type { Theme } from "../../core/theme";
import { tokenLabel } from "../../core/tokens";
import { type ColourBy, type Lens, strength } from "./lens";

export const CELL_HEIGHT = 20;
const FONT_SIZE = 11;
const PADDING = 4;
/** Between cells, so that equal neighbours stay two cells. */
const GAP = 1;
/** The corner that marks a cell whose top token is already the output's. */
const CORNER = 5;

export function drawLens(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  { lens, colourBy, cellWidth }: { lens: Lens; colourBy: ColourBy; cellWidth: number },
): void {
  context.textBaseline = "middle";
  context.textAlign = "center";
  for (let row = range.row0; row < range.row1; row++) {
    const isOutput = row === lens.outputRow;
    context.font = `${isOutput ? "bold " : ""}${FONT_SIZE}px ${theme.codeFont}`;
    for (let position = range.col0; position < range.col1; position++) {
      const [x, y] = [position * cellWidth, row * CELL_HEIGHT];
      const sure = strength(lens, colourBy, row, position);
      context.fillStyle = colourAt(theme.sequential, sure);
      context.fillRect(x, y, cellWidth - GAP, CELL_HEIGHT - GAP);
      context.fillStyle = inkAt(theme.sequential, sure);
      const label = tokenLabel(lens.topToken(row, position));
      const text = fitText(context, label, cellWidth - GAP - 2 * PADDING);
      context.fillText(text, x + (cellWidth - GAP) / 2, y + (CELL_HEIGHT - GAP) / 2 + 0.5);
      if (!isOutput && lens.rank(row, position) === 0) drawCorner(context, x + cellWidth - GAP, y);
    }
  }
  drawOutputLine(context, range, theme, lens.outputRow, cellWidth);
}

function drawCorner(context: CanvasRenderingContext2D, right: number, top: number): void {
  context.beginPath();
  context.moveTo(right - CORNER, top);
  context.lineTo(right, top);
  context.lineTo(right, top + CORNER);
  context.fill();
}

/** The last row is what the model says, not what a lens sees. */
function drawOutputLine(
  context: CanvasRenderingContext2D,
  range: CellRange,
  theme: Theme,
  outputRow: number,
  cellWidth: number,
): void {
  context.fillStyle = theme.ink;
  const width = (range.col1 - range.col0) * cellWidth - GAP;
  context.fillRect(range.col0 * cellWidth, outputRow * CELL_HEIGHT - GAP, width, GAP);
}
