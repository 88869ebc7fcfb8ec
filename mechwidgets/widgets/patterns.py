"""PatternsView: attention patterns that somebody has computed, each head as a thumbnail, one large."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import traitlets

from mechwidgets.model.places import check_range
from mechwidgets.share.arrays import to_numpy, to_wire
from mechwidgets.widgets.data_view import DataView, ValueRange, token_texts, value_range
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.thumbnails import thumbnail_block
from mechwidgets.widgets.view import refusing


@dataclass(frozen=True)
class Sample:
    """One text and what its tokens attend to: float32 [head, dest, src]."""

    tokens: list[str]
    patterns: np.ndarray


class PatternsView(DataView, kind="patterns"):
    """Attention patterns, or any other values from token to token, of a few heads or of all of them.

    Args:
        tokens: the texts of the tokens, [pos]; or of several samples, a list of such lists.
        patterns: [head, dest, src], or [dest, src] of one head; of several samples, a list of such arrays or one array with the sample first.
            Patterns of a padded sample may be larger than its tokens.
        head_names: what the heads are called, [head]; "Head 0" and so on by themselves.
        columns: how many heads stand in a row of the map, such as the heads of a layer; 0 for as many as fit.
        value_name: what the values are.
        min_value, max_value: where the colours end; by themselves at the data's.
        causal: whether to leave the part above the diagonal (a token and what comes after it) away; by itself where nothing is in it.
        negative_color, positive_color: CSS colours for values below and above 0.
        sample_names: what the samples are called.
        settings: `drawing` ("matrix", or "lines" from each token to those it attends to), `head`, `sample`, `title`, `model_name`, and what every ipywidget takes (`layout`, ...).

    Attributes:
        head, sample, drawing: what is chosen; assign to choose, `observe` to follow clicks.
        diverging: whether negative and positive values have colours of their own.
        thumbnails, thumbnail_block: what the map draws, uint8 [head, pos / block, pos / block], and the tokens a pixel.

    Raises:
        ValueError: arrays that do not fit the tokens; the message has both shapes.
        TypeError: tokens that are not texts, or an argument that the picture does not take.
    """

    settings = ("head", "sample", "model_name", "drawing")

    value_name = traitlets.Unicode("attention").tag(sync=True)
    head_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    columns = traitlets.Int(0).tag(sync=True)
    causal = traitlets.Bool(True).tag(sync=True)
    drawing = traitlets.Enum(("matrix", "lines"), "matrix").tag(sync=True)
    min_value = traitlets.Float(0.0).tag(sync=True)
    max_value = traitlets.Float(1.0).tag(sync=True)
    diverging = traitlets.Bool(False).tag(sync=True)
    negative_color = traitlets.Unicode("").tag(sync=True)
    positive_color = traitlets.Unicode("").tag(sync=True)
    sample_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    thumbnails = traitlets.Dict().tag(sync=True)
    thumbnail_block = traitlets.Int(1).tag(sync=True)
    sample = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)

    # The call that the picture stands for, where it stands for one of CircuitsVis.
    circuitsvis_element = "AttentionHeads"

    def __init__(  # noqa: PLR0913 - keywords, each with a default
        self,
        tokens: Any,
        patterns: Any,
        *,
        head_names: Sequence[str] | None = None,
        columns: int = 0,
        value_name: str = "attention",
        min_value: float | None = None,
        max_value: float | None = None,
        causal: bool | None = None,
        negative_color: str = "",
        positive_color: str = "",
        sample_names: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        self._check_settings(settings)
        self._samples = read_samples(tokens, patterns)
        self._causal = all(_is_causal(sample.patterns) for sample in self._samples) if causal is None else bool(causal)
        ranges = [_range(sample.patterns, self._causal, min_value, max_value) for sample in self._samples]
        n_heads = len(self._samples[0].patterns)
        chosen = int(settings.get("sample", 0))
        check_range("sample", chosen, len(self._samples))
        self._range = ValueRange(
            min(one.low for one in ranges), max(one.high for one in ranges), any(one.diverging for one in ranges)
        )
        super().__init__(
            value_name=value_name,
            head_names=_names(head_names, n_heads, "head"),
            columns=columns,
            causal=self._causal,
            min_value=self._range.low,
            max_value=self._range.high,
            diverging=self._range.diverging,
            negative_color=negative_color or "",
            positive_color=positive_color or "",
            sample_names=_names(sample_names, len(self._samples), "sample") if len(self._samples) > 1 else [],
            **{**self._content(chosen), **settings},
        )

    def __repr__(self) -> str:
        title = f"{self.title!r}: " if self.title else ""
        return f"PatternsView({title}{len(self.head_names)} heads x {len(self.tokens)} tokens)"

    def _content(self, chosen: int) -> dict[str, Any]:
        """The traits that show a sample."""
        self._shown = chosen
        sample = self._samples[chosen]
        block = thumbnail_block(len(sample.tokens), len(sample.patterns))
        return {
            "tokens": sample.tokens,
            "thumbnail_block": block,
            "thumbnails": to_wire(_thumbnails(sample.patterns, block, self._range, self._causal)),
        }

    def _handlers(self) -> Mapping[str, Handler]:
        return {"show": self._show, "pattern": self._pattern}

    def _show(self, request: Request, sample: int) -> dict[str, Any]:
        self.sample = sample
        return {}

    def _pattern(self, request: Request, sample: int, head: int) -> dict[str, Any]:
        """One head's values, float32 [dest, src]."""
        check_range("sample", sample, len(self._samples))
        check_range("head", head, len(self.head_names))
        return {"pattern": self._samples[sample].patterns[head]}

    def to_circuitsvis(self, element: str | None = None) -> Any:
        """The chosen sample drawn by the CircuitsVis package: its RenderedHTML, from the bundle in its wheel, with no network.

        All heads' values go into the output, about 22 bytes for each.

        Args:
            element: what draws them: "AttentionHeads", "AttentionPatterns" (weights from 0 to 1 only) or "AttentionPattern" (the chosen head alone);
                by default the one that the call which made this picture draws.
        """
        from mechwidgets.widgets.circuitsvis import rendered

        element = element or self.circuitsvis_element
        sample = self._samples[self.sample]
        if element == "AttentionPatterns":
            return rendered(element, tokens=sample.tokens, attention=sample.patterns, headLabels=self.head_names)
        colours = {
            "maxValue": self.max_value,
            "minValue": self.min_value if self.diverging else None,
            "negativeColor": self.negative_color or None,
            "positiveColor": self.positive_color or None,
            "maskUpperTri": self.causal,
            "tokens": sample.tokens,
        }
        if element == "AttentionPattern":
            return rendered(element, attention=sample.patterns[self.head], **colours)
        return rendered(element, attention=sample.patterns, attentionHeadNames=self.head_names, **colours)

    @traitlets.observe("sample")
    def _show_sample(self, change: Any) -> None:
        if change["new"] == self._shown:
            return
        with self._turn, self.hold_sync():
            for name, value in self._content(change["new"]).items():
                setattr(self, name, value)

    @traitlets.validate("sample")
    def _sample_in_range(self, proposal: Any) -> int:
        with refusing():
            check_range("sample", proposal["value"], len(self._samples))
        return int(proposal["value"])

    @traitlets.validate("head")
    def _head_in_range(self, proposal: Any) -> int:
        with refusing():
            check_range("head", proposal["value"], len(self._samples[0].patterns))
        return int(proposal["value"])


def read_samples(tokens: Any, patterns: Any) -> list[Sample]:
    """Tokens and patterns as samples; the shapes that PatternsView takes.

    Raises:
        ValueError, TypeError: as PatternsView.
    """
    if len(tokens) == 0:
        raise ValueError("There are no tokens. Give the text of each position.")
    if isinstance(tokens[0], (list, tuple, np.ndarray)):
        if len(tokens) != len(patterns):
            raise ValueError(
                f"There are tokens of {len(tokens)} samples and patterns of {len(patterns)}. Give both for each."
            )
        samples = [_read_sample(*one, padded=True) for one in zip(tokens, patterns, strict=True)]
    else:
        samples = [_read_sample(tokens, patterns)]
    heads = {len(sample.patterns) for sample in samples}
    if len(heads) > 1:
        raise ValueError(f"The samples have different numbers of heads: {sorted(heads)}.")
    return samples


def _read_sample(tokens: Any, patterns: Any, padded: bool = False) -> Sample:
    texts = token_texts(tokens)
    array = to_numpy(patterns)
    shape, n = list(array.shape), len(texts)
    if array.ndim == 4 and shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    if padded and array.ndim == 3 and min(array.shape[1:]) > n:
        array = array[:, :n, :n]
    if array.ndim != 3 or array.shape[1:] != (n, n) or not len(array):
        raise ValueError(
            f"The patterns have shape {shape}; of {n} tokens they are [head, {n}, {n}] (or [{n}, {n}] of one head)."
        )
    return Sample(texts, np.ascontiguousarray(array, dtype=np.float32))


def _names(given: Sequence[str] | None, count: int, what: str) -> list[str]:
    if given is None:
        return [f"{what.capitalize()} {number}" for number in range(count)]
    if len(given) != count:
        raise ValueError(f"There are {len(given)} names for {count} {what}s. Give one for each, or none.")
    return [str(name) for name in given]


def _is_causal(patterns: np.ndarray) -> bool:
    """Whether there is nothing above the diagonal."""
    rows, cols = np.triu_indices(patterns.shape[1], 1)
    above = patterns[:, rows, cols]
    return not bool((np.isfinite(above) & (above != 0)).any())


def _range(patterns: np.ndarray, causal: bool, low: float | None, high: float | None) -> ValueRange:
    rows, cols = np.tril_indices(patterns.shape[1])
    shown = patterns[:, rows, cols] if causal else patterns
    # weights are read against 1, also where none is that large
    return value_range(shown, low, high, least=1.0)


def _thumbnails(patterns: np.ndarray, block: int, values: ValueRange, causal: bool) -> np.ndarray:
    """Places in the colour map, uint8 [head, s, s]: 255 for its end, 128 for the value 0 of a diverging one; 0 for no value.

    A pixel of several tokens is the value that is furthest from 0.
    """
    thumbnails = []
    for pattern in patterns:
        shown = np.where(np.isfinite(pattern), pattern, 0)
        if causal:
            shown = np.tril(shown)
        if block > 1:
            side = math.ceil(len(shown) / block)
            shown = np.pad(shown, (0, side * block - len(shown)))
            tiles = shown.reshape(side, block, side, block).transpose(0, 2, 1, 3).reshape(side, side, -1)
            shown = np.take_along_axis(tiles, np.abs(tiles).argmax(-1)[..., None], axis=-1)[..., 0]
        thumbnails.append(np.round(1 + 254 * values.place(shown)))
    return np.stack(thumbnails).astype(np.uint8)
