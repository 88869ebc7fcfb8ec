"""The JupyterLab and the browser that all end-to-end tests share."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.e2e.chromium import HOW_TO_GET_ONE, find_chromium
from tests.e2e.lab import CHROMIUM_ARGUMENTS, JupyterServer, Lab
from tests.e2e.offline import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.notebook_page import NotebookPage

RESULTS = Path(__file__).parents[2] / "test-results"
LAB = pytest.StashKey[Lab]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, so that none can be forgotten."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Save what every open page shows when a test fails."""
    report = yield
    if report.failed and report.when != "teardown" and LAB in item.config.stash:
        name = re.sub(r"[^\w.-]+", "-", item.nodeid)
        for number, page in enumerate(item.config.stash[LAB].open_pages):
            path = RESULTS / f"{name}-{number}.png"
            page.screenshot(path)
            report.sections.append(("screenshot", str(path)))
            report.sections.append(("console errors", "\n".join(page.console_errors) or "none"))
    return report


@pytest.fixture(scope="package")
def lab(request, tmp_path_factory) -> Iterator[Lab]:
    """A running JupyterLab with a browser; `lab.open_notebook(cells)` opens a page for as long as a test wants it."""
    chromium = find_chromium()
    if chromium is None:
        pytest.fail(HOW_TO_GET_ONE, pytrace=False)
    server = JupyterServer(tmp_path_factory.mktemp("jupyter"))
    server.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
            request.config.stash[LAB] = Lab(server, browser)
            yield request.config.stash[LAB]
            browser.close()
    finally:
        server.stop()


@pytest.fixture
def open_notebook(lab: Lab) -> Iterator[Callable[..., NotebookPage]]:
    """`open_notebook(cells, dark=False, scale=1)` opens a notebook, runs it, and closes it with the test."""
    with ExitStack() as stack:
        yield lambda cells, **options: stack.enter_context(lab.open_notebook(cells, **options))


@pytest.fixture
def open_page(lab):
    """Opens pages of a browser that reaches nothing, for as long as a `with` lasts."""

    @contextmanager
    def opening(width: int = 1100) -> Iterator[Opened]:
        context = lab.browser.new_context(offline=True, viewport={"width": width, "height": 900})
        try:
            yield Opened(context.new_page())
        finally:
            context.close()

    return opening
