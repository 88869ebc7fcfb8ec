"""Exercise: answers are checked one by one, by a list or by a function, and the kernel knows what was found."""

from __future__ import annotations

import numpy as np
import pytest

import mechwidgets as mw
from tests.models import tiny_model
from tests.widgets.asking import ask

PROMPT = "Mary gave a drink to"


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def attention(model):
    return mw.AttentionView(model, PROMPT)


def answered(exercise, **answer):
    """What the page keeps of the kernel's verdict."""
    verdict = ask(exercise, "check", **answer)["value"]
    exercise.answers = [*exercise.answers, {**answer, **verdict}]
    return verdict


def test_a_list_of_heads_is_found_one_by_one(attention):
    exercise = mw.Exercise(attention, [(1, 2), (0, 3), (1, 2)], "Which heads?")
    assert (exercise.asks, exercise.count, exercise.solved) == (["layer", "head"], 2, False)
    assert answered(exercise, layer=1, head=2) == {"right": True, "feedback": ""}
    assert answered(exercise, layer=1, head=2)["right"] is True
    assert answered(exercise, layer=2, head=2) == {"right": False, "feedback": ""}
    assert not exercise.solved
    answered(exercise, layer=0, head=3)
    assert exercise.solved


def test_a_function_may_say_why(attention):
    def check(layer, head):
        return (layer == 2, "It is in the last layer." if layer == 2 else f"Head {head} is too early.")

    exercise = mw.Exercise(attention, check)
    assert answered(exercise, layer=0, head=3) == {"right": False, "feedback": "Head 3 is too early."}
    assert answered(exercise, layer=2, head=0) == {"right": True, "feedback": "It is in the last layer."}
    assert (exercise.count, exercise.solved) == (1, True)


def test_a_function_may_run_the_model_without_the_hooks_of_its_cell(model, attention):
    plain = model(PROMPT)[0, -1].argmax().item()

    def check(layer, head):
        with model.intervene([mw.ablate(head=(layer, head))]):
            changed = model(PROMPT)
        return np.bool_(changed.shape[1] == 5 and model(PROMPT)[0, -1].argmax().item() == plain)

    exercise = mw.Exercise(attention, check)
    with model.hooks([("hook_embed", lambda value, hook: value * 0)]):
        assert exercise.verdict(layer=0, head=0) == (True, "")


def test_what_a_check_may_say(attention):
    exercise = mw.Exercise(attention, lambda layer, head: "yes")
    with pytest.raises(TypeError, match=r"says True, False, or either with a text, such as .*; it said 'yes'"):
        exercise.verdict(layer=0, head=0)
    assert ask(exercise, "check", layer=0, head=0)["kind"] == "mw-error"


def test_answers_that_the_page_makes_up_solve_nothing(attention):
    exercise = mw.Exercise(attention, [(1, 2)])
    exercise.answers = [{"layer": 0, "head": 0, "right": True, "feedback": ""}, {"right": True}]
    assert not exercise.solved


def test_positions_can_be_asked_for(model):
    lens = mw.LogitLensView(model, PROMPT)
    exercise = mw.Exercise(lens, [2, 3], asks=["position"])
    assert (exercise.tokens, exercise.count) == (lens.tokens, 2)
    assert answered(exercise, position=3)["right"] is True
    both = mw.Exercise(lens, [(1, 2)], asks=["layer", "position"])
    assert answered(both, layer=1, position=2)["right"] is True


def test_the_choice_is_what_is_chosen_in_the_picture(attention):
    exercise = mw.Exercise(attention, [(1, 2)])
    attention.selection.choose(layer=1, head=2)
    assert (exercise.layer, exercise.head) == (1, 2)
    chosen = mw.Selection(layer=2, head=0)
    shared = mw.AttentionView(attention.model, PROMPT, selection=chosen)
    assert mw.Exercise(shared, [(1, 2)]).layer == 2
    assert shared.selection is chosen


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        ([], ValueError, r"such as \[\(5, 1\)\]; got none"),
        ([(1, 2, 3)], ValueError, r"layer, head each, such as \[\(5, 1\)\]; got \(1, 2, 3\)"),
        ([(1, "a")], ValueError, "got "),
        ("L1H2", TypeError, "or a function that checks one. Got 'L1H2'"),
        (7, TypeError, "Got 7"),
    ],
)
def test_right_answers_that_are_none_are_refused(attention, check, error, message):
    with pytest.raises(error, match=message):
        mw.Exercise(attention, check)


def test_what_it_is_about_is_checked(model, attention):
    with pytest.raises(TypeError, match=r"about a picture, such as mw.AttentionView\(model, prompt\); got 'x'"):
        mw.Exercise("x", [(1, 2)])
    prediction = mw.PredictionView(model, PROMPT)
    assert mw.Exercise(prediction, [2]).asks == ["position"]
    with pytest.raises(ValueError, match="PredictionView has no place head to ask for; it has position"):
        mw.Exercise(prediction, [2], asks=["head"])
    with pytest.raises(TypeError, match=r"no argument 'tittle'\. Did you mean 'title'\?"):
        mw.Exercise(attention, [(1, 2)], tittle="x")
