"""PatchingResultView: the picture of a sweep that is finished, drawn from its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import traitlets

from mechwidgets.analysis.pairs_result import PairsResult
from mechwidgets.widgets.code import view_code
from mechwidgets.widgets.data_view import DataView
from mechwidgets.widgets.patching_tables import Result, traits_of
from mechwidgets.widgets.patching_traits import PatchingTraits, heading_of, names_of
from mechwidgets.widgets.rpc import Handler
from mechwidgets.widgets.view import RefusedError

# An axis whose place is called by another trait than its own name.
PLACES = {"destination": "position"}


class PatchingResultView(PatchingTraits, DataView, kind="patching"):
    """A finished sweep as a picture: that of PatchingView, with no model behind it.

    Two axes lie as rows and columns, one as a list of bars; a result of more axes is cut, and choices above the picture say where. Neurons and edges, of which
    there are very many, are a list of those that change the metric most. Cells that do not exist are plain, cells that have not been run hatched. Approximate
    values are called so, with the exact ones of the cells that were run exactly; means over pairs of prompts have their intervals, and a dot where
    the pairs show an effect.

    Args:
        result: what mw.patching.sweep, ablation, steering, path_patch, attribution, sweep_pairs, edge_attribution or edge_attribution_pairs returns.
        settings: `scale` ("normalized" or "raw"), `reach` (where the colours end: at the other "baselines", or at the largest of the "values"; by default
            whichever shows more), `layer`, `head` and `position` (the chosen cell), `title`, and what every ipywidget takes.

    Attributes:
        clean, corrupted, answer, wrong: the prompts and the answers, as texts.
        site, direction: what was changed, and how; metric: what was read.
        clean_tokens, corrupted_tokens: the texts of the prompts' tokens, [pos].
        axes: what each site's table goes along: by site, `name` and `values` of each axis.
        results: the metric after patching, by site, float32 of the axes' shape; NaN where the model gave it, None where it was not run to the end.
        computed, absent: by site, uint8 of that shape: the cells that were run, where not all were; those that the model does not have, where there are some.
        details: what else is known of a finished result's cells, float32: "exact" (the metric), "stderr", "low", "high" (of the effect), "p" (corrected).
        clean_metric, corrupted_metric: of the two prompts as they are; None where there is one prompt only.
        metrics, directions, sites: what can be chosen.
        heading, names, metric_name, caption: what the picture calls things, and how good its numbers are.
        approximate, finished: whether the numbers are first-order approximations, and whether they are all there is.
        model_name: what the picture calls the model.

    Raises:
        ValueError: more cells than a picture can be told.
        TypeError: something else than a result, or an argument that the picture does not take.
    """

    settings = ("scale", "reach", "layer", "head", "position")

    def __init__(self, result: Result, **settings: Any) -> None:
        self._check_settings(settings)
        told = traits_of(result)
        # none of pairs, whose sweeps are made from a data set that they do not know
        self._result_code = "" if isinstance(result, PairsResult) else result.code
        site, direction = told["site"], told["direction"]
        heading, names = heading_of(site, direction, told["approximate"]), names_of([site], [], [direction])
        super().__init__(**told, heading=heading, names=names, finished=True, **settings)

    def to_code(self) -> str:
        """As `View.to_code`, behind the Python that makes the result."""
        drawn = view_code(self)
        if not self._result_code:
            return drawn
        return self._result_code + drawn.removeprefix("import mechwidgets as mw\n").replace(
            "# result: as the picture had it.\n", ""
        )

    def _handlers(self) -> Mapping[str, Handler]:
        return {}

    @traitlets.validate("layer", "head", "position")
    def _place_is_there(self, proposal: Any) -> int | None:
        """Whether the table has it; a table without the axis does not mind, as other pictures may be at the same place."""
        name: str = proposal["trait"].name
        value: int | None = proposal["value"]
        for one in self.axes.get(self.site, ()):
            if PLACES.get(one["name"], one["name"]) == name and value is not None and value not in one["values"]:
                raise RefusedError(f"This result has no {name} {value}. It has: {_listed(one['values'])}.")
        return value


def _listed(values: list[Any]) -> str:
    if len(values) > 2 and values == list(range(values[0], values[0] + len(values))):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))


def mimebundle(result: Result) -> Any:
    """What a notebook shows of a result: its picture, or None where it is too large for one."""
    try:
        return PatchingResultView(result)._repr_mimebundle_()
    except ValueError:
        return None
