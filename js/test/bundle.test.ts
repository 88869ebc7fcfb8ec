/** The modules that are shipped, loaded as anywidget loads them: from a blob URL, with a model that only a kernel had. */
import { expect, it, onTestFinished } from "vitest";
import { commands } from "vitest/browser";
import attention from "../../tests/fixtures/attention.json";
import attribution from "../../tests/fixtures/attribution.json";
import logitLens from "../../tests/fixtures/logit_lens.json";
import patching from "../../tests/fixtures/patching.json";
import patterns from "../../tests/fixtures/patterns.json";
import prediction from "../../tests/fixtures/prediction.json";
import tokens from "../../tests/fixtures/tokens.json";
import topTokens from "../../tests/fixtures/top_tokens.json";
import { painted, until } from "./dom";
import { FakeModel } from "./fake_model";
import { type Fixture, withBytes } from "./fixture";

interface WidgetModule {
  default: { render(props: { model: unknown; el: HTMLElement; signal: AbortSignal }): () => void };
}

const FIXTURES: Record<string, Fixture> = {
  attention,
  attribution,
  logit_lens: logitLens,
  patching,
  patterns,
  prediction,
  tokens,
  top_tokens: topTokens,
};
const MAX_BYTES = 100 * 1024;

it.each(Object.keys(FIXTURES))("mechwidgets/static/%s.js draws a recorded run", async (kind) => {
  const source = await readBundle(kind);
  expect(source.length).toBeLessThan(MAX_BYTES);
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  onTestFinished(() => URL.revokeObjectURL(url));
  const module: WidgetModule = await import(/* @vite-ignore */ url);

  const traits = withBytes(FIXTURES[kind]?.traits) as Record<string, unknown>;
  const model = new FakeModel(traits);
  const el = document.createElement("div");
  document.body.append(el);
  const controller = new AbortController();
  const end = module.default.render({ model, el, signal: controller.signal });
  onTestFinished(() => el.remove());
  await painted();
  const root = el.querySelector<HTMLElement>(".mechwidgets");
  expect(root?.dataset.view).toBe(kind);
  expect(root?.querySelector('[role="alert"]')).toBeNull();
  expect(root?.querySelector(':is([role="grid"] canvas, [role="option"], tbody td)')).toBeTruthy();
  expect(root?.textContent).toContain(String(traits.model_name));
  for (const { id } of model.sent)
    model.receive({ kind: "mw-error", id, message: "no kernel", error_type: "Error" });
  await until(() => root?.dataset.state !== "busy", "the end of the requests");
  end();
  await until(() => model.listenerCount === 0, "the end of the listeners");
  expect(el.childElementCount).toBe(0);
});

it("a bundle is made once in a page, however often it is loaded", async () => {
  const source = await readBundle("tokens");
  const load = async (text: string): Promise<WidgetModule> => {
    const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    onTestFinished(() => URL.revokeObjectURL(url));
    return import(/* @vite-ignore */ url);
  };
  const [one, again] = [await load(source), await load(source)];
  expect(again).not.toBe(one);
  expect(again.default).toBe(one.default);
  expect((await load(await readBundle("top_tokens"))).default).not.toBe(one.default);
});

async function readBundle(kind: string): Promise<string> {
  try {
    return await commands.readFile(`mechwidgets/static/${kind}.js`);
  } catch (error) {
    throw new Error(`There is no bundle of ${kind}. Build it first: npm run build. (${error})`);
  }
}
