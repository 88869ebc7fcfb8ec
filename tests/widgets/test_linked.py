"""Pictures that share a selection or interventions, on the kernel's side."""

from __future__ import annotations

import threading

import ipywidgets
import numpy as np
import pytest
import traitlets

import mechwidgets as mw
from tests.models import tiny_model
from tests.widgets.asking import ask

PROMPT = "When Mary gave John a drink"
OFF = mw.ablate(head=(1, 2))
OTHER = mw.ablate(mlp=0)


def attention(selection=None, **settings):
    return mw.AttentionView(tiny_model(), PROMPT, selection=selection, **settings)


def lens(selection=None, **settings):
    return mw.LogitLensView(tiny_model(), PROMPT, selection=selection, **settings)


def sent_by(widget, monkeypatch):
    sent = []
    monkeypatch.setattr(widget, "_send", lambda message, buffers=None: sent.append(message))
    return sent


# Selection


def test_a_selection_says_what_is_chosen():
    assert repr(mw.Selection(layer=4, head=7, token=" Mary")) == "Selection(layer=4, head=7, token=' Mary')"
    assert repr(mw.Selection()) == "Selection()"


@pytest.mark.parametrize("value", [-1, 1.5, "3", True])
def test_a_place_is_a_whole_number_from_0_on(value):
    with pytest.raises(ValueError, match=r"The position of a selection is a whole number from 0 on, or None; got"):
        mw.Selection(position=value)


def test_a_place_may_be_a_number_of_numpys():
    assert mw.Selection(layer=np.int64(3)).layer == 3


def test_an_unknown_place_is_refused_with_a_suggestion():
    with pytest.raises(TypeError, match=r"A selection has no 'heads'. Did you mean 'head'\? It has layer, head"):
        mw.Selection(heads=3)
    with pytest.raises(TypeError, match="A selection has no 'row'"):
        mw.Selection().choose(row=3)


def test_what_is_chosen_together_is_seen_together():
    selection = mw.Selection()
    seen = []
    selection.observe(lambda change: seen.append((selection.layer, selection.head)), ["layer", "head"])
    selection.choose(layer=4, head=7)
    assert set(seen) == {(4, 7)}
    with pytest.raises(ValueError, match="head"):
        selection.choose(layer=5, head=-1)
    assert (selection.layer, selection.head) == (4, 7)
    selection.clear()
    assert repr(selection) == "Selection()"


def test_the_front_end_is_the_one_that_every_host_has():
    state = mw.Selection().get_state()
    assert (state["_model_module"], state["_model_name"], state["_view_name"]) == (
        "@jupyter-widgets/base",
        "WidgetModel",
        None,
    )


# Pictures on one selection


def test_a_picture_goes_where_the_selection_is():
    view = attention(mw.Selection(layer=2, head=1))
    assert (view.layer, view.head) == (2, 1)


def test_pictures_move_together():
    selection = mw.Selection()
    one, other = attention(selection), attention(selection)
    one.layer = 2
    assert (selection.layer, other.layer) == (2, 2)
    selection.choose(layer=1, head=3)
    assert [(view.layer, view.head) for view in (one, other)] == [(1, 3), (1, 3)]


def test_a_click_in_a_picture_reaches_the_others_whole():
    selection = mw.Selection(layer=0, head=0)
    one, other = attention(selection), attention(selection)
    one.set_state({"layer": 2, "head": 3})
    assert (selection.layer, selection.head) == (2, 3)
    assert [(view.layer, view.head) for view in (one, other)] == [(2, 3), (2, 3)]


def test_what_the_page_says_of_a_selection_is_not_said_back(monkeypatch):
    selection = mw.Selection()
    view = attention(selection)
    sent, told = sent_by(selection, monkeypatch), sent_by(view, monkeypatch)
    for layer in (1, 2, 0):
        selection.set_state({"layer": layer, "head": 2})
    assert [message for message in sent if message["method"] == "update"] == []
    # once for each, about what has changed: no picture answers with a change of its own
    assert [message["state"] for message in told] == [{"layer": 1, "head": 2}, {"layer": 2}, {"layer": 0}]


def test_a_place_that_a_picture_does_not_have_is_none_there_and_stays_chosen():
    selection = mw.Selection(position=1)
    view = lens(selection)
    assert view.position == 1
    selection.position = 400
    assert (view.position, selection.position) == (None, 400)
    view.prompt = "Mary gave"
    assert selection.position == 400
    selection.position = 1
    assert view.position == 1


def test_where_something_is_always_chosen_a_picture_stays_where_it_is():
    selection = mw.Selection(layer=2, head=1)
    view = attention(selection)
    selection.layer = 999
    assert (view.layer, view.head, selection.layer) == (2, 1, 999)
    selection.clear()
    assert (view.layer, view.head, selection.layer) == (2, 1, None)
    view.head = 3
    assert (selection.layer, selection.head) == (None, 3)
    assert sorted(view._always_chosen) == ["head", "layer"]
    assert lens()._always_chosen == []


def test_a_new_prompt_leaves_what_others_have_chosen():
    selection = mw.Selection(position=1)
    one, other = lens(selection), lens(selection)
    one.prompt = "Mary went to the store"
    assert (selection.position, one.position, other.position) == (1, 1, 1)


def test_a_picture_can_change_to_another_selection_and_to_none():
    first, second = mw.Selection(layer=1), mw.Selection(layer=2)
    view = attention(first)
    view.selection = second
    assert view.layer == 2
    first.layer = 0
    assert view.layer == 2
    view.selection = None
    second.layer = 0
    view.layer = 1
    assert (view.layer, second.layer) == (1, 0)


def test_a_closed_picture_follows_no_more():
    selection = mw.Selection(layer=1)
    view = attention(selection)
    view.close()
    selection.layer = 2
    assert view.layer == 1


def test_something_else_than_a_selection_is_refused():
    with pytest.raises(traitlets.TraitError, match="expected a Selection or None"):
        attention(selection={"layer": 3})


def test_other_widgets_can_be_linked_to_a_selection_and_to_a_picture():
    selection = mw.Selection(layer=0)
    view = attention(selection)
    slider, number = ipywidgets.IntSlider(max=2), ipywidgets.IntText()
    ipywidgets.link((slider, "value"), (selection, "layer"))
    ipywidgets.link((number, "value"), (view, "layer"))
    slider.value = 2
    assert (selection.layer, view.layer, number.value) == (2, 2, 2)
    number.value = 1
    assert (selection.layer, view.layer, slider.value) == (1, 1, 1)
    view.layer = 2
    assert (selection.layer, number.value, slider.value) == (2, 2, 2)


def test_pictures_of_several_threads_end_where_the_selection_is():
    selection = mw.Selection(layer=0)
    views = [attention(selection) for _ in range(2)]

    def move(view):
        for step in range(50):
            view.layer = step % 3

    threads = [threading.Thread(target=move, args=[view]) for view in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    selection.layer = 1
    assert [view.layer for view in views] == [1, 1]


def test_a_picture_of_arrays_takes_a_selection_too():
    selection = mw.Selection(head=1)
    view = mw.PatternsView(["a", "b"], np.full((3, 2, 2), 0.5), selection=selection)
    assert view.head == 1
    view.head = 2
    assert selection.head == 2


# Interventions


def test_interventions_are_a_sequence_of_what_is_switched_on():
    changes = mw.Interventions([OFF, OTHER], off=[0])
    assert list(changes) == [OTHER]
    assert (len(changes), changes[0], [entry.on for entry in changes.entries]) == (1, OTHER, [False, True])
    with pytest.raises(IndexError):
        mw.Interventions([OFF], off=[1])


def test_interventions_are_added_switched_dropped_and_taken_back():
    changes = mw.Interventions()
    changes.append(OFF)
    changes.extend([OTHER, mw.ablate(attn=2)])
    changes.switch(OFF)
    assert list(changes) == [OTHER, mw.ablate(attn=2)]
    changes.switch(0, True)
    changes.remove(OTHER)
    assert list(changes) == [OFF, mw.ablate(attn=2)]
    changes.remove(-1)
    changes.clear()
    assert changes.entries == []
    steps = []
    for _ in range(8):
        changes.undo()
        steps.append(len(changes.entries))
    assert steps == [1, 2, 3, 3, 3, 1, 0, 0]


def test_what_is_not_there_cannot_be_dropped():
    changes = mw.Interventions([OFF])
    with pytest.raises(ValueError, match="is not among the interventions"):
        changes.remove(OTHER)
    with pytest.raises(IndexError):
        changes.switch(1)
    for wrong in ("L4H7", (1, 2), None):
        with pytest.raises(TypeError, match=r"Interventions are made by mw\.ablate"):
            changes.append(wrong)


def test_interventions_as_code():
    changes = mw.Interventions([OFF, mw.steer([0.5] * 16, layer=1)], off=[1])
    scope = {}
    exec(changes.to_code(), scope)
    assert scope["interventions"].entries == changes.entries


def test_a_run_with_interventions_is_a_run_with_those_that_are_on():
    model = tiny_model()
    changes = mw.Interventions([OFF, OTHER], off=[1])
    with model.intervene(OFF):
        expected = model(PROMPT)
    with model.intervene(changes):
        np.testing.assert_array_equal(model(PROMPT).detach(), expected.detach())
    with pytest.raises(TypeError, match="intervene takes interventions"), model.intervene("L4H7"):
        pass


@pytest.mark.parametrize(
    "fields",
    [
        3,
        [3],
        [{"on": True}],
        [{"intervention": {"site": "z"}, "on": True}],
        [{"on": 1, "intervention": OFF.to_json()}],
    ],
)
def test_nonsense_from_the_page_changes_nothing(fields):
    changes = mw.Interventions([OFF])
    with pytest.raises(traitlets.TraitError):
        changes.set_state({"entries": fields})
    assert list(changes) == [OFF]


def test_pictures_share_what_is_switched_off():
    changes = mw.Interventions([OFF])
    one, other = attention(interventions=changes), attention(interventions=changes)
    assert one.interventions == other.interventions == [OFF]
    assert one.shared_interventions is changes
    one.interventions = [OFF, OTHER]
    assert list(changes) == other.interventions == [OFF, OTHER]
    changes.switch(OFF)
    assert one.interventions == other.interventions == [OTHER]
    # switched on again, not added once more
    other.set_state({"interventions": [OTHER.to_json(), OFF.to_json()]})
    assert [(entry.intervention, entry.on) for entry in changes.entries] == [(OFF, True), (OTHER, True)]
    changes.undo()
    assert one.interventions == other.interventions == [OTHER]


def test_a_list_stays_the_pictures_own():
    given = [OFF]
    one, other = attention(interventions=given), attention(interventions=given)
    one.interventions = []
    assert (other.interventions, one.shared_interventions) == ([OFF], None)


def test_shared_ones_can_be_assigned_later():
    changes, view = mw.Interventions([OFF]), attention()
    view.interventions = changes
    changes.append(OTHER)
    assert view.interventions == [OFF, OTHER]


def test_what_a_model_does_not_have_is_kept_for_the_pictures_of_others():
    changes = mw.Interventions([OFF])
    view = attention(interventions=changes)
    changes.append(mw.ablate(head=(30, 0)))
    assert view.interventions == [OFF]
    view.interventions = []
    assert list(changes) == [mw.ablate(head=(30, 0))]


def test_pictures_answer_with_what_is_shared():
    changes = mw.Interventions()
    view = attention(interventions=changes)
    changes.append(OFF)
    sent = [one.to_json() for one in view.interventions]
    assert ask(view, "predict", interventions=sent)["value"]["kl"] > 0


def test_a_picture_shows_those_whose_positions_its_prompt_has():
    late, last = mw.Intervention("z", 1, head=2, position=4), mw.Intervention("z", 1, head=2, position=-2)
    changes = mw.Interventions([late, last])
    model = tiny_model()
    short, long = (mw.PredictionView(model, text, changes) for text in ("Mary gave", "Mary gave a drink to"))
    assert (short.interventions, long.interventions) == ([last], [late, last])


def test_a_picture_without_interventions_says_so():
    with pytest.raises(TypeError, match="PatternsView has no argument 'interventions'"):
        mw.PatternsView(["a"], [[[1.0]]], interventions=mw.Interventions())
