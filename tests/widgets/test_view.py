"""What holds for every picture: its arguments, what it refuses, and that it changes as a whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import traitlets
from IPython.core.formatters import DisplayFormatter
from ipywidgets import VBox

import mechwidgets as mw
from mechwidgets.share.arrays import from_wire
from tests.models import tiny_model
from tests.widgets.asking import ask

PROMPT = "When Mary gave John a drink"
PAIR = {"clean": "Mary gave a drink to", "corrupted": "John gave a drink to", "answer": " Mary", "wrong": " John"}
ARGUMENTS = {
    mw.AttentionView: {"prompt": PROMPT},
    mw.AttributionView: {"prompt": PROMPT},
    mw.HeadView: {"prompt": PROMPT},
    mw.LogitLensView: {"prompt": PROMPT},
    mw.PatchingView: PAIR,
    mw.PredictionView: {"prompt": PROMPT},
    mw.Workbench: {"prompt": PROMPT},
}
COMPUTED = {
    mw.AttentionView: "thumbnails",
    mw.AttributionView: "total",
    mw.HeadView: "answers",
    mw.LogitLensView: "tokens",
    mw.PatchingView: "results",
    mw.PredictionView: "distribution",
    mw.Workbench: "views",
}
OUT_OF_RANGE = {
    mw.AttributionView: ("layer", "Layer 999 is out of range: there are 3, 0 to 2."),
    mw.AttentionView: ("layer", "Layer 999 is out of range: there are 3, 0 to 2."),
    mw.HeadView: ("head", "Head 999 is out of range: there are 4, 0 to 3."),
    mw.LogitLensView: ("layer", "Layer 999 is out of range: there are 3, 0 to 2."),
    mw.PatchingView: ("position", "Position 999 is out of range: there are 5, 0 to 4."),
    mw.PredictionView: ("position", "Position 999 is out of range: there are 6, 0 to 5."),
    mw.Workbench: ("layer", "Layer 999 is out of range: there are 3, 0 to 2."),
}

every_view = pytest.mark.parametrize("kind", ARGUMENTS, ids=lambda kind: kind.__name__)


def make(kind, model=None, **changes):
    return kind(tiny_model() if model is None else model, **{**ARGUMENTS[kind], **changes})


def first_input(kind):
    return kind.inputs[0]


# Arguments


@every_view
def test_what_the_picture_computes_cannot_be_given(kind):
    name = COMPUTED[kind]
    message = (
        f"{kind.__name__} has no argument '{name}'. The picture computes it. It takes the model, {first_input(kind)}, "
    )
    with pytest.raises(TypeError) as caught:
        make(kind, **{name: 1})
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("title, selection, layout, tabbable, tooltip.")


@every_view
def test_an_unknown_argument_names_the_nearest_and_the_others(kind):
    with pytest.raises(TypeError, match=r"has no argument 'tittle'\. Did you mean 'title'\? It takes the model, "):
        make(kind, tittle="x")


@every_view
def test_every_setting_that_is_named_can_be_given(kind):
    given = {"position": 0, "layer": 1, "head": 1, "scores": {}, "title": "A title", "tooltip": "x"}
    for name in (*kind.settings, "title", "tooltip"):
        default = getattr(make(kind), name)
        assert getattr(make(kind, **{name: given.get(name, default)}), name) == given.get(name, default)


# Refused values


def assign(view, **values):
    for name, value in values.items():
        setattr(view, name, value)


def assign_together(view, **values):
    with view.hold_trait_notifications():
        assign(view, **values)


def send_from_the_page(view, **values):
    view.set_state(values)


@every_view
@pytest.mark.parametrize("way", [assign, assign_together, send_from_the_page])
def test_a_refused_value_leaves_the_picture_as_it_was(kind, way):
    view = make(kind)
    name, message = OUT_OF_RANGE[kind]
    state = view.get_state()
    values = {name: 999} if way is assign else {"title": "new", name: 999}
    with pytest.raises(ValueError, match="out of range") as caught:
        way(view, **values)
    assert str(caught.value) == message
    assert isinstance(caught.value, traitlets.TraitError)
    assert view.get_state() == state


@every_view
def test_a_bad_prompt_together_with_others_leaves_the_picture_as_it_was(kind):
    view = make(kind)
    state = view.get_state()
    with pytest.raises(ValueError, match="The prompt is empty"):
        assign_together(view, **{"title": "new", first_input(kind): ""})
    assert view.get_state() == state


def test_a_good_prompt_beside_a_refused_layer_leaves_the_kernels_side_too():
    view = make(mw.AttentionView)
    state, patterns = view.get_state(), ask(view, "patterns", heads=[[0, 0]])["value"]["patterns"]
    with pytest.raises(ValueError, match="Layer 999"):
        assign_together(view, prompt="Mary went", layer=999)
    assert view.get_state() == state
    np.testing.assert_array_equal(ask(view, "patterns", heads=[[0, 0]])["value"]["patterns"], patterns)


def test_the_page_gets_back_what_holds(monkeypatch):
    view = make(mw.AttentionView, layer=2)
    sent = []
    monkeypatch.setattr(view, "_send", lambda message, buffers=None: sent.append(message))
    with pytest.raises(ValueError, match="Layer 999"):
        view.set_state({"layer": 999})
    assert sent[-1]["method"] == "update"
    assert sent[-1]["state"] == {"layer": 2}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([{"site": "z"}], "An intervention is an object with the fields"),
        ([{"site": "z", "layer": 7, "head": 0}], "Layer 7 is out of range"),
        (["L4H7"], "An intervention is an object with the fields"),
        (3, "interventions is a list"),
    ],
)
def test_interventions_from_the_page_that_make_no_sense_change_nothing(fields, message):
    view = make(mw.AttentionView)
    with pytest.raises(ValueError, match=message):
        view.set_state({"layer": 2, "interventions": fields})
    assert (view.layer, view.interventions) == (0, [])


@pytest.mark.parametrize("value", [(4, 7), [(4, 7)], mw.ablate(head=(0, 1)), "L4H7", None, [None]])
def test_something_else_than_interventions_is_explained(value):
    message = r"interventions is a list of them, such as \[mw\.ablate\(head=\(4, 7\)\)\]; got "
    with pytest.raises(ValueError, match=message):
        make(mw.AttentionView, interventions=value)
    view = make(mw.AttentionView)
    with pytest.raises(ValueError, match=message):
        view.interventions = value
    assert view.interventions == []


# Changing as a whole


def test_inputs_that_change_together_are_asked_about_together(monkeypatch):
    view = make(mw.PatchingView)
    asked, ask_model = [], view._ask
    monkeypatch.setattr(view, "_ask", lambda **inputs: (asked.append(inputs), ask_model(**inputs))[1])
    with view.hold_trait_notifications():
        view.clean, view.corrupted = "When Mary", "When John"
    assert [one["corrupted"] for one in asked] == ["When John"]
    assert view.clean_tokens == ["When", " Mary"]
    assert view.result.values.shape == (3, 2)


@every_view
def test_observers_see_all_of_a_new_picture(kind):
    view, seen = make(kind), []
    tokens = "clean_tokens" if kind is mw.PatchingView else "tokens"
    view.observe(lambda _: seen.append((getattr(view, first_input(kind)), len(getattr(view, tokens)))))
    answers = {"clean": "When Mary", "corrupted": "When John", "prompt": "When Mary"}
    view._set_inputs(**{name: text for name, text in answers.items() if name in kind.inputs})
    assert seen
    assert set(seen) == {("When Mary", 2)}


@every_view
def test_an_observer_that_raises_does_not_leave_half_a_picture(kind, monkeypatch):
    view, told, sent = make(kind), [], []
    names = {name for name, value in view._answer.traits.items() if "tokens" in name and value} | {first_input(kind)}

    def fail(change):
        raise RuntimeError("the observer failed")

    view.observe(fail, first_input(kind))
    view.observe(lambda change: told.append(change.name), list(names - {first_input(kind)}))
    monkeypatch.setattr(view, "send_state", lambda names=None: sent.extend(names))
    inputs = {"clean": "When Mary", "corrupted": "When John", "prompt": "When Mary"}
    inputs = {name: text for name, text in inputs.items() if name in kind.inputs}
    with pytest.raises(RuntimeError, match="the observer failed"):
        view._set_inputs(**inputs)
    fresh = make(kind, view.model, **inputs)
    assert {name: view.get_state()[name] for name in fresh._answer.traits} == {
        name: fresh.get_state()[name] for name in fresh._answer.traits
    }
    assert set(told) == names - {first_input(kind)}
    assert names <= set(sent)


# A BOS token in front


@every_view
def test_a_bos_in_front_is_in_every_call(kind):
    view = make(kind, prepend_bos=True)
    model = view.model
    assert repr(view).endswith(", prepend_bos=True)")
    assert "prepend_bos" not in repr(make(kind))
    tokens = view.clean_tokens if kind is mw.PatchingView else view.tokens
    prompt = getattr(view, first_input(kind))
    assert tokens == ["<bos>", *model.to_str_tokens(prompt)]
    view.prepend_bos = False
    assert len(view.clean_tokens if kind is mw.PatchingView else view.tokens) == len(tokens) - 1
    view.prepend_bos = True
    view.prepend_bos = None
    assert len(view.clean_tokens if kind is mw.PatchingView else view.tokens) == len(tokens) - 1
    with pytest.raises(TypeError, match="prepend_bos is True, False, or None"):
        make(kind, prepend_bos=1)


def test_attention_with_a_bos_is_that_of_the_model_with_a_bos(monkeypatch):
    monkeypatch.setattr("mechwidgets.widgets.attention.KEPT_HEAD_BYTES", 0)
    view = make(mw.AttentionView, prepend_bos=True)
    model = view.model
    _, cache = model.run_with_cache(PROMPT, prepend_bos=True)
    (pattern,) = ask(view, "patterns", heads=[[1, 2]])["value"]["patterns"]
    rows, cols = np.tril_indices(len(view.tokens))
    np.testing.assert_allclose(pattern, cache["pattern", 1][0, 2].detach()[rows, cols], rtol=1e-5)
    off = mw.ablate(head=(1, 2))
    value = ask(view, "predict", interventions=[off.to_json()])["value"]
    with torch.no_grad(), model.intervene(off):
        after = model(PROMPT, prepend_bos=True)[0, -1].softmax(-1)
    assert max(value["after"]) == pytest.approx(after.max().item(), rel=1e-5)
    ask(view, "set_inputs", prompt="Mary went")
    assert view.tokens == ["<bos>", "Mary", " went"]


def test_the_lens_with_a_bos_is_that_of_the_model_with_a_bos():
    view = make(mw.LogitLensView, prepend_bos=True)
    lens = mw.logit_lens(view.model, view.model.to_tokens(PROMPT, prepend_bos=True), k=10)
    assert view.lens.identical(lens)


def test_patching_with_a_bos_is_that_of_the_model_with_a_bos():
    view = make(mw.PatchingView, prepend_bos=True)
    model = view.model
    with torch.no_grad():
        last = model(PAIR["clean"], prepend_bos=True)[0, -1]
    difference = last[model.to_single_token(" Mary")] - last[model.to_single_token(" John")]
    assert view.clean_metric == pytest.approx(difference.item(), rel=1e-5)
    assert ask(view, "sweep", site="z")["kind"] == "mw-result"
    pair = [model.to_tokens(PAIR[name], prepend_bos=True) for name in ("clean", "corrupted")]
    expected = mw.patching.sweep(model, *pair, mw.LogitDiff(" Mary", " John"), site="z")
    np.testing.assert_array_equal(from_wire(view.results["z"]), expected.values)


# Closed


@every_view
def test_a_closed_picture_says_that_it_was_closed(kind):
    view = make(kind)
    view.close()
    data, _ = DisplayFormatter().format(view)
    assert data == {"text/plain": f"{view!r} was closed, so it cannot be shown any more. Make a new one."}
    with pytest.raises(RuntimeError, match=r"was closed, so it cannot be shown any more\. Make a new one"):
        VBox([view])
