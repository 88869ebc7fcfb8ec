"""TopTokensView: the tokens on which each of many neurons is largest and smallest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets

from mechwidgets.model.places import check_range
from mechwidgets.share.arrays import sliceable, to_float32, to_wire
from mechwidgets.widgets.data_view import DataView, token_texts
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.tokens import Dimension
from mechwidgets.widgets.view import refusing

# What a page may hold: of each column, k tokens at either end.
MOST_COLUMNS = 50


class TopTokensView(DataView, kind="top_tokens"):
    """A table: for each neuron (or feature) a column, with the tokens of a sample on which it is largest, and those on which it is smallest.

    Args:
        tokens: texts, [sample][token].
        values: of each sample an array or tensor [layer, token, neuron]; kept as it is, and read where it is shown.
        k: how many tokens of either end.
        layers: what layers are called, a name or a Dimension.
        neurons: what neurons are called.
        sample_names: what the samples are called.
        columns: how many neurons stand side by side, at most 50.
        value_name: what the values are.
        settings: `sample`, `layer`, `neuron`, `title`, `model_name`, and what every ipywidget takes (`layout`, ...).

    Attributes:
        sample, layer: what is shown; assign to choose, `observe` to follow clicks.
        neuron: the first column.
        content: what is in sight: the sample's tokens, and for each column its largest and smallest values.

    Raises:
        ValueError: values that do not fit the tokens or each other.
        TypeError: tokens that are not texts, or an argument that the picture does not take.
    """

    settings = ("sample", "layer", "neuron", "model_name")

    value_name = traitlets.Unicode("activation").tag(sync=True)
    layers = traitlets.Dict().tag(sync=True)
    neurons = traitlets.Dict().tag(sync=True)
    sample_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    k = traitlets.Int(10).tag(sync=True)
    columns = traitlets.Int(10).tag(sync=True)
    sample = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    neuron = traitlets.Int(0).tag(sync=True)
    content = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        tokens: Sequence[Any],
        values: Sequence[Any],
        *,
        k: int = 10,
        layers: str | Dimension = "Layer",
        neurons: str = "Neuron",
        sample_names: Sequence[str] | None = None,
        columns: int = 10,
        value_name: str = "activation",
        **settings: Any,
    ) -> None:
        self._check_settings(settings)
        if k < 1 or not 1 <= columns <= MOST_COLUMNS:
            raise ValueError(f"k is {k} and columns {columns}; expected 1 or more, and 1 to {MOST_COLUMNS}.")
        self._tokens, self._values = _read(tokens, values)
        n_layers, _, n_neurons = self._values[0].shape
        described = Dimension(layers) if isinstance(layers, str) else layers
        for what, labels, count in (
            ("samples", sample_names, len(self._tokens)),
            ("layers", described.labels, n_layers),
        ):
            if labels is not None and len(labels) != count:
                raise ValueError(f"There are {len(labels)} labels for {count} {what}. Give one for each, or none.")
        place = {"sample": 0, "layer": 0, "neuron": 0} | {
            name: settings[name] for name in ("sample", "layer", "neuron") if name in settings
        }
        self._check_place(**place)
        super().__init__(
            k=k,
            columns=columns,
            value_name=value_name,
            layers={"name": described.name, "size": n_layers, "labels": described.labels and list(described.labels)},
            neurons={"name": neurons, "size": n_neurons, "labels": None},
            sample_names=[str(name) for name in sample_names or range(len(self._tokens))],
            **settings,
            content=self._content(**place, columns=columns, k=k),
        )

    def __repr__(self) -> str:
        title = f"{self.title!r}: " if self.title else ""
        return f"TopTokensView({title}{len(self._tokens)} samples, {self.layers['size']} layers x {self.neurons['size']} neurons)"

    def _content(self, sample: int, layer: int, neuron: int, columns: int, k: int) -> dict[str, Any]:
        """The columns from `neuron` on: positions of tokens and their values, [end, rank, column]; the top first, the least at the bottom."""
        self._shown = (sample, layer, neuron, columns, k)
        of_layer = self._values[sample][layer]
        shown = to_float32(of_layer[:, neuron : neuron + columns])
        order = np.argsort(-shown, axis=0, kind="stable")
        kept = min(k, len(shown))
        positions = np.stack([order[:kept], order[len(order) - kept :]])
        finite = to_float32(of_layer)
        finite = finite[np.isfinite(finite)]
        return {
            "sample": sample,
            "layer": layer,
            "neuron": neuron,
            "tokens": self._tokens[sample],
            "positions": to_wire(positions.astype(np.int32)),
            "values": to_wire(np.take_along_axis(shown[None], positions, axis=1)),
            "smallest": float(finite.min()) if finite.size else 0.0,
            "largest": float(finite.max()) if finite.size else 0.0,
        }

    def _handlers(self) -> Mapping[str, Handler]:
        return {"show": self._show}

    def _show(self, request: Request, sample: int, layer: int, neuron: int) -> dict[str, Any]:
        """Show other columns."""
        self._check_place(sample, layer, neuron)
        with self.hold_sync():
            self.sample, self.layer, self.neuron = sample, layer, neuron
        return {}

    def _check_place(self, sample: int, layer: int, neuron: int) -> None:
        n_layers, _, n_neurons = self._values[0].shape
        check_range("sample", sample, len(self._tokens))
        check_range("layer", layer, n_layers)
        check_range("neuron", neuron, n_neurons)

    @traitlets.validate("sample", "layer", "neuron")
    def _place_in_range(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        place = {"sample": self.sample, "layer": self.layer, "neuron": self.neuron, name: value}
        with refusing():
            self._check_place(**place)
        return int(value)

    @traitlets.observe("sample", "layer", "neuron", "columns", "k")
    def _turn_to(self, change: Any) -> None:
        place = (self.sample, self.layer, self.neuron, self.columns, self.k)
        if place != self._shown:
            with self._turn:
                self.content = self._content(*place)

    @traitlets.validate("columns")
    def _columns_in_range(self, proposal: Any) -> int:
        if not 1 <= proposal["value"] <= MOST_COLUMNS:
            with refusing():
                raise ValueError(f"columns is {proposal['value']}; expected 1 to {MOST_COLUMNS}.")
        return int(proposal["value"])

    def to_circuitsvis(self) -> Any:
        """The same table drawn by the CircuitsVis package: its RenderedHTML, from the bundle in its wheel, with no network.

        Of every layer and neuron k tokens at either end go into the output.

        Raises:
            ValueError: too much data for a page.
        """
        from mechwidgets.widgets.circuitsvis import check_count, rendered

        count = sum(4 * min(self.k, one.shape[1]) * one.shape[0] * one.shape[2] for one in self._values)
        check_count(count)
        props: dict[str, list[Any]] = {"topkVals": [], "topkIdxs": [], "bottomkVals": [], "bottomkIdxs": []}
        for values in map(to_float32, self._values):
            order = np.argsort(-values, axis=1, kind="stable")
            kept = min(self.k, values.shape[1])
            for end, positions in (("topk", order[:, :kept]), ("bottomk", order[:, order.shape[1] - kept :])):
                props[f"{end}Idxs"].append(positions)
                props[f"{end}Vals"].append(np.take_along_axis(values, positions, axis=1))
        return rendered(
            "TopkTokens",
            tokens=self._tokens,
            **props,
            firstDimensionName=self.layers["name"],
            thirdDimensionName=self.neurons["name"],
            sampleLabels=self.sample_names,
            firstDimensionLabels=self.layers["labels"],
        )


def _read(tokens: Sequence[Any], values: Sequence[Any]) -> tuple[list[list[str]], list[Any]]:
    if len(tokens) != len(values) or not len(tokens):
        raise ValueError(f"There are tokens of {len(tokens)} samples and values of {len(values)}. Give both for each.")
    arrays = [sliceable(one) for one in values]
    for one in arrays:
        if one.ndim != 3 or 0 in one.shape:
            raise ValueError(f"The values of a sample have shape {list(one.shape)}; expected [layer, token, neuron].")
    if len({(one.shape[0], one.shape[2]) for one in arrays}) > 1:
        raise ValueError("The samples have different numbers of layers or neurons.")
    texts = [token_texts(one, array.shape[1]) for one, array in zip(tokens, arrays, strict=True)]
    return texts, arrays
