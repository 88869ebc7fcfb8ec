"""The pictures' JavaScript is once in a kernel and once in a saved notebook, however many pictures there are."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from ipywidgets import Widget
from ipywidgets.widgets.widget import _instances

import mechwidgets as mw
from mechwidgets.widgets import bundles

# A picture carries only what finds its code.
MOST_A_PICTURE = 4_000


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """As in a kernel that has not drawn yet."""
    monkeypatch.setattr(bundles, "_bundles", {})
    before = set(_instances)
    yield
    # A picture closes its layout with itself.
    for widget in [widget for key, widget in _instances.items() if key not in before]:
        widget.close()


def draw(kind=mw.PatternsView):
    if kind is mw.PatternsView:
        return mw.PatternsView(["a", "b"], np.tril(np.full((2, 2, 2), 0.5)))
    return mw.TokensView(["a", "b"], np.zeros(2))


def scripts(state):
    """The code that a notebook would save, beside that of the pictures themselves."""
    return [
        one["state"]["text"] for one in state.values() if one["model_name"] == "WidgetModel" and "text" in one["state"]
    ]


def test_a_saved_notebook_holds_what_pictures_share_once_and_each_kind_once():
    before = set(_instances)
    drawn = [draw() for _ in range(5)] + [draw(mw.TokensView) for _ in range(5)]
    state = {key: one for key, one in Widget.get_manager_state()["state"].items() if key not in before}
    texts = scripts(state)
    assert sorted(texts) == sorted(bundles.script(name) for name in ("core", "patterns", "tokens"))
    assert all(len(view._esm) < MOST_A_PICTURE for view in drawn)


def test_a_picture_names_what_they_share_first_then_its_own():
    view = draw()
    core, own = view.get_state()["_bundles"]
    assert _instances[core.removeprefix("IPY_MODEL_")].text == bundles.script("core")
    assert _instances[own.removeprefix("IPY_MODEL_")].text == bundles.script("patterns")
    assert view._esm.endswith('export default mechwidgets.load("patterns");\n')


def test_a_subclass_of_a_picture_shares_its_code():
    class Mine(mw.PatternsView):
        pass

    mine = Mine(["a", "b"], np.tril(np.full((2, 2, 2), 0.5)))
    assert mine._bundles == draw()._bundles
    assert mine._esm == draw()._esm


def test_closing_a_picture_leaves_its_code_to_others():
    one, other = draw(), draw()
    one.close()
    assert all(bundle.comm is not None for bundle in other._bundles)


def test_after_all_widgets_were_closed_the_next_picture_brings_its_code():
    old = draw()._bundles
    for bundle in old:
        bundle.close()
    new = draw()._bundles
    assert all(bundle.comm is not None for bundle in new)
    assert [bundle.text for bundle in new] == [bundle.text for bundle in old]


def test_in_marimo_a_picture_carries_all_of_its_code(monkeypatch):
    monkeypatch.setitem(sys.modules, "marimo", SimpleNamespace(running_in_notebook=lambda: True))
    module = bundles.module("patterns")
    assert module.startswith(bundles.script("core") + bundles.script("patterns"))
    assert module.endswith('export default mechwidgets.load("patterns");\n')
    assert draw()._bundles == []


def test_where_marimo_is_only_installed_it_does_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "marimo", SimpleNamespace(running_in_notebook=lambda: False))
    assert len(bundles.module("patterns")) < MOST_A_PICTURE


def test_who_edits_the_front_end_gets_the_file_that_the_watcher_writes(monkeypatch, tmp_path):
    (tmp_path / "loader.js").write_text("loader;")
    monkeypatch.setattr(bundles, "_STATIC", tmp_path)
    monkeypatch.setattr(bundles, "script", bundles.script.__wrapped__)
    assert bundles.module("patterns") == 'loader;export default mechwidgets.load("patterns");\n'
    whole = tmp_path / "whole" / "patterns.js"
    whole.parent.mkdir()
    whole.write_text("core; patterns; loader;")
    assert isinstance(bundles.module("patterns"), str)
    monkeypatch.setenv("ANYWIDGET_HMR", "1")
    assert bundles.module("patterns") == whole


def test_without_a_front_end_importing_a_picture_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(bundles, "_STATIC", tmp_path)
    monkeypatch.setattr(bundles, "script", bundles.script.__wrapped__)
    with pytest.raises(ImportError, match=r"loader\.js has not been built\. In a clone run `make setup`"):
        bundles.module("patterns")
