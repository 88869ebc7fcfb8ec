"""Composition: how much of what earlier heads write a head reads, from the weights alone.

Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mechwidgets.analysis.head_streams import Check, check_head, unchecked
from mechwidgets.model.factored_matrix import FactoredMatrix, composition_scores
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.norms import Held

if TYPE_CHECKING:
    import xarray as xr

KINDS = ("Q", "K", "V")


def head_composition(model: HookedModel, layer: int, head: int) -> xr.DataArray:
    """How much of what each head of the layers before writes a head reads as its query (Q), key (K) and value (V).

    `||OV @ right|| / (||OV|| ||right||)` in Frobenius norms, 0 to 1: OV of the earlier head, and QK, its transpose or OV of this one. The gains of the norms
    that they read through, and of one behind attention, are in the matrices, and where those norms centre, what centring removes is not; so for families that
    TransformerLens folds (`fold_ln`), these are its numbers. Scales, rotations and biases are in none of them, and the MLPs between the heads are passed by. Heads
    that share keys or values share what they read as such.

    Returns:
        float32 [kind, layer, head]; NaN in layers without attention. `attrs["baseline"]`: the root mean square that a random rotation between the two would
        give, `1 / sqrt(d_model)` (of d_model - 1 where norms centre); subtract it to see what is more than chance.

    Raises:
        ValueError: a head that there is not.
        AttributeError: a family without query, key or value matrices of its own.
    """
    import xarray as xr

    found = compositions(model, layer, head)
    return xr.DataArray(
        found,
        dims=("kind", "layer", "head"),
        coords={"kind": list(KINDS)},
        attrs={"baseline": baseline(model, layer), "reads": f"L{layer}H{head}"},
    )


@torch.no_grad()
def compositions(model: HookedModel, layer: int, head: int, check: Check = unchecked) -> np.ndarray:
    """As `head_composition`, a plain array."""
    check_head(model, layer, head)
    block = model.blocks[layer]
    query, key = (_read(model, layer, getattr(block.attn, name)[head]) for name in ("W_Q", "W_K"))
    looks = FactoredMatrix(query, key.mT)
    centred = _is_centred(model, layer)
    moves = _ov(model, layer, centred)[head]
    # Q, K and V in one product: the factors are of one size
    right = FactoredMatrix(torch.stack([looks.A, looks.T.A, moves.A]), torch.stack([looks.B, looks.T.B, moves.B]))
    found = np.full((len(KINDS), layer, model.cfg.n_heads), np.nan, np.float32)
    for earlier in range(layer):
        check()
        if model.architecture.layers[earlier].v is None:
            continue
        found[:, earlier] = composition_scores(right.T, _ov(model, earlier, centred).T).cpu().numpy()
    return found


def baseline(model: HookedModel, layer: int) -> float:
    """What a random rotation between two heads gives in the root mean square."""
    return float((model.cfg.d_model - _is_centred(model, layer)) ** -0.5)


def _ov(model: HookedModel, layer: int, centred: bool) -> FactoredMatrix:
    """W_V W_O of all heads of a layer, [head, d_model, d_model], as a norm that centres (or does not) can see it."""
    block = model.blocks[layer]
    written, post = block.attn.W_O.float(), getattr(block, "ln1_post", None)
    if post is not None:
        written = Held(post.w.float(), centred=post.norm.centred)(written)
    if centred:
        written = written - written.mean(-1, keepdim=True)
    return FactoredMatrix(_read(model, layer, block.attn.W_V), written)


def _read(model: HookedModel, layer: int, weight: torch.Tensor) -> torch.Tensor:
    """A matrix [..., d_model, d_head] that reads the stream, with the gain of the norm in front of it, and without what that centres away."""
    norm = getattr(model.blocks[layer], "ln1", None)
    if norm is None:
        return weight.float()
    read: torch.Tensor = norm.w.float()[:, None] * weight.float()
    return read - read.mean(-2, keepdim=True) if norm.norm.centred else read


def _is_centred(model: HookedModel, layer: int) -> bool:
    norm = getattr(model.blocks[layer], "ln1", None)
    return norm is not None and norm.norm.centred
