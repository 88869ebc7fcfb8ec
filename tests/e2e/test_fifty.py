"""Fifty pictures of every kind in one notebook, in a real JupyterLab."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from tests.e2e.test_views import CLEAN, MODEL, SHARED_CODE

KINDS = ("attention", "logit_lens", "attribution", "prediction", "head", "tokens", "patterns", "top_tokens", "patching")
FIFTY = f"""import numpy as np
for number in range(10):
    if number < 2:
        display(
            mw.AttentionView(model, "{CLEAN}"),
            mw.LogitLensView(model, "{CLEAN}"),
            mw.PredictionView(model, "{CLEAN}"),
            mw.HeadView(model, "{CLEAN}"),
            mw.AttributionView(model, "{CLEAN}", " Mary", " John"),
        )
    display(
        mw.TokensView(["a", "b"], np.array([0.5, 1])),
        mw.TopTokensView([["a", "b"]], [np.ones((1, 2, 2))]),
        mw.PatternsView(["a", "b"], np.tril(np.full((2, 2, 2), 0.5))),
        mw.PatchingResultView(found),
    )"""
FOUND = f"""found = mw.patching.sweep(model, "{CLEAN}", "{CLEAN.replace(", John", ", Mary")}", mw.LogitDiff(" Mary", " John"), site="mlp_out")"""


def test_fifty_pictures_share_their_code_and_all_say_when_the_kernel_is_gone(open_notebook, lab):
    page = open_notebook([MODEL, FOUND, FIFTY], run=False)
    page.run_all_cells(timeout=180)
    pictures = page.page.locator(".mechwidgets")
    expect(pictures).to_have_count(50, timeout=60_000)
    expect(page.page.locator(".mechwidgets:not([data-state=ready])")).to_have_count(0, timeout=60_000)
    assert {one.get_attribute("data-view") for one in pictures.all()} == set(KINDS)
    assert page.page.locator(".mechwidgets [role=alert]").count() == 0
    made = page.page.evaluate("Object.keys(globalThis).filter((name) => name.startsWith('mechwidgets_'))")
    assert len(made) == 1
    assert set(KINDS) <= set(page.page.evaluate("(name) => Object.keys(globalThis[name].views)", made[0]))
    saved = (lab.server.root / page.save_with_pictures()).read_text()
    assert saved.count(SHARED_CODE) == 1
    for kind in KINDS:
        assert saved.count(json.dumps(f".views.{kind}??=")[1:-1]) == 1
    page.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(page.page.locator(".mechwidgets[data-state=detached]")).to_have_count(50, timeout=60_000)
    for kind in KINDS:
        expect(page.view(kind)).to_contain_text("kernel gone: run the cell again")
        assert page.view(kind).locator("canvas, td, [role=option]").count() > 0
