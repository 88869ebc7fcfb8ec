"""What is done to single runs of a pass that are computed together; and whole forward passes of them, the plain way, which every model can go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from mechwidgets.model.run import Pass, Run, RunHook

if TYPE_CHECKING:
    from collections.abc import Callable

    from mechwidgets.analysis.base_run import BaseRun
    from mechwidgets.model.hook_points import HookPoint


class Edit(Protocol):
    """What is done at one place of a run. An `Intervention` is one."""

    @property
    def name(self) -> str:
        """The full hook name."""

    def apply(self, tensor: torch.Tensor, now: Pass | None = None, reference: torch.Tensor | None = None) -> None:
        """Change an activation [batch, pos, ...] in place; `now` says which positions it has, `reference` is the base's activation at all of them."""


# What one run changes: one edit, or several.
Change = Sequence[Edit]


@dataclass(frozen=True)
class FunctionEdit:
    """An edit by a function of the whole activation.

    Attributes:
        name: the full hook name.
        function: of the activation [batch, pos, ...] of the base, which it may change in place; returns the changed one.
        position_axis: the dimension of its positions.
    """

    name: str
    function: Callable[[torch.Tensor], torch.Tensor]
    position_axis: int = 1

    def apply(self, tensor: torch.Tensor, now: Pass | None = None, reference: torch.Tensor | None = None) -> None:
        """As `Edit.apply`. Where nothing was changed before it, the base's activation is what stands there."""
        whole = now is None or not now.offset
        base = tensor if reference is None or whole else reference
        changed = self.function(base.clone())
        if not whole:
            changed = changed.narrow(self.position_axis, now.offset, tensor.shape[self.position_axis])  # type: ignore[union-attr]
        tensor.copy_(changed)


class Layout(Protocol):
    """Where changed runs stand in the activations of a pass."""

    def edit(self, name: str, tensor: torch.Tensor, row: int, edit: Callable[[torch.Tensor, Pass], None]) -> None:
        """Let one of them be edited, as an activation [batch, pos, ...] of the given place; not at all where it has not joined the pass yet."""


@dataclass(frozen=True)
class WholeRows:
    """Runs as rows of a batch, one behind the other, all from the same position on.

    Attributes:
        base: what they are changed from.
        start: that position.
    """

    base: BaseRun
    start: int = 0

    def edit(self, name: str, tensor: torch.Tensor, row: int, edit: Callable[[torch.Tensor, Pass], None]) -> None:
        """As `Layout.edit`."""
        batch, n_pos = self.base.tokens.shape
        if len(tensor) < (row + 1) * batch:
            return  # it joins further down, as nothing changes it here
        now = Pass(self.start, batch, n_pos - self.start, n_pos, real=self.base.real)
        edit(tensor[row * batch : (row + 1) * batch], now)


class RowsHook(RunHook):
    """Edits of single runs of a pass.

    Args:
        layout: where the runs stand.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.edits: list[tuple[int, Edit]] = []

    def in_run(self, tensor: torch.Tensor, name: str, run: Run) -> torch.Tensor:
        """Let each edit change its own run."""
        reference = run.reference.get(name)
        for row, edit in self.edits:
            self.layout.edit(name, tensor, row, lambda part, now, edit=edit: edit.apply(part, now, reference))  # type: ignore[misc]
        return tensor

    def __call__(self, tensor: torch.Tensor, hook: HookPoint) -> torch.Tensor:
        """A row is told by its place in a run."""
        raise TypeError("Rows are edited in a run.")


def rows_run(base: BaseRun, changes: Sequence[Change], layout: Layout) -> Run:
    """A run in which each change is made to its own run, in order."""
    hooks: dict[str, RowsHook] = {}
    for row, change in enumerate(changes):
        for edit in change:
            hooks.setdefault(edit.name, RowsHook(layout)).edits.append((row, edit))
    run = Run(base.model, [*base.standing, *hooks.items()])
    run.reference = {name: base.cache[name] for name in hooks}
    return run


def run_rows(base: BaseRun, changes: Sequence[Change], logits_to_keep: int = 0) -> torch.Tensor:
    """Whole forward passes, one for each change, as one batch.

    Args:
        base: what is changed; its cache holds the activations at all their names.
        changes: one a row.
        logits_to_keep: only the last so many positions; 0 for all.

    Returns:
        The logits [rows, batch, pos, d_vocab].
    """
    rows = len(changes)
    run = rows_run(base, changes, WholeRows(base))
    # Whether a token is padding is said once: rows that are all alike would be judged otherwise than one.
    told = {"attention_mask": base.real.repeat(rows, 1)} | (
        {"logits_to_keep": logits_to_keep} if logits_to_keep else {}
    )
    with torch.no_grad():
        logits = base.model.forward(base.tokens.repeat(rows, 1), run, **told)
    return logits.view(rows, len(base.tokens), *logits.shape[1:])
