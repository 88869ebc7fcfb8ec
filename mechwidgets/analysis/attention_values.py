"""What is drawn of attention: the pattern itself, the pattern weighted by what each source has to give, and the scores before the softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from mechwidgets.model import query_blocks
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import parse_name, site_name

# Named as in `compat.circuitsvis.attention.from_cache`; "pre-softmax" is the site "attn_scores".
ATTENTION_TYPES = ("standard", "value-weighted", "info-weighted", "pre-softmax")


@dataclass(frozen=True)
class LayerAttention:
    """One layer's attention as a run comes to it, or some of its queries'.

    Attributes:
        layer: its number.
        n_pos: how many tokens the prompts have.
        first: the first query, from 0.
        pattern: [batch, head, query_pos, key_pos], rows that sum to 1; keys that none of these queries sees may be missing at the end.
        values: what is asked for, of the same shape; NaN where a query may not look (of scores alone, whose mask is not 0).
        norms: what the pattern was weighted with, [batch, head, key_pos]; None where it was not.
    """

    layer: int
    n_pos: int
    first: int
    pattern: torch.Tensor
    values: torch.Tensor
    norms: torch.Tensor | None

    @property
    def last(self) -> int:
        """The query behind the last one."""
        return self.first + self.pattern.shape[2]

    @property
    def ends_layer(self) -> bool:
        """Whether no more of this layer comes."""
        return self.last == self.n_pos


def read_attention(
    model: HookedModel,
    tokens: torch.Tensor,
    attention_type: str,
    read: Callable[[LayerAttention], None],
    layers: Iterable[int] | None = None,
    queries: int | None = None,
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
        queries: so many queries are computed and read at a time: the same numbers but for rounding, in half the time and a fraction of the memory where prompts
            are long; None for whole layers. Where hooks wait for whole patterns, or the architecture computes attention by itself,
            layers are whole in any case.

    Returns:
        The logits at the last position, [batch, d_vocab]; None if the run ended before them.

    Raises:
        ValueError: a type that there is not or that this architecture does not show, or a layer without attention.
    """
    wanted, sites = check_attention(model, attention_type, layers)
    early = layers is not None and wanted[-1] < model.cfg.n_layers - 1
    run = model.new_run(
        keep=[site_name(site, layer) for layer in wanted for site in sites],
        stop_at_layer=wanted[-1] + 1 if early else None,
    )
    if any(run.edits(site_name(site, layer)) for layer in attention_layers(model) for site in _MATRICES):
        queries = None
    blocks = None if queries is None else query_blocks.QueryBlocks(queries)
    run.kept = _Told(_Reader(model, attention_type, tokens.shape[1], read, blocks).take)
    with torch.no_grad(), query_blocks.standing(blocks):
        found = model.forward(tokens, run, **({} if early else {"logits_to_keep": 1}))
    return None if early else found[:, -1]


def check_attention(
    model: HookedModel, attention_type: str, layers: Iterable[int] | None = None
) -> tuple[list[int], list[str]]:
    """The layers that `read_attention` would read, and the sites that it would keep.

    Raises:
        ValueError: as `read_attention`.
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
    return wanted, sites


def attention_layers(model: HookedModel) -> list[int]:
    """The layers that have attention with a pattern: all, but in models that have recurrent layers between them."""
    return [layer for layer in range(model.cfg.n_layers) if site_name("pattern", layer) in model.hook_dict]


def _listed(layers: list[int]) -> str:
    return ", ".join(map(str, layers)) or "none"


# What a type is made of beside the pattern.
_NEEDS = {"value-weighted": ["v"], "info-weighted": ["v"], "pre-softmax": ["attn_scores"]}
# What has a value for each query and key.
_MATRICES = ("attn_scores", "pattern")


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


class _Reader:
    """Makes of what a run keeps what is asked for.

    Args:
        model, attention_type, read: as in `read_attention`.
        n_pos: of the prompts.
        blocks: how the queries come; None for all together.
    """

    def __init__(
        self,
        model: HookedModel,
        attention_type: str,
        n_pos: int,
        read: Callable[[LayerAttention], None],
        blocks: query_blocks.QueryBlocks | None,
    ) -> None:
        self._model, self._type, self._n_pos = model, attention_type, n_pos
        self._read, self._blocks = read, blocks
        self._norms: torch.Tensor | None = None

    def take(self, layer: int, kept: dict[str, torch.Tensor]) -> None:
        """One layer, or one block of its queries."""
        pattern, values = kept["pattern"], kept["pattern"]
        if "v" in kept:
            # Before the layer's first block, once.
            self._norms = _norms(self._model, layer, kept["v"], pattern.shape[1], self._type == "info-weighted")
        norms = self._norms
        if norms is not None:
            values = pattern.float() * norms[:, :, None, : pattern.shape[-1]]
        elif self._type == "pre-softmax":
            values = _unmasked(kept["attn_scores"])
        first = self._blocks.first if self._blocks else 0
        self._read(LayerAttention(layer, self._n_pos, first, pattern, values, norms))


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
