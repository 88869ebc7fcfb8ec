/** The extension's icon: an attention pattern, where each token looks only at those before it. */
import { LabIcon } from "@jupyterlab/ui-components";

/** Row, column and weight of each square. */
const SQUARES = [
  [0, 0, 1],
  [1, 0, 0.75],
  [1, 1, 0.35],
  [2, 0, 0.3],
  [2, 1, 1],
  [2, 2, 0.2],
] as const;

const squares = SQUARES.map(
  ([row, column, weight]) =>
    `<rect x="${3 + 6 * column}" y="${3 + 6 * row}" width="5.5" height="5.5" rx="1" fill-opacity="${weight}"/>`,
);

export const icon = new LabIcon({
  name: "mechwidgets:icon",
  svgstr:
    `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">` +
    `<g class="jp-icon-brand0 jp-icon-selectable" fill="#1976d2" transform="translate(0.25 0.25)">${squares.join("")}</g></svg>`,
});
