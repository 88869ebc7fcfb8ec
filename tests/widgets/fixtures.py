"""What the kernel says to each picture about SmolLM2: the contract that Python and TypeScript are both tested against.

`python -m tests.widgets.fixtures` writes tests/fixtures/<kind>.json; the front end's tests draw them, and test_contract.py checks that Python still says the same.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import torch

import mechwidgets as mw
import mechwidgets.compat.circuitsvis as cv
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets import patching_tables
from mechwidgets.widgets.rpc import Request
from mechwidgets.widgets.tokens import Dimension
from mechwidgets.widgets.view import View

FOLDER = Path(__file__).parent.parent / "fixtures"

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
OFF = {"site": "z", "layer": 23, "head": 3, "position": None, "op": "zero", "value": None}


def fixtures(model: mw.HookedModel) -> dict[str, dict[str, Any]]:
    """The traits of each picture, and some of its answers."""
    attention = mw.AttentionView(model, CLEAN, layer=23, head=3)
    attribution = mw.AttributionView(model, CLEAN, " Mary", " John")
    head = mw.HeadView(model, CLEAN, layer=23, head=3)
    lens = mw.LogitLensView(model, "The capital of France is")
    prediction = mw.PredictionView(model, CLEAN, [mw.Intervention("z", 23)])
    written = prediction._handlers()["write"](Mock(spec=Request))
    patching = mw.PatchingView(model, CLEAN, CORRUPTED, " Mary", " John")
    for site in ("pattern", "z", "resid_pre"):
        patching.site = site
        assert patching.result is not None
    with torch.no_grad():
        logits, cache = model.run_with_cache(CLEAN, names_filter=["pattern", "resid_post"])
    patterns = mw.PatternsView(
        model.to_str_tokens(CLEAN),
        cache["pattern", 23],
        head_names=[f"L23H{head}" for head in range(model.cfg.n_heads)],
        head=3,
        model_name=model.cfg.model_name,
    )
    tokens = cv.logits.token_log_probs(
        model.to_tokens(CLEAN), logits.log_softmax(-1), lambda token: model.token_texts([token])[0]
    )
    top_tokens = mw.TopTokensView(
        [model.to_str_tokens(CLEAN)],
        # the residual stream's dimensions, after layers 11 and 23
        [torch.stack([cache["resid_post", layer][0] for layer in (11, 23)])],
        k=5,
        layers=Dimension("Layer", ["11", "23"]),
        neurons="Dimension",
        model_name=model.cfg.model_name,
    )
    bench = mw.Workbench(model, CLEAN, CORRUPTED, panels=("prediction", "attribution", "attention", "patching"))
    exercise = mw.Exercise(
        attention, [(23, 3), (11, 1)], "Which heads look back at a name?", hint="Look at late layers."
    )
    questions: dict[View, list[tuple[str, dict[str, Any]]]] = {
        attention: [
            ("patterns", {"heads": [[23, 3]]}),
            ("patterns", {"heads": [[0, 0]]}),
            ("predict", {"interventions": []}),
            ("predict", {"interventions": [OFF]}),
        ],
        attribution: [
            ("component", {"part": "head", "layer": 23, "head": 3, "neuron": None}),
            ("component", {"part": "mlp", "layer": 29, "head": None, "neuron": None}),
        ],
        head: [
            ("pattern", {"layer": 9, "head": 1, "interventions": []}),
            ("composition", {"layer": 9, "head": 1}),
        ],
        lens: [("column", {"position": 4, "follow": [model.to_single_token(" Paris")], "typed": None})],
        patching: [("sweep", {"site": "resid_pre"})],
        prediction: [("write", {}), *(("behind", {"token_ids": written[side]["token_ids"][:2]}) for side in written)],
        patterns: [("pattern", {"sample": 0, "head": 3})],
        tokens: [],
        top_tokens: [],
        exercise: [("check", {"layer": 23, "head": 3}), ("check", {"layer": 0, "head": 0})],
        bench: [("check", {"prompt": CLEAN, "corrupted": CORRUPTED, "answer": "", "wrong": ""})],
    }
    return {
        view.kind: {"traits": traits(view), "replies": [reply(view, *one) for one in asked]}
        for view, asked in questions.items()
    }


def results(model: mw.HookedModel) -> dict[str, dict[str, Any]]:
    """What the picture of a finished result is told, one of each kind."""
    pair: Any = (model, CLEAN, CORRUPTED, mw.LogitDiff(" Mary", " John"))
    sweep, late = mw.patching.sweep, {"layer": range(18, 24), "position": [9, 10, 13]}
    by_pattern = ("layer", "head", "destination", "source")
    # few pairs, and one layer of them: enough to draw
    pairs = mw.datasets.ioi(model, n=6, seed=0)
    found = {
        "position": sweep(*pair, "z", by=("layer", "head", "position"), at=late),
        "pattern": sweep(*pair, "pattern", by=by_pattern, at={"layer": [23], "head": [0, 3]}),
        "neurons": sweep(*pair, "post", top=25),
        "ablation": mw.patching.ablation(model, CLEAN, pair[3], "mlp_out", by=("layer",)),
        "paths": mw.patching.path_patch(*pair, at={"layer": range(18, 30)}),
        "attribution": mw.patching.attribution(*pair, "z", top=20),
        "edges": mw.patching.edge_attribution(*pair, top=10),
        "pairs": mw.patching.sweep_pairs(model, pairs, site="z", at={"layer": [22, 23, 24]}),
    }
    # the order of a long list's end would be another machine's rounding
    with patch.object(patching_tables, "MOST_LISTED", 30):
        views = {kind: mw.PatchingResultView(result) for kind, result in found.items()}
    return {kind: {"traits": traits(view), "replies": []} for kind, view in views.items()}


def traits(view: View) -> dict[str, Any]:
    """The traits that a picture declares itself, as JSON."""
    state = {name: to_json(value) for name, value in view.get_state().items() if name in own_traits(type(view))}
    # what a picture is called in a kernel is another name each time
    if isinstance(view, mw.Exercise):
        state["view"] = f"IPY_MODEL_{view.view.kind}"
    if isinstance(view, mw.Workbench):
        state["views"] = {kind: f"IPY_MODEL_{kind}" for kind in state["views"]}
    return state


# What the host and the frame of a picture read, and the picture itself does not know.
AROUND = {"selection", "shared_interventions", "hooks_added"}


def own_traits(view: type[View]) -> list[str]:
    """The names of the traits that a picture's front end knows."""
    inherited = set(View.__mro__[1].class_trait_names()) - set(View.__dict__) | AROUND
    return [name for name in view.class_trait_names(sync=True) if name not in inherited and not name.startswith("_")]


def reply(view: View, name: str, args: dict[str, Any]) -> dict[str, Any]:
    """A request and the kernel's answer."""
    handlers = {**view._handlers(), **view._at_once()}
    return {"name": name, "args": args, "value": to_json(handlers[name](Mock(spec=Request), **args))}


def to_json(value: Any) -> Any:
    """Arrays with base64 where the wire has bytes."""
    if isinstance(value, np.ndarray):
        value = to_wire(value)
    if isinstance(value, dict):
        return {key: to_json(part) for key, part in value.items()}
    if isinstance(value, list):
        return [to_json(part) for part in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    smollm2 = mw.HookedModel.from_pretrained("smollm2-135m")
    for kind, fixture in {**fixtures(smollm2), "patching_results": results(smollm2)}.items():
        (FOLDER / f"{kind}.json").write_text(json.dumps(fixture, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
