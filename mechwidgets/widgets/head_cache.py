"""Whole heads of an AttentionView: gathered as a run comes to them, and kept for later clicks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import numpy as np

from mechwidgets.analysis.attention_values import LayerAttention
from mechwidgets.widgets.aligned_prompts import Prompts

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
        self._bytes += _size(triangles) - _size(self._heads.pop(head, []))
        self._heads[head] = triangles
        while self._bytes > self._room:
            self._bytes -= _size(self._heads.popitem(last=False)[1])


def _size(arrays: Iterable[np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays)


class WholeHeads:
    """Puts heads together from what is read of their layers.

    Args:
        prompts: what runs.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self._begun: dict[Head, list[np.ndarray]] = {}

    def take(self, found: LayerAttention, heads: Iterable[int]) -> dict[Head, list[np.ndarray]]:
        """Take these heads of a layer, or of some of its queries; returns those that are whole now, as `HeadCache` keeps them."""
        rows = slice(_triangle(found.first), _triangle(found.last))
        seen = np.tri(found.last - found.first, found.last, found.first, dtype=bool)
        if found.first == 0:
            count = 2 if self._prompts.compares else 1
            size = _triangle(found.n_pos)
            self._begun = {(found.layer, head): [np.empty(size, np.float32) for _ in range(count)] for head in heads}
        for (_, head), whole in self._begun.items():
            for triangle, mean in zip(whole, self._prompts.means(found.values[:, head]), strict=True):
                triangle[rows] = mean.cpu().numpy()[:, : found.last][seen]
        return self._begun if found.ends_layer else {}


def _triangle(rows: int) -> int:
    return rows * (rows + 1) // 2
