from __future__ import annotations

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis import prediction
from mechwidgets.analysis.prediction import prediction_change, prediction_changes
from tests.models import FAMILIES, tiny_model

PROMPT = "When Mary gave John a drink"


def test_it_compares_two_plain_runs():
    model = tiny_model()
    change = prediction_change(model, PROMPT, [mw.ablate(head=(1, 2))], k=4)
    before = model(PROMPT)[0, -1].softmax(-1)
    after = model.run_with_hooks(
        PROMPT, fwd_hooks=[("blocks.1.attn.hook_z", lambda z, hook: z * (torch.arange(4) != 2)[:, None])]
    )[0, -1].softmax(-1)
    assert set(change.token_ids) == set(before.topk(4).indices.tolist()) | set(after.topk(4).indices.tolist())
    np.testing.assert_allclose(change.before, before[change.token_ids].detach(), rtol=1e-5)
    np.testing.assert_allclose(change.after, after[change.token_ids].detach(), rtol=1e-5)
    assert change.kl == pytest.approx((before * (before / after).log()).sum().item(), rel=1e-4)
    assert change.kl > 0
    assert list(change.before) == sorted(change.before, reverse=True)
    assert change.tokens == model.token_texts(change.token_ids)


def test_no_intervention_changes_nothing():
    change = prediction_change(tiny_model(), PROMPT, [])
    np.testing.assert_array_equal(change.before, change.after)
    assert change.kl == 0


def test_the_model_is_untouched_afterwards():
    model = tiny_model()
    before = model(PROMPT)
    prediction_change(model, PROMPT, [mw.ablate(head=(0, 0)), mw.ablate(head=(2, 3))])
    assert torch.equal(model(PROMPT), before)


@pytest.mark.parametrize("interventions", [[], [mw.ablate(head=(1, 2))]])
def test_a_batch_is_refused(interventions):
    with pytest.raises(ValueError, match=r"The next token is read from one prompt, got 2\."):
        prediction_change(tiny_model(), ["Mary gave", "John gave"], interventions)


# Nothing; heads, alone and together; whole layers; at some positions; in no layer; what needs other positions, or another run.
CHANGES = [
    [],
    [mw.ablate(head=(1, 2))],
    [mw.ablate(head=(0, 0)), mw.ablate(head=(2, 3))],
    [mw.Intervention("attn_out", 1, position=-1)],
    [mw.Intervention("mlp_out", 2, position=(0, 3)), mw.Intervention("resid_pre", 1, op="scale", value=2.0)],
    [mw.Intervention("z", 0, head=1, op="mean")],
    [mw.Intervention("embed", position=1, op="scale", value=0.5)],
    [mw.ablate(head=(0, 1)), mw.Intervention("mlp_out", 1, op="freeze")],
]


def one_by_one(model, changes, prompt=PROMPT, **options):
    return [prediction_change(model, prompt, change, **options) for change in changes]


def all_at_once(model, changes, prompt=PROMPT, **options):
    found = {}
    for indices, several in prediction_changes(model, prompt, changes, **options):
        assert not found.keys() & set(indices)
        found.update(zip(indices, several, strict=True))
    return [found[index] for index in range(len(changes))]


def assert_alike(found, expected, rtol=1e-4):
    for one, other in zip(found, expected, strict=True):
        assert (one.token_ids, one.tokens) == (other.token_ids, other.tokens)
        np.testing.assert_allclose(one.before, other.before, rtol=rtol, atol=1e-6)
        np.testing.assert_allclose(one.after, other.after, rtol=rtol, atol=1e-6)
        assert one.kl == pytest.approx(other.kl, rel=rtol, abs=1e-5)


@pytest.mark.parametrize("family", [*FAMILIES, "bloom", "qwen3_moe"])
def test_many_changes_at_once_are_what_each_is_alone(family):
    model = tiny_model(family)
    changes = [change for change in CHANGES if all(one.name in model.hook_dict for one in change)]
    assert len(changes) > 5
    assert_alike(all_at_once(model, changes), one_by_one(model, changes))


@pytest.mark.parametrize("position", [0, 2, -1])
def test_many_changes_are_read_behind_any_token(position):
    model = tiny_model()
    options = {"position": position, "k": 3, "prepend_bos": True}
    assert_alike(all_at_once(model, CHANGES, **options), one_by_one(model, CHANGES, **options))


def test_many_changes_of_a_model_with_hooks_are_those_of_that_model():
    model = tiny_model()
    model.add_hook("blocks.0.hook_resid_pre", lambda resid, hook: resid * 1.5)
    assert_alike(all_at_once(model, CHANGES), one_by_one(model, CHANGES))
    with model.intervene(mw.ablate(head=(1, 0))):
        assert_alike(all_at_once(model, CHANGES), one_by_one(model, CHANGES))


def test_where_there_is_no_room_for_several_they_are_run_one_by_one(monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(prediction, "Replay", lambda *_, **__: pytest.fail("several were run together"))
    assert_alike(all_at_once(model, CHANGES, max_memory=10), one_by_one(model, CHANGES))


def test_many_changes_can_be_left_off_and_the_model_is_untouched():
    model = tiny_model()
    before = model(PROMPT)
    several = prediction_changes(model, PROMPT, CHANGES)
    assert next(several)[0]
    several.close()
    assert torch.equal(model(PROMPT), before)


def test_what_one_change_is_refused_for_many_are_too():
    model = tiny_model()
    with pytest.raises(ValueError, match="Layer 7 is out of range"):
        list(prediction_changes(model, PROMPT, [[], [mw.ablate(head=(7, 0))]]))
    with pytest.raises(ValueError, match=r"one prompt, got 2\."):
        list(prediction_changes(model, ["Mary gave", "John gave"], CHANGES))
    assert list(prediction_changes(model, PROMPT, [])) == []


@pytest.mark.smollm2
def test_heads_of_the_default_model_are_switched_off_together(smollm2):
    prompt = "When Mary and John went to the store, John gave a drink to"
    changes = [[mw.ablate(head=(layer, 5))] for layer in (0, 1, 14, 28, 29)]
    found, expected = all_at_once(smollm2, changes, prompt), one_by_one(smollm2, changes, prompt)
    for one, other in zip(found, expected, strict=True):
        # of tokens that are moved all but alike, rounding says which are the last that are shown
        assert len(set(one.token_ids) ^ set(other.token_ids)) <= 2
    shared = [set(one.token_ids) & set(other.token_ids) for one, other in zip(found, expected, strict=True)]
    for values in ("before", "after"):
        for one, other, ids in zip(found, expected, shared, strict=True):
            first = [getattr(one, values)[one.token_ids.index(token)] for token in ids]
            second = [getattr(other, values)[other.token_ids.index(token)] for token in ids]
            np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5)
    assert [one.kl for one in found] == pytest.approx([one.kl for one in expected], rel=1e-3, abs=1e-5)
