"""The attention function that we register with transformers.

transformers asks a registry for the function named by `config._attn_implementation`. Ours is the families' own eager function unless a run is current; in a
run it computes the same operations in the same order and offers rotated queries and keys, scores, pattern and z on the way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from mechwidgets.model import query_blocks, varlen
from mechwidgets.model.watched import Heads, Visit, Visitor, unwatch, watch

NAME = "mechwidgets"

# The implementation that a model had before it was wrapped, and how many wrappers it has now.
_installed: WeakKeyDictionary[nn.Module, tuple[str, int]] = WeakKeyDictionary()
# The wrappers that want to be asked about an attention module.
_visitors: WeakKeyDictionary[nn.Module, list[tuple[Visitor, Softmax]]] = WeakKeyDictionary()

# Is shown what our attention gives, and what the family's own gives of the same.
Compare = Callable[[torch.Tensor, torch.Tensor], None]
_compare: ContextVar[Compare | None] = ContextVar("mechwidgets_compare", default=None)


@dataclass(frozen=True)
class Softmax:
    """How a family turns scores into a pattern.

    Attributes:
        in_float32: computed in float32 whatever the model's precision.
        sinks: each head has one more score, for attending to nothing (gpt-oss); a pattern's rows sum to 1 less what it takes.
    """

    in_float32: bool = True
    sinks: bool = False

    @classmethod
    def of(cls, module: nn.Module) -> Softmax | None:
        """The one that gives what the family's own eager attention gives, bit for bit; None if none does."""
        eager, sinks = _eager(module), hasattr(module, "sinks")
        if eager is None:
            return None
        # In half precision alone the two ways cannot be told apart everywhere.
        probes = [_probe(module, sinks, dtype) for dtype in (torch.bfloat16, torch.float64)]
        with torch.no_grad():
            expected = [eager(module, *probe, None, scaling=0.3)[0] for probe in probes]
            for softmax in (cls(True, sinks), cls(False, sinks)):
                ours = [offered(_as_is, softmax, module, q, k, v, None, scaling=0.3)[0] for q, k, v in probes]
                if all(map(torch.equal, ours, expected)):
                    return softmax
        return None


def _as_is(_: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _probe(module: nn.Module, sinks: bool, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """A query, key and value [1, head, 5, 8] for an attention module."""
    groups = int(getattr(module, "num_key_value_groups", 1))
    heads = len(module.get_parameter("sinks")) if sinks else groups
    device = next((weight.device for weight in module.parameters() if not weight.is_meta), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    sizes = (heads, heads // groups, heads // groups)
    return tuple(torch.randn(1, n, 5, 8, generator=generator).to(device, dtype) for n in sizes)


def attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Eager attention with named insides.

    Args:
        module: the attention module that calls.
        query: [batch, head, query_pos, d_head].
        key, value: [batch, key_value_head, key_pos, d_head].
        attention_mask: added to the scores, [batch, 1, query_pos, key_pos], or None.

    Returns:
        z [batch, query_pos, head, d_head] and the pattern [batch, head, query_pos, key_pos].
    """
    eager = _eager(module)
    assert eager is not None  # noqa: S101 - whoever has no eager function never gets here
    asked = [(visitor(), softmax) for visitor, softmax in _visitors.get(module, ())]
    asking = [(visit, softmax) for visit, softmax in asked if visit is not None]
    if (together := varlen.current()) is not None:
        visit = _one_after_another([visit for visit, _ in asking] or [_as_is])
        return _of_groups(together, visit, asked[0][1], module, query, key, value, attention_mask, **kwargs)
    if asked and (blocks := query_blocks.current()) is not None:
        visit = _one_after_another([visit for visit, _ in asking] or [_as_is])
        return _in_blocks(blocks, visit, asked[0][1], module, query, key, value, attention_mask, **kwargs)
    if asking:
        visit = _one_after_another([visit for visit, _ in asking])
        found = offered(visit, asking[0][1], module, query, key, value, attention_mask, **kwargs)
        if (compare := _compare.get()) is not None:
            compare(found[0], eager(module, query, key, value, attention_mask, **kwargs)[0])
        return found
    result: tuple[torch.Tensor, torch.Tensor | None] = eager(module, query, key, value, attention_mask, **kwargs)
    return result


@contextmanager
def compared(compare: Compare) -> Iterator[None]:
    """Let the families' own attention compute as well, wherever ours is asked in this context."""
    token = _compare.set(compare)
    try:
        yield
    finally:
        _compare.reset(token)


def offered(
    visit: Visit,
    softmax: Softmax,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Eager attention that shows its insides to `visit(site, tensor)` and goes on with what that returns."""
    query, key = _by_position(visit, "rot_q", query), _by_position(visit, "rot_k", key)
    groups = query.shape[1] // key.shape[1]
    scores = _capped(torch.matmul(query, _repeat(key, groups).transpose(2, 3)), query, options)
    if attention_mask is not None:
        scores = scores + attention_mask
    pattern = visit("pattern", _pattern(visit("attn_scores", scores), softmax, module, query.dtype))
    pattern = nn.functional.dropout(pattern, p=options.get("dropout", 0.0), training=module.training)
    return torch.matmul(pattern, _repeat(value, groups)).transpose(1, 2).contiguous(), pattern


def _of_groups(
    together: varlen.Varlen,
    visit: Visit,
    softmax: Softmax,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The same where changed runs of one prompt stand one behind the other; scores and patterns are shown for each group of them."""
    query = _by_position(visit, "rot_q", query)
    z = query.new_empty(query.shape[0], query.shape[2], query.shape[1], value.shape[-1])
    for group in together.showing():
        heads = varlen.GroupHeads.of(together, group, query, key, value)
        scores = _capped(heads.scores(), query, options)
        if attention_mask is not None:
            scores = scores + heads.of_queries(attention_mask)
        pattern = visit("pattern", _pattern(visit("attn_scores", scores), softmax, module, query.dtype))
        z[:, group.first : group.first + group.size] = heads.z(pattern)
    return z, None


def _in_blocks(
    blocks: query_blocks.QueryBlocks,
    visit: Visit,
    softmax: Softmax,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """The same where scores and patterns are shown a block of queries at a time."""
    query, key = _by_position(visit, "rot_q", query), _by_position(visit, "rot_k", key)
    batch, n_heads, n_pos, _ = query.shape
    z = query.new_empty(batch, n_pos, n_heads, value.shape[-1])
    for queries, keys in blocks.showing(n_pos, key.shape[2], attention_mask):
        # The queries of all heads that share a key-value head, so that no key has to be repeated.
        some = query[:, :, queries].reshape(batch, key.shape[1], -1, query.shape[-1])
        scores = (some @ key[:, :, keys].transpose(2, 3)).view(batch, n_heads, -1, keys.stop)
        scores = _capped(scores, query, options)
        if attention_mask is not None:
            scores = scores + attention_mask[..., queries, keys]
        pattern = visit("pattern", _pattern(visit("attn_scores", scores), softmax, module, query.dtype))
        pattern = nn.functional.dropout(pattern, p=options.get("dropout", 0.0), training=module.training)
        found = pattern.reshape(batch, key.shape[1], -1, keys.stop) @ value[:, :, keys]
        z[:, queries] = found.view(batch, n_heads, -1, value.shape[-1]).transpose(1, 2)
    return z, None


def _capped(scores: torch.Tensor, query: torch.Tensor, options: Mapping[str, Any]) -> torch.Tensor:
    """Scores as a family scales and caps them."""
    scaling, softcap = options.get("scaling"), options.get("softcap")
    scores = scores * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap


def _one_after_another(visits: list[Visit]) -> Visit:
    """The visits of several wrappers of one model, of which each sees what the one before made of a tensor."""

    def visit(site: str, tensor: torch.Tensor) -> torch.Tensor:
        for one in visits:
            tensor = one(site, tensor)
        return tensor

    return visits[0] if len(visits) == 1 else visit


def _by_position(visit: Visit, site: str, heads: torch.Tensor) -> torch.Tensor:
    """Visit [batch, head, pos, d_head] as [batch, pos, head, d_head]."""
    given = heads.transpose(1, 2)
    visited = visit(site, given)
    return heads if visited is given else visited.transpose(1, 2)


def _pattern(scores: torch.Tensor, softmax: Softmax, module: nn.Module, dtype: torch.dtype) -> torch.Tensor:
    if not softmax.sinks:
        upcast = torch.float32 if softmax.in_float32 else None
        return nn.functional.softmax(scores, dim=-1, dtype=upcast).to(dtype)
    # Of groups, scores are [batch, key_value_head, run, head of it, ...].
    heads = (1, -1) if scores.ndim == 4 else (1, scores.shape[1], 1, scores.shape[3])
    sinks = module.get_parameter("sinks").reshape(*heads, 1, 1)
    scores = torch.cat([scores, sinks.expand(*scores.shape[:-1], 1)], dim=-1)
    scores = scores - scores.max(dim=-1, keepdim=True).values
    upcast = torch.float32 if softmax.in_float32 else scores.dtype
    return nn.functional.softmax(scores, dim=-1, dtype=upcast)[..., :-1].to(dtype)


def _repeat(heads: torch.Tensor, groups: int) -> torch.Tensor:
    """Each key or value head once for every query head that reads it: [batch, head, pos, d_head]."""
    return heads if groups == 1 else heads.repeat_interleave(groups, dim=1)


def _eager(module: nn.Module) -> Callable[..., Any] | None:
    """The eager attention of the family that a module belongs to."""
    return getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)


def install(hf_model: Any, visitors: dict[nn.Module, Visitor], softmax: Softmax | None, heads: Heads) -> None:
    """Ask each attention module's visitor: in our attention function, or without a softmax for it, while the family's own eager code runs."""
    given = hf_model.config._attn_implementation
    # The copy of a wrapped model names ours.
    original, wrappers = _installed.get(hf_model, ("eager" if given == NAME else given, 0))
    if wrappers == 0:
        hf_model.set_attn_implementation("eager" if softmax is None else NAME)
    _installed[hf_model] = (original, wrappers + 1)
    for module, visitor in visitors.items():
        if softmax is None:
            watch(module, visitor, heads)
        else:
            _visitors.setdefault(module, []).append((visitor, softmax))


def uninstall(hf_model: Any, visitors: dict[nn.Module, Visitor]) -> None:
    """Ask these visitors no more, and give the model its own attention implementation back once its last wrapper has gone."""
    for module, visitor in visitors.items():
        unwatch(module, visitor)
        if module in _visitors:
            _visitors[module] = [pair for pair in _visitors[module] if pair[0] is not visitor]
    original, wrappers = _installed[hf_model]
    if wrappers > 1:
        _installed[hf_model] = (original, wrappers - 1)
        return
    del _installed[hf_model]
    hf_model.set_attn_implementation(original)


AttentionInterface.register(NAME, attention_forward)
AttentionMaskInterface.register(NAME, eager_mask)
