import { describe, expect, it, onTestFinished, vi } from "vitest";
import { userEvent } from "vitest/browser";
import { painted, show, until } from "../test/dom";
import { FakePort } from "../test/fake_port";
import { violations } from "../test/picture";
import { Header } from "./components";
import { preactView, useTables } from "./frame";
import { type Port, RequestError } from "./port";
import { matrixTable } from "./table";

interface Traits {
  title: string;
}

const table = () =>
  matrixTable(
    "layer",
    ["0", "1"],
    ["a", "b,"],
    (row, column) => [0.5, Number.NaN, null, 3][2 * row + column] ?? null,
  );

const view = preactView(({ port }: { port: Port<Traits> }) => {
  useTables({ weights: table });
  return <Header name="A picture" modelName="tiny/llama" title={port.get("title")} />;
}, "");

async function open(port = new FakePort<Traits>({ title: "" })) {
  const { root } = await show("picture", view, port);
  const button = root.querySelector<HTMLButtonElement>("[aria-haspopup=menu]");
  const list = root.querySelector<HTMLElement>("[role=menu]");
  if (!button || !list) throw new Error("The picture has no menu.");
  button.focus();
  await userEvent.keyboard("{Enter}");
  await painted();
  const choose = async (text: string) => {
    [...list.querySelectorAll("button")].find((item) => item.textContent === text)?.click();
    await painted();
  };
  const said = () => root.querySelector(".mw-menu [role=status]")?.textContent;
  return { root, button, list, choose, said, port };
}

/** What the page gives the browser to save. */
function savedFiles() {
  const files: { name: string; text: Promise<string> }[] = [];
  const blobs = new Map<string, Blob>();
  const make = vi.spyOn(URL, "createObjectURL").mockImplementation((blob) => {
    blobs.set(`blob:${blobs.size}`, blob as Blob);
    return `blob:${blobs.size - 1}`;
  });
  const click = vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (
    this: HTMLAnchorElement,
  ) {
    files.push({ name: this.download, text: blobs.get(this.href)?.text() ?? Promise.resolve("") });
  });
  onTestFinished(() => {
    make.mockRestore();
    click.mockRestore();
  });
  return files;
}

function clipboard(write: (text: string) => Promise<void>) {
  const written = vi.spyOn(navigator.clipboard, "writeText").mockImplementation(write);
  onTestFinished(() => written.mockRestore());
  return written;
}

describe("the menu", () => {
  it("opens, walks and closes by keyboard", async () => {
    const { button, list, root } = await open();
    const focused = () => document.activeElement?.textContent;
    expect(list.matches(":popover-open")).toBe(true);
    expect(button.getAttribute("aria-expanded")).toBe("true");
    expect(focused()).toBe("Copy as Python");
    await userEvent.keyboard("{ArrowDown}");
    expect(focused()).toBe("Save as PNG");
    await userEvent.keyboard("{ArrowUp}{ArrowUp}");
    expect(focused()).toBe("Save CSV");
    await userEvent.keyboard("{Home}");
    expect(focused()).toBe("Copy as Python");
    expect(await violations(root)).toEqual([]);
    await userEvent.keyboard("{Escape}");
    expect(list.matches(":popover-open")).toBe(false);
    expect(document.activeElement).toBe(button);
  });

  it("closes by a click on its button, and lies inside the window", async () => {
    const { button, list } = await open();
    const { left, right, bottom } = list.getBoundingClientRect();
    expect(left).toBeGreaterThanOrEqual(0);
    expect([right <= window.innerWidth, bottom <= window.innerHeight]).toEqual([true, true]);
    await userEvent.click(button);
    await painted();
    expect(list.matches(":popover-open")).toBe(false);
  });

  it("keeps its keys from the page", async () => {
    const heard = vi.fn();
    document.addEventListener("keydown", heard);
    onTestFinished(() => document.removeEventListener("keydown", heard));
    await open();
    heard.mockClear();
    await userEvent.keyboard("{ArrowDown}{Escape}");
    expect(heard).not.toHaveBeenCalled();
  });
});

describe("Copy as Python", () => {
  it("copies what the kernel says", async () => {
    const written = clipboard(async () => undefined);
    const { choose, said, port } = await open();
    port.answer("code", () => ({ code: "mw.Picture(model)\n" }));
    await choose("Copy as Python");
    expect(written).toHaveBeenCalledExactlyOnceWith("mw.Picture(model)\n");
    expect(said()).toBe("Copied as Python");
  });

  it("says so where the browser does not let it", async () => {
    clipboard(async () => Promise.reject(new DOMException("Denied", "NotAllowedError")));
    const command = vi.spyOn(document, "execCommand").mockReturnValue(false);
    onTestFinished(() => command.mockRestore());
    const { choose, said, port } = await open();
    port.answer("code", () => ({ code: "mw.Picture(model)\n" }));
    await choose("Copy as Python");
    expect(said()).toMatch(/does not let the page copy/);
    command.mockReturnValue(true);
    await choose("Copy as Python");
    expect(said()).toBe("Copied as Python");
  });

  it("says why it failed", async () => {
    const { choose, said, port } = await open();
    port.answer("code", () => {
      throw new RequestError("The model is gone.", "ValueError");
    });
    await choose("Copy as Python");
    expect(said()).toBe("The model is gone.");
  });

  it("is refused without a kernel, with the reason", async () => {
    const port = new FakePort<Traits>({ title: "" });
    port.capabilities = { live: false, detached: true };
    const { choose, list } = await open(port);
    const item = list.querySelector("[role=menuitem]");
    expect(item?.getAttribute("aria-disabled")).toBe("true");
    expect(item?.getAttribute("title")).toMatch(/Run the cell again/);
    await choose("Copy as Python");
    expect(port.sent).toEqual([]);
  });
});

describe("tables", () => {
  it("are copied as spreadsheets take them", async () => {
    const written = clipboard(async () => undefined);
    const { choose } = await open();
    await choose("Copy table");
    expect(written).toHaveBeenCalledExactlyOnceWith(
      "layer\ta\tb,\n0\t0.5\tNaN\n1\t\t3\n".replace("b,", '"b,"'),
    );
  });

  it("are saved as CSV under a name that says what they are", async () => {
    const files = savedFiles();
    const { choose } = await open();
    await choose("Save CSV");
    await until(() => files.length === 1, "the file");
    expect(files[0]?.name).toBe("picture-tiny-llama-weights.csv");
    expect(await files[0]?.text).toBe('layer,a,"b,"\r\n0,0.5,NaN\r\n1,,3\r\n');
  });
});

describe("Show table", () => {
  it("shows it as one, and gives the focus back", async () => {
    const { choose, root, button } = await open();
    await choose("Show table");
    const dialog = root.querySelector("dialog");
    expect(dialog?.matches(":modal")).toBe(true);
    const rows = [...(dialog?.querySelectorAll("tr") ?? [])];
    expect(rows.map((row) => [...row.children].map((cell) => cell.textContent))).toEqual([
      ["layer", "a", "b,"],
      ["0", "0.5", "no value"],
      ["1", "", "3"],
    ]);
    expect(await violations(root)).toEqual([]);
    await userEvent.keyboard("{Escape}");
    await painted();
    expect(root.querySelector("dialog")).toBeNull();
    expect(document.activeElement).toBe(button);
  });
});

describe("Save as SVG", () => {
  it("saves the picture under its name", async () => {
    const files = savedFiles();
    const { choose } = await open();
    await choose("Save as SVG");
    await until(() => files.length === 1, "the file");
    expect(files[0]?.name).toBe("picture-tiny-llama.svg");
    expect(await files[0]?.text).toContain(">A picture</text>");
  });
});
