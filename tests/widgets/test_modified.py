"""A picture says that hooks were added to its model."""

from __future__ import annotations

import mechwidgets as mw
from mechwidgets.widgets.modified import look_at_all
from tests.models import tiny_model

PROMPT = "When Mary gave John a drink"


def double(tensor, hook):
    return tensor * 2


def test_a_picture_knows_the_hooks_that_were_added_before_it():
    model = tiny_model()
    assert mw.LogitLensView(model, PROMPT).hooks_added is False
    model.add_hook("mlp_out", double)
    assert mw.LogitLensView(model, PROMPT).hooks_added is True


def test_a_picture_hears_of_hooks_after_the_cell_that_added_them():
    model, other = tiny_model(), tiny_model()
    view, unmoved, closed = (
        mw.LogitLensView(model, PROMPT),
        mw.LogitLensView(other, PROMPT),
        mw.AttentionView(model, PROMPT),
    )
    closed.close()
    model.add_hook("mlp_out", double)
    look_at_all()
    assert (view.hooks_added, unmoved.hooks_added, closed.hooks_added) == (True, False, False)
    model.reset_hooks()
    look_at_all()
    assert view.hooks_added is False


def test_a_new_prompt_looks_too():
    model = tiny_model()
    view = mw.LogitLensView(model, PROMPT)
    model.add_hook("mlp_out", double)
    view.prompt = "Mary went"
    assert view.hooks_added is True
