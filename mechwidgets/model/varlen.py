"""Attention over many changed runs of one prompt that stand one behind the other along the positions, as in FlashAttention's varlen functions.

Runs that begin at different positions can so share every norm, projection and MLP, and no position is computed that none of them needs. What stands before a
run's first position is the same for all of them: its keys and values are there once, and all queries are multiplied with them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Group:
    """Runs that begin at the same position.

    Attributes:
        start: that position.
        first: where the first of them stands.
        rows: how many there are.
        length: how many positions each has.
    """

    start: int
    first: int
    rows: int
    length: int

    @property
    def size(self) -> int:
        """How many positions they take together."""
        return self.rows * self.length


@dataclass(eq=False)
class Varlen:
    """How runs stand in the tensors [batch, pos, ...] of a pass, and what stands before them.

    Attributes:
        groups: in order, one directly behind the other.
        keys, values: of the unchanged prompt in the layer that is computed, [batch, key_value_head, pos, d_head].
        group: the one whose scores or pattern are just being shown.
        wanted: the positions of the pass, int [n], for which the MLP of the layer is all that is wanted; None for all.
    """

    groups: list[Group] = field(default_factory=list)
    keys: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    values: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    group: Group | None = None
    wanted: torch.Tensor | None = None
    _trimmed_from: int = 0

    def trimmed(self, given: torch.Tensor) -> torch.Tensor:
        """What an MLP is given [batch, pos, ...], at the positions for which it is wanted."""
        if self.wanted is None:
            return given
        self._trimmed_from = given.shape[1]
        return given[:, self.wanted.to(given.device)]

    def whole(self, output: torch.Tensor) -> torch.Tensor:
        """What an MLP makes of what was trimmed, [batch, pos, d_model] or [batch * pos, d_model]; 0 where it was not wanted."""
        if not self._trimmed_from or self.wanted is None:
            return output
        some = output.view(-1, len(self.wanted), output.shape[-1])
        whole = some.new_zeros(len(some), self._trimmed_from, some.shape[-1])
        self._trimmed_from = 0
        whole[:, self.wanted.to(some.device)] = some
        return whole if output.ndim == 3 else whole.flatten(0, 1)

    def showing(self) -> Iterator[Group]:
        """The groups, each the one that is shown while it is computed."""
        for group in self.groups:
            self.group = group
            yield group
        self.group = None


_current: ContextVar[Varlen | None] = ContextVar("mechwidgets_varlen", default=None)


def current() -> Varlen | None:
    """How runs stand in the pass that this context is in; None where rows of a batch are runs."""
    return _current.get()


@contextmanager
def standing(varlen: Varlen | None) -> Iterator[None]:
    """In this context, runs stand one behind the other; None: rows of a batch are runs."""
    token = _current.set(varlen)
    try:
        yield
    finally:
        _current.reset(token)


@dataclass(frozen=True, eq=False)
class GroupHeads:
    """One group's queries, with its own keys and values and those that stand before it.

    Scores and patterns are [batch, key_value_head, run, head of that key_value_head, query_pos, key_pos], so that nothing has to be repeated.

    Attributes:
        group: which.
        queries: [batch, key_value_head, run, head of it, pos, d_head].
        keys, values: of its runs, [batch, key_value_head, run, pos, d_head].
        keys_before, values_before: [batch, key_value_head, pos, d_head].
    """

    group: Group
    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    keys_before: torch.Tensor
    values_before: torch.Tensor

    @classmethod
    def of(cls, varlen: Varlen, group: Group, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> GroupHeads:
        """Cut them from those of the whole pass, [batch, head or key_value_head, pos, d_head]."""
        q, k, v = (
            heads.narrow(2, group.first, group.size).reshape(*heads.shape[:2], group.rows, group.length, -1)
            for heads in (q, k, v)
        )
        by_key = q.reshape(len(q), k.shape[1], -1, *q.shape[2:]).transpose(2, 3)
        before = (held[:, :, : group.start].to(q.device) for held in (varlen.keys, varlen.values))
        return cls(group, by_key, k, v, *before)

    def scores(self) -> torch.Tensor:
        """Each query with each key, not yet scaled."""
        shape = self.queries.shape
        flat = self.queries.reshape(*shape[:3], -1, shape[-1])
        own = flat @ self.keys.transpose(-1, -2)
        if self.group.start:
            before = flat.flatten(2, 3) @ self.keys_before.transpose(-1, -2)
            own = torch.cat([before.view(*flat.shape[:-1], self.group.start), own], dim=-1)
        return own.view(*shape[:-1], -1)

    def z(self, pattern: torch.Tensor) -> torch.Tensor:
        """The values as the pattern weighs them, [batch, pos of the group, head, d_head]."""
        start, shape = self.group.start, pattern.shape
        flat = pattern.flatten(3, 4)
        if not start or pattern.dtype not in (torch.float32, torch.float64):
            # Two sums, each rounded to half precision, would be further from one than the model's own rounding.
            before = self.values_before[:, :, None].expand(-1, -1, self.group.rows, -1, -1)
            z = flat @ torch.cat([before, self.values], dim=-2)
        else:
            z = flat[..., start:] @ self.values
            z += (flat[..., :start].flatten(2, 3) @ self.values_before).view(z.shape)
        z = z.view(*shape[:-1], -1).permute(0, 2, 4, 1, 3, 5)
        return z.flatten(3, 4).flatten(1, 2)

    def of_queries(self, mask: torch.Tensor) -> torch.Tensor:
        """The part of a mask [batch, 1, pos of the pass, key_pos] that is for its queries, to be added to scores."""
        return mask.narrow(2, self.group.first, self.group.length)[:, :, None, None]
