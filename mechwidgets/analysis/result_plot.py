"""Results as figures for papers: vector drawings with matplotlib, which is imported with this module."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mechwidgets.analysis.plot_panel import FONT, INK, axis_labels, draw_bar, draw_cells, draw_legend, draw_line
from mechwidgets.analysis.plot_title import LINE_SPACING, set_title

if TYPE_CHECKING:
    import xarray as xr

    from mechwidgets.analysis.result import PatchingResult

# Inches: a page's width and height, a cell's largest sides, a line's height, and room for what stands around the cells.
PAGE, TALLEST = 6.75, 9.0
WIDEST, CELL_HEIGHT, SHORTEST, LINE_HEIGHT = 0.42, 0.115, 0.9, 1.6
LEFT, RIGHT, AROUND, BETWEEN = 0.55, 1.15, 1.1, 0.35
MOST_PANELS, PANELS_IN_ROW = 40, 4

DENOISE, NOISE = "denoise (clean into corrupted)", "noise (corrupted into clean)"


class PaperFigure(Figure):
    """A figure that a notebook shows without pyplot, and once."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """As matplotlib's, with fonts in PDF and PostScript that journals take and editors can edit: TrueType, not Type 3."""
        with rc_context({"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}):
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        shown = io.BytesIO()
        self.savefig(shown, format="png", dpi=150)
        return shown.getvalue()


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows: values, and which of the cells exist and are missing, each [rows, columns], or [places] of a line."""

    title: str
    values: xr.DataArray
    exists: xr.DataArray
    missing: xr.DataArray


@dataclass(frozen=True)
class Scale:
    """What the colours mean.

    Attributes:
        norm: from values to the colour map; its middle is the run that was changed.
        low, high: between which values there are any.
        baselines: the metric of the two prompts, by name.
        unit: of the values.
    """

    norm: Normalize
    low: float
    high: float
    baselines: Mapping[str, float]
    unit: str

    @classmethod
    def of(cls, result: PatchingResult, values: xr.DataArray, scale: str) -> Scale:
        """The scale for some of a result's values."""
        given = {"clean": result.clean_metric, "corrupted": result.corrupted_metric}
        baselines = {name: value for name, value in given.items() if value is not None}
        middle, unit = result.base_metric, result.unit
        if scale == "effect":
            baselines = {name: value - middle for name, value in baselines.items()}
            middle, unit = 0.0, f"change in {unit}" if unit else "change"
        elif scale == "normalized":
            middle = 0.0 if middle == result.corrupted_metric else 1.0
            baselines, unit = {"clean": 1.0, "corrupted": 0.0}, "normalised"
        finite = values.values[np.isfinite(values.values)].astype(float)
        reach = (float(np.abs(finite - middle).max()) if finite.size else 0.0) or 1.0
        low, high = (float(bound(finite, initial=middle)) for bound in (np.min, np.max))
        # The colours around the middle are there in any case.
        low, high = min(low, middle - 0.1 * reach), max(high, middle + 0.1 * reach)
        return cls(Normalize(middle - reach, middle + reach), low, high, baselines, unit)


def plot(
    result: PatchingResult,
    scale: str = "value",
    *,
    at: Mapping[str, int] | None = None,
    facet: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw a result; see `PatchingResult.plot`."""
    values, exists, missing = (_cut(one, at or {}) for one in (result.scaled(scale), result.exists, result.missing))
    panels = [
        Panel(label, values.sel(where), exists.sel(where), missing.sel(where))
        for label, where in _places(values, facet)
    ]
    if ax is not None and len(panels) > 1:
        raise ValueError(f"ax holds one panel; this has {len(panels)}. Cut it with at=, such as at={{'head': 0}}.")
    figure, axes = _layout(panels) if ax is None else (cast(Figure, ax.figure), [ax])
    colours = Scale.of(result, values, scale)
    for panel, one in zip(panels, axes, strict=True):
        if panel.values.ndim == 1:
            draw_line(one, panel, colours)
        else:
            draw_cells(one, panel, colours)
        if panel.title:
            one.set_title(panel.title, fontsize=FONT, color=INK, parse_math=False)
            one.label_outer()
    if values.ndim > 1:
        draw_bar(figure, axes, colours)
    draw_legend(axes[0] if ax is not None else figure, exists, missing, values)
    _title(figure, axes, result, title, figure_is_ours=ax is None)
    return figure


def _cut(values: xr.DataArray, at: Mapping[str, int]) -> xr.DataArray:
    for dim, place in at.items():
        if dim not in values.dims:
            raise ValueError(
                f"This result has no dimension {dim!r} to cut at. It has: {', '.join(map(str, values.dims))}."
            )
        labels = values[dim].values.tolist()
        label = place if place in labels else labels[place] if -len(labels) <= place < 0 else None
        if label is None:
            raise ValueError(f"There is no {dim} {place} in this result. It has: {', '.join(map(str, labels))}.")
        values = values.sel({dim: label})
    return values


def _places(values: xr.DataArray, facet: str | None) -> list[tuple[str, dict[str, int]]]:
    """The title of each panel, and where it cuts."""
    dims = list(map(str, values.dims))
    if facet is None and len(dims) in (1, 2):
        return [("", {})]
    if not dims:
        raise ValueError("One cell is no figure. Leave a dimension out of at=.")
    facet = min(dims, key=lambda dim: values.sizes[dim]) if facet is None else facet
    if facet not in dims or len(dims) == 1:
        raise ValueError(f"facet={facet!r} leaves nothing, or is no dimension that there is: {', '.join(dims)}.")
    if len(dims) > 3:
        raise ValueError(
            f"A figure shows three dimensions at most, one of them as panels; there are {', '.join(dims)}. "
            f"Cut the others with at=, such as at={{{dims[0]!r}: {values[dims[0]].values[0]}}}."
        )
    labels = values[facet].values.tolist()
    if len(labels) > MOST_PANELS:
        raise ValueError(
            f"facet={facet!r} would be {len(labels)} panels; {MOST_PANELS} fit on a page. Choose another facet, or cut with at={{{facet!r}: {labels[0]}}}."
        )
    shown = axis_labels(values, facet)
    return [(f"{facet} {text}", {facet: label}) for text, label in zip(shown, labels, strict=True)]


def _layout(panels: list[Panel]) -> tuple[Figure, list[Any]]:
    """A figure with a place for each panel, sized by what is in it."""
    values = panels[0].values
    rows, columns = values.shape if values.ndim == 2 else (0, values.size)
    in_row = min(len(panels), PANELS_IN_ROW)
    down = math.ceil(len(panels) / in_row)
    cell = min((PAGE - LEFT - RIGHT - BETWEEN * (in_row - 1)) / in_row / columns, WIDEST)
    # From token to token cells are square.
    height = rows * (cell if values.dims == ("destination", "source") else CELL_HEIGHT) if rows else LINE_HEIGHT
    height = min(max(height, SHORTEST), (TALLEST - AROUND) / down - BETWEEN)
    size = (LEFT + RIGHT + in_row * cell * columns + BETWEEN * (in_row - 1), AROUND + down * (height + BETWEEN))
    figure = PaperFigure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(down, in_row, squeeze=False, sharex=True, sharey=True).flat)
    for unused in axes[len(panels) :]:
        unused.remove()
    return figure, axes[: len(panels)]


def _title(figure: Figure, axes: list[Any], result: PatchingResult, title: str | None, figure_is_ours: bool) -> None:
    way = {"denoise": DENOISE, "noise": NOISE}.get(result.direction, result.direction)
    said = f"{result.site}, {way}\n{result.metric}" if title is None else title
    if not said:
        return
    if figure_is_ours:
        set_title(figure, axes, said)
    else:
        axes[0].set_title(said, loc="left", fontsize=FONT, color=INK, parse_math=False, linespacing=LINE_SPACING)
