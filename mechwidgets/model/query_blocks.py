"""Attention a block of queries at a time: scores and patterns of a long prompt are shown as they are made, and never all held.

Keys that the mask hides from a whole block are left out, which in a causal model is half of all. Sums are made in another order than in a whole pass, so
numbers are equal to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch


@dataclass(eq=False)
class QueryBlocks:
    """How the queries of a pass are cut into blocks.

    Attributes:
        size: queries a block.
        first: the first query of the block whose scores or pattern are just being shown.
    """

    size: int
    first: int = 0
    _mask: torch.Tensor | None = None
    _ends: tuple[int, ...] = ()

    def showing(self, n_queries: int, n_keys: int, mask: torch.Tensor | None) -> Iterator[tuple[slice, slice]]:
        """The queries of each block, and the keys that they see, while the block is computed."""
        # Layers are mostly given one mask.
        if mask is None or mask is not self._mask:
            self._mask, self._ends = mask, tuple(self._find_ends(n_queries, n_keys, mask))
        for first, end in zip(range(0, n_queries, self.size), self._ends, strict=True):
            self.first = first
            yield slice(first, min(first + self.size, n_queries)), slice(0, end)
        self.first = 0

    def _find_ends(self, n_queries: int, n_keys: int, mask: torch.Tensor | None) -> Iterator[int]:
        for first in range(0, n_queries, self.size):
            last = min(first + self.size, n_queries)
            if mask is None or n_queries != n_keys:
                yield n_keys
                continue
            behind = mask[:, :, first:last, last:]
            yield last if bool((behind < torch.finfo(mask.dtype).min / 4).all()) else n_keys


_current: ContextVar[QueryBlocks | None] = ContextVar("mechwidgets_query_blocks", default=None)


def current() -> QueryBlocks | None:
    """How the passes of this context are cut; None where attention is computed whole."""
    return _current.get()


@contextmanager
def standing(blocks: QueryBlocks | None) -> Iterator[None]:
    """In this context, attention is computed in blocks; None: whole."""
    token = _current.set(blocks)
    try:
        yield
    finally:
        _current.reset(token)
