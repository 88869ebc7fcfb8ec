import { expect, test } from "vitest";
import { userEvent } from "vitest/browser";
import recorded from "../../../tests/fixtures/head.json";
import { switchOff } from "../../core/intervention";
import { RequestError } from "../../core/port";
import {
  button,
  cellColour,
  clickCell,
  grid,
  hoverCell,
  painted,
  press,
  status,
  type ThemeName,
  until,
} from "../../test/dom";
import { type FakePort, held } from "../../test/fake_port";
import { fixturePort } from "../../test/fixture";
import { colourBeside, copied, fill, type Picture, showPicture, violations } from "../../test/picture";
import { head } from ".";
import { sampleComposition, sampleLooks, samplePort, sampleWrites, toldPort } from "./sample";
import type { PatternAnswer, Question, Traits, WritesAnswer } from "./traits";

const HEADS = "Heads, layers by heads";
const WRITTEN = "What the head writes, attended token by written token";
const QUESTIONS: readonly Question[] = ["pattern", "writes", "composition", "copying", "looks"];

const show = (port = toldPort(), theme: ThemeName = "light"): Promise<Picture> =>
  showPicture("head", head, port, theme);
const recordedPort = () => fixturePort<Traits>(recorded);
const panel = (picture: Picture, kind: string) => picture.find(`.mw-head-${kind}`);
const said = (picture: Picture, kind: string) =>
  (panel(picture, kind).textContent ?? "").replace(/\s+/g, " ");
const isBlue = ([red = 0, , blue = 0]: readonly number[]) => blue > red + 40;
const isOrange = ([red = 0, , blue = 0]: readonly number[]) => red > blue + 40;
const asked = (port: FakePort<Traits>) => port.sent.map(({ name }) => name);

/** Two tokens, two heads of the layer before, whose numbers are easily known. */
function smallPort(): FakePort<Traits> {
  const port = samplePort({ layers: 3, heads: 2, tokens: ["a", " b"] });
  const floats = (shape: number[], data: number[]) => ({
    dtype: "float32" as const,
    shape,
    data: Float32Array.from(data),
  });
  port.update({ layer: 1, head: 1 });
  port.answer(
    "pattern",
    (): PatternAnswer => ({
      pattern: floats([3], [1, 0.25, 0.75]),
      scores: { induction: 0.5, first_token: 0.25 },
    }),
  );
  port.answer("writes", (): WritesAnswer => {
    const { together, ...others } = sampleWrites({ layer: 1, head: 1, token: null }, [" b"]);
    return {
      ...others,
      tokens: [" b"],
      attention: floats([1], [0.75]),
      up: [[" b", " c", " d", " e", " f"]],
      up_values: floats([1, 5], [4, 3, 2, 1, 0]),
      down: [[" v", " w", " x", " y", " z"]],
      down_values: floats([1, 5], [-4, -3, -2, -1, -0.5]),
      own_values: floats([1], [4]),
      own_ranks: { dtype: "int32", shape: [1], data: Int32Array.of(0) },
    };
  });
  port.answer("composition", () => ({
    // Q, K, V, each of the two heads of layer 0
    scores: floats([3, 1, 2], [0.25, 0.5, 0.75, 0.25, 0.5, Number.NaN]),
    baseline: 0.5,
  }));
  return port;
}

test("what came with the picture is shown, and nothing is asked", async () => {
  const port = recordedPort();
  const picture = await show(port);
  expect(port.sent).toEqual([]);
  expect(picture.text()).toContain("Head L23H3");
  expect(said(picture, "pattern")).toMatch(/to the first token 0\.69/);
  expect(said(picture, "writes")).toContain("copying score −0.15");
  expect(said(picture, "looks")).toMatch(/looks for·\S+\+\d/);
  expect(said(picture, "composition")).toMatch(
    /K-composition: .* less what a random rotation gives \(0\.0417\)/,
  );
  for (const name of ["pattern", "writes", "composition", "looks"]) {
    expect(panel(picture, name).getAttribute("aria-busy")).toBe("false");
  }
});

test("without answers all are asked, of what is chosen", async () => {
  const port = samplePort();
  port.update({ position: 4, token: " Paris", distance: 2 });
  const picture = await show(port);
  await until(() => said(picture, "looks").includes("·Maria"), "the answers");
  expect(asked(port).sort()).toEqual([...QUESTIONS].sort());
  const run = { layer: 9, head: 1, interventions: [] };
  expect(port.sentTo("pattern")[0]?.args).toEqual(run);
  expect(port.sentTo("looks")[0]?.args).toEqual({
    ...run,
    position: 4,
    token: " Paris",
    stream: "prompt",
    distance: 2,
  });
  expect(port.sentTo("copying")[0]?.args).toEqual({ layer: 9, head: 1, stream: "embedding" });
});

test("another head is asked about; what was shown pales until it is there, and only the latest counts", async () => {
  const port = toldPort();
  const picture = await show(port);
  const slow = held<PatternAnswer>();
  port.answer("pattern", slow.answerer);
  await clickCell(grid(picture.root, HEADS), { row: 4, col: 2 });
  expect([port.get("layer"), port.get("head")]).toEqual([4, 2]);
  expect(picture.root.dataset.state).toBe("busy");
  expect(picture.find(".mw-head-pattern .mw-head-body").dataset.stale).toBe("true");
  expect(panel(picture, "pattern").getAttribute("aria-busy")).toBe("true");
  port.update({ layer: 5 });
  await painted();
  const [first, second] = port.sentTo("pattern");
  expect(first?.signal?.aborted).toBe(true);
  expect(second?.args).toEqual({ layer: 5, head: 2, interventions: [] });
  // back to what came with the picture: nothing to wait for
  port.update({ layer: 9, head: 1 });
  await painted();
  expect(second?.signal?.aborted).toBe(true);
  expect(picture.find(".mw-head-pattern .mw-head-body").dataset.stale).toBe("false");
  expect(picture.root.dataset.state).toBe("ready");
});

test("a new prompt asks again, though the head is the same", async () => {
  const port = toldPort();
  const picture = await show(port);
  port.update({ tokens: ["When", " Mary"], answers: {} });
  await painted();
  expect(asked(port).sort()).toEqual([...QUESTIONS].sort());
  await until(() => picture.root.querySelector("[role=listbox]") !== null, "the answer");
  expect(picture.find("[role=listbox]").textContent).toBe("When·Mary");
});

for (const theme of ["light", "dark"] as const) {
  test(`what rises is blue, what falls orange, as strongly as it does (${theme})`, async () => {
    const picture = await show(smallPort(), theme);
    await until(() => said(picture, "writes").includes("OV circuit"), "the answers");
    const table = grid(picture.root, WRITTEN);
    const [, , width = 0] = (table.dataset.cells ?? "").split(" ").map(Number);
    // beside the text
    const at = (row: number, col: number) => colourBeside(table, { row, col }, { x: 4 - width / 2, y: -7 });
    expect(isBlue(at(0, 0))).toBe(true);
    expect(isOrange(at(0, 5))).toBe(true);
    expect(isBlue(at(0, 10))).toBe(true);
    expect(isBlue(at(0, 4))).toBe(false);
  });

  test(`earlier heads are coloured by what is beyond chance, others hatched (${theme})`, async () => {
    const picture = await show(smallPort(), theme);
    await until(() => said(picture, "composition").includes("random rotation"), "the answers");
    const map = grid(picture.root, HEADS);
    expect(isBlue(cellColour(map, { row: 0, col: 0 }))).toBe(true);
    expect(isOrange(cellColour(map, { row: 0, col: 1 }))).toBe(true);
    const hatched = (cell: { row: number; col: number }) =>
      new Set(Array.from({ length: 9 }, (_, x) => String(colourBeside(map, cell, { x: x - 4, y: 0 })))).size >
      1;
    expect(hatched({ row: 2, col: 0 })).toBe(true);
    expect(hatched({ row: 0, col: 0 })).toBe(false);
    picture.button("as value").click();
    await painted();
    expect(hatched({ row: 0, col: 1 })).toBe(true);
  });
}

test("pointing says what is there", async () => {
  const picture = await show(smallPort());
  await until(() => said(picture, "writes").includes("OV circuit"), "the answers");
  const table = grid(picture.root, WRITTEN);
  await hoverCell(table, { row: 0, col: 1 });
  expect(status(picture.root)).toBe(
    "Attending to ' b' alone (it attends to it with 0.75): +3 for the logit of ' c'",
  );
  await hoverCell(table, { row: 0, col: 10 });
  expect(status(picture.root)).toMatch(
    /\+4 for the logit of that token itself, which is what it raises most$/,
  );
  const map = grid(picture.root, HEADS);
  await hoverCell(map, { row: 0, col: 0 });
  expect(status(picture.root)).toBe("L0H0: keys read 0.75 of what it writes, +0.25 beyond chance");
  await hoverCell(map, { row: 1, col: 1 });
  expect(status(picture.root)).toBe("L1H1: this head");
  await hoverCell(map, { row: 2, col: 0 });
  expect(status(picture.root)).toBe("L2H0: not before this head");
  picture.button("as value").click();
  await hoverCell(map, { row: 0, col: 1 });
  expect(status(picture.root)).toBe("L0H1: composition is not known");
});

test("what it does with all that it attends to stands above the single tokens", async () => {
  const picture = await show();
  await hoverCell(grid(picture.root, WRITTEN), { row: 0, col: 5 });
  expect(status(picture.root)).toMatch(/^As it attends: −\d.* for the logit of ' John'$/);
});

test("the keyboard goes to another head, and to what is written", async () => {
  const port = toldPort();
  const picture = await show(port);
  await press(grid(picture.root, HEADS), "{ArrowUp}{ArrowUp}{ArrowRight}{Enter}");
  expect([port.get("layer"), port.get("head")]).toEqual([7, 2]);
  const table = grid(picture.root, WRITTEN);
  await press(table, "{ArrowDown}{ArrowRight}{Enter}");
  expect(port.get("token")).toBe(" Maria");
  await press(table, "{Escape}");
  expect(port.get("token")).toBeNull();
  const layer = picture.find<HTMLInputElement>("input[type=number]");
  await fill(layer, "12");
  expect([port.get("layer"), port.get("head")]).toEqual([12, 2]);
});

test("a head that reads it is one click away", async () => {
  const port = toldPort();
  const picture = await show(port);
  const link = picture.find<HTMLButtonElement>(".mw-head-composition .mw-link");
  const [, layer, number] = link.textContent?.match(/^L(\d+)H(\d+)$/) ?? [];
  link.click();
  await painted();
  expect([port.get("layer"), port.get("head")]).toEqual([Number(layer), Number(number)]);
});

test("a token of the pattern is locked as the query", async () => {
  const port = toldPort();
  const picture = await show(port);
  await clickCell(grid(picture.root, "Attention of L9H1"), { row: 6, col: 2 });
  expect(port.get("position")).toBe(6);
  await until(() => port.sentTo("writes").length === 1, "the question");
  expect(port.sentTo("pattern")).toEqual([]);
  expect(said(picture, "looks")).toContain("that ·the scores highest");
  await press(grid(picture.root, "Attention of L9H1"), "{Escape}");
  expect(port.get("position")).toBeNull();
});

test("a token of the reader's is looked at, and let go of", async () => {
  const port = toldPort();
  const picture = await show(port);
  const field = picture.find<HTMLInputElement>("input[name=token]");
  await fill(field, " Paris");
  await userEvent.keyboard("{Enter}");
  expect(port.get("token")).toBe(" Paris");
  await until(() => port.sentTo("writes").length === 1, "the question");
  expect(said(picture, "looks")).toContain("·Paris");
  expect(port.sentTo("writes").at(-1)?.args).toMatchObject({ token: " Paris" });
  expect(port.sentTo("pattern")).toEqual([]);
  picture.button("×").click();
  await painted();
  expect(port.get("token")).toBeNull();
  expect(field.value).toBe("");
});

test("what a token stands for, and how far it is, are chosen", async () => {
  const port = toldPort();
  const picture = await show(port);
  const choose = async (label: string, text: string) => {
    const named = [...picture.root.querySelectorAll("label")].find(
      ({ textContent }) => textContent === label,
    );
    const list = picture.find<HTMLSelectElement>(`#${named?.htmlFor}`);
    const option = [...list.options].find((one) => one.text === text);
    list.value = option?.value ?? "";
    list.dispatchEvent(new Event("change", { bubbles: true }));
    await painted();
  };
  await choose("A token is", "its embedding and MLP 0");
  expect(port.get("stream")).toBe("effective");
  expect(port.sentTo("copying").at(-1)?.args).toEqual({ layer: 9, head: 1, stream: "effective" });
  await until(
    () => said(picture, "writes").includes("what MLP 0 writes of it, without attention"),
    "the note",
  );
  await choose("key before the query by", "4");
  expect(port.get("distance")).toBe(4);
  expect(port.sentTo("looks").at(-1)?.args).toMatchObject({ distance: 4, stream: "effective" });
});

test("the head is switched off and on, with x in the pattern too", async () => {
  const port = toldPort();
  const picture = await show(port);
  picture.button("Switch head off").click();
  await painted();
  expect(port.get("interventions")).toEqual([switchOff(9, 1)]);
  expect(picture.text()).toContain("modified");
  expect(picture.text()).toContain("It is switched off, so it writes nothing in this run");
  await until(() => port.sentTo("pattern").length === 1, "the question");
  expect(port.sentTo("composition")).toEqual([]);
  button(picture.root, "Undo L9H1").click();
  await painted();
  expect(port.get("interventions")).toEqual([]);
  await press(grid(picture.root, "Attention of L9H1"), "x");
  expect(port.get("interventions")).toEqual([switchOff(9, 1)]);
});

test("what a family does not have is said, and the rest stays", async () => {
  const port = samplePort({ layers: 4, heads: 4 });
  const why = "This layer has no matrix of its own for k.";
  for (const name of ["looks", "composition", "copying"]) port.answer(name, () => ({ unavailable: why }));
  const picture = await show(port);
  await until(() => said(picture, "looks").includes(why), "the reason");
  expect(said(picture, "composition")).toContain(`Not available: ${why}`);
  expect(said(picture, "writes")).toContain("no copying score");
  expect(said(picture, "writes")).toContain("OV circuit");
  expect(picture.root.dataset.state).toBe("ready");
  expect(picture.root.querySelector("[role=alert]")).toBeNull();
  // the map is still the way to other heads
  await clickCell(grid(picture.root, HEADS), { row: 1, col: 1 });
  expect(port.get("layer")).toBe(1);
  port.answer("looks", sampleLooks);
  port.update({ layer: 2 });
  await until(() => said(picture, "looks").includes("·Mary"), "the answer of the next head");
});

test("an error stands in its panel, and what was shown stays", async () => {
  const port = toldPort();
  const picture = await show(port);
  port.answer("writes", () => {
    throw new RequestError("NaN or infinity in the pattern.", "ValueError");
  });
  port.update({ head: 3 });
  await until(() => picture.root.dataset.state === "error", "the error");
  expect(picture.find(".mw-head-writes [role=alert]").textContent).toBe("NaN or infinity in the pattern.");
  expect(picture.find(".mw-head-writes .mw-head-body").dataset.stale).toBe("true");
  expect(picture.find(".mw-head-looks .mw-head-body").dataset.stale).toBe("false");
});

test("without a kernel what is known stays, and nothing is asked", async () => {
  const port = toldPort();
  port.setCapabilities({ live: false, detached: true });
  const picture = await show(port);
  expect(said(picture, "writes")).toContain("OV circuit");
  port.update({ layer: 3 });
  await painted();
  expect(port.sent).toEqual([]);
  expect(said(picture, "writes")).toContain("Of another head or place it takes a running kernel.");
  await press(grid(picture.root, "Attention of L3H1"), "x");
  expect(port.get("interventions")).toEqual([]);
});

test("its numbers can be taken as tables", async () => {
  const picture = await show(smallPort());
  await until(() => said(picture, "looks").includes("·Maria"), "the answers");
  expect(await copied(picture.root, "Copy table: what it writes")).toContain(
    '" b"\t0.75\traises\t" b"\t4\n" b"\t0.75\traises\t" c"\t3\n',
  );
  expect(await copied(picture.root, "Copy table: K-composition with earlier heads")).toBe(
    "layer\t0\t1\n0\t0.75\t0.25\n",
  );
  expect(await copied(picture.root, "Copy table: what it looks for")).toMatch(
    /^query\tkey\tscore before softmax\tbeyond the mean\n" b"\t" Mary"\t4\t6\n/,
  );
  expect(await copied(picture.root, "Copy table: L1H1")).toContain("0.25\t0.75");
});

test("the first layer reads no heads", async () => {
  const port = samplePort({ layers: 2, heads: 2 });
  port.update({ layer: 0 });
  port.answer("composition", () => sampleComposition({ layer: 0, head: 0, token: null }, 2));
  const picture = await show(port);
  await until(() => said(picture, "looks").includes("·Maria"), "the answers");
  expect(picture.root.querySelector(".mw-head-composition .mw-signed-bars")).toBeNull();
});

test("token text is text", async () => {
  const hostile = "<img src=x onerror=alert(1)>";
  const port = samplePort({ layers: 2, heads: 2, tokens: [hostile, "</script>"] });
  port.update({ token: hostile });
  const picture = await show(port);
  await until(() => said(picture, "looks").includes("·Maria"), "the answers");
  expect(picture.root.querySelector("img")).toBeNull();
  expect(said(picture, "looks")).toContain("<img src=x onerror=aler…");
});

test("axe finds nothing broken", async () => {
  for (const theme of ["light", "dark"] as const) {
    const port = recordedPort();
    const picture = await show(port, theme);
    expect(await violations(picture.root)).toEqual([]);
    picture.end();
  }
});

test("the end of the view ends its listeners and its questions", async () => {
  const port = samplePort();
  for (const name of QUESTIONS) port.answer(name, () => new Promise(() => undefined));
  const picture = await show(port);
  await painted();
  picture.end();
  await painted();
  expect(port.listeners).toBe(0);
  expect(port.sent.every(({ signal }) => signal?.aborted)).toBe(true);
});
