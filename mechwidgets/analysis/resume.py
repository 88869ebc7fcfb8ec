"""Sweeps that are saved while they run, so that after a crash, a kill or an interrupt only what is missing is run."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mechwidgets.analysis import document
from mechwidgets.analysis.edge_result import EdgeAttribution
from mechwidgets.analysis.pairs_result import PairsResult
from mechwidgets.analysis.progress import Found, carry_out
from mechwidgets.analysis.result import PatchingResult, Prompt
from mechwidgets.analysis.result_file import Result, load, save

if TYPE_CHECKING:
    from collections.abc import Callable

    from mechwidgets.analysis.prompt_sweep import PromptSweep
    from mechwidgets.analysis.sweep import Cells, PairSweep

# Seconds between two times that a sweep is saved.
INTERVAL = 5.0
# How far the baselines of the same question may be apart, as a share of the larger or in the metric's unit: other threads and devices round otherwise.
TOLERANCE = 1e-3


class SavedSweep(Found):
    """What a sweep has found so far, in a file.

    Args:
        sweep: what is run.
        file: where it is saved; what is there already of the same sweep is not run again. None for nowhere.

    Attributes:
        label: makes a result of values and of which cells are done.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is another sweep's, or no file of ours; it stays as it is.
    """

    def __init__(self, sweep: PairSweep | PromptSweep, file: str | Path | None = None) -> None:
        super().__init__(sweep)
        self.file, self.label = file, sweep.result
        self._saved_at = time.monotonic()
        if file is None:
            return
        document.checked_suffix(file)
        if Path(file).expanduser().exists():
            self.take_up(load(file), str(file))
        else:
            # whether it can be written is known before any work
            self.save()

    def take_up(self, found: Result, where: str) -> None:
        """Go on from what an earlier sweep found.

        Raises:
            ValueError: it was another one.
        """
        if isinstance(found, PairsResult):
            differences = [f"{len(found)} pairs there, one asked for"]
        elif isinstance(found, EdgeAttribution):
            differences = ["edges there, cells asked for"]
        else:
            differences = what_differs(self.result(), found)
            self.values[:], self.done[:] = (found.values.values, found.done) if not differences else (np.nan, False)
        if differences:
            raise ValueError(
                f"{where} is of another sweep: {'; '.join(differences)}. It stays as it is. Give another file, or delete this one."
            )

    def carry_out(self, on_progress: Callable[[int, int], None] | None = None, progress: bool = True) -> None:
        """As `progress.carry_out`; whatever ends it, what is done is saved."""
        hint = "" if self.file is None else f" The same call with file={str(self.file)!r} goes on from there."
        try:
            carry_out(self, on_progress, progress, hint)
        finally:
            self.save()

    def take(self, cells: Cells) -> None:
        """Note what has been run, and save it if it is time to."""
        super().take(cells)
        if time.monotonic() - self._saved_at >= INTERVAL:
            self.save()

    def save(self) -> None:
        """Write it to its file, if it has one."""
        if self.file is not None:
            save(self.result(), self.file)
            self._saved_at = time.monotonic()

    def result(self) -> PatchingResult:
        """What has been found."""
        return self.label(self.values, self.done)


class SavedPairs:
    """What sweeps over many pairs have found so far, in a file.

    Args:
        n_asked: over how many pairs.
        file: as of SavedSweep.

    Raises:
        OSError, ValueError: as SavedSweep.
    """

    def __init__(self, n_asked: int, file: str | Path | None = None) -> None:
        self.n_asked, self.file = n_asked, file
        self.results: list[PatchingResult] = []
        self._found: list[PatchingResult] = []
        self._saved_at, self._unsaved = time.monotonic(), False
        if file is None:
            return
        document.checked_suffix(file)
        path = Path(file).expanduser()
        if path.exists():
            found = load(file)
            if not isinstance(found, PairsResult) or len(found) > n_asked:
                raise ValueError(
                    f"{file} holds {found!r}, which is not of these {n_asked} pairs. It stays as it is. Give another file, or delete this one."
                )
            self._found = list(found)
        elif not path.parent.is_dir():
            raise FileNotFoundError(f"There is no folder {path.parent} for {file} to be saved in.")

    def carry_out(self, sweep: PairSweep) -> bool:
        """Sweep the next pair, as far as that has not been done; whether it came to its end.

        Raises:
            ValueError: the file has another pair in its place.
        """
        number, found = len(self.results), SavedSweep(sweep)
        if number < len(self._found):
            found.take_up(self._found[number], f"Pair {number} of {self.file}")
        if len(found.missing()):
            self._unsaved = True
            carry_out(found, progress=False, hint=f" This was pair {number} of {self.n_asked}.")
        if not found.done.any():
            return False
        self.results.append(found.result())
        if time.monotonic() - self._saved_at >= INTERVAL:
            self.save()
        return not len(found.missing())

    def save(self) -> None:
        """Write it to its file, if it has one and there is more than the file has."""
        if self.file is not None and self.results and self._unsaved:
            # what else the file has is looked at in its turn
            save(PairsResult((*self.results, *self._found[len(self.results) :]), self.n_asked), self.file)
            self._saved_at, self._unsaved = time.monotonic(), False

    def result(self) -> PairsResult:
        """What has been found."""
        return PairsResult(tuple(self.results), self.n_asked)


def what_differs(asked: PatchingResult, found: PatchingResult) -> list[str]:
    """What two results were not asked alike."""
    differences = [
        f"{what} {getattr(found, name)!r} there, {getattr(asked, name)!r} asked for"
        for what, name in (
            ("model", "model_name"),
            ("site", "site"),
            ("direction", "direction"),
            ("metric", "metric"),
            ("metric", "metric_code"),
        )
        if getattr(found, name) != getattr(asked, name)
    ]
    for what in ("clean", "corrupted"):
        here, there = getattr(asked, what), getattr(found, what)
        if here != there:
            differences.append(f"{what} prompt {_text(there)} there, {_text(here)} asked for")
    if _axes(asked) != _axes(found) or not np.array_equal(asked.exists, found.exists):
        differences.append(f"cells {_cells(found)} there, {_cells(asked)} asked for")
    if asked.given != found.given:
        differences.append("other reference prompts, or another vector")
    if differences:
        return differences
    for what in ("clean_metric", "corrupted_metric"):
        here, there = getattr(asked, what), getattr(found, what)
        if here != there and not (
            None not in (here, there) and math.isclose(here, there, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        ):
            differences.append(
                f"the {what.replace('_', ' ')} is {there:.6g} there and {here:.6g} here, so the model has other weights or hooks, or the metric is another function"
            )
    return differences


def _axes(result: PatchingResult) -> list[tuple[str, list[int]]]:
    return [(str(dim), result.values[dim].values.tolist()) for dim in result.values.dims]


def _cells(result: PatchingResult) -> str:
    axes = [f"{len(values)} of {dim}" for dim, values in _axes(result)]
    return f"{' x '.join(axes)} ({int(result.exists.sum())} exist)"


def _text(prompt: Prompt | None) -> str:
    return "none" if prompt is None else repr(prompt.text)
