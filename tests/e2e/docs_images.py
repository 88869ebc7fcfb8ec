"""The screenshots of docs/views, each picture in a real JupyterLab, light and dark: `python -m tests.e2e.docs_images [name ...]`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
from playwright.sync_api import Locator, sync_playwright

from tests.e2e.chromium import find_chromium
from tests.e2e.lab import CHROMIUM_ARGUMENTS, JupyterServer, Lab

FOLDER = Path(__file__).parents[2] / "docs" / "images"
# What an image may take of the repository.
MOST_BYTES = 150_000

MODEL = 'import mechwidgets as mw\nmodel = mw.HookedModel.from_pretrained("smollm2-135m")'
IOI = "When Mary and John went to the store, John gave a drink to"


@dataclass(frozen=True)
class Image:
    """One picture for the docs.

    Attributes:
        kind: of the view.
        code: the cell that makes it.
        width: of the window, in CSS pixels.
        prepare: what a reader does to it first.
    """

    kind: str
    code: str
    width: int = 1200
    prepare: Callable[[Locator], None] = lambda view: None


IMAGES = {
    "head": Image("head", f'mw.HeadView(model, "{IOI}", layer=23, head=3)', 1120),
}


def take(lab: Lab, name: str, dark: bool) -> None:
    """Take one image.

    Raises:
        ValueError: it is larger than the docs may hold.
    """
    image = IMAGES[name]
    with lab.open_notebook([MODEL, image.code], width=image.width, height=2600, dark=dark) as page:
        page.command("application:toggle-left-area")
        view = page.wait_for_view(image.kind)
        image.prepare(view)
        page.wait_for_view(image.kind)
        page.page.mouse.move(0, 0)
        path = FOLDER / f"{name}{'_dark' if dark else ''}.png"
        view.screenshot(path=path)
        # Pictures have few colours: a palette of them is a third of the bytes.
        PIL.Image.open(path).convert("RGB").quantize(256, dither=PIL.Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.name} has {path.stat().st_size} bytes; make the picture smaller.")


def main() -> None:
    """Take the images that are named, or all."""
    names = sys.argv[1:] or list(IMAGES)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = JupyterServer(Path(home))
        server.start()
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS)
            for name in names:
                for dark in (False, True):
                    take(Lab(server, browser), name, dark)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
