"""What was found of a model's edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mechwidgets.analysis.attribution import caption, correlation, scatter

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from mechwidgets.analysis.edges import Graph


@dataclass(frozen=True, eq=False, repr=False)
class EdgeAttribution:
    """What edges do, approximately.

    Attributes:
        scores: by how much the metric would change if only this edge carried what it carries in the other run, to first order: xarray [sender, receiver], in the
            metric's unit; NaN where the sender does not stand before the receiver. Senders are "embed", "L0H0", "0_mlp_out", ...; receivers "q of L0H0",
            "k of L0H0" and "v of L0H0" (key-value heads), "mlp 0", ..., "logits".
        exact: the same, run exactly (path patching with everything else held), for the edges with the largest scores; NaN at the others.
        clean_metric, corrupted_metric: the metric of the two prompts as they are; over several pairs, their means.
        direction, metric: which run was changed, and what was read.
        steps: over how many runs between the two prompts gradients were averaged; 0 for the gradient of the base alone.
        code: Python that makes this again.
        n_pairs: over how many pairs of prompts scores and effects are means.
    """

    scores: xr.DataArray
    exact: xr.DataArray
    clean_metric: float
    corrupted_metric: float
    direction: str
    metric: str
    steps: int
    code: str
    n_pairs: int = 1

    @classmethod
    def of(
        cls,
        graph: Graph,
        scores: np.ndarray,
        exact: np.ndarray,
        unit: str,
        clean_metric: float,
        corrupted_metric: float,
        **said: Any,
    ) -> EdgeAttribution:
        """Label what was found, float32 [sender, receiver] each."""
        return cls.labelled(_coords(graph), scores, exact, unit, clean_metric, corrupted_metric, **said)

    @classmethod
    def labelled(
        cls,
        coords: Mapping[str, Any],
        scores: np.ndarray,
        exact: np.ndarray,
        unit: str,
        clean_metric: float,
        corrupted_metric: float,
        **said: Any,
    ) -> EdgeAttribution:
        """As `of`, with the labels themselves: xarray coordinates `sender`, `sender_layer`, `receiver`, `receiver_layer` and `receiver_kind`."""
        method = "edge attribution patching" + (
            f" with integrated gradients, {said['steps']} steps" if said["steps"] else ""
        )
        baselines: dict[str, Any] = {"clean_metric": clean_metric, "corrupted_metric": corrupted_metric}
        attrs = {"unit": unit, "direction": said["direction"], **baselines}
        labelled = _labelled(
            coords, scores, f"approximate effect on {said['metric']}", {"approximation": method, **attrs}
        )
        return cls(labelled, _labelled(coords, exact, f"exact effect on {said['metric']}", attrs), **baselines, **said)

    @property
    def pearson(self) -> float:
        """The correlation, -1 to 1, of scores and exact effects, over the edges whose exact effect is known; NaN where these are fewer than three."""
        return correlation(self.scores, self.exact)

    @property
    def spearman(self) -> float:
        """As `pearson`, of their ranks."""
        return correlation(self.scores, self.exact, ranks=True)

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each edge that exists: sender, sender_layer (-1 for "embed"), receiver, receiver_layer, score and exact (NaN where it is not known)."""
        import xarray as xr

        together = xr.Dataset({"score": self.scores.rename("score"), "exact": self.exact.rename("exact")})
        table: pd.DataFrame = together.to_dataframe().reset_index().dropna(subset=["score"]).reset_index(drop=True)
        return table

    def top(self, n: int = 10) -> pd.DataFrame:
        """The n edges with the largest scores, either way, the largest first: the columns of `to_dataframe`."""
        table = self.to_dataframe()
        order = table["score"].abs().sort_values(ascending=False, kind="stable").index
        first: pd.DataFrame = table.loc[order[:n]].reset_index(drop=True)
        return first

    @property
    def caption(self) -> str:
        """That it is approximate, and how well it agrees with what was run exactly."""
        return caption(self.scores, self.exact)

    def plot_exact(self) -> Figure:
        """The score against the exact effect of each edge that was run exactly, in the metric's unit; on the diagonal they agree.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return scatter(self.scores, self.exact, f"edges, {self.direction}{self._over}\n{self.metric}\n{self.caption}")

    def save(self, path: str | Path) -> None:
        """Write it all to a file that `mw.load` reads: JSON, with a name that ends in .mw.json. A file of that name is replaced, in one step.

        Raises:
            OSError: the file cannot be written.
            ValueError: another ending.
        """
        from mechwidgets.analysis.result_file import save

        save(self, path)

    @property
    def _over(self) -> str:
        return f", mean over {self.n_pairs:,} pairs" if self.n_pairs > 1 else ""

    def __repr__(self) -> str:
        return (
            f"EdgeAttribution(approximate {self.direction}, {int(self.scores.notnull().sum()):,} edges ({' x '.join(map(str, self.scores.shape))}){self._over}, "
            f"{self.metric}: clean {self.clean_metric:.3f}, corrupted {self.corrupted_metric:.3f}; {self.caption})"
        )


def _coords(graph: Graph) -> dict[str, Any]:
    sender_layers = [-1 if sender.kind == "embed" else sender.layer for sender in graph.senders]
    return {
        "sender": [sender.label for sender in graph.senders],
        "sender_layer": ("sender", sender_layers),
        "receiver": [receiver.label for receiver in graph.receivers],
        "receiver_layer": ("receiver", [receiver.layer for receiver in graph.receivers]),
        "receiver_kind": ("receiver", [receiver.kind for receiver in graph.receivers]),
    }


def _labelled(coords: Mapping[str, Any], values: np.ndarray, name: str, attrs: dict[str, Any]) -> xr.DataArray:
    import xarray as xr

    return xr.DataArray(values, dims=("sender", "receiver"), coords=coords, name=name, attrs=attrs)
