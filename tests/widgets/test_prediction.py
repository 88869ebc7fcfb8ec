from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
import traitlets

import mechwidgets as mw
from mechwidgets.analysis.prediction import anchored, continuation, prediction_change
from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets.errors import RefusedError
from tests.models import tiny_model
from tests.widgets.asking import ask

PROMPT = "When Mary gave John a drink"
OFF = mw.ablate(head=(1, 2))


def probabilities(model, prompt, interventions=(), position=-1):
    """By a plain call of the model, [d_vocab]."""
    with torch.no_grad(), model.intervene(*interventions):
        return model(prompt)[0, position].softmax(-1)


def assert_shows(view, prompt, interventions=(), position=-1):
    before = probabilities(view.model, prompt, (), position)[view.change.token_ids]
    after = probabilities(view.model, prompt, interventions, position)[view.change.token_ids]
    for side, expected in (("before", before), ("after", after)):
        np.testing.assert_allclose(from_wire(view.distribution[side]), expected.numpy(), atol=1e-6)
    assert view.distribution["tokens"] == view.model.token_texts(view.change.token_ids)


def test_it_shows_both_distributions():
    view = mw.PredictionView(tiny_model(), PROMPT, [OFF])
    assert_shows(view, PROMPT, [OFF])
    assert view.answered == {"position": 5, "interventions": [OFF.to_json()]}
    assert view.tokens == view.model.to_str_tokens(PROMPT)
    assert view.change.kl > 0


def test_the_most_probable_and_those_that_move_most_are_among_the_tokens():
    model = tiny_model()
    change = prediction_change(model, PROMPT, [OFF], 3)
    before, after = probabilities(model, PROMPT), probabilities(model, PROMPT, [OFF])
    for numbers in (before, after, (after - before).abs()):
        assert set(numbers.topk(3).indices.tolist()) <= set(change.token_ids)
    assert change.before.tolist() == sorted(change.before.tolist(), reverse=True)


def test_where_nothing_moves_there_are_no_more_tokens():
    assert len(prediction_change(tiny_model(), PROMPT, [], 3).token_ids) == 3


def test_a_change_of_interventions_costs_one_run():
    model = tiny_model()
    view = mw.PredictionView(model, PROMPT, [OFF])
    runs = []
    forward = model.hf_model.forward
    with patch.object(model.hf_model, "forward", lambda *args, **named: (runs.append(1), forward(*args, **named))[1]):
        view.interventions = [mw.ablate(head=(0, 0))]
        assert len(runs) == 1
        view.interventions = []
        assert len(runs) == 1
    assert_shows(view, PROMPT)


@pytest.mark.parametrize("change", ["weights", "hook", "module hook", "prompt", "position"])
def test_what_the_model_says_without_interventions_is_kept_no_longer_than_it_holds(change):
    model = tiny_model()
    view = mw.PredictionView(model, PROMPT, [OFF])
    place, prompt = -1, PROMPT
    module = model.hf_model.model.layers[1].mlp
    if change == "weights":
        with torch.no_grad():
            module.down_proj.weight.mul_(2)
    elif change == "hook":
        model.add_hook("blocks.1.hook_mlp_out", lambda written, hook: written * 2)
    elif change == "module hook":
        module.register_forward_hook(lambda module, args, output: output * 2)
    elif change == "prompt":
        view.prompt = prompt = "Mary gave a drink"
    else:
        view.position = place = 2
    view.interventions = [mw.ablate(head=(0, 0))]
    assert_shows(view, prompt, [mw.ablate(head=(0, 0))], place)


def test_position_and_interventions_are_inputs():
    view = mw.PredictionView(tiny_model(), PROMPT)
    assert_shows(view, PROMPT)
    view.position = 2
    assert_shows(view, PROMPT, position=2)
    view.interventions = [OFF]
    assert_shows(view, PROMPT, [OFF], 2)
    view.prompt = "Mary went"
    assert (view.position, view.answered["position"]) == (None, 1)
    assert_shows(view, "Mary went", [OFF])


def test_shared_interventions_and_a_selection_move_it():
    model, shared, chosen = tiny_model(), mw.Interventions(), mw.Selection()
    view = mw.PredictionView(model, PROMPT, interventions=shared, selection=chosen)
    shared.append(OFF)
    assert_shows(view, PROMPT, [OFF])
    chosen.position = 1
    assert_shows(view, PROMPT, [OFF], 1)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_it_writes_on_as_the_most_probable_tokens_of_plain_calls(family):
    view = mw.PredictionView(tiny_model(family), PROMPT, [OFF])
    written = ask(view, "write")["value"]
    for side, interventions in (("before", []), ("after", [OFF])):
        tokens, expected = view.model.to_tokens(PROMPT), []
        for _ in written[side]["token_ids"]:
            expected.append(int(probabilities(view.model, tokens, interventions).argmax()))
            tokens = torch.cat([tokens, torch.tensor([[expected[-1]]])], dim=1)
        assert written[side]["token_ids"] == expected
        assert written[side]["tokens"] == view.model.token_texts(expected)
    assert len(written["before"]["token_ids"]) > 0


def test_the_distribution_behind_what_was_written_holds_changes_where_they_were():
    model = tiny_model()
    last = mw.Intervention("resid_pre", 1, position=-1, op="scale", value=2.0)
    view = mw.PredictionView(model, PROMPT, [last])
    answer = ask(view, "behind", token_ids=[7, 9])["value"]
    tokens = torch.cat([model.to_tokens(PROMPT), torch.tensor([[7, 9]])], dim=1)
    there = mw.Intervention("resid_pre", 1, position=5, op="scale", value=2.0)
    expected = prediction_change(model, tokens, [there], 8)
    np.testing.assert_allclose(answer["after"], expected.after, atol=1e-6)
    assert anchored([last], 6) == [there]


@pytest.mark.parametrize("op", ["mean", "freeze"])
def test_what_looks_at_all_positions_is_written_under_too(op):
    model = tiny_model()
    change = mw.Intervention("z", 1, op=op)
    ids = continuation(model, model.to_tokens(PROMPT), [change], 3)
    with model.intervene(change):
        whole = model.generate(PROMPT, 3, do_sample=False, use_past_kv_cache=False, return_type="tokens", verbose=False)
    assert ids == whole[0, -len(ids) :].tolist()


def test_writing_ends_where_the_model_reads_no_more_and_where_the_reader_stops_it():
    model = tiny_model(max_position_embeddings=8)
    assert len(continuation(model, model.to_tokens(PROMPT), (), 10)) <= 2

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        continuation(model, model.to_tokens(PROMPT), (), 2, stop)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"position": 6}, ValueError, "Position 6"),
        ({"position": "end"}, TypeError, "position is a whole number"),
        ({"order": "size"}, traitlets.TraitError, "order"),
        ({"layer": 1}, TypeError, "no argument 'layer'"),
        ({"interventions": [mw.ablate(head=(9, 0))]}, ValueError, "Layer 9"),
    ],
)
def test_bad_arguments(given, error, message):
    with pytest.raises(error, match=message):
        mw.PredictionView(tiny_model(), PROMPT, **given)


def test_what_is_refused_leaves_the_picture_as_it_was():
    view = mw.PredictionView(tiny_model(), PROMPT, [OFF])
    before = view.get_state()
    with pytest.raises(RefusedError):
        view.prompt = ""
    with pytest.raises(RefusedError):
        view.position = 17
    assert view.get_state() == before
