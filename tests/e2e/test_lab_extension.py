"""The JupyterLab extension: installed, listed, and its command opens the user's own copy of the quickstart."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
COPY = "mechwidgets-quickstart.ipynb"


@pytest.fixture
def copy(lab):
    """Where the command puts the quickstart; gone before and after each test."""
    path = lab.server.root / COPY
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


def wait_for_notebook(page) -> None:
    page.page.locator(f".lm-TabBar-tabLabel:text-is('{COPY}')").wait_for()
    page.page.locator(".jp-Notebook .jp-MarkdownOutput h1", has_text="mechwidgets: a quickstart").wait_for()


def test_jupyterlab_lists_it_as_enabled():
    listing = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"], capture_output=True, text=True, check=True
    )
    said = re.sub(r"\x1b\[\d+m", "", listing.stdout + listing.stderr)
    assert re.search(r"^\s*mechwidgets v\S+ enabled OK \(python, mechwidgets\)", said, re.MULTILINE), said


def test_the_palette_opens_a_copy_of_the_quickstart(lab, copy):
    with lab.open_page() as page:
        page.page.keyboard.press("Control+Shift+C")
        page.page.locator(".lm-CommandPalette-input").fill("mechwidgets quickstart")
        page.page.locator(".lm-CommandPalette-item", has_text="mechwidgets: open the quickstart").click()
        wait_for_notebook(page)
    source = json.loads(QUICKSTART.read_text(encoding="utf-8"))
    opened = json.loads(copy.read_text(encoding="utf-8"))
    assert [cell["source"] for cell in opened["cells"]] == [cell["source"] for cell in source["cells"]]


def test_the_launcher_has_a_card(lab, copy):
    with lab.open_page() as page:
        page.page.locator(".jp-LauncherCard[data-category='mechwidgets']", has_text="Quickstart").click()
        wait_for_notebook(page)


def test_a_card_opens_a_new_notebook_with_a_workbench_and_runs_it(lab):
    before = set(lab.server.root.glob("*.ipynb"))
    try:
        with lab.open_page() as page:
            page.page.locator(".jp-LauncherCard[data-category='mechwidgets']", has_text="Workbench").click()
            page.wait_for_view("workbench")
            page.wait_for_view("attention")
            assert page.external_requests() == []
    finally:
        for path in set(lab.server.root.glob("*.ipynb")) - before:
            path.unlink()


def test_a_copy_that_is_there_is_opened_and_not_overwritten(lab, copy):
    notebook = json.loads(QUICKSTART.read_text(encoding="utf-8"))
    notebook["cells"][0]["source"] = ["# mechwidgets: a quickstart, with my notes"]
    copy.write_text(json.dumps(notebook))
    with lab.open_page() as page:
        page.command("mechwidgets:open-quickstart")
        wait_for_notebook(page)
        assert "with my notes" in page.page.locator(".jp-Notebook h1").inner_text()
    assert "with my notes" in copy.read_text()


def test_a_folder_that_cannot_be_written_is_said_and_nothing_breaks(lab, copy):
    with lab.open_page() as page:
        page.command("mechwidgets:open-quickstart", {"cwd": "no-such-folder"})
        said = page.page.locator(
            ".jp-Notification-Toast-Message, .Toastify__toast", has_text="mechwidgets could not open"
        )
        said.first.wait_for()
        assert page.page.locator("#jp-main-dock-panel").is_visible()
