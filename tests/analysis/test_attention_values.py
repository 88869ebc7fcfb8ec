"""What is drawn of attention, held against a plain transformers run and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis.attention_values import ATTENTION_TYPES, LayerAttention, read_attention
from tests.models import FAMILIES, TOKENS, patterns_alive, tiny_hf_model, tiny_model


def read(model, attention_type, layers=None):
    """Everything at once, by layer."""
    found = {}
    logits = read_attention(model, TOKENS, attention_type, lambda one: found.update({one.layer: one}), layers)
    return found, logits


@pytest.mark.parametrize("family", FAMILIES)
def test_patterns_are_those_of_a_plain_transformers_run(family):
    hf_model = tiny_hf_model(family)
    with torch.no_grad():
        plain = hf_model(TOKENS, output_attentions=True)
    found, logits = read(mw.HookedModel(hf_model, None), "standard")
    for layer, expected in enumerate(plain.attentions):
        torch.testing.assert_close(found[layer].values, expected, rtol=0, atol=0)
        assert found[layer].norms is None
    # the unembedding of one position rounds otherwise than that of all
    torch.testing.assert_close(logits, plain.logits[:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_softmax_of_the_scores_is_the_pattern(family):
    hf_model = tiny_hf_model(family)
    with torch.no_grad():
        plain = hf_model(TOKENS, output_attentions=True)
    found, _ = read(mw.HookedModel(hf_model, None), "pre-softmax")
    for layer, expected in enumerate(plain.attentions):
        scores = found[layer].values
        torch.testing.assert_close(scores.nan_to_num(-torch.inf).softmax(-1), expected)
        # the mask, and nothing else, has no value
        assert torch.equal(scores.isnan(), expected == 0)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("attention_type", ["value-weighted", "info-weighted"])
def test_weights_are_norms_of_what_the_cache_holds(family, attention_type):
    model = mw.HookedModel(tiny_hf_model(family), None)
    _, cache = model.run_with_cache(TOKENS)
    found, _ = read(model, attention_type)
    for layer in range(model.cfg.n_layers):
        pattern, values = (cache[site, layer].detach().numpy() for site in ("pattern", "v"))
        values = np.repeat(values, pattern.shape[1] // values.shape[2], axis=2)
        if attention_type == "info-weighted":
            values = np.einsum("bphd,hdm->bphm", values, model.W_O[layer].detach().numpy())
        norms = np.linalg.norm(values, axis=-1).transpose(0, 2, 1)
        np.testing.assert_allclose(found[layer].norms.numpy(), norms, rtol=1e-5)
        np.testing.assert_allclose(found[layer].values.numpy(), pattern * norms[:, :, None], rtol=1e-5)


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_some_layers_are_read_without_running_the_rest(attention_type):
    model = tiny_model(num_hidden_layers=4)
    every, _ = read(model, attention_type)
    ran = []
    hooks = [(f"blocks.{layer}.hook_resid_pre", lambda resid, hook: ran.append(hook.layer())) for layer in range(4)]
    with model.hooks(hooks):
        some, logits = read(model, attention_type, [2, 0])
    assert logits is None
    assert ran == [0, 1, 2]
    assert sorted(some) == [0, 2]
    for layer in some:
        torch.testing.assert_close(some[layer].values, every[layer].values, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_one_pass_and_no_more_than_a_layer_is_held(attention_type, monkeypatch):
    model, held, passes = tiny_model(num_hidden_layers=6), [], []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *args, **kwargs: (passes.append(1), forward(*args, **kwargs))[1])
    tokens = torch.arange(37)[None]
    read_attention(model, tokens, attention_type, lambda _: held.append(len(patterns_alive(n_pos=37))))
    assert passes == [1]
    assert len(held) == 6
    # this layer's pattern and scores, the copies that hooks get, what is made of them
    assert max(held) <= 5
    assert max(held) == held[-1]


def read_in_blocks(model, attention_type, queries):
    """Whole layers, put together from what is read a few queries at a time; and the sizes of what was read."""
    whole, sizes = {}, []

    def take(found):
        size = [*found.pattern.shape[:2], found.n_pos, found.n_pos]
        empty = LayerAttention(found.layer, found.n_pos, 0, torch.zeros(size), torch.zeros(size), found.norms)
        into = whole.setdefault(found.layer, empty)
        rows = slice(found.first, found.last)
        into.pattern[:, :, rows, : found.pattern.shape[3]] = found.pattern
        into.values[:, :, rows, : found.values.shape[3]] = found.values
        sizes.append(found.pattern.shape[2])
        assert found.ends_layer == (found.last == found.n_pos)

    logits = read_attention(model, TOKENS, attention_type, take, queries=queries)
    return whole, logits, sizes


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_of_queries_are_the_whole_layer(family):
    model = mw.HookedModel(tiny_hf_model(family), None)
    for attention_type in ATTENTION_TYPES:
        expected, logits = read(model, attention_type)
        found, logits_of_blocks, sizes = read_in_blocks(model, attention_type, 3)
        torch.testing.assert_close(logits_of_blocks, logits, rtol=1e-4, atol=1e-5)
        own_code = model.hf_model.config._attn_implementation != "mechwidgets"
        assert sizes == ([7] if own_code else [3, 3, 1]) * model.cfg.n_layers
        for layer, whole in expected.items():
            torch.testing.assert_close(found[layer].pattern, whole.pattern, rtol=1e-4, atol=1e-6)
            values, other = whole.values.nan_to_num(0), found[layer].values.nan_to_num(0)
            torch.testing.assert_close(other, values, rtol=1e-4, atol=1e-5)
            if whole.norms is not None:
                torch.testing.assert_close(found[layer].norms, whole.norms, rtol=1e-4, atol=1e-6)


def test_a_hook_gets_whole_patterns_also_where_blocks_are_asked_for():
    model, seen = tiny_model(), []

    def zero_a_head(pattern, hook):
        seen.append(pattern.shape)
        pattern[:, 1] = 0

    model.add_hook("blocks.1.attn.hook_pattern", zero_a_head)
    found, _, sizes = read_in_blocks(model, "standard", 3)
    assert seen == [(2, 4, 7, 7)]
    assert sizes == [7, 7, 7]
    assert (found[1].values[:, 1] == 0).all()
    assert (found[1].values[:, 0] != 0).any()


def test_no_more_than_a_block_is_held_and_nothing_is_left_behind():
    model, held = tiny_model(num_hidden_layers=4), []

    def take(found):
        held.append(found.pattern.shape[2])
        assert not patterns_alive(n_pos=37)

    tokens = torch.arange(37)[None]
    read_attention(model, tokens, "standard", take, queries=8)
    assert held == [8, 8, 8, 8, 5] * 4
    plain = model.run_with_cache(tokens)[1]["pattern", 0]
    assert plain.shape == (1, 4, 37, 37)


def test_a_hook_that_runs_the_model_runs_it_whole():
    model, seen = tiny_model(), []
    inner = mw.HookedModel(tiny_hf_model(), None)
    model.add_hook(
        "blocks.1.hook_resid_pre",
        lambda resid, hook: seen.append(inner.run_with_cache(TOKENS)[1]["pattern", 0].shape),
    )
    read_in_blocks(model, "standard", 3)
    assert seen == [(2, 4, 7, 7)]


def test_half_precision_is_read_as_it_is():
    model = mw.HookedModel(tiny_hf_model(dtype=torch.bfloat16), None)
    for attention_type in ATTENTION_TYPES:
        found, _ = read(model, attention_type)
        lower = torch.ones(7, 7).tril().bool()
        assert found[0].values[..., lower].isfinite().all()
        assert found[0].values[..., ~lower].nan_to_num(0).eq(0).all()


def test_a_type_that_there_is_not_is_explained():
    with pytest.raises(
        ValueError, match=r"There is no attention_type 'values'\. It is one of standard, value-weighted"
    ):
        read(tiny_model(), "values")
