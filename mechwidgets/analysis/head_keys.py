"""The QK circuit of a head: which tokens of the vocabulary a query looks for.

Method: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from mechwidgets.analysis.head_streams import (
    TOKENS_TOGETHER,
    Check,
    check_head,
    layer_sites,
    token_ids,
    token_streams,
    unchecked,
    vocabulary_streams,
)
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import site_name
from mechwidgets.model.parts import NormPart
from mechwidgets.model.run import suspended

if TYPE_CHECKING:
    import xarray as xr

# How many tokens of the vocabulary are put through the model's own layer, to see what it does with keys and scores.
PROBES = 8
# How far from the model's own a key or a score may be, in parts of the largest.
ROUNDING = 1e-3
_KEY_NORM = re.compile(r"k_norm|k_layernorm|key_norm|key_layernorm|qk_norm")


@dataclass(frozen=True, eq=False)
class KeyScores:
    """How much a query looks for each token of the vocabulary.

    Attributes:
        scores: before the softmax and the mask, float32 [d_vocab]: a difference of 1 is a factor e in attention.
        rotated: whether the distance counts, since positions rotate queries and keys.
    """

    scores: np.ndarray
    rotated: bool


def qk_tokens(
    model: HookedModel, layer: int, head: int, token: str | int, *, distance: int = 0, stream: str = "embedding"
) -> xr.DataArray:
    """The QK circuit of a head for one query token: its scores before the softmax with every token of the vocabulary as the key.

    The query and the keys are what the model makes of streams that hold one token each: with the norm before attention and its scale, biases, norms of queries and
    keys, the family's scaling and soft cap. Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; they leave out norms.

    Args:
        model, layer, head: which head.
        token: the query, a text of one token or an id.
        distance: how many positions the key is before the query, where positions rotate them (RoPE); at 0 the rotations cancel, which leaves the content alone.
            Without rotation it changes nothing. Learned positions are in no stream, and a bias by distance (ALiBi) is left out: all keys at one distance have it.
        stream: what a token's stream holds: "embedding", or "effective" for the embedding and what MLP 0 writes of it (`head_streams.token_streams`).

    Returns:
        float32 [token_id].

    Raises:
        ValueError: a head, a stream or a token that there is not, or a family whose keys or scores are made in a way that is not known here.
    """
    import xarray as xr

    ids = torch.tensor(token_ids(model, token), device=model.device)
    query = token_streams(model, ids, layer, stream)[0]
    found = key_scores(model, layer, head, query, distance, stream)
    return xr.DataArray(
        found.scores,
        dims=("token_id",),
        coords={"token_id": np.arange(len(found.scores))},
        attrs={"layer": layer, "head": head, "query": model.token_texts(ids.tolist())[0], "distance": distance},
    )


@torch.no_grad()
def key_scores(
    model: HookedModel,
    layer: int,
    head: int,
    query: torch.Tensor,
    distance: int = 0,
    stream: str = "embedding",
    check: Check = unchecked,
) -> KeyScores:
    """As `qk_tokens`, for a query that is read from a residual stream [d_model] at the head's layer."""
    check_head(model, layer, head)
    if not 0 <= distance < model.cfg.n_ctx:
        raise ValueError(f"The distance is {distance}; expected 0 to {model.cfg.n_ctx - 1}, what this model can see.")
    rotated = site_name("rot_k", layer) in model.hook_dict
    streams = vocabulary_streams(model, layer, stream, check)
    some = torch.linspace(0, len(streams) - 1, PROBES, device=streams.device).long()
    pairs = torch.stack([streams[some], query.to(streams).expand(PROBES, -1)], dim=1)
    rotation = "rot_" if rotated else ""
    sites = layer_sites(model, layer, pairs, [f"{rotation}q", f"{rotation}k", "attn_scores"])
    if f"{rotation}k" not in sites:
        raise ValueError(f"{model.cfg.architecture} does not show the keys of layer {layer}.")
    shared = head // (model.cfg.n_heads // sites[f"{rotation}k"].shape[2])
    looking, probed = sites[f"{rotation}q"][0, 1, head].float(), sites[f"{rotation}k"][:, 0, shared].float()
    read = _key_reader(model, layer, shared, streams[some], probed)
    scored = _Scoring.of(model, probed @ looking, sites["attn_scores"][:, head, 1, 0].float())
    if rotated and distance != 1:
        looking = layer_sites(model, layer, pairs[:1, 1:], ["rot_q"], [distance])["rot_q"][0, 0, head].float()
    scores = torch.empty(len(streams))
    for first in range(0, len(streams), TOKENS_TOGETHER):
        check()
        several = slice(first, first + TOKENS_TOGETHER)
        scores[several] = scored(read(streams[several]) @ looking).cpu()
    return KeyScores(scores.numpy(), rotated)


@dataclass(frozen=True)
class _Scoring:
    """How a family scales and caps products of queries and keys."""

    scale: float
    cap: float | None

    def __call__(self, products: torch.Tensor) -> torch.Tensor:
        scaled = products * self.scale
        return scaled if self.cap is None else torch.tanh(scaled / self.cap) * self.cap

    @classmethod
    def of(cls, model: HookedModel, products: torch.Tensor, scores: torch.Tensor) -> _Scoring:
        """Read off what the model made of some products, which a bias by distance may have moved all alike."""
        cap = getattr(model.hf_model.config, "attn_logit_softcapping", None)
        products, scores = products.double(), scores.double()
        straight = scores if cap is None else torch.atanh((scores / cap).clamp(-1 + 1e-12, 1 - 1e-12)) * cap
        # A capped score near the cap has lost its digits.
        weight = torch.ones_like(scores) if cap is None else 1 - (scores / cap) ** 2
        design = torch.stack([products, torch.ones_like(products)], dim=1)
        scale, bias = torch.linalg.lstsq(design * weight[:, None], straight * weight).solution.tolist()
        found = cls(scale, cap)
        ours = found(products) + bias
        if not bool((ours - scores).abs().max() <= ROUNDING * scores.abs().max().clamp(min=1e-3)):
            raise ValueError(
                f"{model.cfg.architecture} makes its attention scores in a way that is not known here, so what a query looks for cannot be computed."
            )
        return found


Reader = Callable[[torch.Tensor], torch.Tensor]


def _key_reader(model: HookedModel, layer: int, head: int, streams: torch.Tensor, expected: torch.Tensor) -> Reader:
    """What makes keys [n, d_head] of streams [n, d_model] as the model does at position 0, where it made `expected` of some streams.

    Families put their keys through norms of their own, for each head or over all, before or behind the rotation, which does nothing at position 0.
    """
    for read in _key_readers(model, layer, head):
        try:
            ours = read(streams)
        except (RuntimeError, IndexError):
            # a norm over another number of features
            continue
        if ours.shape == expected.shape:
            # some families scale what they rotate (YaRN)
            factor = float((ours * expected).sum() / (ours * ours).sum())
            if torch.allclose(ours * factor, expected, atol=ROUNDING * float(expected.abs().max())):
                return _scaled(read, factor)
    raise ValueError(
        f"{model.cfg.architecture} makes its keys in a way that is not known here, so what a query looks for cannot be computed."
    )


def _scaled(read: Reader, factor: float) -> Reader:
    return read if abs(factor - 1) < 1e-5 else lambda streams: read(streams) * factor


def _key_readers(model: HookedModel, layer: int, head: int) -> Iterator[Reader]:
    """Ways in which families make the keys of one key-value head."""
    block, parts = model.blocks[layer], model.architecture.layers[layer]
    try:
        weight, bias = block.attn.W_K_kv, block.attn.b_K_kv
    except AttributeError as error:
        raise ValueError(str(error)) from error
    clip = getattr(model.hf_model.config, "clip_qkv", None)

    def project(streams: torch.Tensor, heads: slice = slice(None)) -> torch.Tensor:
        """Keys before any norm, [n, key_value_head, d_head]."""
        normed = streams if parts.ln1 is None else NormPart(model, f"blocks.{layer}.ln1.", parts.ln1)(streams)
        keys = torch.einsum("nm,hmd->nhd", normed.to(weight), weight[heads]) + bias[heads]
        return keys.clamp(-clip, clip) if clip else keys

    own = slice(head, head + 1)
    yield lambda streams: project(streams, own)[:, 0].float()
    for name, norm in () if parts.attention is None else parts.attention.named_modules():
        if _KEY_NORM.fullmatch(name.rpartition(".")[2]):
            yield _normed(norm, lambda streams: project(streams, own), lambda keys: keys[:, 0])
            yield _normed(norm, project, lambda keys: keys[:, head])
            # over all heads together
            yield _normed(
                norm,
                lambda streams: project(streams).flatten(1),
                lambda keys: keys.view(len(keys), *bias.shape)[:, head],
            )
            yield _normed(norm, lambda streams: project(streams)[:, :, None], lambda keys: keys[:, head, 0])


def _normed(norm: nn.Module, project: Reader, own: Reader) -> Reader:
    def read(streams: torch.Tensor) -> torch.Tensor:
        with suspended():
            return own(norm(project(streams))).float()

    return read
