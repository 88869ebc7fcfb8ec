import { expect, test } from "vitest";
import { RequestError } from "../../core/port";
import { painted, until } from "../../test/dom";
import { type Picture, showPicture, violations } from "../../test/picture";
import { exercise } from ".";
import { countRight, placeName } from "./answers";
import { samplePort } from "./sample";

const show = (port = samplePort(), theme: "light" | "dark" = "light"): Promise<Picture> =>
  showPicture("exercise", exercise, port, theme);
const soon = (condition: () => boolean) => until(condition, "what the picture should show");
const answers = (picture: Picture) =>
  [...picture.root.querySelectorAll(".mw-exercise-answers li")].map(({ textContent }) => textContent);

test("it asks, and waits for a choice in its picture", async () => {
  const picture = await show();
  expect(picture.text()).toContain("Which heads look back at a name?");
  expect(picture.text()).toContain("Choose a head in the picture.");
  expect(picture.button("Answer").disabled).toBe(true);
  await soon(() => picture.root.querySelector('[data-view="attention"]') !== null);
  expect(await violations(picture.root)).toEqual([]);
});

test("an answer is checked by the kernel, and kept with what it said", async () => {
  const port = samplePort();
  const picture = await show(port);
  port.update({ layer: 0, head: 0 });
  await painted();
  picture.button("Answer L0H0").click();
  await soon(() => answers(picture).length === 1);
  expect(answers(picture)).toEqual(["✗ L0H0 is not it."]);
  expect(picture.button("Answer L0H0").disabled).toBe(true);
  expect(picture.text()).toContain("0 of 2 found.");
  port.update({ layer: 23, head: 3 });
  await painted();
  picture.button("Answer L23H3").click();
  await soon(() => answers(picture).length === 2);
  expect(picture.text()).toContain("1 of 2 found.");
  expect(port.traits.answers).toEqual([
    { layer: 0, head: 0, right: false, feedback: "" },
    { layer: 23, head: 3, right: true, feedback: "" },
  ]);
  expect(await violations(picture.root)).toEqual([]);
});

test("all that there is to find solves it, and it can be started over", async () => {
  const found = [
    { layer: 23, head: 3, right: true, feedback: "It copies the name." },
    { layer: 11, head: 1, right: true, feedback: "" },
  ];
  const port = samplePort({ answers: found });
  const picture = await show(port, "dark");
  expect(picture.find("[role=status] strong").textContent).toBe("Solved.");
  expect(answers(picture)[0]).toBe("✓ L23H3 is right. It copies the name.");
  expect(await violations(picture.root)).toEqual([]);
  picture.button("Start over").click();
  await painted();
  expect(port.traits.answers).toEqual([]);
});

test("a hint is given when it is asked for", async () => {
  const picture = await show();
  expect(picture.text()).not.toContain("Look at late layers.");
  picture.button("Hint").click();
  await painted();
  expect(picture.text()).toContain("Look at late layers.");
});

test("a check that fails says so, and nothing is answered", async () => {
  const port = samplePort({ layer: 1, head: 1 });
  port.answer("check", () => {
    throw new RequestError("The check of an exercise says True or False.", "TypeError");
  });
  const picture = await show(port);
  picture.button("Answer L1H1").click();
  await soon(() => picture.text().includes("The check of an exercise says True or False."));
  expect(port.traits.answers).toEqual([]);
});

test("text is text", async () => {
  const nasty = "<img src=x onerror=alert(1)></script>";
  const picture = await show(
    samplePort({
      question: nasty,
      title: nasty,
      answers: [{ layer: 0, head: 0, right: false, feedback: nasty }],
    }),
  );
  expect(picture.root.querySelector("img, script")).toBeNull();
  expect(answers(picture)[0]).toContain(nasty);
});

test("places in words, and what was found", () => {
  expect(placeName({ layer: 5, head: 1 }, [])).toBe("L5H1");
  expect(placeName({ layer: 5, position: 1 }, ["a", " b"])).toBe("layer 5, position 1 ' b'");
  expect(placeName({ position: 7 }, ["a"])).toBe("position 7");
  const right = { layer: 1, head: 2, right: true, feedback: "" };
  expect(
    countRight(
      [right, { ...right, feedback: "again" }, { ...right, head: 3, right: false }],
      ["layer", "head"],
    ),
  ).toBe(1);
});
