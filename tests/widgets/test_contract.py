"""Python and TypeScript say the same: trait names, and what travels about a real model."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

import mechwidgets as mw
from mechwidgets.share.arrays import from_wire
from tests.widgets.fixtures import FOLDER, fixtures, own_traits, results

VIEWS = {
    view.kind: view
    for view in (
        mw.AttentionView,
        mw.AttributionView,
        mw.HeadView,
        mw.Exercise,
        mw.LogitLensView,
        mw.PatchingView,
        mw.PatternsView,
        mw.PredictionView,
        mw.TokensView,
        mw.TopTokensView,
        mw.Workbench,
    )
}
JS = Path(__file__).parent.parent.parent / "js"

# How many bytes of its own a view may put into a saved notebook (its bundle aside).
STATE_BUDGET = 300_000


@pytest.mark.parametrize("kind", VIEWS)
def test_typescript_declares_the_traits_that_python_syncs(kind):
    source = (JS / "views" / kind / "traits.ts").read_text()
    declared = re.search(r"interface Traits\b[^{]*\{(.*?)\n\}", source, re.DOTALL)
    assert declared, "traits.ts has no `interface Traits { ... }`"
    names = re.findall(r"^\s*(\w+)\??:", declared[1], re.MULTILINE)
    assert sorted(names) == sorted(own_traits(VIEWS[kind]))


@pytest.mark.parametrize("kind", VIEWS)
def test_every_view_has_an_entry_and_a_page_of_its_name(kind):
    assert (JS / "entries" / f"{kind}.ts").is_file()
    assert (JS / "views" / kind / "index.tsx").is_file()


@pytest.mark.parametrize("kind", VIEWS)
def test_jupyterlab_has_the_code_of_every_kind(kind):
    source = (JS / "hosts" / "lab" / "pictures.ts").read_text()
    assert re.search(rf'^import {kind} from "../../entries/{kind}";$', source, re.MULTILINE)
    assert re.search(rf"^  {kind},$", source, re.MULTILINE)


@pytest.fixture(scope="module")
def now(smollm2):
    return fixtures(smollm2)


@pytest.mark.smollm2
@pytest.mark.parametrize("kind", VIEWS)
def test_the_kernel_still_says_what_the_front_end_is_tested_with(kind, now):
    committed = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    assert_alike(now[kind], committed, "fixture")


@pytest.mark.smollm2
def test_results_still_tell_what_their_picture_is_tested_with(smollm2):
    committed = json.loads((FOLDER / "patching_results.json").read_text(encoding="utf-8"))
    assert_alike(results(smollm2), committed, "results")


@pytest.mark.smollm2
@pytest.mark.parametrize("kind", VIEWS)
def test_a_pictures_state_is_small(kind, now):
    assert len(json.dumps(now[kind]["traits"])) < STATE_BUDGET


def assert_alike(ours, theirs, where):
    """Equal, with room for another machine's rounding in numbers."""
    if isinstance(ours, dict) and "data" in ours:
        assert (ours["dtype"], ours["shape"]) == (theirs["dtype"], theirs["shape"]), where
        ours, theirs = (from_wire({**one, "data": base64.b64decode(one["data"])}) for one in (ours, theirs))
        if ours.dtype == np.int32:
            # ranks and tokens far below the top change places by a rounding error
            assert (ours != theirs).mean() < 0.02, where
        else:
            np.testing.assert_allclose(
                ours, theirs, atol=1 if ours.dtype == np.uint8 else 2e-3, rtol=2e-3, err_msg=where
            )
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_alike(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_alike(one, other, f"{where}[{i}]")
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, abs=2e-3), where
    else:
        assert ours == theirs, where
