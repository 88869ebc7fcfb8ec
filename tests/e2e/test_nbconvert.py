"""A notebook as one page, as nbconvert writes it, in a real browser that has no network; and in JupyterLab's menu."""

from __future__ import annotations

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import mechwidgets as mw
from mechwidgets.analysis.prediction import prediction_change
from mechwidgets.compat.nbconvert.exporter import MechwidgetsHTMLExporter
from tests.e2e.test_pages import HOSTILE, OFF, PROMPT, choose_head
from tests.models import tiny_model

TEXT = """# A lesson

Attention is $\\mathrm{softmax}\\left(\\frac{QK^\\top}{\\sqrt{d}}\\right)V$, and

\\begin{align} a &= b \\\\ c &= d \\end{align}

`code` and <img src="https://example.org/a.png" alt="far away">
"""
FAR = "https://example.org/a.png"


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def output(view):
    """A picture's output in the mode "both"."""
    mw.display_mode("both")
    try:
        bundle, _ = view._repr_mimebundle_()
    finally:
        mw.display_mode("live")
    return new_output("display_data", bundle)


@pytest.fixture
def lesson(model, tmp_path):
    """The page of a notebook with linked pictures in outputs of their own, and what else a notebook may hold."""
    chosen, changes = mw.Selection(), mw.Interventions()
    outputs = [
        output(mw.AttentionView(model, PROMPT, selection=chosen, interventions=changes)),
        output(mw.PredictionView(model, PROMPT, changes)),
        output(mw.TokensView([HOSTILE, "b"], [1.0, 2.0], title=HOSTILE)),
        new_output("display_data", {"text/html": "<script>document.title = 'run'</script>"}),
        new_output("error", ename="E", evalue="", traceback=["\x1b[0;31mE\x1b[0m: " + "long " * 60]),
    ]
    cells = [new_code_cell("view = " + "x" * 200, outputs=[one]) for one in outputs]
    notebook = new_notebook(cells=[new_markdown_cell(TEXT), *cells], metadata={"title": "lesson"})
    page, _ = MechwidgetsHTMLExporter().from_notebook_node(notebook)
    path = tmp_path / "lesson.html"
    path.write_text(page, encoding="utf-8")
    return path


def test_outputs_of_a_notebook_are_linked_and_ask_for_nothing(lesson, model, open_page):
    with open_page() as opened:
        page = opened.page
        forbidden = {}
        page.on("requestfailed", lambda request: forbidden.update({request.url: request.failure}))
        page.goto(lesson.as_uri())
        opened.ready()
        assert [root.get_attribute("data-view") for root in page.locator(".mechwidgets").all()] == [
            *("attention", "prediction", "tokens")
        ]
        names = page.evaluate("Object.keys(globalThis).filter((name) => name.startsWith('mechwidgets'))")
        assert len(names) == 1
        attention, prediction, tokens = page.locator(".mechwidgets").all()
        choose_head(page, 1, 2)
        attention.get_by_role("button", name="Switch head off").click()
        kl = prediction_change(model, PROMPT, [OFF]).kl
        for root in (attention, prediction):
            text = root.get_by_text(re.compile(r"KL [\d.e-]+ nats")).inner_text()
            assert float(text.split()[1]) == pytest.approx(kl, rel=0.01)
        assert HOSTILE in tokens.locator(".mw-header").inner_text()
        assert page.title() == "lesson"
        assert page.locator("math").count() == 2
        # What the notebook's own markup asks for is forbidden by the page's policy, before it meets a network.
        assert opened.requests == [lesson.as_uri(), FAR]
        assert forbidden == {FAR: "csp"}
        assert all("Content Security Policy" in complaint for complaint in opened.complaints)


def test_a_notebook_is_read_on_a_phone_in_the_dark_and_on_paper(lesson, open_page):
    with open_page(width=400) as opened:
        page = opened.page
        page.emulate_media(color_scheme="dark")
        page.goto(lesson.as_uri())
        opened.ready()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(17, 17, 17)"
        page.emulate_media(color_scheme="dark", media="print")
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        assert not page.get_by_role("button", name="Copy and save").first.is_visible()


def test_jupyterlab_exports_a_notebook(lab, open_page, tmp_path):
    cells = [
        'import mechwidgets as mw\nmw.display_mode("both")\nmw.TokensView(["a", "b"], [1.0, 2.0], title="a title")',
    ]
    with lab.open_notebook(cells) as page:
        page.wait_for_view("tokens")
        lab_page = page.page
        lab_page.locator(".lm-MenuBar-itemLabel", has_text="File").click()
        lab_page.locator(".lm-Menu-itemLabel", has_text="Save and Export Notebook As").hover()
        entry = lab_page.locator(".lm-Menu-itemLabel", has_text="Mechwidgets")
        entry.wait_for()
        with lab_page.expect_download() as download:
            entry.click()
        download.value.save_as(tmp_path / "lesson.html")
    with open_page() as opened:
        opened.page.goto((tmp_path / "lesson.html").as_uri())
        opened.ready()
        assert "a title" in opened.page.locator(".mechwidgets[data-view=tokens]").inner_text()
        assert opened.complaints == []
