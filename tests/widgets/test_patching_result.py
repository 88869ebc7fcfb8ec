"""Finished results of every kind as pictures, and as what a notebook shows of them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets import patching_tables
from mechwidgets.widgets.patching_result import mimebundle
from tests.analysis.results import a_result, a_table
from tests.models import tiny_model

CLEAN, CORRUPTED = "When Mary gave John a drink", "When Ann gave John a drink"
METRIC = mw.LogitDiff(" Mary", " John")
PAIRS = [(CLEAN, CORRUPTED, METRIC), (CORRUPTED, CLEAN, METRIC), (CLEAN.replace("gave", "made"), CORRUPTED, METRIC)]


def shown(view):
    """The axes, and the numbers, of a picture."""
    axes = view.axes[view.site]
    table = from_wire(view.results[view.site])
    assert table.shape == tuple(len(one["values"]) for one in axes)
    return {one["name"]: one["values"] for one in axes}, table


@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "z", "k"])
def test_it_shows_the_numbers_of_the_result(site):
    result = mw.patching.sweep(tiny_model(), CLEAN, CORRUPTED, METRIC, site)
    view = mw.PatchingResultView(result, scale="raw", layer=2, head=1, title="mine")
    axes, table = shown(view)
    np.testing.assert_array_equal(table, result.values.values)
    assert axes == {str(dim): result.values[dim].values.tolist() for dim in result.values.dims}
    assert view.sites == [view.site] == [site]
    assert "".join(view.clean_tokens) == view.clean == CLEAN
    assert (view.clean_metric, view.corrupted_metric) == (result.clean_metric, result.corrupted_metric)
    assert view.computed == view.absent == view.details == {}
    assert view.finished
    assert (view.metric_name, view.title, view.scale) == (result.metric, "mine", "raw")


def test_it_says_what_a_running_picture_says():
    model = tiny_model()
    live = mw.PatchingView(model, CLEAN, CORRUPTED, " Mary", " John")
    finished = mw.PatchingResultView(live.result)
    differs = {
        "answer",
        "wrong",
        "interventions",
        "names",
        "sites",
        "axes",
        "metrics",
        "metric",
        "directions",
        "reach",
        "results",
        "finished",
    }
    for name in live.keys:
        if not name.startswith("_") and name not in {"layout", "tabbable", "tooltip", "hooks_added", *differs}:
            assert getattr(live, name) == getattr(finished, name), name
    assert live.axes["resid_pre"] == finished.axes["resid_pre"]
    np.testing.assert_array_equal(*(from_wire(view.results["resid_pre"]) for view in (live, finished)))


def test_cells_that_were_not_run_are_told_from_those_that_gave_no_number_and_from_absent_ones():
    values = np.zeros((4, 3), dtype=np.float32)
    values[1, 1] = values[2, 0] = np.nan
    done, cells = np.ones((2, 4, 3), dtype=bool)
    done[1, 1] = cells[3, 2] = False
    view = mw.PatchingResultView(a_result(values, done=done, cells=cells))
    assert np.argwhere(from_wire(view.computed["resid_pre"]) == 0).tolist() == [[1, 1], [3, 2]]
    assert np.argwhere(from_wire(view.absent["resid_pre"])).tolist() == [[3, 2]]


def test_subsets_keep_their_labels_and_their_order():
    result = a_result()
    part = replace(result, values=result.values[::-2, 1:].transpose(), cells=None, done=None)
    axes, table = shown(mw.PatchingResultView(part))
    assert axes == {"position": [1, 2], "layer": [3, 1]}
    np.testing.assert_array_equal(table, part.values)


def test_more_axes_than_two_are_all_told():
    at = {"layer": [1], "head": [0, 3]}
    by = ("layer", "head", "destination", "source")
    result = mw.patching.sweep(tiny_model(), CLEAN, CORRUPTED, METRIC, "pattern", by=by, at=at)
    view = mw.PatchingResultView(result)
    axes, table = shown(view)
    assert (axes["layer"], axes["head"]) == ([1], [0, 3])
    np.testing.assert_array_equal(table, result.values)
    np.testing.assert_array_equal(from_wire(view.absent["pattern"]), ~result.exists)


def test_one_prompt_has_one_baseline():
    model = tiny_model()
    for result in (
        mw.patching.ablation(model, CLEAN, METRIC, "mlp_out", "mean", by=("layer",)),
        mw.patching.steering(model, CLEAN, METRIC, torch.ones(model.cfg.d_model), strengths=[-2, 0.5]),
    ):
        view = mw.PatchingResultView(result)
        axes, table = shown(view)
        np.testing.assert_array_equal(table, result.values)
        assert (view.clean_metric, view.corrupted_metric) == (result.clean_metric, None)
        assert (view.direction, view.corrupted_tokens) == (result.direction, [])
        assert "".join(view.clean_tokens) == CLEAN
    assert axes["strength"] == [-2, 0.5]


def test_paths_are_by_sender_or_receiver():
    model = tiny_model()
    senders = mw.patching.path_patch(model, CLEAN, CORRUPTED, METRIC, "logits", ["embed", ("head", 1, 1), ("mlp", 0)])
    axes, table = shown(mw.PatchingResultView(senders))
    assert axes == {"sender": ["embed", "L1H1", "0_mlp_out"]}
    np.testing.assert_array_equal(table, senders.values)
    receivers = mw.patching.path_patch(model, CLEAN, CORRUPTED, METRIC, "q", ("head", 0, 0))
    view = mw.PatchingResultView(receivers)
    assert list(shown(view)[0]) == ["layer", "head"]
    np.testing.assert_array_equal(from_wire(view.absent[view.site]), ~receivers.exists)


def test_approximate_values_are_called_so_beside_the_exact_ones():
    result = mw.patching.attribution(tiny_model(), CLEAN, CORRUPTED, METRIC, "z", top=5)
    view = mw.PatchingResultView(result)
    assert view.approximate
    assert not view.metric_name.startswith("approximate")
    assert view.caption == f"Approximate: {result.caption}."
    np.testing.assert_array_equal(shown(view)[1], result.values)
    np.testing.assert_array_equal(from_wire(view.details["exact"]), result.exact)


def test_neurons_are_a_list_of_those_that_matter(monkeypatch):
    model = tiny_model()
    result = mw.patching.sweep(model, CLEAN, CORRUPTED, METRIC, "post", top=7)
    view = mw.PatchingResultView(result)
    axes, table = shown(view)
    top = result.top(7)
    np.testing.assert_allclose(table, top["value"])
    assert axes["cell"] == [f"L{layer} N{neuron}" for layer, neuron in zip(top["layer"], top["neuron"], strict=True)]
    assert (view.absent, view.caption) == ({}, "")
    monkeypatch.setattr(patching_tables, "MOST_LISTED", 3)
    attribution = mw.patching.attribution(
        model, CLEAN, CORRUPTED, METRIC, "post", by=("layer", "neuron", "position"), top=1
    )
    cut = mw.PatchingResultView(attribution)
    assert len(shown(cut)[0]["cell"]) == 3
    assert shown(cut)[0]["cell"][0].endswith(f" at {attribution.top(1)['position'][0]}")
    assert cut.caption.startswith(f"The 3 of {attribution.values.size:,} that change the metric most. Approximate: ")


def test_edges_are_a_list_of_those_that_matter():
    result = mw.patching.edge_attribution(tiny_model(), CLEAN, CORRUPTED, METRIC, top=4)
    view = mw.PatchingResultView(result)
    axes, table = shown(view)
    top = result.top(len(table))
    assert axes["edge"] == [f"{a} → {b}" for a, b in zip(top["sender"], top["receiver"], strict=True)]
    np.testing.assert_allclose(table - result.corrupted_metric, top["score"], atol=1e-6)
    exact = from_wire(view.details["exact"]) - result.corrupted_metric
    np.testing.assert_allclose(exact, top["exact"], atol=1e-6)
    assert view.approximate
    assert result.caption in view.caption


def test_means_over_pairs_come_with_their_spread():
    result = mw.patching.sweep_pairs(tiny_model(), PAIRS)
    view = mw.PatchingResultView(result)
    np.testing.assert_allclose(shown(view)[1], result.values.mean("pair"), rtol=1e-6)
    told = {name: from_wire(one) for name, one in view.details.items()}
    np.testing.assert_allclose(told["stderr"], result.stderr(), rtol=1e-6)
    interval = result.bootstrap_ci()
    np.testing.assert_allclose(told["low"], interval.sel(bound="low"), rtol=1e-6)
    np.testing.assert_allclose(told["high"], interval.sel(bound="high"), rtol=1e-6)
    np.testing.assert_allclose(told["p"], result.sign_flip_test()["p_corrected"], rtol=1e-6)
    assert view.caption.startswith("Means over 3 pairs of prompts. 0 of 12 cells have an effect")
    assert "no p is below 0.25" in view.caption
    alone = mw.PatchingResultView(mw.patching.sweep_pairs(tiny_model(), PAIRS[:1]))
    assert (alone.details, alone.caption) == ({}, "")


def test_pairs_that_are_not_finished_are_not_tested():
    result = replace(mw.patching.sweep_pairs(tiny_model(), PAIRS), n_asked=5)
    view = mw.PatchingResultView(result)
    assert "p" not in view.details
    assert view.caption == "Means over 3 of 5 pairs of prompts; 24 cells have not been run, so none are tested."


@pytest.mark.parametrize(
    "found",
    [
        a_result,
        lambda: mw.patching.attribution(tiny_model(), CLEAN, CORRUPTED, METRIC, "z", top=2),
        lambda: mw.patching.edge_attribution(tiny_model(), CLEAN, CORRUPTED, METRIC, top=2),
        lambda: mw.patching.sweep_pairs(tiny_model(), PAIRS),
    ],
)
def test_what_a_picture_is_told_is_json_and_arrays(found):
    view = mw.PatchingResultView(found())
    for name in ("axes", "caption", "metric_name", "clean_metric", "corrupted_metric", "direction", "approximate"):
        assert json.loads(json.dumps(getattr(view, name))) == getattr(view, name)


def test_a_result_of_too_many_cells_is_refused_and_shown_as_text():
    large = a_table(("layer", "head", "position"), (30, 30, 600))
    with pytest.raises(ValueError, match=r"540,000 cells, and a picture is told of 500,000.*at=\{'layer': \[0\]\}"):
        mw.PatchingResultView(large)
    assert mimebundle(large) is None
    with pytest.raises(TypeError, match=r"result of mw\.patching; got int"):
        mw.PatchingResultView(3)


def test_what_is_not_there_cannot_be_chosen_or_set():
    view = mw.PatchingResultView(a_result())
    view.layer = 3
    # another picture may be at a head that this table does not tell apart
    view.head = 7
    for name, value, has in (("layer", 4, "0 to 3"), ("position", 3, "0 to 2")):
        with pytest.raises(ValueError, match=f"This result has no {name} {value}. It has: {has}"):
            setattr(view, name, value)
    with pytest.raises(TypeError, match="no argument 'site'"):
        mw.PatchingResultView(a_result(), site="z")


def test_a_notebook_shows_the_picture_and_a_script_the_text():
    code = """
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        import sys
        import mechwidgets
        assert not {"torch", "anywidget"} & set(sys.modules)
        from tests.analysis.results import a_result, a_table
        from tests.widgets.test_patching_result import PAIRS, CLEAN, CORRUPTED, METRIC, tiny_model
        from mechwidgets import patching
        pairs = patching.sweep_pairs(tiny_model(), PAIRS)
        edges = patching.edge_attribution(tiny_model(), CLEAN, CORRUPTED, METRIC, top=1)
        for result in (a_result(), a_table(("layer",), (2,)), pairs, edges):
            data, _ = shell.display_formatter.format(result)
            assert "application/vnd.jupyter.widget-view+json" in data, data
            assert data["text/plain"].startswith("PatchingResultView"), data
        data, _ = shell.display_formatter.format(a_table(("layer", "head"), (800, 800)))
        assert list(data) == ["text/plain"], data
        assert data["text/plain"].startswith("PatchingResult(zero z"), data
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=240)
    assert not hasattr(a_result(), "_repr_mimebundle_")


@pytest.mark.parametrize(
    ("found", "heading"),
    [
        (a_result, "Activation patching"),
        (lambda: a_table(("layer",), (2,)), "Zero ablation"),
        (lambda: mw.patching.attribution(tiny_model(), CLEAN, CORRUPTED, METRIC, "z", top=2), "Attribution patching"),
        (lambda: mw.patching.edge_attribution(tiny_model(), CLEAN, CORRUPTED, METRIC, top=2), "Edge attribution"),
        (lambda: mw.patching.path_patch(tiny_model(), CLEAN, CORRUPTED, METRIC), "Path patching"),
    ],
)
def test_it_says_what_it_is_a_picture_of(found, heading):
    assert mw.PatchingResultView(found()).heading == heading
