import { expect, test } from "vitest";
import recorded from "../../../tests/fixtures/prediction.json";
import { switchOff } from "../../core/intervention";
import { RequestError } from "../../core/port";
import { button, painted, until } from "../../test/dom";
import { fixturePort } from "../../test/fixture";
import { copied, fill, type Picture, showPicture, violations } from "../../test/picture";
import { prediction } from ".";
import { firstDifference, ordered } from "./order";
import { distribution, samplePort } from "./sample";
import type { Traits } from "./traits";

const show = (port = samplePort(), theme: "light" | "dark" = "light"): Promise<Picture> =>
  showPicture("prediction", prediction, port, theme);
const soon = (condition: () => boolean) => until(condition, "what the picture should show");
const OFF = switchOff(1, 2);
const rows = (picture: Picture) =>
  [...picture.root.querySelectorAll(".mw-bars tbody tr")].map((row) =>
    [...row.querySelectorAll("th, td:not(.mw-bar)")].map((cell) => cell.textContent ?? ""),
  );
const written = (picture: Picture) =>
  [...picture.root.querySelectorAll(".mw-written-line")].map((line) =>
    [...line.querySelectorAll("button")].map(({ textContent }) => textContent),
  );

/** Two tokens that change places, one of which moves little. */
const changed = () =>
  samplePort({
    interventions: [OFF],
    answered: { position: 13, interventions: [OFF] },
    distribution: distribution([" Mary", " John", " the"], [0.6, 0.2, 0.1], [0.59, 0.05, 0.3]),
  });

test("without changes it is one distribution, most probable first", async () => {
  const picture = await show();
  expect(rows(picture)[0]).toEqual(["·Mary", "0.600"]);
  expect(picture.text()).not.toMatch(/KL|by change/);
  expect(await violations(picture.root)).toEqual([]);
});

test("under changes it is sorted by what moves most, or by probability", async () => {
  const port = changed();
  const picture = await show(port);
  expect(rows(picture).map(([token]) => token)).toEqual(["·the", "·John", "·Mary"]);
  expect(rows(picture)[0]).toEqual(["·the", "0.100", "0.300", "+0.200"]);
  expect(picture.text()).toContain("KL");
  picture.button("by probability").click();
  await painted();
  expect(port.traits.order).toBe("probability");
  expect(rows(picture).map(([token]) => token)).toEqual(["·Mary", "·John", "·the"]);
  expect(await violations(picture.root)).toEqual([]);
});

test("a change that is undone, or another position, marks the numbers until the kernel has others", async () => {
  const port = changed();
  const picture = await show(port);
  const stale = () => picture.find(".mw-bars").dataset.stale;
  expect(stale()).toBe("false");
  button(picture.root, "L1H2 ×").click();
  await painted();
  expect(port.traits.interventions).toEqual([]);
  expect(stale()).toBe("true");
  port.update({ answered: { position: 13, interventions: [] } });
  await painted();
  expect(stale()).toBe("false");
});

test("it writes on both ways, and marks where they part", async () => {
  const picture = await show(changed());
  picture.button("Write").click();
  await soon(() => written(picture).length === 2);
  expect(written(picture)).toEqual([
    ["·Mary", ".", "·She"],
    ["·Mary", "·and", "·John"],
  ]);
  const differs = [...picture.root.querySelectorAll<HTMLElement>(".mw-written-token")].map(
    ({ dataset }) => dataset.differs,
  );
  expect(differs).toEqual(["false", "true", "true", "false", "true", "true"]);
  expect(await violations(picture.root)).toEqual([]);
});

test("a token that was written shows the distribution that it was taken from, and again the prompt's", async () => {
  const port = changed();
  const picture = await show(port);
  picture.button("Write").click();
  await soon(() => written(picture).length === 2);
  picture.button("·and").click();
  await soon(() => rows(picture)[0]?.[0] === ".");
  expect(port.sent.at(-1)).toMatchObject({ name: "behind", args: { token_ids: [1] } });
  expect(picture.text()).toContain("·a·drink·to·Mary");
  picture.button("·and").click();
  await painted();
  expect(rows(picture)[0]?.[0]).toBe("·the");
});

test("without changes it writes on once", async () => {
  const picture = await show();
  picture.button("Write").click();
  await soon(() => written(picture).length === 1);
});

test("what was written is written again under other changes", async () => {
  const port = changed();
  const picture = await show(port);
  picture.button("Write").click();
  await soon(() => written(picture).length === 2);
  port.update({ interventions: [], answered: { position: 13, interventions: [] } });
  await soon(() => port.sent.filter(({ name }) => name === "write").length === 2);
  await soon(() => written(picture).length === 1);
});

test("a prompt that cannot be run says why, and the picture stays", async () => {
  const port = samplePort();
  port.answer("set_inputs", () => {
    throw new RequestError("The prompt is empty.", "ValueError");
  });
  const picture = await show(port);
  await fill(picture.find("textarea"), "");
  picture.button("Run").click();
  await soon(() => picture.text().includes("The prompt is empty."));
  expect(rows(picture)[0]?.[0]).toBe("·Mary");
});

test("token text is text", async () => {
  const some = [0.5, 0.2];
  const picture = await show(
    samplePort({ distribution: distribution(["<img src=x onerror=alert(1)>", "</script>"], some, some) }),
  );
  expect(picture.root.querySelector("img, script")).toBeNull();
  expect(rows(picture)[1]?.[0]).toBe("</script>");
});

test("its numbers are a table", async () => {
  const picture = await show(changed());
  expect(await copied(picture.root, "Copy table")).toMatch(/^token\tbefore\tafter\n"? the.*\t0\.1\t0\.3\n/);
});

test("the recorded kernel's answers are drawn", async () => {
  const picture = await show(fixturePort<Traits>(recorded), "dark");
  expect(rows(picture)[0]?.[0]).toBe("·Mary");
  picture.button("Write").click();
  await soon(() => written(picture).length === 2);
  expect(written(picture)[0]?.[0]).toBe("·Mary");
});

test("order and difference", () => {
  const given = distribution(["a", "b"], [0.5, 0.3], [0.5, 0.1]);
  expect(ordered(given, "change").tokens).toEqual(["b", "a"]);
  expect(ordered(given, "probability")).toBe(given);
  expect(firstDifference([1, 2], [1, 2])).toBe(2);
  expect(firstDifference([1, 2], [1])).toBe(1);
});
