"""Results as documents: what is in the file of a PatchingResult, and what is read back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mechwidgets.analysis import document, edge_file
from mechwidgets.analysis.attribution import AttributionResult
from mechwidgets.analysis.edge_result import EdgeAttribution
from mechwidgets.analysis.pairs_result import PairsResult
from mechwidgets.analysis.result import PatchingResult, Prompt

if TYPE_CHECKING:
    from mechwidgets.analysis.document import Content

ONE, MANY, EDGES, VERSION = "patching_result", "pairs_result", "edge_attribution", 1
KINDS = (ONE, MANY, EDGES)
Result = PatchingResult | PairsResult | EdgeAttribution
# Coordinates are indices, strengths or tokens.
COORDINATES = (int, float, str)


def save(result: Result, path: str | Path) -> None:
    """Write a result to a file.

    Raises:
        OSError: the file cannot be written.
        ValueError: a name that does not end in .mw.json.
    """
    if isinstance(result, PairsResult):
        content = {"n_asked": result.n_asked, "results": [to_content(one) for one in result]}
        document.write(path, MANY, VERSION, content)
    elif isinstance(result, EdgeAttribution):
        document.write(path, EDGES, VERSION, edge_file.to_content(result))
    else:
        document.write(path, ONE, VERSION, to_content(result))


def load(path: str | Path) -> Result:
    """Read what `save` wrote. Nothing in it is run.

    Args:
        path: the name of a file that ends in .mw.json.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no such document, or not as it was written.
    """
    return from_document(*document.read(path))


def from_document(kind: str, version: int, content: Content) -> Result:
    """The result of a document that was read.

    Raises:
        ValueError: a document of another kind or a newer version, or one whose parts do not fit together.
    """
    if kind not in KINDS:
        raise content.error(f"it is of the kind {kind!r}; known are 'views', {', '.join(map(repr, KINDS))}")
    if version != VERSION:
        raise content.newer(version, VERSION)
    if kind == EDGES:
        return edge_file.from_content(content)
    return from_content(content) if kind == ONE else _pairs(content)


def _pairs(content: Content) -> PairsResult:
    each = content.several("results", dict)
    parts = (document.Content(one, f"pair {number} of {content.where}") for number, one in enumerate(each))
    results, n_asked = tuple(map(from_content, parts)), content.take("n_asked", int)
    if n_asked < len(results):
        raise content.error(f"it has {len(results)} of {n_asked} pairs")
    try:
        return PairsResult(results, n_asked)
    except ValueError as error:
        raise content.error(str(error)) from None


def to_content(result: PatchingResult) -> dict[str, Any]:
    """A result as what JSON can say."""
    approximation = None
    if isinstance(result, AttributionResult) and result.exact is not None:
        approximation = {"steps": result.steps, "exact": document.encode(result.exact.values.astype(np.float32))}
    coords = [
        {"name": str(name), "dim": str(coord.dims[0]), "values": coord.values.tolist()}
        for name, coord in result.values.coords.items()
    ]
    return {
        "site": result.site,
        "direction": result.direction,
        "metric": result.metric,
        "unit": result.unit,
        "metric_code": result.metric_code,
        "model_name": result.model_name,
        "code": result.code,
        "given": result.given,
        "clean": _prompt(result.clean),
        "corrupted": _prompt(result.corrupted),
        "clean_metric": result.clean_metric,
        "corrupted_metric": result.corrupted_metric,
        "approximation": approximation,
        "run_plainly": result.values.attrs.get("run_plainly"),
        "dims": list(map(str, result.values.dims)),
        "coords": coords,
        "values": document.encode(result.values.values.astype(np.float32)),
        "cells": document.encode(result.exists.values),
        "done": document.encode(np.asarray(result.done)),
    }


def from_content(content: Content) -> PatchingResult:
    """The result of a content that was read.

    Raises:
        ValueError: parts that are missing, or do not fit together.
    """
    import xarray as xr

    values = content.array("values", "float32")
    cells, done = content.array("cells", "bool"), content.array("done", "bool")
    dims = content.several("dims", str)
    if len(dims) != values.ndim or len(set(dims)) < len(dims):
        raise content.error(f"it has {values.ndim} dimensions, called {dims}")
    for name, mask in (("cells", cells), ("done", done)):
        if mask.shape != values.shape:
            raise content.error(f"the shape of {name!r} is {mask.shape}, that of 'values' {values.shape}")
    coords = _coords(content, dict(zip(dims, values.shape, strict=True)))
    metric, clean_metric = content.take("metric", str), content.number("clean_metric")
    corrupted_metric = _unless_null(content, "corrupted_metric", lambda: content.number("corrupted_metric"))
    attrs: dict[str, Any] = {name: content.take(name, str) for name in ("site", "unit", "direction")}
    attrs |= {"clean": clean_metric} | ({} if corrupted_metric is None else {"corrupted": corrupted_metric})
    run_plainly = _unless_null(content, "run_plainly", lambda: content.take("run_plainly", str))
    attrs |= {} if run_plainly is None else {"run_plainly": run_plainly}
    result = PatchingResult(
        xr.DataArray(values, dims=dims, coords=coords, name=metric, attrs=attrs),
        clean_metric,
        corrupted_metric,
        attrs["site"],
        attrs["direction"],
        metric,
        attrs["unit"],
        cells=cells,
        done=done,
        clean=_unless_null(content, "clean", lambda: _read_prompt(content.part("clean"))),
        corrupted=_unless_null(content, "corrupted", lambda: _read_prompt(content.part("corrupted"))),
        model_name=content.take("model_name", str),
        metric_code=_unless_null(content, "metric_code", lambda: content.take("metric_code", str)),
        code=content.take("code", str),
        given=content.take("given", str),
    )
    return _unless_null(content, "approximation", lambda: _approximate(result, content.part("approximation"))) or result


def _approximate(result: PatchingResult, content: Content) -> AttributionResult:
    exact, steps = content.array("exact", "float32"), content.take("steps", int)
    if exact.shape != result.values.shape or steps < 0:
        raise content.error(f"it has exact values {exact.shape} of {result.values.shape}, and {steps} steps")
    return AttributionResult.of(result, exact, steps)


def _coords(content: Content, sizes: dict[str, int]) -> dict[str, tuple[str, list[Any]]]:
    coords: dict[str, tuple[str, list[Any]]] = {}
    for number, given in enumerate(content.several("coords", dict)):
        coord = document.Content(given, f"'coords' {number} in {content.where}")
        name, dim = coord.take("name", str), coord.take("dim", str)
        kinds = {type(value) for value in coord.take("values", list)}
        if len(kinds) > 1 or not kinds <= set(COORDINATES):
            raise coord.error("its values are neither all numbers of a kind nor all texts")
        values = coord.take("values", list)
        if dim not in sizes or len(values) != sizes[dim] or name in coords or (name in sizes and name != dim):
            raise coord.error(f"{name!r} has {len(values)} places along {dim!r}, of the dimensions {sizes}")
        if kinds == {int} and not all(abs(value) < 2**31 for value in values):
            raise coord.error(f"{name!r} has a place that is no index")
        if kinds == {float} and not all(map(math.isfinite, values)):
            raise coord.error(f"{name!r} has a place that is infinite")
        coords[name] = (dim, values)
    if set(sizes) - set(coords):
        raise content.error(f"there are no labels for {', '.join(sorted(set(sizes) - set(coords)))}")
    return coords


def _prompt(prompt: Prompt | None) -> dict[str, Any] | None:
    return None if prompt is None else {"tokens": list(prompt.tokens), "str_tokens": list(prompt.str_tokens)}


def _read_prompt(content: Content) -> Prompt:
    tokens, texts = content.several("tokens", int), content.several("str_tokens", str)
    if len(tokens) != len(texts):
        raise content.error(f"it has {len(tokens)} tokens and {len(texts)} texts of them")
    return Prompt(tuple(tokens), tuple(texts))


def _unless_null(content: Content, name: str, read: Any) -> Any:
    return None if name in content.fields and content.fields[name] is None else read()
