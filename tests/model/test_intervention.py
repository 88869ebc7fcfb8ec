from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mechwidgets as mw
from mechwidgets.model.intervention import EDITABLE_SITES, Intervention
from tests.models import FAMILIES, tiny_model

TOKENS = torch.tensor([[5, 9, 3, 9, 30, 7, 12]])


@st.composite
def interventions(draw):
    op = draw(st.sampled_from(["zero", "patch", "add"]))
    site = draw(st.sampled_from(EDITABLE_SITES))
    value = st.floats(-1e6, 1e6) | st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=4)
    return Intervention(
        site,
        layer=draw(st.integers(0, 99)),
        head=draw(st.none() | st.integers(0, 99)) if site == "z" else None,
        position=draw(st.none() | st.integers(-99, 99)),
        op=op,
        value=None if op == "zero" else draw(value),
    )


@given(interventions())
def test_it_prints_as_code_and_travels_as_json(intervention):
    assert eval(repr(intervention)) == intervention
    assert Intervention.from_json(json.loads(json.dumps(intervention.to_json()))) == intervention


def test_a_tensor_value_prints_and_travels_too():
    intervention = Intervention("z", 0, head=1, op="patch", value=torch.tensor([1.0, 2.0]))
    assert intervention.to_json()["value"] == [1.0, 2.0]
    assert eval(repr(intervention)).value == [1.0, 2.0]


@pytest.mark.parametrize("site", EDITABLE_SITES)
@pytest.mark.parametrize("family", FAMILIES)
def test_each_op_at_each_site_equals_a_hook_written_by_hand(family, site):
    model = tiny_model(family)
    name = f"blocks.1.{'attn.' if site == 'z' else ''}hook_{site}"
    value = torch.randn(model.run_with_cache(TOKENS)[1][name].shape[-1])
    by_hand = {
        Intervention(site, 1): lambda tensor, hook: tensor * 0,
        Intervention(site, 1, op="patch", value=value): lambda tensor, hook: value.expand_as(tensor),
        Intervention(site, 1, op="add", value=value): lambda tensor, hook: tensor + value,
    }
    before = model(TOKENS)
    for intervention, hook in by_hand.items():
        expected = model.run_with_hooks(TOKENS, fwd_hooks=[(name, hook)])
        with model.intervene(intervention):
            assert torch.equal(model(TOKENS), expected)
        assert not torch.allclose(expected, before)
    assert torch.equal(model(TOKENS), before)


def test_position_and_head_limit_it():
    model = tiny_model()
    kept = {}
    with (
        model.intervene(Intervention("z", 1, head=2, position=-2)),
        model.hooks([("blocks.1.attn.hook_z", lambda z, hook: kept.update(z=z.clone()))]),
    ):
        model(TOKENS)
    _, cache = model.run_with_cache(TOKENS)
    changed = (kept["z"] != cache["z", 1]).any(-1)[0]
    assert changed.nonzero().tolist() == [[5, 2]]


def test_something_else_than_an_intervention_is_explained():
    with pytest.raises(TypeError, match=r"such as mw\.ablate\(head=\(4, 7\)\), got \(0, 1\)"):
        tiny_model().intervene((0, 1))


def test_later_interventions_see_earlier_ones():
    model = tiny_model()
    with model.intervene(Intervention("z", 1, op="patch", value=3.0), Intervention("z", 1, op="add", value=1.0)):
        _, cache = model.run_with_cache(TOKENS)
    assert (cache["z", 1] == 4).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Intervention("zz", 0), "Unknown site 'zz'.*Did you mean 'z'"),
        (lambda: Intervention("mlp_out", 0, head=1), "Heads can be told apart at z only"),
        (lambda: Intervention("z", 0, op="double"), "Unknown op 'double'"),
        (lambda: Intervention("z", 0, op="patch"), "op='patch' needs a value"),
        (lambda: Intervention("z", 0, value=1.0), "op='zero' takes no value"),
        (lambda: Intervention.from_json([]), "An intervention is an object"),
        (lambda: Intervention.from_json({"site": "z"}), "An intervention is an object"),
        (lambda: Intervention.from_json({"site": "z", "layer": 0, "run": "this"}), "An intervention is an object"),
        (lambda: Intervention.from_json({"site": "z", "layer": "0"}), "layer of an intervention is a whole number"),
        (lambda: Intervention.from_json({"site": "z", "layer": True}), "layer of an intervention is a whole number"),
        (lambda: Intervention.from_json({"site": ["z"], "layer": 0}), "site and op of an intervention are strings"),
    ],
)
def test_nonsense_is_refused_when_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("intervention", "message"),
    [
        (mw.ablate(head=(3, 0)), r"Layer 3 is out of range: there are 3, 0 to 2"),
        (mw.ablate(head=(-1, 0)), r"Layer -1 is out of range"),
        (mw.ablate(head=(0, 4)), r"Head 4 is out of range: there are 4, 0 to 3"),
        (mw.ablate(head=(0, 0), position=7), r"Position 7 is out of range: there are 7, 0 to 6"),
        (
            Intervention("z", 0, op="patch", value=[1.0, 2.0]),
            r"has shape \[2\]; blocks\.0\.attn\.hook_z needs one that broadcasts to \[1, 7, 4, 8\]",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_refused(intervention, message):
    model = tiny_model()
    before = model(TOKENS)
    with pytest.raises(ValueError, match=message), model.intervene(intervention):
        model(TOKENS)
    assert torch.equal(model(TOKENS), before)
