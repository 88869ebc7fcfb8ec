/** Documents that stand in one page. */
import { expect, it, onTestFinished } from "vitest";
import cases from "../../tests/fixtures/documents.json";
import type { Port } from "../core/port";
import { until } from "../test/dom";
import { openDocument, type SharedModels } from "./index";

const text = cases[0]?.text ?? "";
const places = { layer: 3, head: null, position: null, token: " Mary" };

/** Opens the document, and gives the Port of its first view. */
async function open(document: string, shared?: SharedModels): Promise<Port<Record<string, unknown>>> {
  const drawn: Port<Record<string, unknown>>[] = [];
  const draws = {
    draw: (_: HTMLElement, port: Port<Record<string, unknown>>) => void drawn.push(port),
  };
  const ended = new AbortController();
  onTestFinished(() => ended.abort());
  const views = new Proxy(
    {},
    { getOwnPropertyDescriptor: () => ({ value: draws, configurable: true }), get: () => draws },
  );
  const el = globalThis.document.createElement("div");
  await openDocument(document, el, views, ended.signal, shared);
  expect(el.dataset.document).toBe("ready");
  const [first] = drawn;
  if (!first) throw new Error("nothing was drawn");
  await until(() => first.get("layer") === places.layer, "its shared object is there");
  return first;
}

it("is linked with another that shares the same", async () => {
  const shared: SharedModels = new Map();
  const [one, other] = [await open(text, shared), await open(text, shared)];
  one.set("layer", 1);
  await until(() => other.get("layer") === 1, "the other has it too");
});

it("shows what the last document says of what they share", async () => {
  const shared: SharedModels = new Map();
  const one = await open(text, shared);
  one.set("layer", 1);
  await open(text, shared);
  expect(one.get("layer")).toBe(places.layer);
});

it("is not linked with those of other pages", async () => {
  const [one, other] = [await open(text, new Map()), await open(text)];
  one.set("layer", 1);
  expect(other.get("layer")).toBe(places.layer);
});
