"""What the picture of patching is told, of a running sweep and of a finished one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import traitlets

Axis = dict[str, Any]

# What sites, metrics and directions are, for readers who do not know their names.
SITE_NAMES = {
    "resid_pre": "residual stream into the layer",
    "resid_mid": "residual stream between attention and MLP",
    "resid_post": "residual stream out of the layer",
    "attn_out": "what attention writes",
    "mlp_out": "what the MLP writes",
    "z": "heads",
    "q": "queries",
    "k": "keys",
    "v": "values",
    "result": "what each head writes",
    "pattern": "attention patterns",
    "attn_scores": "attention scores",
    "post": "neurons",
}
METRIC_NAMES = {
    "LogitDiff": "logit difference",
    "LogProb": "log probability of the answer",
    "Prob": "probability of the answer",
    "ProbDiff": "probability difference",
    "Rank": "rank of the answer",
    "KL": "KL to the other run",
}
DIRECTION_NAMES = {
    "denoise": "Clean activations into the corrupted run",
    "noise": "Corrupted activations into the clean run",
    "zero": "Set to zero",
    "mean": "Replaced by the mean",
    "resample": "Replaced by what other prompts have there",
    "steer": "A vector added",
}
HEADINGS = {
    "zero": "Zero ablation",
    "mean": "Mean ablation",
    "resample": "Resample ablation",
    "steer": "Steering",
}


class PatchingTraits(traitlets.HasTraits):
    """What the picture of patching shows; js/views/patching/traits.ts says what each is."""

    heading = traitlets.Unicode("Activation patching").tag(sync=True)
    names = traitlets.Dict().tag(sync=True)
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


def names_of(sites: Iterable[str], metrics: Iterable[str], directions: Iterable[str]) -> dict[str, str]:
    """Sites, metrics and directions in words, those that have some."""
    asked = ((SITE_NAMES, sites), (METRIC_NAMES, metrics), (DIRECTION_NAMES, directions))
    return {name: words[name] for words, several in asked for name in several if name in words}


def heading_of(site: str, direction: str, approximate: bool) -> str:
    """What a picture of a finished result is of."""
    if site == "edges":
        return "Edge attribution"
    if site.startswith("path "):
        return "Path patching"
    return HEADINGS.get(direction, "Attribution patching" if approximate else "Activation patching")
