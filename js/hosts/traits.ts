/** The part of a Port that traits are: on a model of ipywidgets, or on one that stands in for it. */
import type { AnyModel } from "@anywidget/types";
import { decodeArrays } from "../core/arrays";
import type { Port } from "../core/port";
import { listen, oncePerTask } from "./model";
import { Shared } from "./shared";

export type TraitPort<Traits extends object> = Pick<Port<Traits>, "get" | "set" | "on">;

export function traitPort<Traits extends object>(model: AnyModel, signal: AbortSignal): TraitPort<Traits> {
  /** The decoded form of each value that held arrays, so that an unchanged value stays the same object. */
  const decoded = new WeakMap<object, unknown>();
  const saveSoon = oncePerTask(() => model.save_changes());
  const shared = new Shared(model, signal);
  return {
    get<Name extends keyof Traits & string>(name: Name): Traits[Name] {
      if (shared.has(name)) return shared.get(name) as Traits[Name];
      const raw: unknown = model.get(name);
      if (typeof raw !== "object" || raw === null) return raw as Traits[Name];
      if (!decoded.has(raw)) decoded.set(raw, decodeArrays(raw));
      return decoded.get(raw) as Traits[Name];
    },
    set(name, value) {
      if (shared.has(name)) {
        shared.set(name, value);
        return;
      }
      model.set(name, value);
      saveSoon();
    },
    on(name, listener, until) {
      listen(model, `change:${name}`, () => listener(), until);
      shared.on(name, listener, until);
    },
  };
}
