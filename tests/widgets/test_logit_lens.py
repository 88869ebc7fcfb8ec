from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets import logit_lens
from mechwidgets.widgets.rpc import CancelledError, Request
from tests.models import tiny_model
from tests.widgets.asking import ask

PROMPT = "When Mary gave John a drink"


def test_it_shows_the_lens():
    model = tiny_model()
    view = mw.LogitLensView(model, PROMPT)
    lens = mw.logit_lens(model, PROMPT, k=10)
    where = from_wire(view.top_tokens)[0]
    np.testing.assert_array_equal(np.array(view.vocabulary, dtype=object)[where], lens["top_text"])
    np.testing.assert_array_equal(from_wire(view.vocabulary_ids)[where], lens["top_token"])
    np.testing.assert_array_equal(from_wire(view.top_probs)[0], lens["probability"])
    for trait, name in (("entropy", "entropy"), ("kl", "kl"), ("rank", "rank"), ("target_probs", "target_probability")):
        np.testing.assert_array_equal(from_wire(getattr(view, trait))[0], lens[name])
    assert from_wire(view.divergence).shape == (0, 6)
    assert view.row_labels == ["embed", "0", "1", "2"]
    assert view.tokens == model.to_str_tokens(PROMPT)
    assert view.max_entropy == pytest.approx(np.log(50))
    assert view.lens.identical(lens)


def test_long_prompts_keep_fewer_top_tokens(monkeypatch):
    monkeypatch.setattr(logit_lens, "NUMBER_BYTES", 4 * 6 * (16 + 8 * 3))
    assert from_wire(mw.LogitLensView(tiny_model(), PROMPT).top_tokens).shape == (1, 4, 6, 3)
    monkeypatch.setattr(logit_lens, "NUMBER_BYTES", 1)
    assert from_wire(mw.LogitLensView(tiny_model(), PROMPT).top_tokens).shape == (1, 4, 6, 1)


def test_a_second_prompt_is_compared():
    model = tiny_model()
    other = "When Ann gave John a drink"
    view = mw.LogitLensView(model, PROMPT, compare=other)
    lens = mw.logit_lens(model, PROMPT, k=10, compare=other)
    assert (view.color_by, view.compare_tokens) == ("divergence", model.to_str_tokens(other))
    np.testing.assert_array_equal(from_wire(view.entropy), lens["entropy"])
    np.testing.assert_array_equal(from_wire(view.divergence), lens["divergence"])
    assert ask(view, "set_inputs", compare="")["kind"] == "mw-result"
    assert view.compare_tokens == []
    assert from_wire(view.entropy).shape == (1, 4, 6)


@pytest.mark.parametrize("stream", ["resid_pre", "resid_mid", "attn_out", "mlp_out"])
def test_the_stream_can_be_changed_from_the_picture(stream):
    view = mw.LogitLensView(tiny_model(), PROMPT)
    assert view.streams == ["resid_post", "resid_pre", "resid_mid", "attn_out", "mlp_out"]
    view.layer, view.position = 1, 2
    assert ask(view, "set_inputs", stream=stream)["kind"] == "mw-result"
    assert view.row_labels == ["0", "1", "2", "output"]
    assert (view.stream, view.layer, view.position) == (stream, 1, 2)
    assert view.lens.identical(mw.logit_lens(view.model, PROMPT, k=10, stream=stream))


def test_a_target_colours_all_cells():
    view = mw.LogitLensView(tiny_model(), PROMPT, target=" John")
    lens = mw.logit_lens(view.model, PROMPT, target=" John")
    np.testing.assert_array_equal(from_wire(view.rank)[0], lens["rank"])
    assert view.target_text == " John"
    assert set(view.lens["target"].values) == {" John"}
    assert ask(view, "set_inputs", target=9)["kind"] == "mw-result"
    assert view.target_text == view.model.token_texts([9])[0]
    view.target = ""
    assert view.target_text == ""
    assert view.lens.identical(mw.logit_lens(view.model, PROMPT, k=10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": " John Mary"}, "Target token ' John Mary' is 2 tokens"),
        ({"target": 50}, "Target token 50 is outside the vocabulary"),
        ({"compare": "When Mary"}, "The prompts have 6 and 2 tokens"),
        ({"stream": "z"}, "Unknown stream 'z'. Choose one of 'resid_post'"),
        ({"tuned": True}, "This picture has no tuned lens"),
        ({"color_by": "kl"}, "The picture changes prompt, compare, stream, target, tuned; got color_by"),
    ],
)
def test_what_it_cannot_show_is_an_error_and_the_picture_stays(change, message):
    view = mw.LogitLensView(tiny_model(), PROMPT)
    state = view.get_state()
    reply = ask(view, "set_inputs", **change)
    assert reply["kind"] == "mw-error"
    assert reply["message"].startswith(message)
    assert view.get_state() == state


def test_a_tuned_lens_is_switched_off_and_on():
    model = tiny_model()
    d_model = model.cfg.d_model
    pairs = [(torch.eye(d_model) * (layer + 1), torch.ones(d_model)) for layer in range(3)]
    view = mw.LogitLensView(model, PROMPT, tuned_lens=pairs)
    assert (view.tuned, view.has_tuned_lens, view.streams) == (True, True, ["resid_post", "resid_pre"])
    assert view.lens.identical(mw.logit_lens(model, PROMPT, k=10, tuned_lens=pairs))
    assert ask(view, "set_inputs", tuned=False)["kind"] == "mw-result"
    assert view.lens.identical(mw.logit_lens(model, PROMPT, k=10))
    with pytest.raises(ValueError, match="The tuned lens has 2 translators; expected 3"):
        mw.LogitLensView(model, PROMPT, tuned_lens=pairs[:2])


def test_interventions_hold_in_all_that_it_shows():
    model, changes = tiny_model(), mw.Interventions()
    off = mw.ablate(mlp=1)
    view = mw.LogitLensView(model, PROMPT, interventions=changes)
    changes.append(off)
    assert view.answered == {"interventions": [off.to_json()]}
    with model.intervene(off):
        probs = model(PROMPT)[0].detach().softmax(-1)
    np.testing.assert_allclose(from_wire(view.top_probs)[0, -1], probs.topk(10).values, rtol=1e-4)
    column = ask(view, "column", position=3, follow=[9])["value"]
    assert column["probability"][0, 0, -1] == pytest.approx(float(probs[3, 9]), rel=1e-4)
    before = view._answer
    changes.switch(off, True)
    assert view._answer is before
    changes.clear()
    assert view.lens.identical(mw.logit_lens(model, PROMPT, k=10))
    state = view.get_state()
    with pytest.raises(ValueError, match="Layer 7 is out of range"):
        view.interventions = [mw.ablate(head=(7, 0))]
    assert view.get_state() == state


def test_a_reading_that_is_not_wanted_any_more_ends_at_the_next_row(monkeypatch):
    view = mw.LogitLensView(tiny_model(), PROMPT)
    state, request, unembed, rows = view.get_state(), Request("test", Mock()), view.model.logits_of, []

    def counted(states):
        rows.append(states)
        request.cancel()
        return unembed(states)

    monkeypatch.setattr(view.model, "logits_of", counted)
    with pytest.raises(CancelledError):
        view._set(request, stream="resid_mid")
    assert len(rows) == 1
    assert view.get_state() == state
    monkeypatch.undo()
    view.stream = "resid_mid"
    assert view.row_labels == ["0", "1", "2", "output"]


def test_it_says_whether_a_column_is_answered_without_a_run(monkeypatch):
    assert mw.LogitLensView(tiny_model(), PROMPT).keeps_states
    monkeypatch.setattr(logit_lens, "KEPT_STATE_BYTES", 0)
    assert not mw.LogitLensView(tiny_model(), PROMPT).keeps_states


@pytest.mark.parametrize("kept", [0, 20_000_000])
def test_a_column_follows_tokens_through_the_layers(kept, monkeypatch):
    monkeypatch.setattr(logit_lens, "KEPT_STATE_BYTES", kept)
    model, other = tiny_model(), "When Ann gave John a drink"
    view = mw.LogitLensView(model, PROMPT, compare=other)
    value = ask(view, "column", position=4, follow=[9, 5], typed=" John")["value"]
    john = model.to_single_token(" John")
    assert value["ids"] == [9, 5, john]
    assert value["texts"] == model.token_texts([9, 5, john])
    hf_model = model.hf_model
    for prompt, text in enumerate((PROMPT, other)):
        hidden = hf_model(model.to_tokens(text), output_hidden_states=True).hidden_states
        for row, state in enumerate(hidden[:-1]):
            logits = hf_model.lm_head(hf_model.model.norm(state[0, 4])).detach()
            np.testing.assert_allclose(value["logit"][prompt, :, row], logits[[9, 5, john]], rtol=1e-4, atol=1e-5)
            expected = logits.softmax(-1)[[9, 5, john]]
            np.testing.assert_allclose(value["probability"][prompt, :, row], expected, rtol=1e-4)
            ranks = [int((logits > logits[token]).sum()) for token in (9, 5, john)]
            assert value["rank"][prompt, :, row].tolist() == ranks
            ids = value["vocabulary_ids"][value["top_tokens"][prompt, row]]
            assert ids.tolist() == logits.topk(10).indices.tolist()
    final = model(text)[0, 4].detach()
    np.testing.assert_allclose(value["logit"][1, :, -1], final[[9, 5, john]], rtol=1e-4)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"position": 6, "follow": []}, "Position 6 is out of range"),
        ({"position": 0, "follow": [50]}, "Token 50 is outside the vocabulary"),
        ({"position": 0, "follow": [], "typed": "no such"}, "Token 'no such' is 2 tokens"),
    ],
)
def test_a_column_that_there_is_not_is_an_error(args, message):
    reply = ask(mw.LogitLensView(tiny_model(), PROMPT), "column", **args)
    assert reply["kind"] == "mw-error"
    assert reply["message"].startswith(message)


def test_another_prompt_unlocks_the_cell():
    view = mw.LogitLensView(tiny_model(), PROMPT)
    view.layer, view.position = 2, 5
    assert ask(view, "set_inputs", prompt="Mary went")["kind"] == "mw-result"
    assert (view.layer, view.position) == (None, None)
    assert from_wire(view.entropy).shape == (1, 4, 2)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("", "The prompt is empty"), (" ".join(["Mary"] * 65), "The prompt has 65 tokens; this model reads at most 64.")],
)
def test_a_bad_prompt_is_an_error_and_the_picture_stays(prompt, message):
    view = mw.LogitLensView(tiny_model(), PROMPT)
    state = view.get_state()
    reply = ask(view, "set_inputs", prompt=prompt)
    assert reply["kind"] == "mw-error"
    assert reply["message"].startswith(message)
    with pytest.raises(ValueError, match=message):
        mw.LogitLensView(view.model, prompt)
    assert view.get_state() == state


def test_weights_that_become_nan_are_named_in_the_picture():
    view = mw.LogitLensView(tiny_model(), PROMPT)
    with torch.no_grad():
        view.model.hf_model.model.norm.weight[0] = float("nan")
    state = view.get_state()
    reply = ask(view, "set_inputs", prompt="Mary went")
    assert reply["kind"] == "mw-error"
    assert "These weights hold NaN or infinity: model.norm.weight" in reply["message"]
    assert view.get_state() == state


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("layer", 3, "Layer 3 is out of range: there are 3, 0 to 2"), ("position", 6, "Position 6 is out of range")],
)
def test_a_cell_out_of_range_is_refused(name, value, message):
    view = mw.LogitLensView(tiny_model(), PROMPT)
    with pytest.raises(ValueError, match=message):
        setattr(view, name, value)
    assert getattr(view, name) is None
