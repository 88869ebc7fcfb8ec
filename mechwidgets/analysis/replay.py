"""The replay engine: one base run, many changes to it, and what each does to the logits, without running what a change cannot reach.

A change at layer l and position p reaches layers from l and positions from p on. So its row is computed from layer l's input in the base, for the positions
from p on, with the base's keys and values standing for those before (`base_run.py`); rows share passes whatever their layer (`passes.py`, `descent.py`); a
change that changes nothing is not run; and only the positions that are read are unembedded. The layers are the model's own modules, called as it calls them.

A few rows are run again the plain way (`rows.py`), and a difference beyond rounding is an error. What cannot be replayed (layers that share keys and values or
carry a state, hooks that hold in the context) is run the plain way, and `Replay.refusal` says why.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from mechwidgets.analysis.base_run import BaseRun, as_it_is
from mechwidgets.analysis.descent import ROUNDING, Way, descend, distance, rounding, way
from mechwidgets.analysis.layouts import Ends
from mechwidgets.analysis.passes import Plan, Room, Row, plan_passes, plan_varlen
from mechwidgets.analysis.rows import Change, Edit, run_rows
from mechwidgets.model.hooks import PATTERN_SITES, parse_name, site_of
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import position_axis
from mechwidgets.model.run import Pass

if TYPE_CHECKING:
    from mechwidgets.model.cache import ActivationCache
    from mechwidgets.model.hooked_model import HookedModel

# What is asked of the logits of some rows, [rows, batch, pos, d_vocab]: values [rows, ...].
Read = Callable[[torch.Tensor], torch.Tensor]

# Rows are unembedded and read so many bytes of logits at a time.
LOGIT_BYTES = 128 * 1024**2


class ReplayError(RuntimeError):
    """Rows that were run again as whole forward passes came out otherwise."""


class Replay:
    """A base run, ready to be changed.

    Args:
        model: the model.
        tokens: the base, [batch, pos].
        names: the full hook names at which it will be changed.
        real: which tokens are not padding, bool [batch, pos]; by default what ids tell.
        positions: the positions whose logits are read, negative from the end; None for all.
        answers: the token ids whose logits are read; None for all.
        max_memory: bytes that it may take beside the model and the base run; by default a quarter of what is free, 2 GiB at most.
        verify: how many rows are run again the plain way.
        plain: run everything the plain way.

    Raises:
        ValueError: max_memory is too small for one row.
    """

    def __init__(  # noqa: PLR0913 - what is asked, and the terms
        self,
        model: HookedModel,
        tokens: torch.Tensor,
        names: Iterable[str],
        *,
        real: torch.Tensor | None = None,
        positions: Sequence[int] | None = (-1,),
        answers: Sequence[int] | None = None,
        max_memory: int | None = None,
        verify: int = 2,
        plain: bool = False,
    ) -> None:
        tokens, told = model.read_tokens(tokens)
        self.model, self.tokens, self.real = model, tokens, told if real is None else real
        self.batch, self.n_pos = tokens.shape
        self.verify, self.room = verify, Room(model, self.batch, self.n_pos, max_memory)
        self._way = Way(False, "plain=True") if plain else way(model, tokens, self.real)
        self.positions: Sequence[int] = range(self.n_pos)
        if positions is not None:
            self.positions = [position % self.n_pos for position in positions]
        self.answers = None if answers is None else list(answers)
        self.base = BaseRun(model, tokens, self.real, names, self.refusal is None, self.positions)

    @property
    def refusal(self) -> str | None:
        """Why everything is run the plain way, or None."""
        return self._way.refusal

    @property
    def logits(self) -> torch.Tensor:
        """Of the base, at the positions that are read, [batch, pos, d_vocab or answer]."""
        return self._of_answers(self.base.logits)

    def _of_answers(self, logits: torch.Tensor) -> torch.Tensor:
        return logits if self.answers is None else logits[..., self.answers]

    def read_last(self) -> None:
        """Read the logits at the last position alone from now on, where all were read."""
        self.positions = [self.n_pos - 1]
        self.base.logits = self.base.logits[:, -1:].clone()

    def other(self, tokens: torch.Tensor, names: Sequence[str]) -> tuple[torch.Tensor, ActivationCache]:
        """Another prompt of as many tokens as it is, computed from the first token in which it differs.

        Args:
            tokens: [batch, pos].
            names: the full hook names of activations to keep, of those that this was made with.

        Returns:
            Its logits, as `logits` has those of the base, and its activations.
        """
        tokens, real = self.model.read_tokens(tokens)
        alike = torch.equal(real, self.real) and all(map(_can_replay, names))
        # In half precision a prompt that is run in part is not, to the last bit, what it is as a whole.
        if self.refusal is None and alike and self.logits.dtype in ROUNDING:
            logits, cache = self.base.alike(tokens, self.positions, names)
        else:
            logits, cache = as_it_is(self.model, tokens, self.positions, names)
        return self._of_answers(logits), cache

    def run(self, changes: Sequence[Change], read: Read) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Read the logits under each change by itself.

        Args:
            changes: each a sequence of edits, such as Interventions, that are made together.
            read: given logits [rows, batch, pos, d_vocab or answer] of the positions that are read, values [rows, ...].

        Yields:
            Indices into `changes` and their values, as they are done, each index once. Stop iterating to cancel.

        Raises:
            ReplayError: rows that were run again the plain way came out otherwise.
        """
        if self.refusal is None:
            changes = [self._as_late_as_possible(change) for change in changes]
        rows, plain, unchanged = self._sorted(changes)
        plans = self._plans(rows)
        checked = self._some_of(plans)
        done = [self._descend(plan, changes) for plan in checked]
        self._check(checked, done, changes)
        if unchanged:
            value = read(self.logits[None])
            yield unchanged, value.expand(len(unchanged), *value.shape[1:])
        for plan, ends in zip(checked, done, strict=True):
            yield [row.index for row in plan.rows], self._read(ends, read)
        del done
        for plan in plans:
            if not any(plan is one for one in checked):
                yield [row.index for row in plan.rows], self._read(self._descend(plan, changes), read)
        together = min(self.room.rows(), self._readable)
        for first in range(0, len(plain), together):
            some = plain[first : first + together]
            yield some, read(self._plain([changes[index] for index in some]))

    def _plans(self, rows: list[Row]) -> list[Plan]:
        if self._way.varlen:
            return plan_varlen(rows, self.room)
        return plan_passes(rows, self.model.cfg.n_layers, self.n_pos, self.batch, self.room.rows)

    def _descend(self, plan: Plan, changes: Sequence[Change]) -> Ends:
        return descend(self.base, plan, [changes[row.index] for row in plan.rows], self.positions)

    def _some_of(self, plans: list[Plan]) -> list[Plan]:
        """The passes from which rows are run again: the one whose beginning is longest, and another."""
        if not plans or not self.verify:
            return []
        last = max(plans, key=lambda plan: plan.start)
        other = random.choice(plans)  # noqa: S311 - not for secrets
        return [last] if other is last or self.verify == 1 else [last, other]

    def _sorted(self, changes: Sequence[Change]) -> tuple[list[Row], list[int], list[int]]:
        """The changes that are replayed, those that are run the plain way, and those that change nothing."""
        rows, plain, unchanged = [], [], []
        for index, change in enumerate(changes):
            reached = [found for edit in change if (found := self._first_changed(edit)) is not None]
            # What comes behind the last position that is read is not seen, unless something looks at all positions.
            unseen = all(position > max(self.positions) for _, position in reached)
            if not reached or (unseen and not any(map(_needs_all_positions, change))):
                unchanged.append(index)
            elif self.refusal is not None or not all(_can_replay(edit.name) for edit in change):
                plain.append(index)
            else:
                start = 0 if any(map(_needs_all_positions, change)) else min(position for _, position in reached)
                rows.append(Row(index, min(layer for layer, _ in reached), start))
        return rows, plain, unchanged

    def _first_changed(self, edit: Edit) -> tuple[int, int] | None:
        """The layer and the first position at which an edit makes the base another; None if it does not."""
        base, site, first = self.base.cache[edit.name], site_of(edit.name), 0
        before, at = base, position_axis(site)
        position = edit.position if isinstance(edit, Intervention) and site not in PATTERN_SITES else None
        if isinstance(position, int) and not _needs_all_positions(edit):
            # Nothing else can have changed, and long prompts have many cells.
            first = position % self.n_pos
            before = base.narrow(at, first, 1)
        after = before.clone()
        now = Pass(first, self.batch, after.shape[at], self.n_pos, real=self.real)
        edit.apply(after, replace(now, offset=0) if before is base else now, base)
        if torch.equal(after, before):
            return None
        changed = (after != before).any([dim for dim in range(after.ndim) if dim != at])
        return parse_name(edit.name)[1] or 0, first + int(changed.int().argmax())

    def _read(self, ends: Ends, read: Read) -> torch.Tensor:
        """Unembed and read what came out of the last layer, some rows at a time."""
        rows = torch.split(torch.arange(len(ends.resid)), self._readable)
        return torch.cat([read(self._logits(ends, some)) for some in rows])

    @property
    def _readable(self) -> int:
        """How many rows' logits are made at once."""
        one = self.base.logits.numel() * self.base.logits.element_size()
        return max(1, min(LOGIT_BYTES, self.room.max_memory) // one)

    def _logits(self, ends: Ends, rows: torch.Tensor) -> torch.Tensor:
        """The logits of some rows at the positions that are read; where nothing was computed they are the base's."""
        resid, computed = ends.resid[rows], ends.computed[rows]
        if not bool(computed.all()):
            resid = resid.transpose(1, 2)[computed]
        with torch.no_grad():
            logits = self.model.in_turn(lambda: self.model.logits_of(resid, self.answers))
        if bool(computed.all()):
            return logits
        whole = self.logits.repeat(len(rows), 1, 1, 1)
        whole.transpose(1, 2)[computed] = logits.to(whole.device)
        return whole

    def _plain(self, changes: Sequence[Change]) -> torch.Tensor:
        """The logits of some changes, each by a whole forward pass, at the positions that are read."""
        logits = run_rows(self.base, changes, logits_to_keep=self.n_pos - min(self.positions))
        return self._of_answers(logits[:, :, [position - self.n_pos for position in self.positions]])

    def _check(self, plans: list[Plan], done: list[Ends], changes: Sequence[Change]) -> None:
        """Run some rows of passes that are done the plain way too."""
        found, made = [], []
        for nth, (plan, ends) in enumerate(zip(plans, done, strict=True)):
            share = self.verify // len(plans) + (nth < self.verify % len(plans))
            some = random.sample(range(len(plan.rows)), min(share, len(plan.rows)))
            found += list(self._logits(ends, torch.tensor(some)))
            made += [changes[plan.rows[row].index] for row in some]
        for first in range(0, len(made), self.room.rows()):
            part = slice(first, first + self.room.rows())
            for change, row, expected in zip(made[part], found[part], self._plain(made[part]), strict=True):
                apart = distance(row, expected)
                if apart > self._tolerance(plans[0].start):
                    raise ReplayError(
                        f"Replaying {', '.join(map(str, change))} gave logits that are {apart:.3g} from those of a run of the whole model, further than "
                        f"rounding explains. Run it with plain=True, and please report this for {self.model.cfg.architecture}."
                    )

    def _tolerance(self, start: int) -> float:
        """How far logits may be from a plain run's. In half precision that depends on the model, so it is measured, on the base itself."""
        if self.logits.dtype in ROUNDING:
            return rounding(self.logits, 0)
        ends = self._descend(Plan(start, [Row(0, 0, start)], self._way.varlen), [()])
        return max(4 * distance(self._logits(ends, torch.tensor([0]))[0], self.logits), rounding(self.logits, 2))

    def _as_late_as_possible(self, change: Change) -> Change:
        """The same change, made later where that is the same: what a layer returns is what the next is given."""
        edit = change[0] if len(change) == 1 else None
        if not isinstance(edit, Intervention) or edit.site != "resid_post" or edit.layer == self.model.cfg.n_layers - 1:
            return change
        return (replace(edit, site="resid_pre", layer=(edit.layer or 0) + 1),)


def _can_replay(name: str) -> bool:
    """Whether a place is inside a layer, and seen with the positions of the pass alone."""
    site, layer = parse_name(name)
    # A key-value cache puts the keys of earlier positions before those of the pass.
    return layer is not None and site != "rot_k"


def _needs_all_positions(edit: Edit) -> bool:
    return isinstance(edit, Intervention) and edit.op == "mean" and edit.value is None
