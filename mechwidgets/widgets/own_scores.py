"""Scores of heads that the user brings along, for AttentionView to tint and sort by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mechwidgets.share.arrays import to_float32

UNNAMED = "score"


def read_scores(given: Any, n_layers: int, n_heads: int) -> dict[str, np.ndarray]:
    """Scores by name, each float32 [layer, head].

    Args:
        given: None; an array [layer, head]; a DataArray of it, whose name counts, or one with a `score` in front, as `head_scores` returns; or a mapping of
            names to any of these.
        n_layers, n_heads: of the model.

    Raises:
        ValueError: another shape, or a name twice.
        TypeError: no numbers.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        found = {str(name): _read(name, values, n_layers, n_heads) for name, values in given.items()}
    elif getattr(given, "dims", None) and "score" in given.dims:
        found = {
            str(one["score"].item()): _read(one["score"].item(), one, n_layers, n_heads)
            for one in given.transpose("score", ...)
        }
    else:
        name = getattr(given, "name", None) if hasattr(given, "dims") else None
        found = {str(name or UNNAMED): _read(name or UNNAMED, given, n_layers, n_heads)}
    return found


def _read(name: Any, values: Any, n_layers: int, n_heads: int) -> np.ndarray:
    if {"layer", "head"} <= set(getattr(values, "dims", ())):
        values = values.transpose("layer", "head", ...)
    array = to_float32(values)
    if array.shape != (n_layers, n_heads):
        raise ValueError(
            f"The scores {str(name)!r} have shape {list(array.shape)}; one for each head of this model is [{n_layers}, {n_heads}], [layer, head]."
        )
    return array
