/**
 * One picture in a page without a kernel, for screenshots: `harness.html?scene=attention-modified&theme=dark`.
 * The page is put together by screenshots.mjs.
 */
import { mount } from "../core/mount";
import { SCENES } from "./scenes";

const query = new URLSearchParams(location.search);
const scene = SCENES[query.get("scene") ?? ""];
const theme = query.get("theme") ?? "light";
const host = document.querySelector<HTMLElement>("#picture");
if (!host || !scene) {
  document.body.textContent = `No such scene. There are: ${Object.keys(SCENES).join(", ")}`;
} else {
  // As JupyterLab marks its themes; the page's style has JupyterLab's colours for each.
  document.body.dataset.jpThemeLight = String(theme === "light");
  scene(host, (kind, view, port) => mount(host, kind, view, port, new AbortController().signal));
}
