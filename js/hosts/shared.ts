/**
 * What a view shares with others: the chosen place (a Selection) and interventions. The twin of mechwidgets/widgets/links.py.
 *
 * Here the shared model is all that counts: the view reads it and writes it, and its own traits of the same names, which
 * the kernel keeps equal, perhaps late, are not looked at. So views move together without the kernel, and none of its
 * messages can move them back.
 */
import type { AnyModel } from "@anywidget/types";
import type { Entry, Intervention } from "../core/intervention";
import { listen, oncePerTask } from "./model";

/** As in mechwidgets/widgets/selection.py. */
const PLACES = ["layer", "head", "position", "token"] as const;
type Place = (typeof PLACES)[number];

/** The traits that say how many there are, a number or a list of them; the first that the view has counts. */
const SIZES: Readonly<Record<Place, readonly string[]>> = {
  layer: ["n_layers"],
  head: ["n_heads", "head_names"],
  position: ["tokens", "clean_tokens"],
  token: [],
};

export class Shared {
  readonly #model: AnyModel;
  readonly #events = new EventTarget();
  readonly #selection: Reference;
  readonly #interventions: Reference;
  /** Where something is always chosen, the last place that the view had. */
  readonly #last = new Map<Place, unknown>();
  #shown: { of: unknown; list: Intervention[] } | null = null;

  constructor(model: AnyModel, signal: AbortSignal) {
    this.#model = model;
    const tell = (names: readonly string[]) => {
      this.#remember();
      for (const name of names) this.#events.dispatchEvent(new Event(name));
    };
    this.#selection = new Reference(model, "selection", PLACES, tell, signal);
    this.#interventions = new Reference(
      model,
      "shared_interventions",
      ["entries"],
      () => tell(["interventions", "entries"]),
      signal,
    );
    // Another prompt may have the place that the last one had not.
    const measure = () => {
      if (this.#shown) this.#shown.of = null;
      tell(["position", "interventions"]);
    };
    for (const trait of SIZES.position) listen(model, `change:${trait}`, measure, signal);
  }

  /** Whether the view's trait is a shared one now. */
  has(name: string): boolean {
    if (isOfInterventions(name)) return this.#interventions.shared !== null;
    return isPlace(name) && !this.#named("_own_places", name) && this.#selection.shared !== null;
  }

  get(name: string): unknown {
    if (name === "entries") return this.#entries();
    if (name === "interventions") return this.#list();
    return isPlace(name) ? this.#place(name) : undefined;
  }

  set(name: string, value: unknown): void {
    if (isPlace(name)) this.#selection.set(name, value);
    else if (name === "entries") this.#interventions.set("entries", value);
    else
      this.#interventions.set("entries", takeChange(this.#entries(), this.#list(), value as Intervention[]));
  }

  on(name: string, listener: () => void, signal: AbortSignal): void {
    this.#events.addEventListener(name, listener, { signal });
  }

  #place(name: Place): unknown {
    const value = this.#selection.shared?.get(name) ?? null;
    if (value !== null && this.#fits(name, value)) return value;
    if (!this.#isAlwaysChosen(name)) return null;
    return this.#last.has(name) ? this.#last.get(name) : this.#model.get(name);
  }

  #remember(): void {
    for (const name of PLACES) {
      const value = this.#selection.shared?.get(name) ?? null;
      if (value !== null && this.#isAlwaysChosen(name) && this.#fits(name, value))
        this.#last.set(name, value);
    }
  }

  #isAlwaysChosen(name: Place): boolean {
    return this.#named("_always_chosen", name);
  }

  #named(trait: string, name: Place): boolean {
    const names: unknown = this.#model.get(trait);
    return Array.isArray(names) && names.includes(name);
  }

  /** What has no known size is the view's to judge. */
  #fits(name: Place, value: unknown): boolean {
    const size = placeSize(this.#model, name);
    return size === null || (typeof value === "number" && value < size);
  }

  #entries(): Entry[] {
    return (this.#interventions.shared?.get("entries") as Entry[] | undefined) ?? [];
  }

  /** Those that are switched on and that the view's model and prompt have; the same array while they are the same. */
  #list(): Intervention[] {
    const entries = this.#entries();
    if (this.#shown?.of !== entries) {
      const list = entries
        .filter(({ on, intervention }) => on && this.#hasPlaceOf(intervention))
        .map(({ intervention }) => intervention);
      // An echo from the kernel is another array of the same entries.
      const last = this.#shown?.list;
      this.#shown = { of: entries, list: last && isSame(list, last) ? last : list };
    }
    return this.#shown.list;
  }

  #hasPlaceOf({ layer, head, position }: Intervention): boolean {
    const all = (index: number | number[] | null) => (index === null ? [] : [index].flat());
    return (
      (layer === null || this.#fits("layer", layer)) &&
      all(head).every((one) => this.#fits("head", one)) &&
      // Negative ones count from the end.
      all(position).every((one) => this.#fits("position", one < 0 ? -one - 1 : one))
    );
  }
}

/** The model that a trait of ours refers to, as soon as the host has it; what it says is told as of now. */
class Reference {
  shared: AnyModel | null = null;
  readonly #model: AnyModel;
  readonly #trait: string;
  #saveSoon = () => {};

  constructor(
    model: AnyModel,
    trait: string,
    names: readonly string[],
    tell: (names: readonly string[]) => void,
    signal: AbortSignal,
  ) {
    this.#model = model;
    this.#trait = trait;
    let ended = new AbortController();
    const tie = async () => {
      ended.abort();
      ended = new AbortController();
      const { signal: until } = ended;
      const shared = await this.#resolve();
      if (until.aborted || signal.aborted || shared === this.shared) return;
      this.shared = shared;
      if (shared) {
        this.#saveSoon = oncePerTask(() => shared.save_changes());
        for (const name of names) {
          listen(shared, `change:${name}`, () => tell([name]), AbortSignal.any([until, signal]));
        }
      }
      tell(names);
    };
    listen(model, `change:${trait}`, () => void tie(), signal);
    void tie();
  }

  set(name: string, value: unknown): void {
    this.shared?.set(name, value);
    this.#saveSoon();
  }

  /** null where there is none, or where the host has no models but ours; then the kernel alone ties views together. */
  async #resolve(): Promise<AnyModel | null> {
    const reference: unknown = this.#model.get(this.#trait);
    const id = typeof reference === "string" && /^IPY_MODEL_(.+)$/.exec(reference)?.[1];
    if (!id) return null;
    try {
      return (await this.#model.widget_manager.get_model(id)) as AnyModel;
    } catch {
      return null;
    }
  }
}

/** The shared entries after the view has changed what it shows from `before` to `now`. */
export function takeChange(
  entries: readonly Entry[],
  before: readonly Intervention[],
  now: readonly Intervention[],
): Entry[] {
  const taken = [...entries];
  const find = (one: Intervention, on: boolean) =>
    taken.findIndex((entry) => entry.on === on && isSame(entry.intervention, one));
  for (const one of without(before, now)) {
    const at = find(one, true);
    if (at >= 0) taken.splice(at, 1);
  }
  for (const one of without(now, before)) {
    const at = find(one, false);
    if (at >= 0) taken[at] = { intervention: one, on: true };
    else taken.push({ intervention: one, on: true });
  }
  return taken;
}

/** Those that are not among the others, each as often as it is there more. */
function without(those: readonly Intervention[], others: readonly Intervention[]): Intervention[] {
  const left = [...others];
  return those.filter((one) => {
    const at = left.findIndex((other) => isSame(other, one));
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

/** Of JSON values; the kernel and views name fields in their own orders. */
function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].every((name) =>
    isSame((one as Record<string, unknown>)[name] ?? null, (other as Record<string, unknown>)[name] ?? null),
  );
}

/** What a view shows of shared interventions: those switched on, or all entries. */
function isOfInterventions(name: string): boolean {
  return name === "interventions" || name === "entries";
}

function isPlace(name: string): name is Place {
  return (PLACES as readonly string[]).includes(name);
}

/** How many layers, heads or positions the view has; null: it does not say. */
function placeSize(model: AnyModel, name: Place): number | null {
  for (const trait of SIZES[name]) {
    const value: unknown = model.get(trait);
    if (typeof value === "number") return value;
    if (Array.isArray(value)) return value.length;
  }
  return null;
}
