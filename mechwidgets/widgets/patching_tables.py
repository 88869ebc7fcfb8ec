"""From a finished result to what its picture is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mechwidgets.analysis.attribution import AttributionResult, largest
from mechwidgets.analysis.edge_result import EdgeAttribution
from mechwidgets.analysis.pairs_result import PairsResult
from mechwidgets.analysis.result import PatchingResult
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.patching_traits import Axis, axis

if TYPE_CHECKING:
    import xarray as xr

Result = PatchingResult | PairsResult | EdgeAttribution

# Of neurons and edges, of which there are very many, those that matter most are shown, in a list.
MOST_LISTED = 300
# More numbers than these are no first message for a picture (2 MB).
MOST_CELLS = 500_000
# An effect as rare as this by chance counts as shown, where the caption speaks of it.
SIGNIFICANT = 0.05


@dataclass(frozen=True, eq=False)
class Table:
    """The numbers of a picture.

    Attributes:
        axes: what the arrays go along.
        values: the metric, float32 [*shape], NaN where it is not known.
        exists, done: which cells there are, and which have been run, bool [*shape].
        details: what else is known of each cell, float32 [*shape] each; traits.ts lists what.
        caption: how good the numbers are.
    """

    axes: list[Axis]
    values: np.ndarray
    exists: np.ndarray
    done: np.ndarray
    details: Mapping[str, np.ndarray] = field(default_factory=dict)
    caption: str = ""

    def traits(self, site: str) -> dict[str, Any]:
        """As the picture is told of it."""
        missing = self.exists & ~self.done
        return {
            "sites": [site],
            "site": site,
            "axes": {site: self.axes},
            "results": {site: to_wire(self.values.astype(np.float32))},
            "computed": {site: to_wire(~missing & self.exists)} if missing.any() else {},
            "absent": {} if self.exists.all() else {site: to_wire(~self.exists)},
            "details": {name: to_wire(one.astype(np.float32)) for name, one in self.details.items()},
            "caption": self.caption,
        }

    def listed(self, name: str, base: float, labels: Any) -> Table:
        """The cells with the largest changes, the largest first, along one axis.

        Args:
            name: of the axis.
            base: the metric without a change.
            labels: given indices into the axes, what a cell is called.
        """
        known = np.where(self.exists & self.done, self.values - base, np.nan)
        cells = largest(known, MOST_LISTED)
        at = tuple(cells.T)
        n, total = len(cells), int(self.exists.sum())
        said = f"The {n:,} of {total:,} that change the metric most. " if n < total else ""
        return Table(
            [axis(name, [labels(cell) for cell in cells])],
            self.values[at],
            np.ones(n, dtype=bool),
            np.ones(n, dtype=bool),
            {key: one[at] for key, one in self.details.items()},
            (said + self.caption).strip(),
        )


def traits_of(result: Result) -> dict[str, Any]:
    """What the picture of a result is told, by trait.

    Raises:
        TypeError: something else than a result.
        ValueError: it has no cell that was run, or more cells than a picture can be told.
    """
    if isinstance(result, EdgeAttribution):
        return _of_edges(result)
    if isinstance(result, PairsResult):
        average, (details, caption) = result.average(), _spread(result)
    elif isinstance(result, PatchingResult):
        average, details, caption = result, {}, ""
        if isinstance(result, AttributionResult) and result.exact is not None:
            details, caption = {"exact": result.exact.values}, f"Approximate: {result.caption}."
    else:
        raise TypeError(f"A picture is of a result of mw.patching; got {type(result).__name__}.")
    table = _table(average, details, caption)
    return {**_said(average), **table.traits(average.site), "approximate": isinstance(result, AttributionResult)}


def _table(result: PatchingResult, details: Mapping[str, np.ndarray], caption: str) -> Table:
    values = result.values
    done = result.exists.values & ~result.missing.values
    table = Table(_axes(values), values.values, result.exists.values, done, details, caption)
    if "neuron" in values.dims:
        return table.listed("cell", result.base_metric, lambda cell: _cell_name(table.axes, cell))
    if values.size > MOST_CELLS:
        raise ValueError(
            f"This result has {values.size:,} cells, and a picture is told of {MOST_CELLS:,} at most. Look at a part of it, such as "
            f"by sweeping with at={{{str(values.dims[0])!r}: [0]}}, or draw one with result.plot(at=...)."
        )
    return table


def _axes(values: xr.DataArray) -> list[Axis]:
    return [axis(str(dim), values[dim].values.tolist()) for dim in values.dims]


def _cell_name(axes: Sequence[Axis], cell: Sequence[int]) -> str:
    """What a cell is called in a list: "L12 N345 at 13"."""
    where = {one["name"]: one["values"][int(at)] for one, at in zip(axes, cell, strict=True)}
    return f"L{where['layer']} N{where['neuron']}" + (f" at {where['position']}" if "position" in where else "")


def _said(result: PatchingResult) -> dict[str, Any]:
    clean, corrupted = result.clean, result.corrupted
    return {
        "model_name": result.model_name,
        "clean": clean.text if clean else "",
        "corrupted": corrupted.text if corrupted else "",
        "clean_tokens": list(clean.str_tokens) if clean else [],
        "corrupted_tokens": list(corrupted.str_tokens) if corrupted else [],
        "metric_name": result.metric.removeprefix("approximate "),
        "direction": result.direction,
        "clean_metric": result.clean_metric,
        "corrupted_metric": result.corrupted_metric,
    }


def _spread(result: PairsResult) -> tuple[dict[str, np.ndarray], str]:
    """How sure means over pairs are, cell by cell, and in a line."""
    if len(result) < 2:
        return {}, ""
    interval = result.bootstrap_ci()
    details = {
        "stderr": result.stderr().values,
        "low": interval.sel(bound="low").values,
        "high": interval.sel(bound="high").values,
    }
    asked = f" of {result.n_asked:,}" if result.n_asked > len(result) else ""
    over = f"Means over {len(result):,}{asked} pairs of prompts"
    if result.n_missing:
        return details, f"{over}; {result.n_missing:,} cells have not been run, so none are tested."
    test = result.sign_flip_test()
    details["p"] = test["p_corrected"].values
    shown, least = int((details["p"] < SIGNIFICANT).sum()), 2.0 ** (1 - len(result))
    few = f"; so few pairs can show nothing: no p is below {least:.2g}" if least >= SIGNIFICANT else ""
    return details, (
        f"{over}. {shown:,} of {int(np.isfinite(details['p']).sum()):,} cells have an effect that the pairs show "
        f"(sign-flip test, corrected for the number of cells, p < {SIGNIFICANT}{few})."
    )


def _of_edges(result: EdgeAttribution) -> dict[str, Any]:
    scores, base = result.scores, result.corrupted_metric if result.direction == "denoise" else result.clean_metric
    exists = scores.notnull().values
    table = Table(_axes(scores), base + scores.values, exists, exists, {"exact": base + result.exact.values})
    senders, receivers = (one["values"] for one in table.axes)
    listed = table.listed("edge", base, lambda cell: f"{senders[int(cell[0])]} → {receivers[int(cell[1])]}")
    over = f" Means over {result.n_pairs:,} pairs of prompts." if result.n_pairs > 1 else ""
    caption = f"{listed.caption} Approximate: {result.caption}.{over}".strip()
    return {
        **listed.traits("edges"),
        "caption": caption,
        "approximate": True,
        "metric_name": result.metric,
        "direction": result.direction,
        "clean_metric": result.clean_metric,
        "corrupted_metric": result.corrupted_metric,
    }
