"""Sweeps over every site and by every axis have the numbers of plain runs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis.axes import SITES, Axes, axes_of
from mechwidgets.analysis.question import read_terms
from mechwidgets.analysis.sweep import PairSweep
from tests.models import tiny_model

CLEAN, CORRUPTED = "When Mary gave John a drink", "When Ann gave John a drink"
METRIC = mw.LogitDiff(" Mary", " John")
FIELD = {"destination": "position", "source": "neuron"}


def plain_value(model, base, source, site, place):
    """One cell: a plain run with a hook written by hand."""
    _, cache = model.run_with_cache(source, names_filter=model.hook_names)
    layer = place["layer"]
    name = mw.Intervention(site, layer).name
    axes = {"head": 1 if site in ("pattern", "attn_scores") else 2, "position": 1, "destination": 2, "source": 3}
    axes["neuron"] = 2

    def hook(tensor, hook):
        index = [slice(None)] * tensor.ndim
        for axis, value in place.items():
            if axis != "layer":
                index[axes[axis]] = value
        tensor[tuple(index)] = cache[name][tuple(index)]
        return tensor

    with torch.no_grad():
        logits = model.run_with_hooks(base, fwd_hooks=[(name, hook)])[0, -1]
    return (logits[model.to_single_token(" Mary")] - logits[model.to_single_token(" John")]).item()


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("site", SITES)
def test_every_site_by_its_axes(site, direction):
    model = tiny_model("gemma2")
    base, source = (CORRUPTED, CLEAN) if direction == "denoise" else (CLEAN, CORRUPTED)
    rng = np.random.default_rng(0)
    offered = axes_of(site)
    for by in [None, *itertools.combinations(offered, 2), offered]:
        if by is not None and "layer" not in by:
            continue
        result = mw.patching.sweep(model, CLEAN, CORRUPTED, METRIC, site, direction, by=by, at=few(by, offered))
        values = result.values
        assert values.dims == (by or offered[:2])
        exists = np.argwhere(np.isfinite(values.values))
        for cell in exists[rng.permutation(len(exists))[:4]]:
            place = {axis: int(values[axis][i]) for axis, i in zip(values.dims, cell, strict=True)}
            expected = plain_value(model, base, source, site, place)
            assert values.values[tuple(cell)] == pytest.approx(expected, abs=2e-4), place


def few(by, offered):
    """Some neurons, where they are told apart: there are many."""
    return {"neuron": [0, 7, -1]} if "neuron" in (by or offered[:2]) else None


def test_cells_that_do_not_exist_are_absent_and_not_zero():
    model = tiny_model()  # 4 query heads on 2 key-value heads
    by_k = mw.patching.sweep(model, CLEAN, CORRUPTED, METRIC, "k").values
    assert by_k.sizes == {"layer": 3, "head": 2}
    by_edge = mw.patching.sweep(model, CLEAN, CORRUPTED, METRIC, "pattern", by=axes_of("pattern")).values
    later = by_edge.source > by_edge.destination
    assert bool(by_edge.where(later).isnull().all())
    assert bool(by_edge.where(~later, 0).notnull().all())
    assert by_edge.sel(destination=5).coords["destination_clean_token"].item() == " drink"


def test_at_restricts_an_axis():
    model = tiny_model()
    whole = mw.patching.sweep(model, CLEAN, CORRUPTED, METRIC, by=("layer", "position"))
    part = mw.patching.sweep(model, CLEAN, CORRUPTED, METRIC, at={"layer": [2, 0], "position": [-1, 1]})
    assert part.values.layer.values.tolist() == [2, 0]
    assert part.values.position.values.tolist() == [5, 1]
    np.testing.assert_allclose(part.values, whole.values.sel(layer=[2, 0], position=[5, 1]), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"site": "resid_pre", "by": ("layer", "head")}, "resid_pre has no axis 'head'.*Its axes: layer, position"),
        ({"site": "z", "by": ("head",)}, "A sweep goes by layer"),
        ({"site": "z", "by": ("layer", "layer")}, "each once"),
        ({"site": "z", "at": {"position": [-1]}}, r"add 'position' to `by`, as in by=\('layer', 'head', 'position'\)"),
        ({"site": "z", "at": {"head": [4]}}, "Head 4 is out of range"),
        ({"site": "z", "at": {"head": []}}, "one or several, each once"),
        ({"site": "hook_z"}, "'hook_z' is not available. Did you mean 'z'"),
        ({"site": "blocks.0.hook_mlp_post"}, "is not available. Did you mean 'post'"),
        (
            {"site": "pattern", "by": ("layer", "destination", "source"), "at": {"destination": 0, "source": 1}},
            "None of",
        ),
        ({"verify": -1}, "verify says how many cells are run again.*got -1"),
        ({"max_memory": "2 apples"}, 'a text such as "2GB"; got'),
        ({"max_memory": "1KB"}, "max_memory allows"),
        ({"site": "zz"}, "A sweep over site 'zz' is not available"),
        ({"site": "resid_pre", "max_memory": 10}, "max_memory allows"),
    ],
)
def test_axes_that_cannot_be_gone_through_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        mw.patching.sweep(tiny_model(), CLEAN, CORRUPTED, METRIC, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"at": [0]}, r"at says what to go through of which axis, such as at=\{'layer': \[0\]\}; got \[0\]"),
        ({"at": {"layer": [0.5]}}, "integer"),
        ({"max_memory": [1]}, 'a text such as "2GB"; got'),
    ],
)
def test_what_is_of_another_type_is_explained(given, message):
    with pytest.raises(TypeError, match=message):
        mw.patching.sweep(tiny_model(), CLEAN, CORRUPTED, METRIC, **given)
    with pytest.raises(TypeError, match=message):
        mw.patching.ablation(tiny_model(), CLEAN, METRIC, **given)


@pytest.mark.parametrize("one", [1, np.int64(1), torch.tensor(1)])
def test_one_index_is_enough(one):
    result = mw.patching.sweep(tiny_model(), CLEAN, CORRUPTED, METRIC, at={"layer": one}, max_memory="2GB")
    assert result.values.layer.values.tolist() == [1]


def test_a_site_that_no_layer_has_is_refused_before_its_indices():
    with pytest.raises(ValueError, match=r"gpt_oss has no post\. It has: attn_out"):
        Axes.of(tiny_model("gpt_oss"), "post", 5, at={"neuron": [3]})


def test_a_site_that_the_family_lacks_is_refused():
    with pytest.raises(ValueError, match=r"gpt_neox has no resid_mid\. It has: attn_out"):
        Axes.of(tiny_model("gpt_neox"), "resid_mid", 5)


@pytest.mark.parametrize(
    "metric",
    [
        mw.LogProb(" Mary"),
        mw.Prob([" Mary", " Ann"]),
        mw.Rank(" Mary"),
        mw.KL(),
        mw.LogProb(" gave", position=1),
        lambda logits: logits[0, -1, 3] - logits[0, -1, 4],
        lambda logits: logits.log_softmax(-1)[:, :, 3].sum(),
    ],
)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_every_metric(metric, direction):
    model = tiny_model()
    result, plain = (
        mw.patching.sweep(model, CLEAN, CORRUPTED, metric, direction=direction, plain=plain) for plain in (False, True)
    )
    np.testing.assert_allclose(result.values, plain.values, atol=1e-4)
    assert np.ptp(result.values.values) > 0
    one = result.clean_metric if direction == "noise" else result.corrupted_metric
    np.testing.assert_allclose(result.values.values[0, 0], one, atol=1e-5)


def test_an_answer_of_several_tokens():
    model = tiny_model()
    result = mw.patching.sweep(model, CLEAN, CORRUPTED, mw.SequenceLogProb(" to the store"))
    assert result.values.sizes["position"] == 6

    def log_prob(resid=None):
        hooks = [] if resid is None else [("blocks.1.hook_resid_pre", resid)]
        with torch.no_grad():
            logits = model.run_with_hooks(f"{CORRUPTED} to the store", fwd_hooks=hooks)[0].log_softmax(-1)
        answer = model.to_tokens(" to the store", prepend_bos=False)[0]
        return sum(logits[5 + i, token] for i, token in enumerate(answer)).item()

    _, cache = model.run_with_cache(f"{CLEAN} to the store", names_filter="resid_pre")

    def patch(resid, hook):
        resid[:, 1] = cache["resid_pre", 1][:, 1]

    assert result.corrupted_metric == pytest.approx(log_prob(), abs=1e-4)
    assert float(result.values.sel(layer=1, position=1)) == pytest.approx(log_prob(patch), abs=1e-4)


@pytest.mark.parametrize(
    "metric", [lambda logits: logits[0, -1], lambda logits: logits[0, -1, 3] * float("nan"), lambda logits: "much"]
)
def test_a_metric_that_gives_no_number_is_refused_before_anything_is_swept(metric, monkeypatch):
    monkeypatch.setattr(mw.patching.PairSweep, "run", lambda *_: pytest.fail("it was run"))
    with pytest.raises(ValueError, match=r"expected (one number for each row|finite numbers)"):
        mw.patching.sweep(tiny_model(), CLEAN, CORRUPTED, metric)


@pytest.mark.parametrize("edit", [lambda one: one.mul_(2), lambda one: setattr(one, "data", one.data * 2)])
def test_weights_that_are_edited_between_the_cells_are_noticed(edit):
    sweep = PairSweep(tiny_model(), CLEAN, CORRUPTED, METRIC)
    assert sum(len(cells.values) for cells in sweep.run(np.array([[0, 1], [1, 1]]))) == 2
    with torch.no_grad():
        edit(sweep.model.hf_model.model.layers[2].mlp.down_proj.weight)
    with pytest.raises(RuntimeError, match="weights have changed since this sweep was prepared: prepare it again"):
        next(sweep.run())


def test_an_interrupt_keeps_the_cells_that_are_done(monkeypatch):
    def stop(done, total):
        if done < total:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match=r"interrupted: \d+ of 18 cells are done; the others are NaN"):
        result = mw.patching.sweep(tiny_model(), CLEAN, CORRUPTED, METRIC, on_progress=stop)
    assert 0 < int(result.values.isnull().sum()) < 18


def test_a_family_that_cannot_be_replayed_says_so_in_its_result():
    result = mw.patching.sweep(tiny_model("bloom"), CLEAN, CORRUPTED, METRIC)
    assert "cannot be run by themselves" in result.values.attrs["run_plainly"]
    assert "run_plainly" not in mw.patching.sweep(tiny_model(), CLEAN, CORRUPTED, METRIC).values.attrs


@pytest.mark.parametrize(("text", "size"), [("500mb", 500 * 10**6), ("500MB", 500 * 10**6), ("1gib", 2**30)])
def test_memory_in_words_is_bytes(text, size):
    assert read_terms({"max_memory": text}) == {"max_memory": size}
