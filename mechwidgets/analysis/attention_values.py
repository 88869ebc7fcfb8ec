"""What is drawn of attention: the pattern itself, the pattern weighted by what each source has to give, and the scores before the softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from mechwidgets.model.hook_points import HookPoint
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import HookFunction, site_name

# Named as in `compat.circuitsvis.attention.from_cache`; "pre-softmax" is the site "attn_scores".
ATTENTION_TYPES = ("standard", "value-weighted", "info-weighted", "pre-softmax")


@dataclass(frozen=True)
class LayerAttention:
    """One layer's attention as a run comes to it.

    Attributes:
        layer: its number.
        pattern: [batch, head, query_pos, key_pos], rows that sum to 1.
        values: what is asked for, of the same shape; NaN where a query may not look (of scores alone, whose mask is not 0).
        norms: what the pattern was weighted with, [batch, head, key_pos]; None where it was not.
    """

    layer: int
    pattern: torch.Tensor
    values: torch.Tensor
    norms: torch.Tensor | None


def read_attention(
    model: HookedModel,
    tokens: torch.Tensor,
    attention_type: str,
    read: Callable[[LayerAttention], None],
    layers: Iterable[int] | None = None,
) -> torch.Tensor | None:
    """Run prompts and read their attention, layer by layer, as the run comes to it.

    - "standard": the pattern, 0 to 1.
    - "value-weighted": the pattern times the norm of the source's value vector, `a_ij |v_j|`.
    - "info-weighted": the pattern times the norm of what the head would write of that source, `a_ij |v_j W_O|`: the norm-based analysis of Kobayashi et al.
      2020, "Attention is Not Only a Weight" (arXiv:2004.10102).
    - "pre-softmax": the scores, scaled and masked, that the softmax turns into the pattern. Only differences within a row mean something.

    Args:
        model: the model.
        tokens: [batch, pos], without padding.
        attention_type: one of `ATTENTION_TYPES`.
        read: called with each layer's attention, which is let go before the next unless `read` keeps it.
        layers: the layers to read, by default all; those after the last one are not run.

    Returns:
        The logits at the last position, [batch, d_vocab]; None if the run ended before them.

    Raises:
        ValueError: a type that there is not, or one that this architecture does not show.
    """
    if attention_type not in ATTENTION_TYPES:
        raise ValueError(f"There is no attention_type {attention_type!r}. It is one of {', '.join(ATTENTION_TYPES)}.")
    wanted = sorted(set(range(model.cfg.n_layers) if layers is None else layers))
    last = wanted[-1]
    hooks = [hook for layer in wanted for hook in _hooks(model, layer, attention_type, read)]
    early = layers is not None and last < model.cfg.n_layers - 1
    run = model.new_run(hooks=hooks, stop_at_layer=last + 1 if early else None)
    with torch.no_grad():
        found = model.forward(tokens, run, **({} if early else {"logits_to_keep": 1}))
    return None if early else found[:, -1]


def _hooks(
    model: HookedModel, layer: int, attention_type: str, read: Callable[[LayerAttention], None]
) -> list[tuple[str, HookFunction]]:
    """One that tells a layer's attention, and what it needs before."""
    before: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor, _: HookPoint) -> None:
        before.append(tensor)

    def tell(pattern: torch.Tensor, _: HookPoint) -> None:
        tensor = before.pop() if before else None
        if tensor is None:
            read(LayerAttention(layer, pattern, pattern, None))
        elif attention_type == "pre-softmax":
            read(LayerAttention(layer, pattern, _unmasked(tensor), None))
        else:
            norms = _norms(model, layer, tensor, pattern.shape[1], written=attention_type == "info-weighted")
            read(LayerAttention(layer, pattern, pattern.float() * norms[:, :, None], norms))

    needs = {"standard": [], "pre-softmax": ["attn_scores"]}.get(attention_type, ["v"])
    return [*((site_name(site, layer), keep) for site in needs), (site_name("pattern", layer), tell)]


def _unmasked(scores: torch.Tensor) -> torch.Tensor:
    """Scores with NaN for what the mask hides: families add the smallest number of their precision, or minus infinity."""
    return scores.float().masked_fill(scores < torch.finfo(scores.dtype).min / 4, torch.nan)


def _norms(model: HookedModel, layer: int, values: torch.Tensor, n_heads: int, written: bool) -> torch.Tensor:
    """Of values [batch, pos, key_value_head, d_head], or of what heads write of them: [batch, head, pos], float32."""
    # Each value head is read by several query heads where they share it.
    shared = values.float().repeat_interleave(n_heads // values.shape[2], dim=2)
    if not written:
        squares = torch.einsum("bphd,bphd->bhp", shared, shared)
    else:
        output = model.blocks[layer].attn.W_O.float()
        # |v W_O| through W_O W_O^T, which is smaller than what is written.
        squares = torch.einsum("bphd,hde,bphe->bhp", shared, output @ output.transpose(1, 2), shared)
    norms: torch.Tensor = squares.clamp(min=0).sqrt()
    return norms
