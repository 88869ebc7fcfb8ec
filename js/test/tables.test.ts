/** The numbers that each picture gives away are those that it was given. */
import { expect, it, onTestFinished, vi } from "vitest";
import attentionFixture from "../../tests/fixtures/attention.json";
import lensFixture from "../../tests/fixtures/logit_lens.json";
import patchingFixture from "../../tests/fixtures/patching.json";
import patternsFixture from "../../tests/fixtures/patterns.json";
import tokensFixture from "../../tests/fixtures/tokens.json";
import type { View } from "../core/mount";
import { attention } from "../views/attention";
import { logitLens } from "../views/logit_lens";
import { patching } from "../views/patching";
import { patterns } from "../views/patterns";
import { tokens } from "../views/tokens";
import { painted, show, until } from "./dom";
import { type Fixture, fixturePort } from "./fixture";

/** A picture's tables as its menu copies them, by name; "" where there is one. */
async function tablesOf<Traits extends object>(kind: string, view: View<Traits>, fixture: Fixture) {
  const written = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue(undefined);
  onTestFinished(() => written.mockRestore());
  const { root } = await show(kind, view, fixturePort<Traits>(fixture));
  await until(() => root.dataset.state === "ready", "the picture");
  await painted();
  const tables: Record<string, Record<string, string>[]> = {};
  for (const item of [...root.querySelectorAll<HTMLElement>("[role=menuitem]")]) {
    const [, name] = /^Copy table(?:: (.*))?$/.exec(item.textContent ?? "") ?? [];
    if (!item.textContent?.startsWith("Copy table")) continue;
    written.mockClear();
    item.click();
    await until(() => written.mock.calls.length === 1, "the table");
    const [header = [], ...rows] = String(written.mock.lastCall?.[0])
      .trimEnd()
      .split("\n")
      .map((line) => line.split("\t"));
    tables[name ?? ""] = rows.map((row) =>
      Object.fromEntries(header.map((column, at) => [column, row[at] ?? ""])),
    );
  }
  return tables;
}

function floats(array: { data: string }): Float32Array {
  return new Float32Array(Uint8Array.from(atob(array.data), (character) => character.charCodeAt(0)).buffer);
}

it("attention: the head in sight, and the scores of all", async () => {
  const tables = await tablesOf("attention", attention, attentionFixture);
  const head = tables.L23H3 ?? [];
  expect(head).toHaveLength(14);
  const row = Object.values(head[13] ?? {});
  expect(row[0]).toBe("13 ·to");
  const weights = row.slice(1).map(Number);
  expect(weights.reduce((sum, weight) => sum + weight)).toBeCloseTo(1, 5);
  // above the diagonal there is nothing
  expect(Object.values(head[0] ?? {}).slice(2)).toEqual(Array(13).fill(""));
  const scores = tables["scores of all heads"] ?? [];
  expect(scores).toHaveLength(270);
  expect(scores[23 * 9 + 3]).toMatchObject({ layer: "23", head: "3" });
});

it("logit lens: every cell", async () => {
  const { "": cells = [] } = await tablesOf("logit_lens", logitLens, lensFixture);
  const { tokens: texts, row_labels, entropy } = lensFixture.traits;
  expect(cells).toHaveLength(texts.length * row_labels.length);
  expect(cells.at(-1)).toMatchObject({
    layer: row_labels.at(-1),
    position: String(texts.length - 1),
    "top token": '" Paris"',
    "rank of target": "0",
  });
  expect(cells.map((cell) => Math.fround(Number(cell.entropy)))).toEqual([...floats(entropy)]);
});

it("patching: every computed cell, with its share", async () => {
  const { "": cells = [] } = await tablesOf("patching", patching, patchingFixture);
  const { results, clean_metric, corrupted_metric, metric_name } = patchingFixture.traits;
  const values = floats(results.resid_pre);
  expect(cells.map((cell) => Math.fround(Number(cell[metric_name])))).toEqual([...values]);
  const [one] = cells;
  const share = ((values[0] ?? 0) - corrupted_metric) / (clean_metric - corrupted_metric);
  expect(Number(one?.normalised)).toBeCloseTo(share, 6);
  expect(one).toMatchObject({ layer: "0", position: "0" });
});

it("patterns: the head in sight", async () => {
  const { "": head = [] } = await tablesOf("patterns", patterns, patternsFixture);
  expect(head).toHaveLength(patternsFixture.traits.tokens.length);
});

it("tokens: a value each", async () => {
  const { "": page = [] } = await tablesOf("tokens", tokens, tokensFixture);
  const { content, value_name } = tokensFixture.traits;
  expect(page.map((row) => Math.fround(Number(row[value_name])))).toEqual([...floats(content.values)]);
  expect(page.map(({ token }) => token?.replace(/^"|"$/g, ""))).toEqual(content.tokens.flat());
});
