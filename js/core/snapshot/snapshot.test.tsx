import { describe, expect, it, vi } from "vitest";
import { cellCentre, cellColour, grid, painted, setTheme, show, type ThemeName, until } from "../../test/dom";
import { FakePort } from "../../test/fake_port";
import { colourAt } from "../colour";
import { Header } from "../components";
import { type Frame, preactView, useFrame } from "../frame";
import { Grid } from "../grid";
import { pngFile, takeSnapshot } from ".";

const HOSTILE = `<b>&"</b> مرحبا \u0007 日本`;

/** A picture whose frame the test holds. */
async function draw(style: string, content = HOSTILE, theme: ThemeName = "light") {
  const frames: Frame[] = [];
  const view = preactView(() => {
    frames[0] = useFrame();
    return (
      <>
        <p class="text">{content}</p>
        <details>
          <summary>More</summary>
          <p>kept back</p>
        </details>
        <textarea rows={1} value={"one\ntwo"} />
        <div class="box" />
      </>
    );
  }, style);
  const { root } = await show("drawing", view, new FakePort({}), theme);
  const [frame] = frames;
  if (!frame) throw new Error("The view did not render.");
  return { root, frame };
}

function parsed(svg: string): Document {
  const found = new DOMParser().parseFromString(svg, "image/svg+xml");
  expect(found.querySelector("parsererror")).toBeNull();
  return found;
}

function texts(svg: string): (string | null)[] {
  return [...parsed(svg).querySelectorAll("text")].map((text) => text.textContent);
}

/** The saved image as pixels, and how to read one at a place of the page. */
async function pixels(root: HTMLElement, frame: Frame) {
  const { x, y } = root.getBoundingClientRect();
  const snapshot = await takeSnapshot(frame);
  const bitmap = await createImageBitmap(await pngFile(snapshot));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const pen = canvas.getContext("2d");
  pen?.drawImage(bitmap, 0, 0);
  const scale = bitmap.width / snapshot.width;
  const at = (pageX: number, pageY: number) =>
    [...(pen?.getImageData(scale * (pageX - x + 8), scale * (pageY - y + 8), 1, 1).data ?? [])].slice(0, 3);
  return { bitmap, snapshot, at };
}

describe("a picture as SVG", () => {
  it("has its text as text, whatever it is, and not what is hidden", async () => {
    const { frame } = await draw("");
    const found = texts((await takeSnapshot(frame)).svg);
    expect(found).toEqual([HOSTILE.replace("\u0007", "\ufffd"), "More", "one", "two"]);
  });

  it("has each line of a text that is broken into lines", async () => {
    const { frame } = await draw(".text { width: 5ch; font-family: monospace }", "one two three");
    const found = texts((await takeSnapshot(frame)).svg);
    expect(found.slice(0, 3).map((text) => text?.trim())).toEqual(["one", "two", "three"]);
  });

  it("has the page's boxes, borders and gradients where they are", async () => {
    const { root, frame } = await draw(
      `.box { width: 100px; height: 50px; border: 10px solid rgb(0 0 255); border-left-color: rgb(0 128 0);
        background: linear-gradient(to right, rgb(255 0 0), color(srgb 1 1 0)) }`,
    );
    const { left = 0, top = 0 } = root.querySelector(".box")?.getBoundingClientRect() ?? {};
    const { at } = await pixels(root, frame);
    expect(at(left + 50, top + 5)).toEqual([0, 0, 255]);
    expect(at(left + 5, top + 25)).toEqual([0, 128, 0]);
    const [red, green = 0, blue] = at(left + 50, top + 25);
    expect([red, blue]).toEqual([255, 0]);
    expect(Math.abs(green - 128)).toBeLessThan(16);
  });

  it("has drawings with the style that they have from the page", async () => {
    const { root, frame } = await draw(".drawing circle { fill: rgb(0 128 0) }");
    const drawing = document.createElement("div");
    drawing.innerHTML = '<svg class="drawing" width="40" height="40"><circle cx="20" cy="20" r="20"/></svg>';
    root.querySelector(".mw-view")?.append(drawing);
    const { left, top } = drawing.getBoundingClientRect();
    const { at } = await pixels(root, frame);
    expect(at(left + 20, top + 20)).toEqual([0, 128, 0]);
  });
});

const CELL = { row: 1, col: 2 };

const matrix = preactView(
  () => (
    <>
      <Header name="Matrix" modelName="" title="" />
      <Grid
        label="Cells"
        rows={2}
        cols={3}
        cellWidth={30}
        cellHeight={20}
        describe={() => ""}
        draw={(context, _, theme) => {
          context.fillStyle = colourAt(theme.sequential, 0.75);
          context.fillRect(60, 20, 30, 20);
        }}
      />
    </>
  ),
  "",
);

describe("a picture as PNG", () => {
  /** As the menu saves it. */
  async function saved(root: HTMLElement): Promise<ImageBitmap> {
    const made = vi.spyOn(URL, "createObjectURL");
    const clicked = vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => undefined);
    [...root.querySelectorAll("button")].find(({ textContent }) => textContent === "Save as PNG")?.click();
    await until(() => clicked.mock.calls.length === 1, "the file");
    const [blob] = made.mock.lastCall as [Blob];
    made.mockRestore();
    clicked.mockRestore();
    return createImageBitmap(blob);
  }

  function pixelAt(image: ImageBitmap, x: number, y: number): number[] {
    const pen = new OffscreenCanvas(1, 1).getContext("2d");
    pen?.drawImage(image, -Math.round(x), -Math.round(y));
    return [...(pen?.getImageData(0, 0, 1, 1).data ?? [])].slice(0, 3);
  }

  it.each(["light", "dark"] as const)("is light and three times as sharp in the %s theme", async (theme) => {
    const { root } = await show("matrix", matrix, new FakePort({}), theme);
    const cells = grid(root, "Cells");
    const before = cellColour(cells, CELL);
    const image = await saved(root);
    await painted();
    const whole = root.getBoundingClientRect();
    expect(image.width).toBe(Math.round(3 * (whole.width + 16)));
    expect(pixelAt(image, 3, 3)).toEqual([255, 255, 255]);
    // afterwards the picture is on the page as it was
    expect(cellColour(cells, CELL)).toEqual(before);
    setTheme("light");
    await painted();
    const box = cells.getBoundingClientRect();
    const { x, y } = cellCentre(cells, CELL);
    const found = pixelAt(image, 3 * (box.x - whole.x + x + 8), 3 * (box.y - whole.y + y + 8));
    expect(found).toEqual(cellColour(cells, CELL));
  });
});
