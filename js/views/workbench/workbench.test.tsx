import { expect, test, vi } from "vitest";
import { type Entry, switchOff } from "../../core/intervention";
import { RequestError } from "../../core/port";
import { painted, until } from "../../test/dom";
import { held } from "../../test/fake_port";
import { copied, fill, type Picture, showPicture, violations } from "../../test/picture";
import { workbench } from ".";
import { isOn, switched, toggled, toggledAlone } from "./entries";
import { read, samplePort } from "./sample";

const ALONE = { corrupted: "", corrupted_tokens: [], answer_text: "", wrong_text: "" };
const HEAD = switchOff(23, 3);
const show = (port = samplePort(ALONE), theme: "light" | "dark" = "light"): Promise<Picture> =>
  showPicture("workbench", workbench, port, theme);
const soon = (condition: () => boolean) => until(condition, "what the picture should show");
const panels = (names: string[]) => ({
  panels: names,
  views: Object.fromEntries(names.map((name) => [name, `IPY_MODEL_${name}`])),
});
const on = (intervention: Entry["intervention"]): Entry => ({ intervention, on: true });
const select = (picture: Picture, name: string, value: string) => {
  const label = [...picture.root.querySelectorAll("label")].find(({ textContent }) => textContent === name);
  const field = document.getElementById(label?.htmlFor ?? "") as HTMLSelectElement;
  field.value = value;
  field.dispatchEvent(new Event("change", { bubbles: true }));
};

test("its pictures are drawn inside, without what the workbench says for all", async () => {
  const picture = await show(samplePort({ ...ALONE, ...panels(["prediction", "attribution", "attention"]) }));
  const inside = [...picture.root.querySelectorAll<HTMLElement>(".mechwidgets")];
  expect(inside.map(({ dataset }) => dataset.view)).toEqual(["prediction", "attribution", "attention"]);
  for (const view of inside) {
    expect(view.dataset.state).not.toBe("error");
    const forms = [...view.querySelectorAll<HTMLElement>(".mw-prompt")];
    expect(forms.map((form) => form.offsetHeight)).toEqual(forms.map(() => 0));
  }
  expect(await violations(picture.root)).toEqual([]);
  picture.end();
  expect(document.querySelector(".mechwidgets")).toBeNull();
});

test("it says in the dark too what it is about", async () => {
  const picture = await show(samplePort({ ...panels(["prediction"]) }), "dark");
  expect(picture.text()).toContain("tokens, 1 differs");
  expect(await violations(picture.root)).toEqual([]);
});

test("a picture that cannot be drawn says why, and the others stay", async () => {
  const views = { prediction: "IPY_MODEL_prediction", attention: "IPY_MODEL_gone" };
  const picture = await show(samplePort({ ...ALONE, panels: ["prediction", "attention"], views }));
  await soon(() => picture.text().includes("The test has no view IPY_MODEL_gone."));
  expect(picture.root.querySelector('[data-view="prediction"]')).toBeTruthy();
});

test("what is typed is read by the kernel, a pause after the last key, and what is wrong is said at its field", async () => {
  const port = samplePort(ALONE);
  const picture = await show(port);
  await soon(() => port.sentTo("check").length === 1);
  port.answer("check", () => read("Mary and John", "", { prompt: "The prompt is empty." }));
  await fill(picture.find("textarea[name=prompt]"), "Mary and John");
  await soon(() => picture.text().includes("The prompt is empty."));
  expect(picture.text()).toContain("3 tokens");
  expect(picture.root.dataset.state).toBe("ready");
  const field = picture.find("textarea[name=prompt]");
  expect(field.getAttribute("aria-invalid")).toBe("true");
  expect(document.getElementById(field.getAttribute("aria-describedby") ?? "")?.textContent).toBe(
    "The prompt is empty.",
  );
  picture.button("Run").click();
  await painted();
  expect(port.sentTo("set_inputs")).toEqual([]);
  expect(await violations(picture.root)).toEqual([]);
});

test("Enter asks about what was typed; a newer question takes the place of an older one's reading", async () => {
  const port = samplePort(ALONE);
  const picture = await show(port);
  await fill(picture.find("textarea[name=prompt]"), "Hello there");
  picture
    .find("textarea[name=prompt]")
    .dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  await soon(() => port.sentTo("set_inputs").length === 1);
  expect(port.sentTo("set_inputs")[0]?.args).toEqual({
    prompt: "Hello there",
    corrupted: "",
    answer: "",
    wrong: "",
  });
});

test("what was wrong some keys ago keeps nobody from asking", async () => {
  const port = samplePort(ALONE);
  port.answer("check", () => read("", "", { prompt: "The prompt is empty." }));
  const picture = await show(port);
  await fill(picture.find("textarea[name=prompt]"), "");
  await soon(() => picture.text().includes("The prompt is empty."));
  port.answer("check", held<object>().answerer);
  await fill(picture.find("textarea[name=prompt]"), "Hello");
  picture.button("Run").click();
  await soon(() => port.sentTo("set_inputs").length === 1);
});

test("a question that the kernel refuses is kept in its fields, with the reason", async () => {
  const port = samplePort(ALONE);
  port.answer("set_inputs", () => {
    throw new RequestError("The model takes 8,192 tokens.", "ValueError");
  });
  const picture = await show(port);
  await fill(picture.find("textarea[name=prompt]"), "Hello there");
  picture.button("Run").click();
  await soon(() => picture.text().includes("The model takes 8,192 tokens."));
  expect(picture.find<HTMLTextAreaElement>("textarea[name=prompt]").value).toBe("Hello there");
});

test("while the model runs it can be stopped, and pictures of the last prompt are marked", async () => {
  const port = samplePort({ ...ALONE, ...panels(["prediction"]) });
  const answer = held<object>();
  port.answer("set_inputs", answer.answerer);
  const picture = await show(port);
  picture.button("Run").click();
  await painted();
  expect(picture.root.dataset.state).toBe("busy");
  port.update({ stale: ["prediction"] });
  await painted();
  const panel = picture.find('[data-panel="prediction"]');
  expect([panel.getAttribute("aria-busy"), panel.textContent?.includes("Of the last prompt")]).toEqual([
    "true",
    true,
  ]);
  picture.button("Stop").click();
  await painted();
  expect(port.sentTo("set_inputs")[0]?.signal?.aborted).toBe(true);
  expect(picture.root.dataset.state).toBe("ready");
  port.update({ stale: [] });
  await painted();
  expect(panel.getAttribute("aria-busy")).toBe("false");
});

test("a corrupted prompt comes and goes", async () => {
  const port = samplePort(ALONE);
  const picture = await show(port);
  picture.button("Add a corrupted prompt").click();
  await painted();
  const field = picture.find<HTMLTextAreaElement>("textarea[name=corrupted]");
  expect(document.activeElement).toBe(field);
  await fill(field, "When Mary and Tom went");
  await soon(() => picture.root.querySelectorAll('li[data-differs="true"]').length > 0);
  picture.button("Run").click();
  await soon(() => port.sentTo("set_inputs").length === 1);
  expect(port.sentTo("set_inputs")[0]?.args).toMatchObject({ corrupted: "When Mary and Tom went" });
  port.update({ corrupted: "When Mary and Tom went" });
  await painted();
  picture.find('[aria-label="Remove the corrupted prompt"]').click();
  await soon(() => port.sentTo("set_inputs").length === 2);
  expect(port.sentTo("set_inputs")[1]?.args).toMatchObject({ corrupted: "" });
});

test("a panel is shown and hidden; one that compares two prompts asks for the second first", async () => {
  const port = samplePort({ ...ALONE, ...panels(["prediction"]) });
  const picture = await show(port);
  picture.button("Logit attribution").click();
  await soon(() => picture.root.querySelector('[data-view="attribution"]') !== null);
  expect(port.sentTo("show")[0]?.args).toEqual({ panels: ["prediction", "attribution"] });
  picture.button("Next token").click();
  await soon(() => picture.root.querySelector('[data-view="prediction"]') === null);
  picture.button("Patching").click();
  await painted();
  expect(document.activeElement).toBe(picture.find("textarea[name=corrupted]"));
  expect(port.sentTo("show").length).toBe(2);
});

test("a panel that is being made says so", async () => {
  const port = samplePort({ ...ALONE });
  const answer = held<object>();
  port.answer("show", answer.answerer);
  const picture = await show(port);
  picture.button("Attention").click();
  await painted();
  expect(picture.find('[data-panel="attention"]').textContent).toContain("Attention: running the model…");
  answer.reject(new RequestError("There is no memory left.", "MemoryError"));
  await soon(() => picture.text().includes("There is no memory left."));
  expect(picture.root.querySelector('[data-panel="attention"]')).toBeNull();
});

test("what is chosen can be switched off there, at all positions or at one", async () => {
  const port = samplePort(ALONE);
  const picture = await show(port);
  expect(picture.text()).toContain("Click a head, a layer or a token in a picture");
  select(picture, "layer", "23");
  select(picture, "head", "3");
  await painted();
  expect([port.traits.layer, port.traits.head]).toEqual([23, 3]);
  picture.button("Switch L23H3 off").click();
  await painted();
  expect(port.traits.entries).toEqual([on(HEAD)]);
  picture.button("Switch L23H3 on").click();
  await painted();
  expect(port.traits.entries).toEqual([]);
  select(picture, "position", "9");
  await painted();
  picture.find<HTMLInputElement>(".mw-bench-chosen input[type=checkbox]").click();
  await painted();
  picture.button("Switch MLP 23 off").click();
  await painted();
  expect(port.traits.entries?.[0]?.intervention).toMatchObject({
    site: "mlp_out",
    layer: 23,
    head: null,
    position: 9,
  });
  select(picture, "layer", "");
  await painted();
  expect(port.traits.layer).toBeNull();
  expect(await violations(picture.root)).toEqual([]);
});

test("interventions are switched, dropped, undone and copied", async () => {
  const port = samplePort({ ...ALONE, entries: [on(HEAD), on(switchOff(1, 2))] });
  const picture = await show(port);
  const boxes = picture.root.querySelectorAll<HTMLInputElement>(".mw-bench-change input");
  boxes[0]?.click();
  await painted();
  expect(port.traits.entries?.map((entry) => entry.on)).toEqual([false, true]);
  picture.find('[aria-label="Drop L1H2 off"]').click();
  await painted();
  expect(port.traits.entries).toEqual([{ intervention: HEAD, on: false }]);
  picture.button("Undo").click();
  await soon(() => port.sentTo("undo").length === 1);
  const written = vi.spyOn(navigator.clipboard, "writeText").mockResolvedValue(undefined);
  picture.find('[aria-label="Copy as Python: the interventions"]').click();
  await soon(() => written.mock.calls.length === 1);
  expect(written.mock.calls[0]?.[0]).toBe("interventions = mw.Interventions([])\n");
  written.mockRestore();
  expect(await violations(picture.root)).toEqual([]);
});

test("what is done at a position that the prompt has not is marked", async () => {
  const picture = await show(
    samplePort({ ...ALONE, entries: [on({ ...HEAD, position: 20 }), on({ ...HEAD, position: -1 })] }),
  );
  const [late, last] = [...picture.root.querySelectorAll<HTMLElement>(".mw-bench-change")];
  expect([late?.textContent, late?.dataset.on]).toEqual([
    "zero z L23H3 at 20 (not in this prompt)×",
    "false",
  ]);
  expect([last?.textContent, last?.dataset.on]).toEqual(["zero z L23H3 at -1×", "true"]);
});

test("without a kernel it can be read, and asks nothing", async () => {
  const port = samplePort({ ...panels(["prediction"]), entries: [on(HEAD)] });
  port.capabilities = { live: false, detached: true };
  const picture = await show(port);
  expect(picture.text()).toContain("14 tokens, 1 differs");
  expect(picture.root.querySelector('[data-view="prediction"]')).toBeTruthy();
  const buttons = [...picture.root.querySelectorAll<HTMLButtonElement>(".mw-bench-bar button")];
  expect(buttons.every(({ disabled }) => disabled)).toBe(true);
  await new Promise((done) => setTimeout(done, 200));
  expect(port.sent).toEqual([]);
});

test("text is text", async () => {
  const port = samplePort({ ...ALONE, prompt: "</script>", title: "<img src=x onerror=alert(1)>" });
  port.answer("check", () => read("<img src=x onerror=alert(1)> </script>", ""));
  const picture = await show(port);
  await soon(() => picture.text().includes("</script>"));
  expect(picture.root.querySelector("img, script")).toBeNull();
});

test("its Python is copied from its menu", async () => {
  const port = samplePort(ALONE);
  port.answer("code", () => ({ code: "mw.Workbench(model)\n" }));
  const picture = await show(port);
  const written = await copied(picture.root, "Copy as Python");
  expect(written).toBe("mw.Workbench(model)\n");
});

test("the list of interventions", () => {
  const [head, other] = [on(HEAD), on(switchOff(0, 0))];
  expect(toggled([], HEAD)).toEqual([head]);
  expect(toggled([head, other], HEAD)).toEqual([other]);
  expect(toggled([{ ...head, on: false }], { ...HEAD, value: undefined })).toEqual([head]);
  expect(isOn([{ ...head, on: false }], HEAD)).toBe(false);
  expect(switched([head, other], 1)).toEqual([head, { ...other, on: false }]);
});

test("a page without a kernel has one head off besides those with which it was saved", () => {
  const saved = [on(switchOff(0, 1)), on({ ...HEAD, site: "mlp_out", head: null })];
  const one = toggledAlone(saved, HEAD, saved);
  expect(one).toEqual([...saved, on(HEAD)]);
  const other = switchOff(4, 2);
  expect(toggledAlone(one, other, saved)).toEqual([...saved, on(other)]);
  expect(toggledAlone(one, HEAD, saved)).toEqual(saved);
});

test("in a page without a kernel its switches offer whole heads, and say that one takes another's place", async () => {
  const port = samplePort({ ...ALONE, layer: 23, head: 3, position: null, entries: [on(HEAD)] });
  port.capabilities = {
    ...{ live: false, detached: false },
    recorded: { answers: () => false, shows: () => false },
  };
  const picture = await show(port);
  const names = ["Switch L23H3 on", "Switch attention 23 off", "Switch MLP 23 off"];
  const buttons = names.map((name) => picture.button(name));
  expect(buttons.map(({ disabled }) => disabled)).toEqual([false, true, true]);
  expect(buttons[1]?.title).toBe("Needs a running kernel");
  expect(picture.root.textContent).toContain("One head at a time: another takes its place.");
  buttons[0]?.click();
  await painted();
  expect(port.get("entries")).toEqual([]);
  expect(picture.root.textContent).not.toContain("One head at a time");
});
