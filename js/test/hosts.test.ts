/** What notebook programs other than JupyterLab do differently. */
import { describe, expect, it, onTestFinished } from "vitest";
import { userEvent } from "vitest/browser";
import { focusedElement } from "../core/accessibility";
import { mount } from "../core/mount";
import { copyText } from "../core/save";
import { readTheme } from "../core/theme";
import { tokens } from "../views/tokens";
import { samplePort } from "../views/tokens/sample";
import { painted } from "./dom";

/** As a host that is not JupyterLab has it. */
function draw(host: HTMLElement | ShadowRoot): HTMLElement {
  delete document.body.dataset.jpThemeLight;
  const el = document.createElement("div");
  host.append(el);
  const controller = new AbortController();
  onTestFinished(() => {
    controller.abort();
    el.remove();
  });
  mount(el, "tokens", tokens, samplePort(), controller.signal);
  return el.firstElementChild as HTMLElement;
}

describe("marimo, which draws in a shadow tree", () => {
  function shadow(): ShadowRoot {
    const host = document.createElement("div");
    document.body.append(host);
    onTestFinished(() => host.remove());
    return host.attachShadow({ mode: "open" });
  }

  it("the menu walks by keyboard", async () => {
    const root = draw(shadow());
    await painted();
    root.querySelector<HTMLElement>("[aria-haspopup=menu]")?.focus();
    await userEvent.keyboard("{Enter}");
    await painted();
    const focused = () => focusedElement()?.textContent;
    expect(focused()).toBe("Copy as Python");
    await userEvent.keyboard("{ArrowDown}");
    expect(focused()).toBe("Save as PNG");
    await userEvent.keyboard("{ArrowDown}");
    expect(focused()).toBe("Save as SVG");
  });

  it("copying gives the focus back", async () => {
    const root = draw(shadow());
    await painted();
    const button = root.querySelector<HTMLElement>("[aria-haspopup=menu]");
    button?.focus();
    const write = navigator.clipboard.writeText;
    navigator.clipboard.writeText = () => Promise.reject(new Error("refused"));
    onTestFinished(() => {
      navigator.clipboard.writeText = write;
    });
    await copyText("text");
    expect(focusedElement()).toBe(button);
  });
});

describe.each([
  ["VS Code's dark themes", "body", "class", "vscode-dark", true],
  ["VS Code's light themes", "body", "class", "vscode-light", false],
  ["VS Code's dark themes of high contrast", "body", "class", "vscode-high-contrast", true],
  [
    "VS Code's light themes of high contrast",
    "body",
    "class",
    "vscode-high-contrast vscode-high-contrast-light",
    false,
  ],
  ["Colab's dark theme", "html", "theme", "dark", true],
  ["Colab's light theme", "html", "theme", "light", false],
])("%s", (_, place, attribute, value, dark) => {
  it("are the picture's", async () => {
    const element = document.querySelector(place);
    element?.setAttribute(attribute, value);
    onTestFinished(() => element?.removeAttribute(attribute));
    const root = draw(document.body);
    await painted();
    expect(readTheme(root).dark).toBe(dark);
  });
});

it("VS Code's editor colour is the ground of a picture", async () => {
  document.body.style.setProperty("--vscode-editor-background", "rgb(1, 22, 39)");
  onTestFinished(() => document.body.removeAttribute("style"));
  expect(getComputedStyle(draw(document.body)).backgroundColor).toBe("rgb(1, 22, 39)");
});
