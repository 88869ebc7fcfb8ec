"""What AttentionView sends of a run: every head small, and its scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mechwidgets.analysis.attention_values import LayerAttention
from mechwidgets.analysis.heads import SCORES, HeadScorer
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.aligned_prompts import Prompts
from mechwidgets.widgets.thumbnails import thumbnail_block

# Queries that are read at a time, about: so that what is made of them stays in the processor's cache.
QUERIES_AT_A_TIME = 64


class HeadMaps:
    """Thumbnails, colour limits and scores of all heads, gathered layer by layer, a block of queries at a time.

    Args:
        n_layers, n_heads: of the model.
        prompts: what runs.
        attention_type: what is drawn.

    Attributes:
        block: how many tokens a thumbnail's pixel stands for.
        queries: how many queries to read at a time: whole pixels.
        scores: [score, layer, head], in the order of `score_names`; NaN for what is not read.
    """

    def __init__(self, n_layers: int, n_heads: int, prompts: Prompts, attention_type: str) -> None:
        n_pos = prompts.tokens.shape[1]
        self.prompts, self.attention_type = prompts, attention_type
        # Scores have no value where the mask hides them; what is weighted is 0 there.
        self._is_masked = attention_type == "pre-softmax"
        self.block = thumbnail_block(n_pos, n_layers * n_heads)
        self.queries = self.block * math.ceil(QUERIES_AT_A_TIME / self.block)
        side = math.ceil(n_pos / self.block)
        # Made once: small arrays made between large patterns would leave the heap in pieces too small for the next pattern.
        # Layers that nothing is read of, because they have no attention, have no values.
        self._small = np.full((n_layers, n_heads, side, side), np.nan, np.float32)
        # from where to where each head's values go, of what is drawn and of all prompts, and how far they could
        self._drawn = _Extents(n_layers, n_heads)
        self._each = _Extents(n_layers, n_heads)
        self._reach = np.zeros((n_layers, n_heads), np.float32)
        self._scorers = [HeadScorer(row) for row in prompts.tokens[: prompts.n_shown]]
        self._sums = np.zeros((prompts.n_shown, len(SCORES), n_heads), np.float32)
        self.scores = np.full((len(self.score_names), n_layers, n_heads), np.nan, np.float32)

    @property
    def score_names(self) -> list[str]:
        """What heads are scored by."""
        return [*SCORES, *(["difference"] if self.prompts.compares else [])]

    def read(self, found: LayerAttention) -> None:
        """Take a layer's attention, or that of some of its queries; they come in order."""
        layer, means = found.layer, self.prompts.means(found.values)
        compares = self.prompts.compares
        drawn = means[0] - means[1] if compares else means[0]
        rows = _blocks(drawn, self.block, compares, self._is_masked).cpu().numpy()
        first = found.first // self.block
        into = self._small[layer, :, first : first + rows.shape[1]]
        into[..., : rows.shape[2]] = rows
        # What no query of these sees has the value that the mask gives it.
        into[..., rows.shape[2] :] = np.nan if self._is_masked else 0
        if compares or self._is_masked:
            self._drawn.take(found, drawn)
        if self._is_masked:
            for mean in means:
                self._each.take(found, mean)
        self._add_scores(found)
        if found.ends_layer:
            self._reach[layer] = self._natural_reach(found)
            if compares:
                self.scores[-1, layer] = np.abs(self._drawn.ends[layer]).max(-1)

    def _add_scores(self, found: LayerAttention) -> None:
        if found.first == 0:
            self._sums[:] = 0
        for row, score in enumerate(self._scorers):
            self._sums[row] += score.sums(found.pattern[row], found.first)
        if found.ends_layer:
            means = [torch.from_numpy(score.means(sums)) for score, sums in zip(self._scorers, self._sums, strict=True)]
            # the mean over the prompts that define a score
            self.scores[: len(SCORES), found.layer] = torch.stack(means).nanmean(0).numpy()

    def _natural_reach(self, found: LayerAttention) -> np.ndarray:
        """How far each head could go, [head]: 1 for weights, the largest norm for weighted ones, from the lowest to the highest for scores."""
        if self.attention_type == "standard":
            return np.ones(found.pattern.shape[1], np.float32)
        if found.norms is not None:
            return np.asarray(found.norms.amax(dim=(0, 2)).cpu())
        low, high = self._each.ends[found.layer].T
        return np.asarray(high - low)

    def traits(self) -> dict[str, Any]:
        """What the picture shows of it."""
        limits = self.limits()
        return {
            "thumbnails": to_wire(self.thumbnails(limits)),
            "thumbnail_block": self.block,
            "limits": to_wire(limits),
            "diverging": self.prompts.compares,
        }

    def thumbnails(self, limits: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        """The heads of the layers from `first` to before `last` as places between their limits, uint8 [layer, head, s, s]: 1 to 255, 0 for no value."""
        return _places(self._small[first:last], limits[first:last])

    def limits(self) -> np.ndarray:
        """Where each head's colours end, float32 [layer, head, 2].

        Weights from 0 to 1 and weighted ones from 0 to the head's largest norm, so that an end means the same in every head. Scores before the softmax mean
        something only within a head: from its lowest to its highest. A difference ends where the head that differs most does, as a share of what it could.
        """
        reach = np.where(self._reach > 0, self._reach, 1)
        if self.prompts.compares:
            share = float((np.abs(self._drawn.finite()).max(-1) / reach).max()) or 1.0
            return np.stack([-share * reach, share * reach], axis=-1).astype(np.float32)
        if self._is_masked:
            return self._drawn.finite()
        return np.stack([np.zeros_like(reach), reach], axis=-1).astype(np.float32)


class _Extents:
    """The lowest and the highest value of each head, [layer, head, 2]."""

    def __init__(self, n_layers: int, n_heads: int) -> None:
        self.ends = np.full((n_layers, n_heads, 2), [np.inf, -np.inf], np.float32)

    def take(self, found: LayerAttention, values: torch.Tensor) -> None:
        """Values [head, query_pos, key_pos] of a layer; only where a query may look counts."""
        seen = torch.ones(values.shape[-2:], dtype=torch.bool, device=values.device).tril_(found.first)
        hidden = ~seen | ~values.isfinite()
        ends = self.ends[found.layer]
        ends[:, 0] = np.minimum(ends[:, 0], values.masked_fill(hidden, torch.inf).amin((1, 2)).cpu().numpy())
        ends[:, 1] = np.maximum(ends[:, 1], values.masked_fill(hidden, -torch.inf).amax((1, 2)).cpu().numpy())

    def finite(self) -> np.ndarray:
        """0 for heads that nothing is known of."""
        return np.where(np.isfinite(self.ends), self.ends, 0)


def _blocks(values: torch.Tensor, block: int, signed: bool, masked: bool) -> torch.Tensor:
    """[head, query_pos, key_pos] as [head, s, s]: the highest of each block, or with `signed` what is furthest from 0; NaN where a block has no value.

    With `masked` there may be NaN, which does not count.
    """
    if block == 1:
        return values
    highest = _reduced(values.masked_fill(values.isnan(), -torch.inf) if masked else values, block, torch.amax)
    if signed:
        lowest = _reduced(values.masked_fill(values.isnan(), torch.inf) if masked else values, block, torch.amin)
        highest = torch.where(-lowest > highest, lowest, highest)
    return highest.masked_fill(highest.isinf(), torch.nan)


def _reduced(values: torch.Tensor, block: int, reduce: Callable[..., torch.Tensor]) -> torch.Tensor:
    """Blocks of the last two dimensions reduced to one value each; those at the end may be smaller."""
    for dim in (1, 2):
        whole = values.shape[dim] // block * block
        shape = [*values.shape[:dim], whole // block, block, *values.shape[dim + 1 :]]
        parts = [reduce(values.narrow(dim, 0, whole).reshape(shape), dim + 1)] if whole else []
        rest = values.narrow(dim, whole, values.shape[dim] - whole)
        values = torch.cat([*parts, reduce(rest, dim, keepdim=True)] if rest.shape[dim] else parts, dim)
    return values


def _places(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Where values [..., s, s] lie between limits [..., 2] in the colours, as bytes: 1 to 255 from end to end, 0 for no value."""
    low, high = limits[..., 0, None, None], limits[..., 1, None, None]
    places = np.clip((values - low) / np.where(high > low, high - low, 1), 0, 1)
    return np.where(np.isnan(values), 0, np.round(1 + 254 * np.nan_to_num(places))).astype(np.uint8)
