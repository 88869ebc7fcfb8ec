/** What every picture owes its readers, whatever their text, their screen and their settings: all scenes are held to it. */
import axe from "axe-core";
import { expect, it, onTestFinished } from "vitest";
import { cdp } from "vitest/browser";
import { mount } from "../core/mount";
import type { Port } from "../core/port";
import { readTheme } from "../core/theme";
import { painted, setTheme } from "./dom";
import { SCENES } from "./scenes";

const NAMES = Object.keys(SCENES);
const NARROW = 400;

/** What tokenizers have, and what somebody may have put into a prompt. */
const AWKWARD = [
  "<img src=x onerror='globalThis.mwBroken = true'>",
  "</script><script>globalThis.mwBroken = true</script>",
  " שלום עולם",
  "مرحبا بالعالم",
  "日本語のトークン",
  "\u202eback to front",
  "\u0000\u0007\u001b[31m",
  "\n\n",
  "\t",
  "  ",
  "",
  "\ufffd",
  "👩‍👩‍👧‍👦",
  "antidisestablishmentarianism".repeat(8),
  "\u200b\u00ad\ufeff",
  "Z͑̊ͫ͐̄͗͠a̴lg̵o",
];
const HIDDEN = AWKWARD.filter((token) => /^\p{Cc}|^\p{Cf}/u.test(token));
const LONG_TEXT = AWKWARD.filter((token) => !HIDDEN.includes(token)).join(" ");
/** Traits and fields of answers that hold tokens, or the text of one. */
const TOKENS = /^(.*tokens|vocabulary|up|down|texts|.*_text)$/;
/** And those that hold somebody's own text. */
const TEXTS = /^(prompt|clean|corrupted|title|caption|model_name)$/;

function awkward(name: string, value: unknown, at = 0): unknown {
  if (typeof value === "string" && value) {
    if (TOKENS.test(name)) return AWKWARD[at % AWKWARD.length] ?? "";
    return TEXTS.test(name) ? LONG_TEXT : value;
  }
  if (Array.isArray(value)) return value.map((item, i) => awkward(name, item, i));
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, awkward(key, item)]));
}

/** The same port, with other text in all that it says. */
function awkwardPort<Traits extends object>(port: Port<Traits>): Port<Traits> {
  const kept = new Map<unknown, unknown>();
  const translate = (name: string, value: unknown) => {
    if (typeof value !== "object" || value === null) return awkward(name, value);
    // An unchanged value is the same object.
    if (!kept.has(value)) kept.set(value, awkward(name, value));
    return kept.get(value);
  };
  return new Proxy(port, {
    get: (target, property) => {
      if (property === "get")
        return (name: string) => translate(name, target.get(name as keyof Traits & string));
      if (property === "request") {
        return async (...args: Parameters<Port<Traits>["request"]>) =>
          awkward("", await target.request(...args));
      }
      const member: unknown = Reflect.get(target, property);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

async function draw(
  scene: string,
  width: number,
  other = <Traits extends object>(port: Port<Traits>) => port,
) {
  setTheme("light");
  const host = document.createElement("div");
  host.style.width = `${width}px`;
  document.body.append(host);
  const controller = new AbortController();
  onTestFinished(() => {
    controller.abort();
    host.remove();
  });
  SCENES[scene]?.(host, (kind, view, port) => mount(host, kind, view, other(port), controller.signal));
  await painted();
  const root = host.querySelector<HTMLElement>(".mechwidgets");
  if (!root) throw new Error(`${scene} drew nothing.`);
  return root;
}

/** What sticks out of the picture, and is not in a box of its own that scrolls or clips. */
function overflowing(root: HTMLElement): string[] {
  const bounds = root.getBoundingClientRect();
  const clipped = new Set<Element>();
  const found: string[] = [];
  for (const element of root.querySelectorAll<HTMLElement>("*")) {
    const style = getComputedStyle(element);
    if (element.parentElement && clipped.has(element.parentElement)) {
      clipped.add(element);
      continue;
    }
    const { left, right, width } = element.getBoundingClientRect();
    if (width > 0 && style.position !== "fixed" && (left < bounds.left - 1 || right > bounds.right + 1)) {
      found.push(
        `${element.tagName}.${element.className} ${Math.round(left - bounds.left)}..${Math.round(right - bounds.left)}`,
      );
    }
    if (style.overflowX !== "visible") clipped.add(element);
  }
  return found;
}

/** What the reader asked not to see. */
function moving(root: HTMLElement): Animation[] {
  return root.getAnimations({ subtree: true }).filter((animation) => {
    const { duration } = animation.effect?.getComputedTiming() ?? {};
    // Theme changes are noticed by the end of a transition (core/theme.ts).
    return Number(duration) > 1;
  });
}

/** Controls without a name that a screen reader could say. */
async function unnamed(root: HTMLElement): Promise<string[]> {
  const values = [
    "aria-command-name",
    "aria-input-field-name",
    "button-name",
    "label",
    "link-name",
    "select-name",
    "summary-name",
  ];
  const { violations } = await axe.run(root, {
    runOnly: { type: "rule", values },
    resultTypes: ["violations"],
  });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

/** What the Tab key comes to and that looks the same then. */
function unmarked(root: HTMLElement): string[] {
  const stops = [
    ...root.querySelectorAll<HTMLElement>("button, input, select, textarea, summary, a[href], [tabindex]"),
  ];
  return stops
    .filter((stop) => stop.tabIndex >= 0 && !stop.matches(":disabled") && stop.checkVisibility())
    .filter((stop) => {
      stop.focus({ focusVisible: true, preventScroll: true } as FocusOptions);
      const { outlineStyle, outlineWidth } = getComputedStyle(stop);
      return (
        document.activeElement === stop && (outlineStyle === "none" || Number.parseFloat(outlineWidth) < 1)
      );
    })
    .map(({ outerHTML }) => outerHTML.slice(0, 120));
}

it.each(NAMES)("%s: is whole at 400 px, named, at rest, and shows the focus", async (scene) => {
  await emulate("prefers-reduced-motion", "reduce");
  const root = await draw(scene, NARROW);
  expect(overflowing(root)).toEqual([]);
  expect(moving(root)).toEqual([]);
  expect(await unnamed(root)).toEqual([]);
  expect(unmarked(root)).toEqual([]);
});

it.each(NAMES)("%s: text of any kind stays text, in its place", async (scene) => {
  // What turns sticks out by its corners.
  await emulate("prefers-reduced-motion", "reduce");
  const root = await draw(scene, NARROW, awkwardPort);
  expect(overflowing(root).slice(0, 3)).toEqual([]);
  expect(root.querySelector("img, script")).toBeNull();
  expect(globalThis).not.toHaveProperty("mwBroken");
  expect(root.querySelector(".mw-failure")).toBeNull();
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e\ufeff]/u;
  expect((root.querySelector(".mw-view")?.textContent ?? "").match(hidden)?.[0]).toBeUndefined();
});

it.each(["light", "dark"])(
  "where the reader has colours of their own (%s), values keep theirs",
  async (scheme) => {
    await emulate("forced-colors", "active", { name: "prefers-color-scheme", value: scheme });
    const root = await draw("tokens", NARROW);
    const theme = readTheme(root);
    expect(theme.dark).toBe(scheme === "dark");
    const grounds = new Set(
      [...root.querySelectorAll<HTMLElement>("[role=option]")].map(
        (token) => getComputedStyle(token).backgroundColor,
      ),
    );
    expect(grounds.size).toBeGreaterThan(4);
  },
);

async function emulate(
  name: string,
  value: string,
  ...more: { name: string; value: string }[]
): Promise<void> {
  const session = cdp() as unknown as { send(method: string, params: object): Promise<void> };
  await session.send("Emulation.setEmulatedMedia", { features: [{ name, value }, ...more] });
  onTestFinished(() => session.send("Emulation.setEmulatedMedia", { features: [] }));
  expect(matchMedia(`(${name}: ${value})`).matches).toBe(true);
}
