/** Pins, and what they do together; the shade over what a cell can reach. */
import { expect, test } from "vitest";
import { RequestError } from "../../core/port";
import { cellColour, clickCell, hoverCell, painted, press, status, until } from "../../test/dom";
import type { FakePort } from "../../test/fake_port";
import { colourBeside, type Picture, showPicture, violations } from "../../test/picture";
import { patching } from ".";
import { CHANGED, patch, pinning } from "./sample";
import type { Traits } from "./traits";

const show = (port: FakePort<Traits>): Promise<Picture> => showPicture("patching", patching, port);
const rows = (picture: Picture) =>
  [...picture.root.querySelectorAll(".mw-pins tr")].map((row) =>
    [...row.querySelectorAll("th, .mw-pin-number")].map(({ textContent }) => textContent),
  );

test("a click pins, the pin is framed and named; another click takes it away", async () => {
  const port = pinning();
  const picture = await show(port);
  const cell = { row: 21, col: 13 };
  const before = colourBeside(picture.grid, cell, { x: 0, y: -5 });
  await clickCell(picture.grid, cell);
  expect(port.sentTo("pin").map(({ args }) => args)).toEqual([
    { site: "resid_pre", layer: 21, position: 13 },
  ]);
  expect([port.get("layer"), port.get("position")]).toEqual([21, 13]);
  expect(rows(picture)).toEqual([["resid_pre L21 at 13 ·to", "+0.172"]]);
  expect(status(picture.root)).toMatch(/; pinned$/);
  await press(picture.grid, "{Home}");
  expect(colourBeside(picture.grid, cell, { x: 0, y: -5 })).not.toEqual(before);
  await clickCell(picture.grid, cell);
  expect(port.get("interventions")).toEqual([]);
  expect(picture.root.querySelector(".mw-pins")).toBeNull();
});

test("several pins stand beside their sum, with what they do together and how far that is from it", async () => {
  const port = pinning({ scale: "raw" });
  const picture = await show(port);
  await clickCell(picture.grid, { row: 21, col: 13 });
  await press(picture.grid, "{ArrowDown}{Enter}");
  expect(rows(picture)).toEqual([
    ["resid_pre L21 at 13 ·to", "+2"],
    ["resid_pre L22 at 13 ·to", "+4"],
    ["added up", "+6"],
    ["together", "+4.5"],
  ]);
  expect(picture.find(".mw-verdict").textContent).toBe(
    "The metric becomes −0.99, normalised 0.388. That is −1.5 from what the effects add up to (25 % of the sum).",
  );
  const [first, second] = picture.root.querySelectorAll<HTMLElement>(".mw-pin-bar > span");
  expect((first?.offsetWidth ?? 0) * 2).toBeCloseTo(second?.offsetWidth ?? 0, -1);
  picture.button("normalised").click();
  await painted();
  expect(rows(picture).at(-1)).toEqual(["together", "+0.388"]);
});

test("Escape and the list take pins away, the keyboard's own first", async () => {
  const port = pinning();
  const picture = await show(port);
  for (const col of [9, 11, 13]) await clickCell(picture.grid, { row: 20, col });
  await press(picture.grid, "{Escape}");
  expect(port.get("interventions")?.map(({ position }) => position)).toEqual([9, 11]);
  expect([port.get("layer"), port.get("position")]).toEqual([null, null]);
  picture.button("Unpin resid_pre L20 at 9 ·John/·Mary").click();
  await painted();
  expect(port.get("interventions")?.map(({ position }) => position)).toEqual([11]);
  await press(picture.grid, "{Escape}");
  expect(port.get("interventions")).toEqual([]);
});

test("pins of heads and of another site stay, and anything that Python adds is in the list", async () => {
  const port = pinning({ site: "z", interventions: [patch("resid_pre", 3, { position: 2 })] });
  const picture = await show(port);
  await clickCell(picture.grid, { row: 23, col: 3 });
  port.update({
    interventions: [
      ...(port.get("interventions") ?? []),
      { site: "z", layer: 4, head: 7, position: null, op: "zero", value: null },
    ],
  });
  await painted();
  expect(rows(picture).map(([name]) => name)).toEqual([
    "resid_pre L3 at 2 ·and",
    "z L23H3",
    "L4H7",
    "added up",
    "together",
  ]);
  await hoverCell(picture.grid, { row: 23, col: 3 });
  expect(status(picture.root)).toMatch(/; pinned$/);
  await hoverCell(picture.grid, { row: 4, col: 7 });
  expect(status(picture.root)).not.toMatch(/; pinned$/);
  picture.button("Unpin all").click();
  await painted();
  expect(port.get("interventions")).toEqual([]);
});

test("cells that are clicked faster than the kernel pins are all pinned, and one that is clicked again is not", async () => {
  const port = pinning();
  const picture = await show(port);
  port.answer("pin", async (args) => {
    await new Promise((done) => setTimeout(done, 60));
    const { site, layer, ...place } = args as { site: string; layer: number };
    port.update({ interventions: [...(port.get("interventions") ?? []), patch(site, layer, place)] });
    return {};
  });
  await press(picture.grid, "{Enter}{ArrowDown}{Enter}{ArrowDown}{Enter}{Enter}");
  await until(() => port.sentTo("pin").length === 3 && port.get("interventions")?.length === 2, "the pins");
  expect(port.get("interventions")?.map(({ layer }) => layer)).toEqual([0, 1]);
});

test("an answer for another list is not shown, and a failure is said", async () => {
  const port = pinning();
  const picture = await show(port);
  port.answer("joint", () => ({ alone: [1, 2, 3], together: 0 }));
  await clickCell(picture.grid, { row: 21, col: 13 });
  expect(rows(picture)).toEqual([["resid_pre L21 at 13 ·to", "…"]]);
  port.answer("joint", () => {
    throw new RequestError("The value of z has shape [3].", "ValueError");
  });
  await clickCell(picture.grid, { row: 22, col: 13 });
  expect(picture.find("[role=alert]").textContent).toBe("The value of z has shape [3].");
});

test("another metric asks anew what the pins do", async () => {
  const port = pinning();
  const picture = await show(port);
  await clickCell(picture.grid, { row: 21, col: 13 });
  const asked = port.sentTo("joint").length;
  port.update({ metric_name: "probability", clean_metric: 0.9, corrupted_metric: 0.1 });
  await painted();
  expect(port.sentTo("joint").length).toBe(asked + 1);
});

test("without a kernel, cells are chosen and nothing is asked; cells that do not exist are not pinned", async () => {
  const port = pinning({
    absent: { resid_pre: { dtype: "uint8", shape: [30, 14], data: new Uint8Array(420).fill(1, 0, 14) } },
  });
  const picture = await show(port);
  await clickCell(picture.grid, { row: 0, col: 3 });
  port.setCapabilities({ live: false, detached: true });
  await clickCell(picture.grid, { row: 21, col: 13 });
  expect(port.sentTo("pin")).toEqual([]);
  expect(port.get("layer")).toBe(21);
  expect(picture.find(".mw-chosen").textContent).toContain("chosen Layer 21");
});

test("what a change in a cell can reach is shaded: later layers, its own position and later ones", async () => {
  const picture = await show(pinning());
  const cells = { inside: { row: 12, col: 6 }, above: { row: 8, col: 6 }, before: { row: 12, col: 3 } };
  const colours = () => Object.values(cells).map((cell) => cellColour(picture.grid, cell));
  const [inside, above, before] = colours();
  await hoverCell(picture.grid, { row: 10, col: 5 });
  const [shaded, ...others] = colours();
  expect(others).toEqual([above, before]);
  const darker = (inside?.[1] ?? 0) - (shaded?.[1] ?? 0);
  expect(darker).toBeGreaterThan(8);
  expect(darker).toBeLessThan(40);
});

test("a head reaches the layers behind its own", async () => {
  const picture = await show(pinning({ site: "z" }));
  const cells = [
    { row: 9, col: 2 },
    { row: 9, col: 7 },
    { row: 8, col: 2 },
  ];
  const before = cells.map((cell) => cellColour(picture.grid, cell)[1]);
  await hoverCell(picture.grid, { row: 8, col: 5 });
  const after = cells.map((cell) => cellColour(picture.grid, cell)[1]);
  expect(after.map((green, at) => green < (before[at] ?? 0))).toEqual([true, true, false]);
});

test("axe finds nothing broken with pins", async () => {
  const interventions = [patch("resid_pre", 3, { position: CHANGED }), patch("z", 23, { head: 3 })];
  for (const theme of ["light", "dark"] as const) {
    const picture = await showPicture("patching", patching, pinning({ interventions }), theme);
    expect(rows(picture).length).toBe(4);
    expect(await violations(picture.root)).toEqual([]);
    picture.end();
  }
});
