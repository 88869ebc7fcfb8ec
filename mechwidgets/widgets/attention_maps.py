"""What AttentionView keeps and sends of a run: every head small, its scores, and a few heads whole."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from mechwidgets.analysis.attention_values import LayerAttention
from mechwidgets.analysis.heads import SCORES, HeadScorer
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.aligned_prompts import Prompts
from mechwidgets.widgets.thumbnails import thumbnail_block

Head = tuple[int, int]


class HeadCache:
    """Whole heads for later clicks, those that were asked for last; never more than `room` bytes.

    Of each head the lower triangle, row by row, float32 [pos (pos + 1) / 2]; and a second one of the prompts it is compared with.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._heads: OrderedDict[Head, list[np.ndarray]] = OrderedDict()
        self._bytes = 0

    def get(self, head: Head) -> list[np.ndarray] | None:
        """None for a head that is not kept (any more)."""
        if head in self._heads:
            self._heads.move_to_end(head)
        return self._heads.get(head)

    def put(self, head: Head, triangles: list[np.ndarray]) -> None:
        """Keep a head, and let go of those that nobody has asked for the longest."""
        self._heads[head] = triangles
        self._bytes += _size(triangles)
        while self._bytes > self._room:
            self._bytes -= _size(self._heads.popitem(last=False)[1])


def _size(arrays: Iterable[np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays)


def triangles(prompts: Prompts, values: torch.Tensor, head: int) -> list[np.ndarray]:
    """One head of [row, head, query_pos, key_pos] as `HeadCache` keeps it."""
    kept = np.tri(values.shape[-1], dtype=bool)
    return [mean.cpu().numpy()[kept] for mean in prompts.means(values[:, head])]


class HeadMaps:
    """Thumbnails, colour limits and scores of all heads, gathered layer by layer; whole heads only as far as they fit into a cache.

    Args:
        n_layers, n_heads: of the model.
        prompts: what runs.
        attention_type: what is drawn.
        room: for whole heads, in bytes; none are kept unless all fit.

    Attributes:
        scores: [score, layer, head], in the order of `score_names`.
        cache: the whole heads.
    """

    def __init__(self, n_layers: int, n_heads: int, prompts: Prompts, attention_type: str, room: int) -> None:
        n_pos = prompts.tokens.shape[1]
        self.prompts, self.attention_type = prompts, attention_type
        # Scores have no value where the mask hides them; what is weighted is 0 there.
        self._is_masked = attention_type == "pre-softmax"
        self.block = thumbnail_block(n_pos, n_layers * n_heads)
        side = math.ceil(n_pos / self.block)
        self.cache = HeadCache(room)
        triangle_bytes = 4 * n_pos * (n_pos + 1) // 2 * (2 if prompts.compares else 1)
        self._keeps = n_layers * n_heads * triangle_bytes <= room
        # Made once: small arrays made between large patterns would leave the heap in pieces too small for the next pattern.
        # Layers that nothing is read of, because they have no attention, have no values.
        self._small = np.full((n_layers, n_heads, side, side), np.nan, np.float32)
        # from where to where each head's values go, where that counts, and how far they could
        self._extents = np.zeros((n_layers, n_heads, 2), np.float32)
        self._reach = np.zeros((n_layers, n_heads), np.float32)
        self._scorers = [HeadScorer(row) for row in prompts.tokens[: prompts.n_shown]]
        self.scores = np.full((len(self.score_names), n_layers, n_heads), np.nan, np.float32)

    @property
    def score_names(self) -> list[str]:
        """What heads are scored by."""
        return [*SCORES, *(["difference"] if self.prompts.compares else [])]

    def read(self, found: LayerAttention) -> None:
        """Take a layer's attention."""
        layer, means = found.layer, self.prompts.means(found.values)
        compares = self.prompts.compares
        drawn = means[0] - means[1] if compares else means[0]
        self._small[layer] = _blocks(drawn, self.block, compares, self._is_masked).cpu().numpy()
        self._reach[layer] = self._natural_reach(found, means).cpu().numpy()
        if compares or self._is_masked:
            self._extents[layer] = torch.stack(_extent(drawn), dim=1).cpu().numpy()
        self.scores[: len(SCORES), layer] = self._mean_scores(found.pattern)
        if compares:
            self.scores[-1, layer] = np.abs(self._extents[layer]).max(-1)
        if self._keeps:
            for head in range(drawn.shape[0]):
                self.cache.put((layer, head), triangles(self.prompts, found.values, head))

    def _mean_scores(self, pattern: torch.Tensor) -> np.ndarray:
        """[score, head]: the mean over the prompts that define a score."""
        found = [torch.from_numpy(score(pattern[row])) for row, score in enumerate(self._scorers)]
        return torch.stack(found).nanmean(0).numpy()

    def _natural_reach(self, found: LayerAttention, means: list[torch.Tensor]) -> torch.Tensor:
        """How far each head could go, [head]: 1 for weights, the largest norm for weighted ones, from the lowest to the highest for scores."""
        if self.attention_type == "standard":
            return torch.ones(found.pattern.shape[1])
        if found.norms is not None:
            return found.norms.amax(dim=(0, 2))
        extents = [_extent(mean) for mean in means]
        return torch.stack([high for _, high in extents]).amax(0) - torch.stack([low for low, _ in extents]).amin(0)

    def traits(self) -> dict[str, Any]:
        """What the picture shows of it."""
        limits = self._colour_limits()
        return {
            "thumbnails": to_wire(_places(self._small, limits)),
            "thumbnail_block": self.block,
            "limits": to_wire(limits),
            "diverging": self.prompts.compares,
        }

    def _colour_limits(self) -> np.ndarray:
        """Where each head's colours end, float32 [layer, head, 2].

        Weights from 0 to 1 and weighted ones from 0 to the head's largest norm, so that an end means the same in every head. Scores before the softmax mean
        something only within a head: from its lowest to its highest. A difference ends where the head that differs most does, as a share of what it could.
        """
        reach = np.where(self._reach > 0, self._reach, 1)
        if self.prompts.compares:
            share = float((np.abs(self._extents).max(-1) / reach).max()) or 1.0
            return np.stack([-share * reach, share * reach], axis=-1).astype(np.float32)
        if self._is_masked:
            return self._extents
        return np.stack([np.zeros_like(reach), reach], axis=-1).astype(np.float32)


def _extent(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest and the highest of [head, query_pos, key_pos], [head] each, where a query may look."""
    causal = torch.ones(values.shape[-2:], dtype=torch.bool, device=values.device).tril_()
    hidden = ~causal | ~values.isfinite()
    return values.masked_fill(hidden, torch.inf).amin((1, 2)), values.masked_fill(hidden, -torch.inf).amax((1, 2))


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
