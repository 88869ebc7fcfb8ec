"""What is drawn of attention: the pattern itself, the pattern weighted by what each source has to give, and the scores before the softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import parse_name, site_name

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
        read: called with each layer's attention, which is let go before the next unless `read` keeps it. The tensors are the model's own: not to be edited.
        layers: the layers to read, by default all that have attention; those after the last one are not run.

    Returns:
        The logits at the last position, [batch, d_vocab]; None if the run ended before them.

    Raises:
        ValueError: a type that there is not or that this architecture does not show, or a layer without attention.
    """
    if attention_type not in ATTENTION_TYPES:
        raise ValueError(f"There is no attention_type {attention_type!r}. It is one of {', '.join(ATTENTION_TYPES)}.")
    there = attention_layers(model)
    wanted = there if layers is None else sorted(set(layers))
    missing = [layer for layer in wanted if layer not in there]
    if missing or not there:
        which = f"Layer {missing[0]} of this model" if missing else "This model"
        raise ValueError(f"{which} has no attention to show. Layers that have: {_listed(there)}.")
    sites = [*_NEEDS.get(attention_type, []), "pattern"]
    unseen = next((site for site in sites if site_name(site, wanted[0]) not in model.hook_dict), None)
    if unseen is not None:
        raise ValueError(
            f"{attention_type!r} is made of the site {unseen!r}, which {model.cfg.architecture} does not show."
        )
    early = layers is not None and wanted[-1] < model.cfg.n_layers - 1
    run = model.new_run(
        keep=[site_name(site, layer) for layer in wanted for site in sites],
        stop_at_layer=wanted[-1] + 1 if early else None,
    )
    run.kept = _Told(lambda layer, kept: read(_layer_attention(model, layer, attention_type, kept)))
    with torch.no_grad():
        found = model.forward(tokens, run, **({} if early else {"logits_to_keep": 1}))
    return None if early else found[:, -1]


def attention_layers(model: HookedModel) -> list[int]:
    """The layers that have attention with a pattern: all, but in models that have recurrent layers between them."""
    return [layer for layer in range(model.cfg.n_layers) if site_name("pattern", layer) in model.hook_dict]


def _listed(layers: list[int]) -> str:
    return ", ".join(map(str, layers)) or "none"


# What a type is made of beside the pattern.
_NEEDS = {"value-weighted": ["v"], "info-weighted": ["v"], "pre-softmax": ["attn_scores"]}


class _Told(dict[str, torch.Tensor]):
    """What a run keeps, passed on when a layer's pattern comes, the last of its activations here, and let go.

    A hook would do as well, but is given copies that it may edit: of a long prompt's pattern, that takes half as long as making it.
    """

    def __init__(self, tell: Callable[[int, dict[str, torch.Tensor]], None]) -> None:
        super().__init__()
        self._tell = tell

    def __setitem__(self, name: str, tensor: torch.Tensor) -> None:
        site, layer = parse_name(name)
        super().__setitem__(site, tensor)
        if site == "pattern" and layer is not None:
            kept = dict(self)
            self.clear()
            self._tell(layer, kept)


def _layer_attention(
    model: HookedModel, layer: int, attention_type: str, kept: dict[str, torch.Tensor]
) -> LayerAttention:
    pattern = kept["pattern"]
    if attention_type == "standard":
        return LayerAttention(layer, pattern, pattern, None)
    if attention_type == "pre-softmax":
        return LayerAttention(layer, pattern, _unmasked(kept["attn_scores"]), None)
    norms = _norms(model, layer, kept["v"], pattern.shape[1], written=attention_type == "info-weighted")
    return LayerAttention(layer, pattern, pattern.float() * norms[:, :, None], norms)


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
