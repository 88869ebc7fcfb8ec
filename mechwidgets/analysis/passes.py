"""How the rows of a sweep are put together into passes.

A row is one changed run. It need not be computed below the layer and before the position that it changes, and rows of different layers can share a pass: a
row joins where its layer is reached. Rows of different positions can share one too, where the saved passes outweigh the positions computed for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mechwidgets.model.memory import free_bytes, in_words

if TYPE_CHECKING:
    from mechwidgets.model.config import ModelConfig
    from mechwidgets.model.hooked_model import HookedModel

# What a layer costs a pass however few tokens it feeds, in tokens: weights have to come from memory, and each operation has to be begun.
TOKENS_A_LAYER = 40
# Wider passes gain nothing on a CPU, and their activations no longer stay in its caches; a GPU wants more work at once.
TOKENS_A_PASS = {"cpu": 2048}
TOKENS_ELSEWHERE = 32768
SHARE_OF_FREE = 0.25
MOST_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Row:
    """One changed run.

    Attributes:
        index: which change of the sweep it is.
        layer, position: the first that differ from the base.
    """

    index: int
    layer: int
    position: int


@dataclass(frozen=True)
class Plan:
    """Rows that are computed together, in the order in which they join.

    Attributes:
        start: the first position that is computed.
        rows: by layer.
        varlen: whether they stand one behind the other along the positions, each from its own position on; else as rows of a batch, all from `start` on.
    """

    start: int
    rows: list[Row]
    varlen: bool = False


def plan_varlen(rows: Sequence[Row], room: Room) -> list[Plan]:
    """Put rows into passes one behind the other, so that nothing is computed that none of them needs and layers are passed as seldom as can be.

    Args:
        rows: in any order.
        room: how much fits into a pass.
    """
    passes: list[list[Row]] = []
    taken = 1.0
    for row in sorted(rows, key=lambda row: (row.layer, row.index)):
        share = room.share(row.position)
        if taken + share > 1:
            passes.append([])
            taken = 0.0
        passes[-1].append(row)
        taken += share
    return [Plan(min(row.position for row in together), together, varlen=True) for together in passes]


def plan_passes(rows: Sequence[Row], n_layers: int, n_pos: int, batch: int, room: Callable[[int], int]) -> list[Plan]:
    """Put rows into passes so that the tokens computed in all layers are fewest, a pass itself counting as TOKENS_A_LAYER a layer.

    Args:
        rows: in any order.
        n_layers, n_pos, batch: of the model and of the base.
        room: how many rows fit into a pass that is computed from a position on.
    """
    by_position: dict[int, list[Row]] = {}
    for row in rows:
        by_position.setdefault(row.position, []).append(row)
    starts = sorted(by_position)
    work = [batch * sum(n_layers - row.layer for row in by_position[start]) for start in starts]
    layers = [n_layers - min(row.layer for row in by_position[start]) for start in starts]
    plans = []
    for first, end in _segments(starts, work, layers, n_pos):
        together = sorted(
            (row for start in starts[first:end] for row in by_position[start]), key=lambda row: (row.layer, row.index)
        )
        most = room(starts[first])
        plans += [Plan(starts[first], together[i : i + most]) for i in range(0, len(together), most)]
    return plans


def _segments(starts: list[int], work: list[int], layers: list[int], n_pos: int) -> list[tuple[int, int]]:
    """The cheapest cut of the positions into neighbours that share a pass: (first, end) indices into `starts`."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(starts) + 1):
        choices = []
        tokens = deepest = 0
        for first in range(end - 1, -1, -1):
            tokens, deepest = tokens + work[first], max(deepest, layers[first])
            choices.append((best[first][0] + TOKENS_A_LAYER * deepest + tokens * (n_pos - starts[first]), first))
            if len(choices) > 1 and choices[-1][0] > 2 * choices[0][0]:
                break  # it only gets worse
        best.append(min(choices))
    segments, end = [], len(starts)
    while end:
        segments.append((best[end][1], end))
        end = best[end][1]
    return segments[::-1]


class Room:
    """How many rows a pass may have.

    Args:
        model: the model.
        batch, n_pos: of the base.
        max_memory: bytes that the pass may take; by default SHARE_OF_FREE of what is free on the device, at most MOST_BYTES.

    Attributes:
        max_memory: bytes.

    Raises:
        ValueError: not even one row fits.
    """

    def __init__(self, model: HookedModel, batch: int, n_pos: int, max_memory: int | None = None) -> None:
        device = model.device
        if max_memory is None:
            free = free_bytes(device)
            max_memory = MOST_BYTES if free is None else min(MOST_BYTES, int(SHARE_OF_FREE * free))
        self.max_memory = max_memory
        self._cfg, self._batch, self._n_pos = model.cfg, batch, n_pos
        self._tokens = TOKENS_A_PASS.get(device.type, TOKENS_ELSEWHERE)
        row = bytes_of_row(model.cfg, batch, n_pos)
        if max_memory < row:
            raise ValueError(
                f"A changed run of {batch * n_pos:,} tokens needs about {in_words(row)}, and max_memory allows {in_words(max_memory)}. "
                "Allow more, or use a shorter prompt."
            )

    def rows(self, start: int = 0) -> int:
        """How many rows that are computed from a position on."""
        return max(1, int(1 / self.share(start)))

    def share(self, start: int = 0) -> float:
        """How much of a pass a row takes that is computed from a position on; 1 is all of it."""
        row = bytes_of_row(self._cfg, self._batch, self._n_pos, start)
        return max(self._batch * (self._n_pos - start) / self._tokens, row / self.max_memory)


def bytes_of_row(cfg: ModelConfig, batch: int, n_pos: int, start: int = 0) -> int:
    """What one row that is computed from a position on takes at its widest, in bytes.

    For the positions from `start` on that is the stream and its copies, the MLP, queries, scores and patterns; for all positions keys and values, as they come
    and repeated for the heads that share them.
    """
    mlp = cfg.d_mlp or 4 * cfg.d_model
    width = 8 * cfg.d_model + 3 * mlp + 2 * cfg.n_heads * cfg.d_head + 5 * cfg.n_heads * n_pos
    known = 2 * (cfg.n_key_value_heads + cfg.n_heads) * cfg.d_head
    return batch * ((n_pos - start) * width + n_pos * known) * cfg.dtype.itemsize
