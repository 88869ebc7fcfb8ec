"""Prompts so long that the picture is there before its heads are."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis.attention_values import ATTENTION_TYPES
from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets import attention_pass
from tests.models import tiny_model
from tests.widgets.asking import ask, ask_all

PROMPT = "When Mary gave John a drink Mary gave"
SWAPPED = "When Mary gave John a drink John gave"


@pytest.fixture
def _all_are_long(monkeypatch):
    monkeypatch.setitem(attention_pass.WORK_AT_ONCE, "cpu", 0)
    # Each layer is told of.
    monkeypatch.setattr("mechwidgets.widgets.rpc.SECONDS_BETWEEN_PROGRESS", 0)


def shown(view):
    return {name: from_wire(getattr(view, name)) for name in ("thumbnails", "limits", "score_values")}


def at_once(monkeypatch, *args, **kwargs):
    """The same picture of a prompt that is not long."""
    with monkeypatch.context() as patched:
        patched.setitem(attention_pass.WORK_AT_ONCE, "cpu", 1e12)
        view = mw.AttentionView(*args, **kwargs)
    assert view.complete
    return view


@pytest.mark.usefixtures("_all_are_long")
@pytest.mark.parametrize("given", [{"attention_type": one} for one in ATTENTION_TYPES] + [{"compare": SWAPPED}])
def test_the_picture_is_there_before_its_heads_and_becomes_the_same(given, monkeypatch):
    model, passes = tiny_model(), []
    expected = at_once(monkeypatch, model, PROMPT, **given)
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *args, **kwargs: (passes.append(1), forward(*args, **kwargs))[1])
    view = mw.AttentionView(model, PROMPT, **given)
    assert passes == []
    assert not view.complete
    assert view.tokens == expected.tokens
    assert view.score_names == expected.score_names
    assert (shown(view)["thumbnails"].shape) == shown(expected)["thumbnails"].shape
    messages = ask_all(view, "thumbnails")
    assert [message["kind"] for message in messages] == ["mw-ack", *["mw-progress"] * 3, "mw-result"]
    assert passes == [1]
    assert view.complete
    for name, array in shown(view).items():
        np.testing.assert_allclose(array, shown(expected)[name], rtol=1e-5, atol=1e-6, err_msg=name)
    torch.testing.assert_close(view._data.log_probs, expected._data.log_probs)
    # what it knows is not computed again
    assert ask(view, "thumbnails")["kind"] == "mw-result"
    ask(view, "predict", interventions=[])
    ask(view, "patterns", heads=[[2, 1]])
    assert passes == [1]


@pytest.mark.usefixtures("_all_are_long")
@pytest.mark.parametrize("given", [{}, {"compare": SWAPPED}, {"attention_type": "pre-softmax"}])
def test_layers_are_told_as_they_come(given, monkeypatch):
    model = tiny_model()
    expected = shown(at_once(monkeypatch, model, PROMPT, **given))
    messages = ask_all(mw.AttentionView(model, PROMPT, **given), "thumbnails")[1:-1]
    drawn = np.zeros_like(expected["thumbnails"])
    for layer, message in enumerate(messages):
        value = message["value"]
        assert value["layers"] == layer + 1
        drawn[value["first"] : value["layers"]] = value["thumbnails"]
        assert np.isnan(value["score_values"][:, layer + 1 :]).all()
    np.testing.assert_allclose(drawn, expected["thumbnails"], atol=1)
    np.testing.assert_allclose(messages[-1]["value"]["limits"], expected["limits"], rtol=1e-5)
    np.testing.assert_allclose(messages[-1]["value"]["score_values"], expected["score_values"], rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("_all_are_long")
def test_only_the_heads_that_are_shown_are_kept_of_a_prompt_too_long_for_all(monkeypatch):
    model = tiny_model()
    triangle = 4 * 8 * 9 // 2
    monkeypatch.setattr("mechwidgets.widgets.attention.KEPT_HEAD_BYTES", 2 * triangle)
    view = mw.AttentionView(model, PROMPT, layer=1, head=2, heads=[(2, 0)])
    view.compute()
    reading = view._data
    monkeypatch.setattr(model, "forward", lambda *_, **__: pytest.fail("it was kept"))
    value = ask(view, "patterns", heads=[[1, 2], [2, 0]])["value"]
    monkeypatch.undo()
    assert reading.heads.get((0, 0)) is None
    cache = model.run_with_cache(PROMPT)[1]
    for found, (layer, head) in zip(value["patterns"], [(1, 2), (2, 0)], strict=True):
        expected = cache["pattern", layer][0, head].detach().numpy()[np.tril_indices(8)]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("_all_are_long")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompt": " ".join(["Mary"] * 65)}, "reads at most 64"),
        ({"prompt": ""}, "The prompt is empty"),
        ({"compare": "Mary went"}, "different numbers of tokens"),
        ({"attention_type": "values"}, "There is no attention_type 'values'"),
    ],
)
def test_what_cannot_run_is_refused_when_the_picture_is_made(given, message):
    with pytest.raises(ValueError, match=message):
        mw.AttentionView(tiny_model(), **{"prompt": PROMPT, **given})


@pytest.mark.usefixtures("_all_are_long")
def test_a_damaged_model_says_so_when_it_is_computed():
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    with torch.no_grad():
        model.hf_model.lm_head.weight[0] = float("nan")
    reply = ask(view, "thumbnails")
    assert reply["kind"] == "mw-error"
    assert "These weights hold NaN or infinity: lm_head.weight" in reply["message"]
    assert not view.complete
    with pytest.raises(ValueError, match="These weights hold NaN"):
        view.compute()


@pytest.mark.usefixtures("_all_are_long")
def test_it_can_be_stopped_and_asked_again(monkeypatch):
    model = tiny_model()
    expected = shown(at_once(monkeypatch, model, PROMPT))
    view = mw.AttentionView(model, PROMPT)
    read, seen = attention_pass.HeadMaps.read, []

    def read_and_be_stopped(maps, found):
        seen.append(found.layer)
        if seen == [0, 1]:
            for request in view._requests._running.values():
                request.cancel()
        return read(maps, found)

    monkeypatch.setattr(attention_pass.HeadMaps, "read", read_and_be_stopped)
    assert ask(view, "thumbnails")["kind"] == "mw-cancelled"
    assert (seen, view.complete) == ([0, 1], False)
    assert ask(view, "thumbnails")["kind"] == "mw-result"
    assert view.complete
    for name, array in shown(view).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("_all_are_long")
def test_a_closed_picture_stops_computing(monkeypatch):
    view = mw.AttentionView(tiny_model(), PROMPT)
    read, seen = attention_pass.HeadMaps.read, []

    def read_and_be_closed(maps, found):
        seen.append(found.layer)
        view.close()
        return read(maps, found)

    monkeypatch.setattr(attention_pass.HeadMaps, "read", read_and_be_closed)
    ask_all(view, "thumbnails")
    assert seen == [0]


@pytest.mark.usefixtures("_all_are_long")
def test_it_lets_others_have_the_model_between_layers(monkeypatch):
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    expected = model(PROMPT)
    read, order, others, same = attention_pass.HeadMaps.read, [], [], []

    def somebody():
        seen = [("blocks.2.hook_resid_post", lambda resid, hook: order.append("somebody"))]
        same.append(torch.equal(model.run_with_hooks(PROMPT, fwd_hooks=seen), expected))

    def read_while_somebody_waits(maps, found):
        order.append(found.layer)
        if found.layer == 0:
            others.append(threading.Thread(target=somebody))
            others[0].start()
            while not model._waiting:
                time.sleep(0.001)
        return read(maps, found)

    monkeypatch.setattr(attention_pass.HeadMaps, "read", read_while_somebody_waits)
    view.compute()
    others[0].join()
    assert order == [0, "somebody", 1, 2]
    assert same == [True]


@pytest.mark.usefixtures("_all_are_long")
def test_another_prompt_is_another_picture_that_is_still_to_be_computed():
    view = mw.AttentionView(tiny_model(), PROMPT)
    view.compute()
    view.prompt = "Mary went"
    assert not view.complete
    assert (from_wire(view.thumbnails) == 0).all()
    view.compute()
    assert from_wire(view.thumbnails).shape == (3, 4, 2, 2)
    assert (from_wire(view.thumbnails)[..., 0, 0] > 0).all()


@pytest.mark.usefixtures("_all_are_long")
def test_the_cells_own_hooks_do_not_reach_what_is_computed_later(monkeypatch):
    model = tiny_model()
    expected = shown(at_once(monkeypatch, model, PROMPT))["thumbnails"]
    with model.hooks([("resid_pre", lambda resid, hook: resid * 2)]):
        view = mw.AttentionView(model, PROMPT)
        view.compute()
    np.testing.assert_array_equal(shown(view)["thumbnails"], expected)


def test_a_short_prompt_is_computed_when_the_picture_is_made():
    view = mw.AttentionView(tiny_model(), PROMPT)
    assert view.complete
    assert (shown(view)["thumbnails"][:, :, -1] > 0).all()
