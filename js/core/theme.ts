/** The theme as drawing code needs it: colours and fonts that CSS has resolved, and a notice when they change. */
import { signal as makeSignal, type ReadonlySignal } from "@preact/signals";
import { scratchPen } from "./canvas";
import { type ColourMap, colourMap, css, luminance, type Rgb } from "./colour";

export interface Theme {
  readonly dark: boolean;
  readonly surface: string;
  readonly ink: string;
  readonly muted: string;
  readonly line: string;
  readonly accent: string;
  /** The ground under "no value" hatching. */
  readonly missing: string;
  /** 0 is the surface's colour, 1 the strongest. */
  readonly sequential: ColourMap;
  /** 0 orange, 0.5 the surface's colour, 1 blue. */
  readonly diverging: ColourMap;
  /** A ground behind pictures in the other maps: 0 violet, 0.5 the surface's colour, 1 yellow. */
  readonly tint: ColourMap;
  readonly uiFont: string;
  readonly codeFont: string;
}

const NAMED = ["surface", "ink", "muted", "line", "accent", "missing"] as const;
const STOPS = [0, 1, 2, 3, 4];
const DARK_BELOW = 0.18;

/** The current theme; follows the page's theme until `signal` aborts. */
export function watchTheme(root: HTMLElement, signal: AbortSignal): ReadonlySignal<Theme> {
  const theme = makeSignal(readTheme(root));
  // The sentinel's colours have a transition of 1 ms (theme.css), so every change of theme, by an attribute, by a
  // stylesheet that arrives later or by the system, ends in an event here.
  const sentinel = document.createElement("span");
  sentinel.className = "mw-theme-sentinel";
  sentinel.setAttribute("aria-hidden", "true");
  root.append(sentinel);
  let due = 0;
  const refresh = () => {
    // Once a frame: a theme changes several colours, and each ends in an event of its own.
    cancelAnimationFrame(due);
    due = requestAnimationFrame(() => {
      theme.value = readTheme(root);
    });
  };
  sentinel.addEventListener("transitionend", refresh, { signal });
  // JupyterLab takes the notebook off the page for a moment while it loads a theme, which cancels transitions.
  sentinel.addEventListener("transitioncancel", refresh, { signal });
  // A host may draw first and put the picture into the page later, or hide it: only what is laid out has colours.
  const observer = new ResizeObserver(refresh);
  observer.observe(sentinel);
  const stop = () => {
    cancelAnimationFrame(due);
    observer.disconnect();
  };
  signal.addEventListener("abort", stop, { once: true });
  return theme;
}

export function readTheme(root: HTMLElement): Theme {
  const resolve = colourResolver(root);
  const named = NAMED.map((name) => resolve(`--mw-${name}`));
  const [surface, ink, muted, line, accent, missing] = named.map(css) as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  return {
    dark: luminance(named[0] ?? [255, 255, 255]) < DARK_BELOW,
    ...{ surface, ink, muted, line, accent, missing },
    sequential: colourMap(STOPS.map((stop) => resolve(`--mw-sequential-${stop}`))),
    diverging: colourMap(STOPS.map((stop) => resolve(`--mw-diverging-${stop}`))),
    tint: colourMap(STOPS.map((stop) => resolve(`--mw-tint-${stop}`))),
    ...readFonts(root),
  };
}

/**
 * A custom property reads as its source text ("light-dark(…)"); as the colour of an element it is resolved, and a canvas
 * turns whatever notation comes out into bytes, over the surface where it is translucent.
 */
function colourResolver(root: HTMLElement): (name: string) => Rgb {
  const probe = document.createElement("span");
  const pen = scratchPen();
  const resolved = (name: string) => {
    root.append(probe);
    probe.style.color = `var(${name})`;
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  };
  const surface = resolved("--mw-surface");
  return (name) => {
    for (const colour of ["#fff", surface, resolved(name)]) {
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
    }
    const [red = 0, green = 0, blue = 0] = pen.getImageData(0, 0, 1, 1).data;
    return [red, green, blue];
  };
}

function readFonts(root: HTMLElement): { uiFont: string; codeFont: string } {
  const probe = document.createElement("span");
  probe.className = "mw-code";
  root.append(probe);
  const codeFont = getComputedStyle(probe).fontFamily;
  probe.remove();
  return { uiFont: getComputedStyle(root).fontFamily, codeFont };
}

/** Device pixels in a CSS pixel; follows zoom and moves between screens. */
export function watchPixelRatio(signal: AbortSignal): ReadonlySignal<number> {
  const ratio = makeSignal(window.devicePixelRatio);
  const follow = () => {
    ratio.value = window.devicePixelRatio;
    const query = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    query.addEventListener("change", follow, { once: true, signal });
  };
  follow();
  return ratio;
}

/** The element's content width in CSS pixels; 0 while it is not laid out. */
export function watchWidth(element: HTMLElement, signal: AbortSignal): ReadonlySignal<number> {
  const width = makeSignal(element.clientWidth);
  const observer = new ResizeObserver(([entry]) => {
    if (entry) width.value = Math.round(entry.contentRect.width);
  });
  observer.observe(element);
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });
  return width;
}
