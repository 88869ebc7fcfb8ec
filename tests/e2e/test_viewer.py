"""Documents in JupyterLab: a double click shows the pictures, and no kernel runs for it."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

import mechwidgets as mw
from tests.e2e.test_views import CLEAN

SHOWN = ".mechwidgets[data-view='attention'][data-state='ready']"


@pytest.fixture(scope="module")
def document(lab, smollm2):
    """A saved picture, beside the notebooks."""
    path = lab.server.root / "heads.mw.json"
    view = mw.AttentionView(smollm2, CLEAN)
    view.save(path, bake=["patterns", "prediction"])
    yield path
    path.unlink()


def open_file(page, name):
    page.page.evaluate("path => window.jupyterapp.commands.execute('docmanager:open', { path })", name)


def test_a_document_is_shown_without_a_kernel(lab, document):
    with lab.open_page() as page:
        before = lab.server.api("kernels")
        open_file(page, document.name)
        view = page.page.locator(SHOWN)
        expect(view).to_be_visible(timeout=30_000)
        grid = view.get_by_role("grid", name="Attention heads")
        grid.focus()
        for key in ("Control+Home", "ArrowDown", "ArrowRight", "Enter"):
            page.page.keyboard.press(key)
        expect(view.get_by_role("region", name="Head L1H1", exact=True)).to_be_visible()
        assert lab.server.api("kernels") == before
        assert page.external_requests() == []


def test_a_document_that_is_none_says_so_and_leaves_jupyterlab_as_it_is(lab, document):
    broken = document.with_name("broken.mw.json")
    broken.write_text(document.read_text(encoding="utf-8")[:-200], encoding="utf-8")
    try:
        with lab.open_page() as page:
            open_file(page, broken.name)
            expect(page.page.get_by_role("alert").filter(has_text="could not be drawn")).to_be_visible(timeout=30_000)
            open_file(page, document.name)
            expect(page.page.locator(SHOWN)).to_be_visible(timeout=30_000)
    finally:
        broken.unlink()


def test_an_output_of_a_notebook_shows_its_document_without_a_kernel(lab, document):
    kind = "application/vnd.mechwidgets.views+json"
    data = {kind: json.loads(document.read_text(encoding="utf-8")), "text/plain": "AttentionView"}
    output = {"output_type": "display_data", "metadata": {}, "data": data}
    cell = {"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {}, "outputs": [output], "source": "view"}
    path = document.with_name("lesson.ipynb")
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    try:
        with lab.open_page("tree/lesson.ipynb") as page:
            expect(page.page.locator(SHOWN)).to_be_visible(timeout=30_000)
    finally:
        path.unlink()
