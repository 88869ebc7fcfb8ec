"""help(mw.AttentionView) names every argument and every trait, and says from where they begin."""

from __future__ import annotations

import inspect
import re

import pytest

import mechwidgets as mw
from tests.widgets.fixtures import own_traits
from tests.widgets.test_contract import VIEWS

ALL = [*VIEWS.values(), mw.PatchingResultView, mw.DocumentView]


@pytest.mark.parametrize("view", ALL, ids=lambda view: view.__name__)
def test_every_argument_and_every_trait_is_named(view):
    said = inspect.getdoc(view).partition("Defaults:")[0]
    arguments = [name for name, one in inspect.signature(view).parameters.items() if one.kind is not one.VAR_KEYWORD]
    names = {*own_traits(view), *view.inputs, *view.settings, *arguments}
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", said)] == []


def test_defaults_are_those_of_the_traits():
    said = inspect.getdoc(mw.HeadView).partition("Defaults:")[2]
    assert "stream = 'prompt'" in said
    assert "position = None" in said
    assert "interventions = []" in said
    # what has to be given has none
    assert " prompt =" not in said


@pytest.mark.parametrize("view", ALL, ids=lambda view: view.__name__)
def test_every_default_that_is_said_holds(view):
    said = dict(re.findall(r"^ +(\w+) = (.+)$", inspect.getdoc(view).partition("Defaults:")[2], re.MULTILINE))
    settable = {name for name in (*view.inputs, *view.settings) if name in view.class_trait_names()}
    needed = {name for name, one in inspect.signature(view).parameters.items() if one.default is one.empty}
    assert set(said) >= settable - needed
    for name, default in said.items():
        assert default == repr(getattr(view, name).default())
