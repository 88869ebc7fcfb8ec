"""What was found of edges as a document's content, and read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mechwidgets.analysis import document
from mechwidgets.analysis.edge_result import EdgeAttribution

if TYPE_CHECKING:
    from mechwidgets.analysis.document import Content

# Of senders and of receivers: what each label is, and of what type.
_LABELS = {
    "sender": {"sender": str, "sender_layer": int},
    "receiver": {"receiver": str, "receiver_layer": int, "receiver_kind": str},
}


def to_content(result: EdgeAttribution) -> dict[str, Any]:
    """What was found as what JSON can say."""
    labels = [name for names in _LABELS.values() for name in names]
    return {
        "direction": result.direction,
        "metric": result.metric,
        "unit": result.scores.attrs["unit"],
        "steps": result.steps,
        "n_pairs": result.n_pairs,
        "code": result.code,
        "clean_metric": result.clean_metric,
        "corrupted_metric": result.corrupted_metric,
        "labels": {name: result.scores[name].values.tolist() for name in labels},
        "scores": document.encode(result.scores.values.astype(np.float32)),
        "exact": document.encode(result.exact.values.astype(np.float32)),
    }


def from_content(content: Content) -> EdgeAttribution:
    """What was found, of a content that was read.

    Raises:
        ValueError: parts that are missing, or do not fit together.
    """
    labels, sizes = content.part("labels"), []
    coords: dict[str, Any] = {}
    for dim, names in _LABELS.items():
        each: dict[str, list[Any]] = {name: labels.several(name, kind) for name, kind in names.items()}
        size = len(each[dim])
        if any(len(values) != size for values in each.values()) or len(set(each[dim])) < size:
            raise content.error(f"the labels of its {dim}s are not one for each, or one stands twice")
        coords |= {name: values if name == dim else (dim, values) for name, values in each.items()}
        sizes.append(size)
    arrays = {name: content.array(name, "float32") for name in ("scores", "exact")}
    for name, values in arrays.items():
        if values.shape != tuple(sizes):
            raise content.error(f"the shape of {name!r} is {values.shape}, that of the labels {tuple(sizes)}")
    steps, n_pairs = content.take("steps", int), content.take("n_pairs", int)
    if steps < 0 or n_pairs < 1:
        raise content.error(f"it is over {n_pairs} pairs in {steps} steps")
    return EdgeAttribution.labelled(
        coords,
        arrays["scores"],
        arrays["exact"],
        content.take("unit", str),
        content.number("clean_metric"),
        content.number("corrupted_metric"),
        direction=content.take("direction", str),
        metric=content.take("metric", str),
        steps=steps,
        code=content.take("code", str),
        n_pairs=n_pairs,
    )
