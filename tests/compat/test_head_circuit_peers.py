"""Circuits of heads against TransformerLens, with its own weights of the same model."""

from __future__ import annotations

import pytest
import torch

import mechwidgets as mw
from tests.compat.course import THEIRS
from tests.compat.prompts import save_tiny
from tests.compat.test_transformer_lens_peers import both

pytest.importorskip(THEIRS, reason="compares with TransformerLens, which is not installed")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

FAMILIES = ["gpt2", "llama", "gpt_neox", "mistral"]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_copying_and_composition_are_transformer_lens_numbers(family, tmp_path, monkeypatch):
    folder = tmp_path
    save_tiny(family, folder)
    peer = both(folder, monkeypatch, center_unembed=False).peer
    model = mw.HookedModel.from_pretrained(str(folder))
    for layer, head in ((0, 1), (1, 2)):
        eigenvalues = (peer.W_E @ peer.OV[layer, head] @ peer.W_U).eigenvalues
        expected = float(eigenvalues.real.sum() / eigenvalues.abs().sum())
        assert mw.copying_score(model, layer, head) == pytest.approx(expected, abs=1e-3)
    for kind in "QKV":
        expected = peer.all_composition_scores(kind)
        last = peer.cfg.n_layers - 1
        for head in range(peer.cfg.n_heads):
            found = torch.from_numpy(mw.head_composition(model, last, head).sel(kind=kind).values)
            torch.testing.assert_close(found, expected[:last, :, last, head], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_what_a_head_writes_is_transformer_lens_circuit_at_the_scale_of_each_token(family, tmp_path, monkeypatch):
    folder = tmp_path
    save_tiny(family, folder)
    peer = both(folder, monkeypatch, center_unembed=False).peer
    model = mw.HookedModel.from_pretrained(str(folder))
    circuit = (peer.W_E @ peer.OV[1, 2] @ peer.W_U).AB
    scales = model.blocks[1].ln1.norm.scale(model.W_E)
    tokens = [3, 5, 8]
    found = mw.ov_tokens(model, 1, 2, tokens, k=3)
    expected = (circuit / scales)[tokens]
    torch.testing.assert_close(
        torch.from_numpy(found["up_value"].values), expected.topk(3).values, rtol=1e-3, atol=1e-4
    )
    assert [list(row) for row in found["up"].values] == [
        model.token_texts(row) for row in expected.topk(3).indices.tolist()
    ]
