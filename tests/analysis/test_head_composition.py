"""Composition of heads against plain products of whole matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.model.factored_matrix import FactoredMatrix, composition_scores
from tests.lively import lively_model


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def centring(model, norm):
    d_model = model.cfg.d_model
    away = torch.eye(d_model).double()
    return away - 1 / d_model if norm is not None and norm.norm.centred else away


def reading(model, layer, weight):
    norm = getattr(model.blocks[layer], "ln1", None)
    if norm is None:
        return weight.double()
    return centring(model, norm) @ torch.diag(norm.w.double()) @ weight.double()


def whole(model, layer, head, seen_by):
    """OV of a head [d_model, d_model], as far as the norm of `seen_by` can see it."""
    block = model.blocks[layer]
    written = block.attn.W_O[head].double()
    if hasattr(block, "ln1_post"):
        written = written @ centring(model, block.ln1_post) @ torch.diag(block.ln1_post.w.double())
    return reading(model, layer, block.attn.W_V[head]) @ written @ centring(model, getattr(seen_by, "ln1", None))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2", "gpt_bigcode", "olmo2"])
def test_scores_are_those_of_whole_matrices(family):
    model, layer, head = lively_model(family), 2, 3
    found = mw.head_composition(model, layer, head)
    assert found.dims == ("kind", "layer", "head")
    assert found.shape == (3, 2, 4)
    block = model.blocks[layer]
    query, key = (reading(model, layer, weight[head]) for weight in (block.attn.W_Q, block.attn.W_K))
    rights = {"Q": query @ key.T, "K": key @ query.T, "V": whole(model, layer, head, block)}
    for kind, right in rights.items():
        for earlier in range(2):
            for other in range(4):
                left = whole(model, earlier, other, block)
                expected = torch.linalg.norm(left @ right) / (torch.linalg.norm(left) * torch.linalg.norm(right))
                assert float(found.sel(kind=kind)[earlier, other]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_baseline_is_what_random_heads_give(family):
    model = lively_model(family)
    d_model, d_head = model.cfg.d_model, 4
    torch.manual_seed(0)
    # as PyTorch initialises linear layers
    factors = [torch.empty(400, d_model, d_head).uniform_(-1, 1) for _ in range(4)]
    if model.blocks[0].ln1.norm.centred:
        factors = [factor - factor.mean(1, keepdim=True) for factor in factors]
    left, right = FactoredMatrix(factors[0], factors[1].mT), FactoredMatrix(factors[2], factors[3].mT)
    scores = composition_scores(left, right, broadcast_dims=False)
    baseline = mw.head_composition(model, 1, 0).attrs["baseline"]
    assert float(scores.square().mean().sqrt()) == pytest.approx(baseline, rel=0.02)
    # it is exact for a random rotation between two given matrices
    rotations = torch.linalg.qr(torch.randn(2000, d_model, d_model))[0]
    given = [FactoredMatrix(model.blocks[0].attn.W_V[0], model.blocks[0].attn.W_O[0]).AB for _ in range(2)]
    ratios = torch.linalg.norm(given[0] @ rotations @ given[1], dim=(1, 2)) / torch.linalg.norm(given[0]) ** 2
    assert float(ratios.square().mean().sqrt()) == pytest.approx(d_model**-0.5, rel=0.02)


def test_a_head_that_reads_what_one_writes_stands_out():
    model = lively_model("llama")
    first, second = (model.hf_model.model.layers[layer].self_attn for layer in (0, 2))
    with torch.no_grad():
        model.hf_model.model.layers[2].input_layernorm.weight.fill_(1)
        # query head 3 reads just what head 1 of layer 0 writes
        second.q_proj.weight[24:32] = first.o_proj.weight[:, 8:16].T
    found = mw.head_composition(model, 2, 3)
    queries = found.sel(kind="Q")
    assert np.unravel_index(int(queries.values.argmax()), queries.shape) == (0, 1)
    assert float(queries.max()) > 1.5 * float(queries.isel(layer=1).max())
    assert float(queries.max()) > 1.5 * float(found.sel(kind="V").max())


def test_the_first_layer_composes_with_nothing_and_layers_without_heads_have_no_value():
    assert mw.head_composition(lively_model("llama"), 0, 0).shape == (3, 0, 4)
    found = mw.head_composition(lively_model("lfm2"), 2, 1)
    assert found.isel(layer=0).isnull().all()
    assert not found.isel(layer=1).isnull().any()


def test_heads_that_have_no_matrices_are_an_error():
    with pytest.raises(AttributeError, match="has no matrix of its own for"):
        mw.head_composition(lively_model("deepseek_v3"), 1, 0)
    with pytest.raises(ValueError, match="has no pattern, so no attention heads to look into"):
        mw.head_composition(lively_model("lfm2"), 0, 0)
