"""A cell that is run again closes its old pictures, if nobody has them any more."""

from __future__ import annotations

import pytest
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets import VBox
from ipywidgets.widgets.widget import _instances

import mechwidgets as mw
from mechwidgets.widgets.reruns import watched
from tests.models import tiny_model

# What other tests have not closed.
OF_OTHERS: set[str] = set()
VIEW = "mw.LogitLensView(model, 'Mary gave John a drink', selection=chosen)"


@pytest.fixture
def notebook():
    """Cells of a notebook, by their ids; `run(cell, code)` returns the names that they share."""
    shell = InteractiveShell.instance()
    shell.user_ns.update(mw=mw, model=tiny_model(), chosen=mw.Selection(), VBox=VBox)
    watched()

    def run(cell: str, code: str) -> dict:
        result = shell.run_cell(code, store_history=True, cell_id=cell)
        result.raise_error()
        return shell.user_ns

    OF_OTHERS.update(_instances)
    yield run
    for widget in [widget for key, widget in list(_instances.items()) if key not in OF_OTHERS]:
        widget.close()
    InteractiveShell.clear_instance()


def ids():
    """Of the pictures that this test has made and that were not closed."""
    return {key for key, widget in _instances.items() if isinstance(widget, mw.LogitLensView)} - OF_OTHERS


def test_a_result_of_a_cell_that_ran_again_is_closed(notebook):
    notebook("a", VIEW)
    first = ids()
    layouts = len(_instances)
    for _ in range(3):
        notebook("a", VIEW)
    assert len(ids()) == len(first) == 1
    assert not ids() & first
    assert len(_instances) == layouts


def test_so_is_one_whose_variable_has_another_now(notebook):
    notebook("a", f"view = {VIEW}\nview")
    first = ids()
    names = notebook("a", f"view = {VIEW}\nview")
    assert {names["view"].model_id} == ids()
    assert not ids() & first


def test_a_picture_that_somebody_has_stays(notebook):
    names = notebook("a", f"views = [{VIEW}]\nviews[0]")
    old = names["views"][0]
    names["kept"] = old
    notebook("a", f"views = [{VIEW}]\nviews[0]")
    assert old.comm is not None
    assert old.model_id in ids()
    # it goes on answering and following
    names["chosen"].layer = 1
    assert old.layer == 1
    del names["kept"], old
    notebook("a", f"views = [{VIEW}]\nviews[0]")
    assert len(ids()) == 1


def test_a_picture_in_a_box_stays_as_long_as_the_box(notebook):
    names = notebook("a", f"box = VBox([{VIEW}])\nbox")
    box = names["box"]
    notebook("a", f"box = VBox([{VIEW}])\nbox")
    assert box.children[0].comm is not None


def test_a_picture_that_another_cell_shows_stays(notebook):
    names = notebook("a", f"view = {VIEW}")
    names["view"]._repr_mimebundle_()
    notebook("b", "_ = view._repr_mimebundle_()")
    first = ids()
    notebook("a", f"view = {VIEW}")
    assert first < ids()


def test_other_cells_keep_theirs(notebook):
    notebook("a", VIEW)
    notebook("b", VIEW)
    notebook("b", VIEW)
    assert len(ids()) == 2


def test_a_cell_that_fails_keeps_what_it_had(notebook):
    notebook("a", f"view = {VIEW}\nview")
    first = ids()
    with pytest.raises(ZeroDivisionError):
        notebook("a", f"1 / 0\nview = {VIEW}\nview")
    assert ids() == first


def test_a_shared_selection_keeps_no_picture(notebook):
    names = notebook("a", VIEW)
    notebook("a", "pass")
    assert ids() == set()
    names["chosen"].layer = 1
