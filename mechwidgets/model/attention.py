"""The attention function that we register with transformers.

transformers asks a registry for the function named by `config._attn_implementation`. Ours is the families' own eager function unless a run is current; in a
run it computes the same operations in the same order and offers scores, pattern and z on the way.
"""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from mechwidgets.model.hooks import site_name
from mechwidgets.model.run import Run, current_run

NAME = "mechwidgets"

# The implementation that a model had before it was wrapped, and how many wrappers it has now.
_installed: WeakKeyDictionary[nn.Module, tuple[str, int]] = WeakKeyDictionary()


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
    run = current_run()
    layer = run.owner.attention_layers.get(module) if run is not None else None
    if run is None or layer is None:
        eager = sys.modules[type(module).__module__].eager_attention_forward
        result: tuple[torch.Tensor, torch.Tensor | None] = eager(module, query, key, value, attention_mask, **kwargs)
        return result
    return _offered(run, layer, module, query, key, value, attention_mask, **kwargs)


def _offered(
    run: Run,
    layer: int,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    groups = query.shape[1] // key.shape[1]
    scaling, softcap = options.get("scaling"), options.get("softcap")
    scores = torch.matmul(query, _repeat(key, groups).transpose(2, 3))
    scores = scores * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask
    scores = run.visit(site_name("attn_scores", layer), scores)
    # Families differ in the precision of their softmax; in float32 it is the same.
    upcast = torch.float32 if run.owner.architecture.softmax_in_float32 else None
    pattern = nn.functional.softmax(scores, dim=-1, dtype=upcast).to(query.dtype)
    pattern = run.visit(site_name("pattern", layer), pattern)
    pattern = nn.functional.dropout(pattern, p=options.get("dropout", 0.0), training=module.training)
    z = torch.matmul(pattern, _repeat(value, groups)).transpose(1, 2).contiguous()
    return run.visit(site_name("z", layer), z), pattern


def _repeat(heads: torch.Tensor, groups: int) -> torch.Tensor:
    """Each key or value head once for every query head that reads it: [batch, head, pos, d_head]."""
    return heads if groups == 1 else heads.repeat_interleave(groups, dim=1)


def install(hf_model: Any) -> None:
    """Let a model call our attention function."""
    original, wrappers = _installed.get(hf_model, (hf_model.config._attn_implementation, 0))
    if wrappers == 0:
        hf_model.set_attn_implementation(NAME)
    _installed[hf_model] = (original, wrappers + 1)


def uninstall(hf_model: Any) -> None:
    """Give a model its own attention implementation back once its last wrapper has gone."""
    original, wrappers = _installed[hf_model]
    if wrappers > 1:
        _installed[hf_model] = (original, wrappers - 1)
        return
    del _installed[hf_model]
    hf_model.set_attn_implementation(original)


AttentionInterface.register(NAME, attention_forward)
AttentionMaskInterface.register(NAME, eager_mask)
