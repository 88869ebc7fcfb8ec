/** Lines over a row of places, such as layers: few, told apart by colour and by dash. */
import { useRef } from "preact/hooks";
import { useElementWidth } from "./frame";
import css from "./line_plot.css?inline";

/** The style of plots and swatches, for the views that have some: others need not carry it. */
export const linePlotCss: string = css;

export interface PlotLine {
  readonly name: string;
  /** Which of the theme's series colours. */
  readonly colour: number;
  readonly dashed?: boolean;
  /** One a place, in the units of `domain`; what is not finite leaves a gap. */
  readonly values: readonly number[];
}

export interface LinePlotProps {
  /** The picture in a sentence. */
  label: string;
  lines: readonly PlotLine[];
  /** Names of the places. */
  places: readonly string[];
  /** Values at the bottom and at the top. */
  domain: readonly [number, number];
  ticks: readonly { value: number; text: string }[];
  /** A place to mark. */
  marked: number | null;
  onHover: (place: number | null) => void;
}

const HEIGHT = 150;
const MARGIN = { left: 40, right: 10, top: 8, bottom: 20 };
const LABEL_WIDTH = 28;

/** How many colours the theme has for lines. */
export const SERIES = 5;

export function seriesColour(index: number): string {
  return `var(--mw-series-${index % SERIES})`;
}

export function LinePlot({ label, lines, places, domain, ticks, marked, onHover }: LinePlotProps) {
  const box = useRef<HTMLDivElement>(null);
  const width = useElementWidth(box);
  const inner = Math.max(1, width - MARGIN.left - MARGIN.right);
  const x = (place: number) => MARGIN.left + (places.length < 2 ? 0 : (inner * place) / (places.length - 1));
  const [low, high] = domain;
  const room = HEIGHT - MARGIN.top - MARGIN.bottom;
  const y = (value: number) => MARGIN.top + room * (1 - (value - low) / (high - low || 1));
  const placeAt = (event: MouseEvent & { currentTarget: Element }) => {
    const at = event.clientX - event.currentTarget.getBoundingClientRect().left - MARGIN.left;
    const place = Math.round((at / inner) * (places.length - 1));
    return Math.min(places.length - 1, Math.max(0, place));
  };
  return (
    <div ref={box} class="mw-line-plot">
      <svg
        role="img"
        aria-label={label}
        width={width}
        height={HEIGHT}
        onPointerMove={(event) => onHover(placeAt(event))}
        onPointerLeave={() => onHover(null)}
      >
        <g class="mw-plot-axes">
          {ticks.map(({ value, text }) => (
            <g key={text}>
              <line x1={MARGIN.left} x2={width - MARGIN.right} y1={y(value)} y2={y(value)} />
              <text x={MARGIN.left - 6} y={y(value)} dy="0.32em" text-anchor="end">
                {text}
              </text>
            </g>
          ))}
          {shownPlaces(places, inner).map((place) => (
            <text key={place} x={x(place)} y={HEIGHT - 5} text-anchor="middle">
              {places[place]}
            </text>
          ))}
        </g>
        {marked !== null && (
          <line class="mw-plot-mark" x1={x(marked)} x2={x(marked)} y1={MARGIN.top} y2={MARGIN.top + room} />
        )}
        {lines.map(({ name, colour, dashed, values }) => (
          <g key={name} style={{ color: seriesColour(colour) }}>
            <path
              class="mw-plot-line"
              d={linePath(values, x, y)}
              stroke-dasharray={dashed ? "4 3" : undefined}
            />
            {marked !== null && Number.isFinite(values[marked]) && (
              <circle class="mw-plot-dot" cx={x(marked)} cy={y(values[marked] ?? 0)} r={3} />
            )}
          </g>
        ))}
      </svg>
    </div>
  );
}

/** As an SVG path, with a new start behind every gap. */
export function linePath(
  values: readonly number[],
  x: (place: number) => number,
  y: (value: number) => number,
): string {
  let pen = "M";
  let path = "";
  values.forEach((value, place) => {
    if (!Number.isFinite(value)) {
      pen = "M";
      return;
    }
    path += `${pen}${x(place).toFixed(1)},${y(value).toFixed(1)}`;
    pen = "L";
  });
  return path;
}

/** The first place, and of the others those with a round number that keep their distance. */
function shownPlaces(places: readonly string[], room: number): number[] {
  const apart = Math.ceil((LABEL_WIDTH * Math.max(1, places.length - 1)) / room);
  const step = [1, 2, 5, 10, 20, 50, 100].find((size) => size >= apart) ?? 200;
  return places.flatMap((name, place) => {
    const round = Number(name) % step === 0 && place >= apart;
    return place === 0 || round ? [place] : [];
  });
}
