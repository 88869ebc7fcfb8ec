/** The prompt, each token coloured by the chosen head's attention from (or to) one token. */
import { Fragment } from "preact";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { uniqueId } from "../../core/accessibility";
import { type ColourMap, mapIndex } from "../../core/colour";
import { Choice } from "../../core/components";
import { useFrame } from "../../core/frame";
import { type ColourScale, valueStyle } from "../../core/scale";
import { quoteToken, shorten, tokenLabel } from "../../core/tokens";
import { describeWeight } from "./head_matrix";
import type { Pattern } from "./pattern";
import type { Direction } from "./traits";

export interface TokenStripProps {
  tokens: string[];
  pattern: Pattern;
  scale: ColourScale;
  /** The head's, where there are several. */
  name?: string | undefined;
  /** A token attends to itself and what came before it only. */
  causal: boolean;
  direction: Direction;
  /** The token that the colours are about. */
  token: number;
  locked: number | null;
  onDirection: (direction: Direction) => void;
  onToken: (token: number | null) => void;
  onLock: (token: number | null) => void;
}

const DIRECTIONS = [
  { value: "from", text: "attends to" },
  { value: "to", text: "is attended by" },
] as const;
const LONGEST_LABEL = 24;
/** In CSS pixels, above and below what can be seen. */
const AROUND_SIGHT = 60;

export function TokenStrip(props: TokenStripProps) {
  const { tokens, token, locked, name } = props;
  const frame = useFrame();
  const id = useMemo(uniqueId, []);
  const point = (at: number | null) => {
    props.onToken(at);
    frame.status.value = at === null ? "" : sentence(props, at);
  };
  const box = useRef<HTMLDivElement>(null);
  // Also once it is laid out: a host may draw first and put the picture into the page later.
  const laidOut = frame.width.value > 0;
  useLayoutEffect(() => showToken(box.current, `${id}-${token}`), [id, token, laidOut]);
  const choose = (at: number) => props.onLock(at === locked ? null : at);
  // Made once a prompt, and coloured by hand: thousands of them would take longer than a frame to go through.
  const spans = useMemo(() => tokens.map((text, index) => tokenSpan(text, index, id)), [tokens, id]);
  const painted = useRef<Painted | null>(null);
  const paint = () => {
    if (!box.current) return;
    if (painted.current?.of !== tokens) painted.current = findTokens(box.current, tokens);
    colourTokens(box.current, painted.current, props);
  };
  useLayoutEffect(paint);
  return (
    <section class="mw-strip">
      <div class="mw-row">
        {name && <strong>{name}</strong>}
        <bdi class="mw-code">{shorten(quoteToken(tokens[token] ?? ""), LONGEST_LABEL)}</bdi>
        <Choice label="Direction" options={DIRECTIONS} value={props.direction} onChange={props.onDirection} />
        {locked !== null && <span class="mw-muted">locked; Escape unlocks</span>}
      </div>
      <div
        ref={box}
        class="mw-tokens mw-code"
        role="listbox"
        aria-label="Tokens"
        tabIndex={0}
        aria-activedescendant={`${id}-${token}`}
        onScroll={paint}
        onPointerOver={(event) => {
          const at = tokenOf(event.target);
          if (at !== null) point(at);
        }}
        onPointerLeave={() => point(null)}
        onBlur={() => point(null)}
        onClick={(event) => {
          const at = tokenOf(event.target);
          if (at !== null) choose(at);
        }}
        onKeyDown={(event) => {
          const target = nextToken(event.key, token, tokens.length);
          if (target !== null) point(target);
          else if (event.key === "Enter" || event.key === " ") choose(token);
          else if (event.key === "Escape" && locked !== null) props.onLock(null);
          else return;
          event.preventDefault();
          event.stopPropagation();
        }}
      >
        {spans}
      </div>
    </section>
  );
}

function tokenSpan(text: string, index: number, id: string) {
  return (
    <Fragment key={index}>
      {/* biome-ignore lint/a11y/useFocusableInteractive: aria-activedescendant of the listbox points here */}
      <span
        id={`${id}-${index}`}
        role="option"
        class="mw-token"
        aria-selected={false}
        data-index={index}
        title={Array.from(text).length > LONGEST_LABEL ? quoteToken(text) : undefined}
      >
        {shorten(tokenLabel(text), LONGEST_LABEL)}
      </span>
      {text.includes("\n") && <br />}
    </Fragment>
  );
}

/** The token that an event is about; null between them. */
function tokenOf(target: EventTarget | null): number | null {
  const span = target instanceof Element ? target.closest<HTMLElement>("[data-index]") : null;
  return span ? Number(span.dataset.index) : null;
}

/** The tokens as they look now, so that only those that are to look otherwise are touched. */
interface Painted {
  readonly of: readonly string[];
  readonly spans: readonly HTMLElement[];
  /** Indices into the colour map; -1 for no colour, -2 for that of another map. */
  readonly colours: Int16Array;
  map: ColourMap | null;
  current: number | null;
  locked: number | null;
}

function findTokens(box: HTMLElement, tokens: readonly string[]): Painted {
  const spans = [...box.querySelectorAll<HTMLElement>("[data-index]")];
  const colours = new Int16Array(tokens.length).fill(-1);
  return { of: tokens, spans, colours, map: null, current: null, locked: null };
}

function colourTokens(box: HTMLElement, painted: Painted, props: TokenStripProps): void {
  const { token, locked, scale } = props;
  const { spans, colours } = painted;
  if (painted.map !== scale.map) colours.fill(-2);
  painted.map = scale.map;
  const [first, last] = tokensInSight(box, spans);
  for (let index = first; index < last; index++) {
    const value = weightOf(props, index);
    const place = scale.place(value);
    const colour = Number.isNaN(place) ? -1 : mapIndex(place);
    const span = spans[index];
    if (!span || colour === colours[index]) continue;
    colours[index] = colour;
    const { background = "", color = "" } = valueStyle(scale, value);
    span.style.background = background;
    span.style.color = color;
  }
  if (painted.current !== token) {
    spans[painted.current ?? -1]?.classList.remove("mw-current");
    spans[token]?.classList.add("mw-current");
    painted.current = token;
  }
  if (painted.locked !== locked) {
    spans[painted.locked ?? -1]?.setAttribute("aria-selected", "false");
    spans[locked ?? -1]?.setAttribute("aria-selected", "true");
    painted.locked = locked;
  }
}

/** The first token that can be seen in the box, some lines around included, and the one behind the last: those of a long prompt are coloured when they come into sight. */
function tokensInSight(box: HTMLElement, spans: readonly HTMLElement[]): readonly [number, number] {
  const origin = spans[0]?.offsetTop ?? 0;
  const firstFrom = (y: number) => {
    let [low, high] = [0, spans.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((spans[middle]?.offsetTop ?? 0) - origin < y) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const { scrollTop, clientHeight } = box;
  return [firstFrom(scrollTop - AROUND_SIGHT), firstFrom(scrollTop + clientHeight + AROUND_SIGHT)];
}

/** The value between the strip's token and another one; NaN where there can be none. */
function weightOf({ direction, pattern, causal, token }: TokenStripProps, other: number): number {
  const [destination, source] = direction === "from" ? [token, other] : [other, token];
  return causal && source > destination ? Number.NaN : pattern.weight(destination, source);
}

/** Where the strip's token attends to (or is attended by) most. */
function sentence(props: TokenStripProps, token: number): string {
  if (props.pattern.missing) return "This head is not computed yet.";
  const strip = { ...props, token };
  let [most, largest] = [token, 0];
  for (let other = 0; other < props.tokens.length; other++) {
    const size = Math.abs(weightOf(strip, other));
    if (size > largest) [most, largest] = [other, size];
  }
  const [destination, source] = props.direction === "from" ? [token, most] : [most, token];
  return `Most: ${describeWeight(props.tokens, props.pattern, destination, source)}`;
}

/** Scrolls the strip alone; scrollIntoView would move the page too. */
function showToken(box: HTMLElement | null, id: string): void {
  const token = box?.querySelector<HTMLElement>(`#${id}`);
  if (!box || !token) return;
  const [shown, wanted] = [box.getBoundingClientRect(), token.getBoundingClientRect()];
  if (wanted.top < shown.top) box.scrollTop -= shown.top - wanted.top + 2;
  if (wanted.bottom > shown.bottom) box.scrollTop += wanted.bottom - shown.bottom + 2;
}

function nextToken(key: string, token: number, count: number): number | null {
  switch (key) {
    case "ArrowLeft":
    case "ArrowUp":
      return Math.max(0, token - 1);
    case "ArrowRight":
    case "ArrowDown":
      return Math.min(count - 1, token + 1);
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return null;
  }
}
