from __future__ import annotations

import numpy as np
import pytest

import mechwidgets as mw
from mechwidgets.analysis.logit_attribution import attribute
from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets.errors import RefusedError
from tests.models import tiny_model
from tests.widgets.asking import ask

PROMPT = "When Mary gave John a drink"
PLACE = {"part": "attn", "layer": None, "head": None, "neuron": None}


def assert_shows(view, *question, **asked):
    """The picture's numbers are those of the analysis."""
    found = attribute(view.model, view.model.to_tokens(view.prompt), *question, **asked)
    for trait, expected in (
        ("layer_values", found.layers),
        ("head_values", found.heads),
        ("head_bias", found.head_bias),
    ):
        np.testing.assert_array_equal(from_wire(getattr(view, trait)), expected)
    assert (view.total, view.logit, view.others) == (found.total, found.logit, found.others)


def test_it_shows_the_attribution():
    view = mw.AttributionView(tiny_model(), PROMPT, " John", " Mary")
    assert_shows(view, " John", " Mary")
    assert (view.answer_text, view.wrong_text) == (" John", " Mary")
    assert view.answered == {"position": 5, "interventions": []}
    assert view.tokens == view.model.to_str_tokens(PROMPT)
    assert (view.n_layers, view.n_heads) == (3, 4)
    assert view.attribution.total == view.total


def test_without_an_answer_it_takes_what_the_model_says():
    view = mw.AttributionView(tiny_model(), PROMPT)
    assert_shows(view)
    token = int(view.model(PROMPT)[0, -1].argmax())
    assert (view.answer_text, view.wrong_text) == (view.model.token_texts([token])[0], "")


def test_the_position_is_an_input_and_none_is_the_end():
    view = mw.AttributionView(tiny_model(), PROMPT, " John")
    view.position = 2
    assert view.answered["position"] == 2
    assert_shows(view, " John", position=2)
    view.set_state({"position": None})
    assert view.answered["position"] == 5
    assert_shows(view, " John")
    view.position = 3
    view.prompt = "Mary went"
    assert (view.position, view.answered["position"]) == (None, 1)


def test_interventions_are_an_input():
    view = mw.AttributionView(tiny_model(), PROMPT, " John")
    off = mw.ablate(head=(1, 2))
    view.set_state({"interventions": [off.to_json()]})
    assert view.answered["interventions"] == [off.to_json()]
    assert_shows(view, " John", interventions=[off])
    view.interventions = []
    assert_shows(view, " John")


def test_a_shared_selection_and_shared_interventions_move_it_and_run_the_model_only_where_they_must():
    chosen, changes = mw.Selection(), mw.Interventions()
    model = tiny_model()
    view = mw.AttributionView(model, PROMPT, " John", selection=chosen, interventions=changes)
    chosen.choose(layer=1, head=3, position=2)
    assert (view.layer, view.head, view.position, view.answered["position"]) == (1, 3, 2, 2)
    changes.append(mw.ablate(head=(0, 0)))
    assert_shows(view, " John", position=2, interventions=[mw.ablate(head=(0, 0))])
    before = view._answer
    chosen.choose(layer=2, head=None)
    assert (view.layer, view.head) == (2, None)
    assert view._answer is before
    chosen.clear()
    assert (view.position, view.answered["position"]) == (None, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"answer": " John Mary"}, "Answer ' John Mary' is 2 tokens"),
        ({"wrong": " John"}, "The answer and the wrong answer are the same token"),
        ({"layer": 1}, "The picture changes prompt, answer, wrong; got layer"),
    ],
)
def test_what_it_cannot_show_is_an_error_and_the_picture_stays(change, message):
    view = mw.AttributionView(tiny_model(), PROMPT, " John", " Mary")
    state = view.get_state()
    reply = ask(view, "set_inputs", **change)
    assert reply["kind"] == "mw-error"
    assert reply["message"].startswith(message)
    assert view.get_state() == state


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer", 3, "Layer 3 is out of range"),
        ("head", 4, "Head 4 is out of range"),
        ("neuron", -1, "Neuron -1 is out of range"),
        ("position", 6, "Position 6 is out of range"),
        ("interventions", [mw.ablate(head=(7, 0))], "Layer 7 is out of range"),
    ],
)
def test_a_place_that_there_is_not_is_refused(name, value, message):
    view = mw.AttributionView(tiny_model(), PROMPT, " John")
    state = view.get_state()
    with pytest.raises(RefusedError, match=message):
        setattr(view, name, value)
    assert view.get_state() == state


def test_a_component_tells_what_it_writes_towards():
    view = mw.AttributionView(tiny_model(), PROMPT, " John")
    found = view.attribution
    answer = ask(view, "component", **{**PLACE, "part": "head", "layer": 1, "head": 2})["value"]
    writes = found.writes(found.written("head", 1, head=2), 10)
    assert answer["up"] == view.model.token_texts(writes.up)
    np.testing.assert_array_equal(answer["down_values"], writes.down_values)
    assert "neurons" not in answer
    answer = ask(view, "component", **{**PLACE, "part": "embed"})["value"]
    assert len(answer["up"]) == 10


def test_an_mlp_tells_its_neurons():
    view = mw.AttributionView(tiny_model("gpt2"), PROMPT, " John")
    neurons = ask(view, "component", **{**PLACE, "part": "mlp", "layer": 1})["value"]["neurons"]
    values, activations = view.attribution.neurons(1)
    assert neurons["index"].tolist() == np.argsort(-np.abs(values))[:12].tolist()
    np.testing.assert_array_equal(neurons["activations"], activations[neurons["index"]])
    whole = neurons["values"].sum() + neurons["others"] + neurons["bias"]
    assert whole == pytest.approx(float(from_wire(view.layer_values)[1, 1]), abs=1e-5)
    one = ask(view, "component", **{**PLACE, "part": "neuron", "layer": 1, "neuron": 5})["value"]["neurons"]
    assert one["value"] == pytest.approx(float(values[5]))
    experts = mw.AttributionView(tiny_model("mixtral"), PROMPT)
    assert "neurons" not in ask(experts, "component", **{**PLACE, "part": "mlp", "layer": 1})["value"]
    reply = ask(experts, "component", **{**PLACE, "part": "neuron", "layer": 1, "neuron": 0})
    assert reply["kind"] == "mw-error"
