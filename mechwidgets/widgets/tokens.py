"""TokensView: text coloured by a value of each token."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import traitlets

from mechwidgets.model.places import check_range
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.data_view import DataView
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.token_pages import Candidates, Index, Pages, Samples, SortedSamples, TokenData
from mechwidgets.widgets.view import refusing

# So many values of a token are sent together, and told together when it is pointed at.
COLUMNS_TOGETHER = 12
TOKENS_PER_PAGE = 1_500
# of which each has its candidates
TOKENS_PER_PAGE_WITH_CANDIDATES = 500


@dataclass(frozen=True)
class Dimension:
    """A dimension of the values beside the tokens, to choose along.

    Attributes:
        name: such as "Layer".
        labels: of its places; by themselves numbers.
    """

    name: str
    labels: Sequence[str] | None = None


class TokensView(DataView, kind="tokens"):
    """Tokens coloured by a value: a loss, a probability, an activation, or one of several to choose from.

    Args:
        tokens: the texts of the tokens, [token]; or of several samples, a list of such lists.
        values: [token, ...] with up to two dimensions more, such as layers and neurons; of several samples, a list of such arrays.
        dimensions: what those are called, each a name or a Dimension.
        value_name: what the values are.
        min_value, max_value: where the colours end; by themselves at 0 and at the data's largest, over all samples.
        diverging: whether negative and positive values have colours of their own; by itself where there are negative ones.
        negative_color, positive_color: CSS colours for values below and above 0.
        candidates: of a single sample, what else could stand at each token.
        samples_per_page: how many samples stand on a page.
        settings: `index`, `page`, `title`, `model_name`, and what every ipywidget takes (`layout`, ...).

    Attributes:
        index: the place along each dimension that is shown; assign to choose, `observe` to follow clicks.
        page: the page of samples.
        content: what is on the page: texts and values, float32.

    Raises:
        ValueError: values that do not fit the tokens; the message has both lengths.
        TypeError: tokens that are not texts, or an argument that the picture does not take.
    """

    settings = ("index", "page", "model_name", "min_value", "max_value")

    value_name = traitlets.Unicode("value").tag(sync=True)
    dimensions = traitlets.List(traitlets.Dict()).tag(sync=True)
    min_value = traitlets.Float(None, allow_none=True).tag(sync=True)
    max_value = traitlets.Float(None, allow_none=True).tag(sync=True)
    diverging = traitlets.Bool(None, allow_none=True).tag(sync=True)
    negative_color = traitlets.Unicode("").tag(sync=True)
    positive_color = traitlets.Unicode("").tag(sync=True)
    index = traitlets.List(traitlets.Int()).tag(sync=True)
    page = traitlets.Int(0).tag(sync=True)
    content = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        tokens: Any,
        values: Any,
        *,
        dimensions: Sequence[str | Dimension] = (),
        value_name: str = "value",
        diverging: bool | None = None,
        candidates: Candidates | None = None,
        samples_per_page: int = 5,
        **settings: Any,
    ) -> None:
        for name in settings:
            if name not in ("negative_color", "positive_color"):
                self._check_argument(name)
        data = values if isinstance(values, SortedSamples) else _samples(tokens, values)
        described = _described(dimensions, data.sizes)
        self._candidates = candidates
        per_page = TOKENS_PER_PAGE if candidates is None else TOKENS_PER_PAGE_WITH_CANDIDATES
        self._pages = Pages(data, samples_per_page, per_page)
        together = not isinstance(data, SortedSamples) and math.prod(data.sizes) <= COLUMNS_TOGETHER
        self._columns = list(itertools.product(*map(range, data.sizes))) if together else None
        index = [int(place) for place in settings.pop("index", [0] * len(data.sizes))]
        page = int(settings.pop("page", 0))
        self._check_place(index, page)
        super().__init__(
            value_name=value_name,
            dimensions=described,
            diverging=diverging,
            index=index,
            page=page,
            content=self._content(index, page),
            **{name: value for name, value in settings.items() if value is not None},
        )

    def __repr__(self) -> str:
        title = f"{self.title!r}: " if self.title else ""
        on_page = sum(len(tokens) for tokens in self.content["tokens"])
        return f"TokensView({title}{on_page} tokens on page {self.page + 1} of {self.content['n_pages']})"

    def _content(self, index: Sequence[int], page: int) -> dict[str, Any]:
        """A page as the picture draws it; its columns are all there are, or the one that is chosen."""
        at = tuple(index)
        data, pieces = self._pages.data, self._pages.pages(at)[page]
        columns = self._columns or [at]
        values = [
            np.concatenate([data.values(column, piece.sample)[piece.start : piece.stop] for piece in pieces])
            for column in columns
        ]
        return {
            "index": list(at),
            "page": page,
            "n_pages": len(self._pages.pages(at)),
            "n_samples": data.n_samples(at),
            "samples": [piece.sample for piece in pieces],
            "starts": [piece.start for piece in pieces],
            "tokens": [data.tokens(at, piece.sample)[piece.start : piece.stop] for piece in pieces],
            "columns": len(columns),
            "values": to_wire(np.stack(values, axis=1)),
            "ranges": to_wire(np.array([self._pages.range(column) for column in columns])),
            "candidates": self._page_candidates(pieces[0].start, pieces[-1].stop),
        }

    def _page_candidates(self, start: int, stop: int) -> dict[str, Any] | None:
        if self._candidates is None:
            return None
        texts = self._candidates.tokens[start:stop]
        numbers: dict[str, int] = {}
        ids = [[numbers.setdefault(text, len(numbers)) for text in row] for row in texts]
        return {
            "vocabulary": list(numbers),
            "tokens": to_wire(np.array(ids, dtype=np.int32)),
            "values": to_wire(self._candidates.values[start:stop]),
            "ranks": to_wire(self._candidates.ranks[start:stop]),
        }

    def _handlers(self) -> Mapping[str, Handler]:
        return {"show": self._show}

    def _show(self, request: Request, index: list[int], page: int) -> dict[str, Any]:
        """Turn to a page."""
        self._check_place(index, page)
        with self.hold_sync():
            self.index = index
            self.page = page
        return {}

    def _check_place(self, index: Sequence[int], page: int) -> None:
        sizes = self._pages.data.sizes
        if len(index) != len(sizes):
            raise ValueError(
                f"index has {len(index)} places; the values have {len(sizes)} dimensions beside the tokens."
            )
        for place, size in zip(index, sizes, strict=True):
            check_range("index", place, size)
        check_range("page", page, len(self._pages.pages(tuple(index))))

    @traitlets.validate("index")
    def _index_in_range(self, proposal: Any) -> list[int]:
        with refusing():
            self._check_place(proposal["value"], 0)
        return list(proposal["value"])

    @traitlets.validate("page")
    def _page_in_range(self, proposal: Any) -> int:
        with refusing():
            self._check_place(self.index, proposal["value"])
        return int(proposal["value"])

    @traitlets.observe("index")
    def _turn_to_index(self, change: Any) -> None:
        # where all columns stand on the page, it is still the right one
        if self._columns is None and self.content["index"] != self.index:
            with self._turn, self.hold_sync():
                self.page = 0
                self._turn_page(change)

    @traitlets.observe("page")
    def _turn_page(self, change: Any) -> None:
        shown = (self.content["page"], self._columns is None and self.content["index"])
        if shown != (self.page, self._columns is None and self.index):
            self.content = self._content(self.index, self.page)

    def to_circuitsvis(self) -> Any:
        """The same data drawn by the CircuitsVis package: its RenderedHTML, from the bundle in its wheel, with no network.

        All of the data goes into the output, about 22 bytes for each value.

        Raises:
            ValueError: too much data for a page.
        """
        from mechwidgets.widgets.circuitsvis import rendered

        return rendered(**_circuitsvis_props(self, self._pages.data, self._candidates))


def _samples(tokens: Any, values: Any) -> Samples:
    if isinstance(tokens, str) or not len(tokens):
        raise ValueError(f"tokens is a list of texts, one for each value; got {tokens!r}.")
    if isinstance(tokens[0], (list, tuple, np.ndarray)):
        return Samples(tokens, values)
    return Samples([tokens], [values])


def _described(dimensions: Sequence[str | Dimension], sizes: Sequence[int]) -> list[dict[str, Any]]:
    given = [Dimension(one) if isinstance(one, str) else one for one in dimensions]
    if len(sizes) > 2 or 0 in sizes:
        raise ValueError(
            f"The values have shape [token, {', '.join(map(str, sizes))}]; expected at most two dimensions beside the tokens, of 1 or more."
        )
    given += [Dimension(name) for name in ("Value", "Column")[len(given) : len(sizes)]]
    if len(given) != len(sizes):
        raise ValueError(
            f"There are {len(given)} dimensions described, and the values have {len(sizes)} beside the tokens."
        )
    for one, size in zip(given, sizes, strict=True):
        if one.labels is not None and len(one.labels) != size:
            raise ValueError(f"{one.name} has {len(one.labels)} labels and {size} places. Give one for each, or none.")
    return [
        {"name": one.name, "size": size, "labels": None if one.labels is None else [str(label) for label in one.labels]}
        for one, size in zip(given, sizes, strict=True)
    ]


def _circuitsvis_props(view: TokensView, data: TokenData, candidates: Candidates | None) -> dict[str, Any]:
    """Which picture of CircuitsVis draws this data, and with what."""
    names = {
        f"{place}DimensionName": one["name"] for place, one in zip(("first", "second"), view.dimensions, strict=False)
    }
    names |= {
        f"{place}DimensionLabels": one["labels"]
        for place, one in zip(("first", "second"), view.dimensions, strict=False)
    }
    if isinstance(data, SortedSamples):
        cells = [[(a, b) for b in range(data.sizes[1])] for a in range(data.sizes[0])]
        renamed = {key.replace("first", "zeroth").replace("second", "first"): value for key, value in names.items()}
        return {
            "element": "TopkSamples",
            "tokens": [[[data.tokens(at, n) for n in range(data.n_samples(at))] for at in row] for row in cells],
            "activations": [[[data.values(at, n) for n in range(data.n_samples(at))] for at in row] for row in cells],
            **renamed,
        }
    assert isinstance(data, Samples)  # noqa: S101 - for the type checker: there is no third kind
    first: Index = (0,) * len(data.sizes)
    texts = [data.tokens(first, sample) for sample in range(data.n_samples(first))]
    values = [data.all_values(sample) for sample in range(len(texts))]
    if candidates is not None:
        return {
            "element": "TokenLogProbs",
            "prompt": ["", *texts[0]],
            "topKLogProbs": candidates.values,
            "topKTokens": candidates.tokens,
            "correctTokenRank": candidates.ranks,
            "correctTokenLogProb": values[0],
        }
    if len(texts) == 1 and len(data.sizes) < 2:
        common = {"tokens": texts[0], "values": values[0]}
        if data.sizes:
            return {"element": "ColoredTokensMulti", **common, "labels": view.dimensions[0]["labels"]}
        colours = {"negativeColor": view.negative_color or None, "positiveColor": view.positive_color or None}
        return {"element": "ColoredTokens", **common, "minValue": view.min_value, "maxValue": view.max_value, **colours}
    shaped = [one.reshape(len(one), *data.sizes, *(1,) * (2 - len(data.sizes))) for one in values]
    return {"element": "TextNeuronActivations", "tokens": texts, "activations": shaped, **names}
