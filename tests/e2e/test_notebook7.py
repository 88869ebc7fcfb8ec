"""The same pictures in Notebook 7, which JupyterLab's server serves as well where it is installed."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
from playwright.sync_api import expect

from tests.e2e.look import choose_head
from tests.e2e.test_views import CLEAN, MODEL

LINKED = f"""chosen = mw.Selection()
attention = mw.AttentionView(model, "{CLEAN}", selection=chosen)
attention"""
LENS = f'mw.LogitLensView(model, "{CLEAN}", selection=chosen)'


@pytest.fixture
def page(lab):
    if find_spec("notebook") is None:
        pytest.fail("Notebook 7 is not installed. pip install -c constraints.txt notebook", pytrace=False)
    with lab.open_notebook([MODEL, LINKED, LENS], app="notebook") as page:
        yield page
        # Notebook 7.6.5 stumbles over a setting of its own, also where no picture is.
        page.page_errors = [error for error in page.page_errors if "/static/notebook/" not in error]


def test_pictures_are_drawn_linked_and_answered(page):
    attention, lens = page.wait_for_view("attention"), page.wait_for_view("logit_lens")
    choose_head(page, 23, 3)
    expect(lens).to_contain_text("After layer 23")
    attention.get_by_role("button", name="Switch head off").click()
    expect(attention).to_have_attribute("data-state", "ready")
    expect(attention).to_contain_text(re.compile(r"KL [\d.]+"))
    assert page.execute("print(attention.layer, attention.head, attention.interventions[0].op)") == "23 3 zero\n"
