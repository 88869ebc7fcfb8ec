/**
 * The scripts that are shipped, loaded as anywidget loads them (a module from a blob URL, with models that only a kernel
 * had), and as a page without a kernel does.
 */
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { commands } from "vitest/browser";
import attention from "../../tests/fixtures/attention.json";
import attribution from "../../tests/fixtures/attribution.json";
import exercise from "../../tests/fixtures/exercise.json";
import head from "../../tests/fixtures/head.json";
import logitLens from "../../tests/fixtures/logit_lens.json";
import patching from "../../tests/fixtures/patching.json";
import patterns from "../../tests/fixtures/patterns.json";
import prediction from "../../tests/fixtures/prediction.json";
import tokens from "../../tests/fixtures/tokens.json";
import topTokens from "../../tests/fixtures/top_tokens.json";
import workbench from "../../tests/fixtures/workbench.json";
import { painted, until } from "./dom";
import { FakeModel } from "./fake_model";
import { type Fixture, withBytes } from "./fixture";

interface WidgetModule {
  default: {
    render(props: {
      model: unknown;
      el: HTMLElement;
      signal: AbortSignal;
      host?: unknown;
    }): Promise<() => void>;
  };
}

interface Registry {
  modules: Record<string, unknown>;
  views: Record<string, unknown>;
}

const FIXTURES: Record<string, Fixture> = {
  attention,
  attribution,
  head,
  exercise,
  logit_lens: logitLens,
  patching,
  patterns,
  prediction,
  tokens,
  top_tokens: topTokens,
  workbench,
};
/** What is inside another picture is the host's to draw. */
const HOST = { getWidget: async () => ({ exports: {}, render: async () => undefined }) };
const REFERENCES_TEXT = ["IPY_MODEL_core", "IPY_MODEL_view"];
const REFERENCES = { _bundles: REFERENCES_TEXT };
const KINDS = Object.keys(FIXTURES);
const MAX_BYTES = 100 * 1024;

/** The page as it is before the first picture. */
beforeEach(async () => {
  Reflect.deleteProperty(globalThis, await registryName());
});

it.each(["core", "loader", ...KINDS])(
  "mechwidgets/static/%s.js is small, and can stand in a page",
  async (name) => {
    const text = await readScript(name);
    expect(text.length).toBeLessThan(MAX_BYTES);
    expect(text).not.toMatch(/<\/script|<!--/i);
  },
);

it.each(KINDS)("%s draws a recorded run with the code of other models", async (kind) => {
  const widget = await loadModule(await moduleText(kind, ["loader"]));
  await expectDrawn(
    widget,
    kind,
    new FakeModel({ ...traitsOf(kind), ...REFERENCES }, await scriptModels(kind)),
  );
});

it.each(KINDS)("%s draws a recorded run where the host gives no other models", async (kind) => {
  const widget = await loadModule(await moduleText(kind, ["core", kind, "loader"]));
  const model = new FakeModel({ ...traitsOf(kind), _bundles: [] });
  Object.assign(model, { widget_manager: undefined });
  await expectDrawn(widget, kind, model);
});

it("pictures that are drawn at once read the code once, and those after them not at all", async () => {
  const text = await moduleText("tokens", ["loader"]);
  const models = await scriptModels("tokens");
  const read: string[] = [];
  const draw = async () => {
    const { default: widget } = await loadModule(text);
    const model = new FakeModel({ ...traitsOf("tokens"), ...REFERENCES }, models);
    const { get_model } = model.widget_manager;
    const counted = (id: string) => {
      read.push(id);
      return get_model(id);
    };
    Object.assign(model, { widget_manager: { get_model: counted } });
    const { el, signal } = place();
    await widget.render({ model, el, signal });
    expect(el.querySelector(".mechwidgets")).not.toBeNull();
  };
  await Promise.all([draw(), draw(), draw()]);
  await draw();
  expect(read).toEqual(["core", "view"]);
});

it("a script that is loaded again leaves what is there", async () => {
  const [core, view] = [await readScript("core"), await readScript("tokens")];
  for (const text of [core, view]) await loadModule(text);
  const { modules, views } = await registry();
  const { tokens } = views;
  expect(tokens).toBeTruthy();
  for (const text of [core, view]) await loadModule(text);
  const again = await registry();
  expect(again.modules).toBe(modules);
  expect(again.views.tokens).toBe(tokens);
});

it("the scripts work inline, under a policy that allows neither blobs nor eval, and leave one name", async () => {
  const scripts = await Promise.all(["core", ...KINDS].map(readScript));
  const frame = document.createElement("iframe");
  onTestFinished(() => frame.remove());
  const policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'";
  const before = "<script>window.before = Object.getOwnPropertyNames(window)</script>";
  frame.srcdoc = `<meta http-equiv="Content-Security-Policy" content="${policy}">${before}${scripts
    .map((text) => `<script>${text}</script>`)
    .join("")}`;
  const loaded = new Promise((done) => frame.addEventListener("load", done));
  document.body.append(frame);
  await loaded;
  const page = frame.contentWindow as unknown as { before: string[] } & Record<string, Registry>;
  const name = await registryName();
  const added = Object.getOwnPropertyNames(page).filter(
    (one) => !page.before.includes(one) && one !== "before",
  );
  expect(added).toEqual([name]);
  expect(Object.keys(page[name]?.views ?? {}).sort()).toEqual([...KINDS].sort());
});

it.each([
  ["the models are gone", REFERENCES_TEXT, {}, "neither in the kernel nor in the notebook any more"],
  ["the picture names none", [], {}, "does not say where its code is"],
  ["a model is empty", REFERENCES_TEXT, { core: new FakeModel({ text: "" }) }, "Its code is empty"],
  ["a script fails", REFERENCES_TEXT, { core: new FakeModel({ text: "throw Error('no good')" }) }, "no good"],
])("when %s the picture says so", async (_, references, models, message) => {
  const { default: widget } = await loadModule(await moduleText("tokens", ["loader"]));
  const { el, signal } = place();
  const model = new FakeModel(
    { ...traitsOf("tokens"), _bundles: references },
    models as Record<string, FakeModel>,
  );
  const end = await widget.render({ model, el, signal });
  const root = el.querySelector<HTMLElement>(".mechwidgets");
  expect(root?.dataset).toMatchObject({ view: "tokens", state: "error" });
  expect(root?.getAttribute("role")).toBe("alert");
  expect(root?.textContent).toContain(message);
  end();
  expect(el.childElementCount).toBe(0);
  // The next picture tries again.
  await expectDrawn(
    { default: widget },
    "tokens",
    new FakeModel({ ...traitsOf("tokens"), ...REFERENCES }, await scriptModels("tokens")),
  );
});

it("a host that knows no other models is told of in the picture", async () => {
  const { default: widget } = await loadModule(await moduleText("tokens", ["loader"]));
  const model = new FakeModel({ ...traitsOf("tokens"), ...REFERENCES });
  Object.assign(model, { widget_manager: undefined });
  const { el, signal } = place();
  await widget.render({ model, el, signal });
  expect(el.textContent).toContain("does not give pictures the other models");
});

it("a picture that is taken away while its code is on the way draws nothing", async () => {
  const { default: widget } = await loadModule(await moduleText("tokens", ["loader"]));
  const controller = new AbortController();
  const { el } = place();
  const model = new FakeModel({ ...traitsOf("tokens"), ...REFERENCES }, await scriptModels("tokens"));
  const drawn = widget.render({ model, el, signal: controller.signal });
  controller.abort();
  (await drawn)();
  expect(el.childElementCount).toBe(0);
  expect(model.listenerCount).toBe(0);
});

/** Renders, and ends, as anywidget does. */
async function expectDrawn(module: WidgetModule, kind: string, model: FakeModel): Promise<void> {
  const { el, signal } = place();
  const end = await module.default.render({ model, el, signal, host: HOST });
  await painted();
  const root = el.querySelector<HTMLElement>(".mechwidgets");
  expect(root?.dataset.view).toBe(kind);
  expect(root?.querySelector('[role="alert"]')).toBeNull();
  expect(
    root?.querySelector(':is([role="grid"] canvas, [role="option"], tbody td, ol li, .mw-exercise-question)'),
  ).toBeTruthy();
  expect(root?.textContent).toContain(String(model.get("model_name")));
  for (const { id } of model.sent)
    model.receive({ kind: "mw-error", id, message: "no kernel", error_type: "Error" });
  await until(() => root?.dataset.state !== "busy", "the end of the requests");
  end();
  await until(() => model.listenerCount === 0, "the end of the listeners");
  expect(el.childElementCount).toBe(0);
}

function place(): { el: HTMLElement; signal: AbortSignal } {
  const el = document.createElement("div");
  document.body.append(el);
  const controller = new AbortController();
  onTestFinished(() => {
    controller.abort();
    el.remove();
  });
  return { el, signal: controller.signal };
}

function traitsOf(kind: string): Record<string, unknown> {
  return withBytes(FIXTURES[kind]?.traits) as Record<string, unknown>;
}

/** As mechwidgets/widgets/bundles.py puts it together. */
async function moduleText(kind: string, names: string[]): Promise<string> {
  const texts = await Promise.all(names.map(readScript));
  return `${texts.join("")}export default mechwidgets.load("${kind}");\n`;
}

async function scriptModels(kind: string): Promise<Record<string, FakeModel>> {
  const [core, view] = [await readScript("core"), await readScript(kind)];
  return { core: new FakeModel({ text: core }), view: new FakeModel({ text: view }) };
}

async function loadModule(text: string): Promise<WidgetModule> {
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  onTestFinished(() => URL.revokeObjectURL(url));
  return import(/* @vite-ignore */ url);
}

async function registryName(): Promise<string> {
  const [, name] = /globalThis\.(mechwidgets_\w+)/.exec(await readScript("core")) ?? [];
  if (!name) throw new Error("core.js has no name for what it makes.");
  return name;
}

async function registry(): Promise<Registry> {
  return { ...(globalThis as unknown as Record<string, Registry>)[await registryName()] } as Registry;
}

async function readScript(name: string): Promise<string> {
  try {
    return await commands.readFile(`mechwidgets/static/${name}.js`);
  } catch (error) {
    throw new Error(`There is no script of ${name}. Build it first: npm run build. (${error})`);
  }
}
