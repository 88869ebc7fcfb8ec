"""What the picture of patching is told, of a running sweep and of a finished one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import traitlets

Axis = dict[str, Any]


class PatchingTraits(traitlets.HasTraits):
    """What the picture of patching shows; js/views/patching/traits.ts says what each is."""

    clean = traitlets.Unicode("").tag(sync=True)
    corrupted = traitlets.Unicode("").tag(sync=True)
    answer = traitlets.Unicode("").tag(sync=True)
    wrong = traitlets.Unicode("").tag(sync=True)
    clean_tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    corrupted_tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    metrics = traitlets.List(traitlets.Unicode()).tag(sync=True)
    metric = traitlets.Unicode("").tag(sync=True)
    metric_name = traitlets.Unicode("").tag(sync=True)
    directions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    direction = traitlets.Unicode("denoise").tag(sync=True)
    sites = traitlets.List(traitlets.Unicode()).tag(sync=True)
    site = traitlets.Unicode("").tag(sync=True)
    axes = traitlets.Dict().tag(sync=True)
    results = traitlets.Dict().tag(sync=True)
    computed = traitlets.Dict().tag(sync=True)
    absent = traitlets.Dict().tag(sync=True)
    details = traitlets.Dict().tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)
    approximate = traitlets.Bool(False).tag(sync=True)
    finished = traitlets.Bool(False).tag(sync=True)
    clean_metric = traitlets.Float(0.0).tag(sync=True)
    corrupted_metric = traitlets.Float(None, allow_none=True).tag(sync=True)
    scale = traitlets.Enum(("normalized", "raw"), "normalized").tag(sync=True)
    reach = traitlets.Enum(("baselines", "values"), None, allow_none=True).tag(sync=True)
    layer = traitlets.Int(None, allow_none=True).tag(sync=True)
    head = traitlets.Int(None, allow_none=True).tag(sync=True)
    position = traitlets.Int(None, allow_none=True).tag(sync=True)


def axis(name: str, values: Iterable[Any]) -> Axis:
    """An axis of a table, as the wire has it: what it is called, and what stands at each of its places."""
    return {"name": name, "values": list(values)}
