"""The OV circuit of a head: what it writes towards when it attends to a token, and how much of that is a copy.

Method: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits". The query-key side is in `head_keys.py`, composition in `head_composition.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

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
from mechwidgets.model.norms import Held
from mechwidgets.model.parts import NormPart

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class Scales:
    """At what scale the norms between a head and the logits are held; 1 where that is not known, so that only values of one head compare.

    Attributes:
        post: of the norm behind attention, which some families have.
        final: of the final norm.
    """

    post: float = 1.0
    final: float = 1.0


@dataclass(frozen=True, eq=False)
class TokenWrites:
    """The tokens that a head writes towards (up) and away from (down) when it attends to each of n tokens, the largest change first.

    Attributes:
        up, down: token ids, int [n, k].
        up_values, down_values: what it adds to their logits, float32 [n, k].
        own_values: what it adds to the logit of the token that it attends to, float32 [n].
        own_ranks: how many tokens it raises more than that one, int [n]; 0 for a copy.
    """

    up: np.ndarray
    up_values: np.ndarray
    down: np.ndarray
    down_values: np.ndarray
    own_values: np.ndarray
    own_ranks: np.ndarray


def ov_tokens(
    model: HookedModel,
    layer: int,
    head: int,
    tokens: str | int | Iterable[str | int],
    *,
    stream: str = "embedding",
    k: int = 10,
) -> xr.Dataset:
    """The OV circuit of a head on tokens: which logits it raises and lowers most when it attends to each of them alone.

    Of a token whose stream at the head's layer is x, that is `norm(x) W_V W_O W_U`: the norm with its scale on x, W_V and W_O with what a family does besides
    (computed by the model's own layer), the gain of the final norm without its scale. What biases (of the values, of the norm) make it write whatever it attends to is
    left out. Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; they leave out norms altogether.

    Args:
        model, layer, head: which head.
        tokens: texts of one token each, or ids.
        stream: what x is: "embedding", or "effective" for the embedding and what MLP 0 writes of it (`head_streams.token_streams`).
        k: how many tokens to name at each end.

    Returns:
        A dataset [token, rank] of `up`, `down` (texts), `up_value` and `down_value` (float32, logits times the scale of the final norm, the same for all), and
        [token] of `own_value` and `own_rank`, the attended token's own: 0 for a copy.

    Raises:
        ValueError: a head, a stream or a token that there is not, or a family that gates what heads write by what the query reads.
    """
    import xarray as xr

    ids = token_ids(model, tokens)
    given = torch.tensor(ids, device=model.device)
    found = writes_of(model, layer, head, token_streams(model, given, layer, stream), ids, k)
    texts = [np.array(model.token_texts(one.flatten().tolist())).reshape(one.shape) for one in (found.up, found.down)]
    values = {"up_value": found.up_values, "down_value": found.down_values, "up": texts[0], "down": texts[1]}
    return xr.Dataset(
        {name: (("token", "rank"), value) for name, value in values.items()}
        | {"own_value": ("token", found.own_values), "own_rank": ("token", found.own_ranks)},
        coords={"token": model.token_texts(ids)},
        attrs={"layer": layer, "head": head, "stream": stream},
    )


@torch.no_grad()
def writes_of(
    model: HookedModel,
    layer: int,
    head: int,
    streams: torch.Tensor,
    ids: list[int],
    k: int = 10,
    scales: Scales | None = None,
) -> TokenWrites:
    """As `ov_tokens`, of residual streams [n, d_model] at the head's layer, of tokens with these ids."""
    logits = head_logits(model, layer, head_values(model, layer, head, streams)[0], head, scales or Scales())
    k = min(k, logits.shape[1])
    up, down = logits.topk(k), logits.topk(k, largest=False)
    own = logits.gather(1, torch.tensor(ids, device=logits.device)[:, None])
    return TokenWrites(
        up.indices.cpu().numpy(),
        up.values.cpu().numpy(),
        down.indices.cpu().numpy(),
        down.values.cpu().numpy(),
        own[:, 0].cpu().numpy(),
        (logits > own).sum(1).cpu().numpy(),
    )


def head_logits(model: HookedModel, layer: int, values: torch.Tensor, head: int, scales: Scales) -> torch.Tensor:
    """What a head adds to the logits, float32 [n, d_vocab], if its z is one of values [n, d_head]."""
    written = _towards_logits(model, layer, values @ model.blocks[layer].attn.W_O[head].to(values), scales)
    weight = model.W_U
    return (written.to(weight) @ weight).float() * model.logit_multiplier


@torch.no_grad()
def copying_score(
    model: HookedModel, layer: int, head: int, *, stream: str = "embedding", check: Check = unchecked
) -> float:
    """How much of what a head writes is a copy of what it attends to, -1 to 1: the sum of the eigenvalues of its full OV circuit by the sum of their sizes.

    Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", "Detecting copying behavior". The circuit is `X W_V W_O W_U` [d_vocab, d_vocab],
    of which nothing larger than [d_vocab, d_head] is made: X the streams of the whole vocabulary. The gains of the norms are in it (and their centring, where
    they centre), their scales are not, as in TransformerLens with folded norms. 1: all eigenvalues are positive, so the head raises what it attends to.

    Args:
        model, layer, head: which head.
        stream: what X is, "embedding" or "effective" (`head_streams.token_streams`).
        check: called now and then; what it raises ends the computation.

    Raises:
        ValueError: a head or a stream that there is not.
        AttributeError: a family without a value matrix of its own.
    """
    check_head(model, layer, head)
    block = model.blocks[layer]
    reader, weight = _folded(getattr(block, "ln1", None)), block.attn.W_V[head].float()
    circuit = weight.new_zeros(weight.shape[1], weight.shape[1])
    unembedding = model.W_U
    writer = _towards_logits(model, layer, block.attn.W_O[head].float(), Scales())
    streams = vocabulary_streams(model, layer, stream, check)
    for first in range(0, min(len(streams), unembedding.shape[1]), TOKENS_TOGETHER):
        check()
        several = slice(first, first + TOKENS_TOGETHER)
        columns = writer @ unembedding[:, several].to(writer)
        circuit += columns @ (reader(streams[several].to(weight)) @ weight)[: columns.shape[1]]
    eigenvalues = torch.linalg.eigvals(circuit)
    return float(eigenvalues.real.sum() / eigenvalues.abs().sum())


def head_values(model: HookedModel, layer: int, head: int, streams: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a head's z is where it attends to one of the streams [n, d_model] alone: [n, d_head], less what it is whatever it attends to, [d_head].

    By the model's own layer, in which each stream stands by itself. The second is what biases make: of the values, and of the norm before them.
    """
    check_head(model, layer, head, "z")
    if _is_gated(model, layer):
        raise ValueError(
            f"Attention of {model.cfg.architecture} multiplies what its heads write with a gate that the query reads, so a head has no OV circuit of its own."
        )
    found = layer_sites(model, layer, torch.cat([streams, torch.zeros_like(streams[:1])])[:, None], ["z", "pattern"])
    # A sink takes some of the attention even of a token that stands by itself.
    z = found["z"][:, 0, head] / found["pattern"][:, head, 0]
    return z[:-1] - z[-1], z[-1]


def _is_gated(model: HookedModel, layer: int) -> bool:
    try:
        return model.blocks[layer].attn.is_gated
    except AttributeError:
        # queries, keys and values without matrices of their own (DeepSeek) have no gate
        return False


def _towards_logits(model: HookedModel, layer: int, written: torch.Tensor, scales: Scales) -> torch.Tensor:
    """What a layer's attention writes [n, d_model], as the unembedding reads it."""
    parts, block = model.architecture.layers[layer], model.blocks[layer]
    final = None if model.architecture.final_norm is None else model.ln_final
    post = _folded(getattr(block, "ln1_post", None), scales.post, parts.multiplier)
    return _folded(final, scales.final)(post(written))


def _folded(part: NormPart | None, scale: float = 1.0, multiplier: float = 1.0) -> Held:
    if part is None:
        return Held(multiplier=multiplier)
    return Held(part.w.float(), torch.tensor(scale), part.norm.centred, multiplier)
