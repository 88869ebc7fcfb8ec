"""How changed runs stand in the passes that replay them, how they join these, and where their ends are found.

Most models take them one behind the other along the positions (`VarlenRows`), each from its own position on. A model whose attention is its own code takes rows
of a batch (`BatchRows`), which all begin at one position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from mechwidgets.analysis.base_run import BaseRun
from mechwidgets.analysis.passes import Plan
from mechwidgets.analysis.rows import Layout, WholeRows
from mechwidgets.model.hooks import PATTERN_SITES, site_of
from mechwidgets.model.layer_call import LayerCall
from mechwidgets.model.run import Pass
from mechwidgets.model.varlen import Group, Varlen


@dataclass(frozen=True, eq=False)
class Ends:
    """What comes out of the last layer at the positions that are read.

    Attributes:
        resid: [rows, batch, pos, d_model]; anything where nothing was computed.
        computed: which positions were, bool [rows, pos]; the others are the base's.
    """

    resid: torch.Tensor
    computed: torch.Tensor


class PassLayout(Layout, Protocol):
    """A layout of a pass that runs join where they are first changed."""

    @property
    def varlen(self) -> Varlen | None:
        """How they stand along the positions, for attention; None where they are rows of a batch."""

    def join(self, resid: torch.Tensor | None, layer: int) -> torch.Tensor:
        """The stream that enters a layer: what came out of the one before, and the base's for the runs that begin here."""

    def call(self, layer: int) -> LayerCall:
        """How the model calls the layer with this stream."""

    def now(self) -> Pass:
        """What a pass through one layer is to the places in it."""

    def trim(self, positions: Sequence[int]) -> None:
        """Nothing but these positions of each run is wanted of the MLP that comes next."""

    def ends(self, resid: torch.Tensor, positions: Sequence[int]) -> Ends:
        """What came out of the last layer, by the runs in the plan's order."""


class BatchRows(WholeRows):
    """Runs as rows of a batch, all computed from the first position at which one of them begins.

    Args:
        base: what they are changed from.
        plan: which runs.
    """

    varlen = None

    def __init__(self, base: BaseRun, plan: Plan) -> None:
        super().__init__(base, plan.start)
        self._calls, self._layers = base.calls(plan.start), [row.layer for row in plan.rows]
        self._rows = 0

    def join(self, resid: torch.Tensor | None, layer: int) -> torch.Tensor:
        """As `PassLayout.join`."""
        joining = self._layers.count(layer)
        self._rows += joining
        fresh = self.base.resid(layer, self.start).repeat(joining, 1, 1)
        return fresh if resid is None else torch.cat([resid.to(fresh.device), fresh])

    def call(self, layer: int) -> LayerCall:
        """As `PassLayout.call`."""
        return self._calls[layer].repeated(len(self.base.tokens), self._rows)

    def now(self) -> Pass:
        """As `PassLayout.now`."""
        batch, n_pos = self.base.tokens.shape
        return Pass(self.start, self._rows * batch, n_pos - self.start)

    def trim(self, positions: Sequence[int]) -> None:
        """As `PassLayout.trim`; here it is computed at all positions."""

    def ends(self, resid: torch.Tensor, positions: Sequence[int]) -> Ends:
        """As `PassLayout.ends`."""
        rows = resid.view(self._rows, -1, *resid.shape[1:])
        computed = torch.tensor([position >= self.start for position in positions])
        return Ends(
            rows[:, :, [max(0, position - self.start) for position in positions]], computed.expand(self._rows, -1)
        )


class VarlenRows:
    """Runs one behind the other along the positions, those that begin at the same position side by side.

    Args:
        base: what they are changed from.
        plan: which runs.

    Attributes:
        varlen: the same, for attention.
    """

    def __init__(self, base: BaseRun, plan: Plan) -> None:
        self.base, self._rows, self.varlen = base, len(plan.rows), Varlen()
        self._later_calls = base.calls(1)
        # By layer and position at which they begin: the runs that join there, and those that have.
        self._joining: dict[int, dict[int, list[int]]] = {}
        for index, row in enumerate(plan.rows):
            self._joining.setdefault(row.layer, {}).setdefault(row.position, []).append(index)
        self._joined: dict[int, list[int]] = {start: [] for start in sorted({row.position for row in plan.rows})}
        self._where: dict[int, tuple[Group, int]] = {}

    def join(self, resid: torch.Tensor | None, layer: int) -> torch.Tensor:
        """As `PassLayout.join`."""
        self.varlen.keys, self.varlen.values = self.base.keys_and_values(layer)
        joining = self._joining.get(layer)
        if joining is None and resid is not None:
            return resid
        pieces = []
        for start in self._joined:
            if resid is not None and (group := self._group(start)) is not None:
                pieces.append(resid.narrow(1, group.first, group.size))
            if joining and start in joining:
                pieces.append(self.base.resid(layer, start).repeat(1, len(joining[start]), 1))
        self._regroup(joining or {})
        device = self.base.resid(layer, 0).device
        return torch.cat([piece.to(device) for piece in pieces], dim=1)

    def _group(self, start: int) -> Group | None:
        return next((group for group in self.varlen.groups if group.start == start), None)

    def _regroup(self, joining: Mapping[int, list[int]]) -> None:
        groups: list[Group] = []
        for start, joined in self._joined.items():
            joined.extend(joining.get(start, ()))
            if joined:
                first = groups[-1].first + groups[-1].size if groups else 0
                groups.append(Group(start, first, len(joined), self.base.tokens.shape[1] - start))
                self._where |= {index: (groups[-1], nth) for nth, index in enumerate(joined)}
        self.varlen.groups = groups

    def call(self, layer: int) -> LayerCall:
        """As `PassLayout.call`."""
        positions = [
            torch.arange(group.start, group.start + group.length).repeat(group.rows) for group in self.varlen.groups
        ]
        return self.base.whole_calls[layer].at(self._later_calls[layer], torch.cat(positions))

    def now(self) -> Pass:
        """As `PassLayout.now`."""
        return Pass(0, len(self.base.tokens), sum(group.size for group in self.varlen.groups))

    def edit(self, name: str, tensor: torch.Tensor, row: int, edit: Callable[[torch.Tensor, Pass], None]) -> None:
        """As `Layout.edit`."""
        if row not in self._where:
            return
        group, nth = self._where[row]
        batch, n_pos = self.base.tokens.shape
        now = Pass(group.start, batch, group.length, n_pos, real=self.base.real)
        if site_of(name) not in PATTERN_SITES:
            edit(tensor.narrow(1, group.first + nth * group.length, group.length), now)
        elif group == self.varlen.group:
            by_head = tensor[:, :, nth].flatten(1, 2).clone()
            edit(by_head, now)
            tensor[:, :, nth] = by_head.reshape(tensor[:, :, nth].shape)

    def trim(self, positions: Sequence[int]) -> None:
        """As `PassLayout.trim`."""
        ends = [
            torch.arange(group.first, group.first + group.size).view(group.rows, -1)[:, some].flatten()
            for group in self.varlen.groups
            if (some := [position - group.start for position in positions if position >= group.start])
        ]
        self.varlen.wanted = torch.cat(ends)

    def ends(self, resid: torch.Tensor, positions: Sequence[int]) -> Ends:
        """As `PassLayout.ends`."""
        computed, at = [], []
        for index in range(self._rows):
            group, nth = self._where[index]
            computed.append([position >= group.start for position in positions])
            first = group.first + nth * group.length
            at.append([first + max(0, position - group.start) for position in positions])
        found = resid[:, torch.tensor(at, device=resid.device)]
        return Ends(found.transpose(0, 1), torch.tensor(computed))
