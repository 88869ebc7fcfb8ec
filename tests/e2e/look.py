"""Screenshots of every picture in a real JupyterLab, to look at: `python -m tests.e2e.look [folder]`.

Light and dark, wide and narrow, at one and two device pixels a CSS pixel, each picture by itself.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e.chromium import find_chromium
from tests.e2e.lab import CHROMIUM_ARGUMENTS, JupyterServer, Lab

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
KINDS = ("attention", "head", "logit_lens", "attribution", "patching")
OFF = [(23, 3), (20, 0)]
LOOKS = [
    {"name": "light", "width": 1400},
    {"name": "dark", "width": 1400, "dark": True},
    {"name": "light-2x", "width": 1400, "scale": 2},
    {"name": "dark-2x-narrow", "width": 760, "scale": 2, "dark": True},
    {"name": "light-narrow", "width": 760},
]


def look(lab: Lab, folder: Path, name: str, **options: object) -> None:
    """Run the quickstart, switch two heads off, and take a picture of each view."""
    with lab.open_notebook(QUICKSTART, height=1200, **options) as page:
        # the file browser would take a third of a narrow window
        page.command("application:toggle-left-area")
        for kind in KINDS:
            page.wait_for_view(kind)
        attention = page.view("attention")
        for layer, head in OFF:
            choose_head(page, layer, head)
            attention.get_by_role("button", name="Switch head off").click()
        page.wait_for_view("attention")
        for kind in KINDS:
            page.wait_for_view(kind).screenshot(path=folder / f"{kind}-{name}.png")
        page.view("attention").scroll_into_view_if_needed()
        page.screenshot(folder / f"lab-{name}.png")


def choose_head(page, layer: int, head: int) -> None:
    """Go to a head in the map of heads with the keyboard, and open it."""
    grid = page.view("attention").get_by_role("grid", name="Attention heads")
    grid.focus()
    page.page.keyboard.press("Control+Home")
    for key, times in (("ArrowDown", layer), ("ArrowRight", head)):
        for _ in range(times):
            page.page.keyboard.press(key)
    page.page.keyboard.press("Enter")


def main() -> None:
    """Take all screenshots."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "test-results/look").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    chromium = find_chromium()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = JupyterServer(Path(home))
        server.start()
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
            for options in LOOKS:
                look(Lab(server, browser), folder, **options)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
