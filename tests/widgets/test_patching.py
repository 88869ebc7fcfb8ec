from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis import passes
from mechwidgets.analysis.sweep import Cells, Sweep
from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets.rpc import Request
from tests.models import tiny_model
from tests.widgets.asking import ask, ask_all

sweep = mw.PatchingView._sweep

CLEAN, CORRUPTED = (
    "When Mary went to the store Mary gave a drink to",
    "When Mary went to the store John gave a drink to",
)


@pytest.fixture
def view():
    return mw.PatchingView(tiny_model(), clean=CLEAN, corrupted=CORRUPTED, answer=" Mary", wrong=" John")


def expected(view, site):
    return mw.patching.sweep(view.model, view.clean, view.corrupted, mw.LogitDiff(view.answer, view.wrong), site=site)


RESIDUAL = {"resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"}
HEADS = {"z", "q", "k", "v", "result", "pattern", "attn_scores"}
NOTHING = dict.fromkeys(RESIDUAL | HEADS)


def test_it_begins_empty_with_its_baselines(view):
    result = expected(view, "resid_pre")
    assert view.results == NOTHING
    assert (view.clean_metric, view.corrupted_metric) == (result.clean_metric, result.corrupted_metric)
    assert view.clean_tokens[6] == " Mary"
    assert view.corrupted_tokens[6] == " John"
    assert view.metric_name == result.metric


@pytest.mark.parametrize("site", ["resid_pre", "z"])
def test_a_sweep_tells_its_cells_and_keeps_them(view, site):
    messages = ask_all(view, "sweep", site=site)
    assert messages[-1]["kind"] == "mw-result"
    table = from_wire(view.results[site])
    np.testing.assert_array_equal(table, expected(view, site).values)
    first = messages[1]["value"]
    assert first["total"] == table.size
    assert 0 < first["done"] == len(first["values"]) <= table.size
    np.testing.assert_array_equal(table[tuple(first["cells"].T)], first["values"])


def test_a_finished_sweep_is_not_run_again(view, monkeypatch):
    ask(view, "sweep", site="z")
    monkeypatch.setattr(view.model, "forward", lambda *args, **kwargs: pytest.fail("the model was run"))
    assert ask(view, "sweep", site="z")["kind"] == "mw-result"


def test_result_is_there_without_a_front_end(view):
    np.testing.assert_array_equal(view.result.values, expected(view, "resid_pre").values)
    assert view.results["resid_pre"] is not None
    view.site = "z"
    assert view.result.site == "z"


def test_what_a_finished_sweep_held_of_the_runs_is_let_go(view):
    held = weakref.ref(view._data.found["resid_pre"].sweep.base)
    before = view.result
    gc.collect()
    assert held() is None
    assert view.result == before


@pytest.mark.parametrize("family", ["lfm2", "jamba", "qwen3_5_text"])
def test_layers_without_heads_have_no_cells(family, monkeypatch):
    monkeypatch.setattr(Request, "progress_due", lambda request: True)
    view = mw.PatchingView(tiny_model(family), CLEAN, CORRUPTED, " Mary", " John", site="z")
    messages = ask_all(view, "sweep", site="z")
    result = expected(view, "z")
    assert messages[-1]["kind"] == "mw-result"
    assert messages[-2]["value"]["done"] == messages[-2]["value"]["total"] == result.exists.sum() < result.exists.size
    np.testing.assert_array_equal(from_wire(view.results["z"]), result.values)
    np.testing.assert_array_equal(from_wire(view.absent["z"]), ~result.exists)
    assert set(view.absent) == HEADS & set(view.sites)


def test_hooks_of_the_cell_do_not_reach_the_result(view):
    plain = expected(view, "resid_pre")
    with view.model.hooks([("resid_pre", lambda resid, hook: resid * 2)]):
        inside = view.result
    np.testing.assert_array_equal(inside.values, plain.values)


def test_an_observer_may_ask_for_the_result_of_the_new_pair(view):
    view.observe(lambda change: view.result, "clean_tokens")
    view.set_prompts("Mary gave", "John gave", " a", " the")
    np.testing.assert_array_equal(view.result.values, expected(view, "resid_pre").values)


def test_a_stopped_sweep_goes_on_where_it_was(view, monkeypatch):
    monkeypatch.setattr(passes, "TOKENS_A_PASS", {"cpu": 1})
    progress = []

    def stop_at_the_third(request, value):
        progress.append(value)
        if len(progress) == 3:
            request.cancel()

    monkeypatch.setattr(Request, "progress_due", lambda request: True)
    with monkeypatch.context() as patch:
        patch.setattr(Request, "progress", stop_at_the_third)
        assert ask(view, "sweep", site="z")["kind"] == "mw-cancelled"
    assert view.results["z"] is None
    messages = ask_all(view, "sweep", site="z")
    assert messages[-1]["kind"] == "mw-result"
    assert len(messages) - 2 == 12 - 3, "finished cells were run again"
    # the picture may have been drawn anew meanwhile, so the first message tells the finished cells too
    assert len(messages[1]["value"]["values"]) == 4
    np.testing.assert_allclose(from_wire(view.results["z"]), expected(view, "z").values, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": " Mary Ann"}, "Answer ' Mary Ann' is 2 tokens (' Mary', ' Ann'); a logit difference needs one."),
        ({"wrong": ""}, "Wrong answer '' is 0 tokens"),
        ({"wrong": " Mary"}, "The answer and the wrong answer are the same token"),
        ({"clean": "Mary gave"}, "clean has 2, corrupted 11; they part at position 0"),
        ({"clean": CORRUPTED}, "The clean and the corrupted prompt are the same"),
        ({"clean": ""}, "The prompt is empty"),
        ({"clean": " ".join(["Mary"] * 65)}, "The prompt has 65 tokens; this model reads at most 64."),
    ],
)
def test_a_bad_pair_is_an_error_and_the_picture_stays(view, changes, message):
    inputs = {"clean": CLEAN, "corrupted": CORRUPTED, "answer": " Mary", "wrong": " John"}
    _ = view.result
    state = view.get_state()
    reply = ask(view, "set_inputs", **{**inputs, **changes})
    assert reply["kind"] == "mw-error"
    assert message in reply["message"]
    assert view.get_state() == state
    with pytest.raises(ValueError, match=r"\w"):
        mw.PatchingView(view.model, **{**inputs, **changes})


def test_another_pair_begins_anew(view):
    _ = view.result
    view.layer, view.position = 1, 10
    reply = ask(view, "set_inputs", clean="Mary gave", corrupted="John gave", answer=" a", wrong=" the")
    assert reply["kind"] == "mw-result"
    assert (view.clean, view.clean_tokens) == ("Mary gave", ["Mary", " gave"])
    assert view.results == NOTHING
    assert (view.layer, view.position) == (1, None)
    np.testing.assert_array_equal(view.result.values, expected(view, "resid_pre").values)


@pytest.mark.parametrize(
    ("traits", "error", "message"),
    [
        ({"site": "mlp"}, ValueError, "A sweep over site 'mlp' is not available"),
        ({"site": "post"}, ValueError, "The picture does not patch 'post'"),
        ({"metric": "LogitDif"}, ValueError, "Unknown metric 'LogitDif'. Did you mean 'LogitDiff'"),
        ({"direction": "noising"}, ValueError, "Unknown direction 'noising'"),
        ({"scale": "log"}, Exception, "scale"),
        ({"layer": 3}, ValueError, "Layer 3 is out of range"),
        ({"head": 4}, ValueError, "Head 4 is out of range"),
        ({"position": 11}, ValueError, "Position 11 is out of range"),
        ({"positon": 1}, TypeError, "has no argument 'positon'. Did you mean 'position'"),
    ],
)
def test_bad_arguments_are_explained(traits, error, message):
    with pytest.raises(error, match=message):
        mw.PatchingView(tiny_model(), CLEAN, CORRUPTED, " Mary", " John", **traits)


@pytest.mark.parametrize("site", ["resid_pre", "z"])
def test_a_cell_that_gives_nan_is_done(view, site, monkeypatch):
    run, runs = Sweep.run, []

    def with_nan(sweep, index=None):
        runs.append(len(index))
        for cells in run(sweep, index):
            damaged = (cells.index == (1, 2)).all(axis=1)
            yield Cells(cells.index, np.where(damaged, np.float32("nan"), cells.values))

    monkeypatch.setattr(Sweep, "run", with_nan)
    monkeypatch.setattr(Request, "progress_due", lambda request: True)
    messages = ask_all(view, "sweep", site=site)
    assert messages[-2]["value"]["done"] == messages[-2]["value"]["total"] == from_wire(view.results[site]).size
    values = from_wire(view.results[site])
    assert np.argwhere(np.isnan(values)).tolist() == [[1, 2]]
    view.site = site
    assert np.isnan(view.result.values[1, 2])
    assert runs == [values.size]


def test_a_stopped_sweep_does_not_run_a_cell_that_gave_nan_again(view, monkeypatch):
    monkeypatch.setattr(passes, "TOKENS_A_PASS", {"cpu": 1})
    monkeypatch.setattr(Request, "progress_due", lambda request: True)
    run, indices = Sweep.run, []

    def all_nan(sweep, index=None):
        indices.append(len(index))
        for cells in run(sweep, index):
            yield Cells(cells.index, np.full_like(cells.values, np.nan))

    monkeypatch.setattr(Sweep, "run", all_nan)
    with monkeypatch.context() as patch:
        patch.setattr(Request, "progress", lambda request, value: request.cancel())
        assert ask(view, "sweep", site="z")["kind"] == "mw-cancelled"
    assert ask(view, "sweep", site="z")["kind"] == "mw-result"
    assert indices == [12, 11]


@pytest.mark.parametrize("name", ["answer", "wrong"])
def test_an_answer_that_is_not_a_text_is_explained(view, name):
    inputs = {"clean": CLEAN, "corrupted": CORRUPTED, "answer": " Mary", "wrong": " John"}
    ann = view.model.to_single_token(" Ann")
    message = f"{name} is the text of one token; got {ann}. Give it as text: ' Ann', the text of token {ann}."
    with pytest.raises(TypeError) as caught:
        mw.PatchingView(view.model, **{**inputs, name: ann})
    assert str(caught.value) == message
    with pytest.raises(TypeError) as caught:
        view.set_prompts(**{**inputs, name: ann})
    assert str(caught.value) == message
    for given in (None, 50, [" Mary"]):
        with pytest.raises(TypeError, match=f"{name} is the text of one token; got .* Give it as text: ' Mary'"):
            mw.PatchingView(view.model, **{**inputs, name: given})


def test_weights_that_become_nan_are_said_in_the_picture(view):
    with torch.no_grad():
        view.model.hf_model.model.norm.weight[0] = float("nan")
    state = view.get_state()
    reply = ask(view, "set_inputs", clean="Mary gave", corrupted="John gave", answer=" a", wrong=" the")
    assert reply["kind"] == "mw-error"
    assert "the logits are NaN or infinite, as those of a model whose weights are damaged" in reply["message"]
    assert view.get_state() == state


def test_an_unknown_site_in_a_request_is_an_error(view):
    reply = ask(view, "sweep", site="mlp")
    assert reply["kind"] == "mw-error"
    assert "A sweep over site 'mlp' is not available" in reply["message"]


@pytest.mark.parametrize("site", sorted(RESIDUAL | HEADS))
def test_every_site_that_the_model_has_is_offered_with_its_axes(view, site):
    assert set(view.sites) == RESIDUAL | HEADS
    view.site = site
    dims = ["layer", "position" if site in RESIDUAL else "head"]
    result = expected(view, site)
    assert [one["name"] for one in view.axes[site]] == dims
    assert [len(one["values"]) for one in view.axes[site]] == list(result.values.shape)
    np.testing.assert_array_equal(view.result.values, result.values)


def test_a_family_without_a_site_does_not_offer_it():
    view = mw.PatchingView(tiny_model("gpt_neox"), CLEAN, CORRUPTED, " Mary", " John")
    assert set(view.sites) < RESIDUAL | HEADS
    with pytest.raises(ValueError, match="Sites: "):
        view.site = next(iter((RESIDUAL | HEADS) - set(view.sites)))


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("LogProb", mw.LogProb(" Mary")),
        ("Prob", mw.Prob(" Mary")),
        ("ProbDiff", mw.ProbDiff(" Mary", " John")),
        ("Rank", mw.Rank(" Mary")),
        ("KL", mw.KL()),
    ],
)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_another_metric_or_direction_is_another_sweep(view, name, metric, direction):
    _ = view.result
    assert ask(view, "set_inputs", metric=name, direction=direction)["kind"] == "mw-result"
    assert view.results == NOTHING
    result = mw.patching.sweep(view.model, CLEAN, CORRUPTED, metric, direction=direction)
    assert (view.metric_name, view.direction) == (result.metric, direction)
    assert (view.clean_metric, view.corrupted_metric) == (result.clean_metric, result.corrupted_metric)
    np.testing.assert_array_equal(view.result.values, result.values)
    assert view.result.code == result.code


def test_python_assigns_the_question_and_a_bad_one_leaves_the_picture(view):
    view.metric = "Prob"
    assert view.metric_name.startswith("probability")
    state = view.get_state()
    for name, value in (("metric", "Perplexity"), ("direction", "back")):
        with pytest.raises(ValueError, match="Unknown"):
            setattr(view, name, value)
    assert ask(view, "set_inputs", metrics="x")["message"] == "The picture is not computed from metrics."
    assert view.get_state() == state


def test_only_what_the_shown_site_needs_is_run_first(monkeypatch):
    asked = []
    monkeypatch.setattr(
        mw.PatchingView, "_sweep", lambda view, site, **inputs: asked.append(site) or sweep(view, site, **inputs)
    )
    view = mw.PatchingView(tiny_model(), CLEAN, CORRUPTED, " Mary", " John", site="z")
    view.metric = "Prob"
    assert asked == ["z", "z"]


def pin(view, site, **place):
    return ask(view, "pin", site=site, **place)


@pytest.mark.parametrize(
    ("site", "place"),
    [
        ("resid_pre", {"position": 6}),
        ("mlp_out", {"position": 8}),
        ("z", {"head": 2}),
        ("v", {"head": 1}),
        ("pattern", {"head": 3}),
    ],
)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_pin_does_what_its_cell_does(view, site, place, direction):
    view.direction, view.site = direction, site
    assert pin(view, site, layer=1, **place)["kind"] == "mw-result"
    (pinned,) = view.interventions
    assert (pinned.site, pinned.layer, pinned.head, pinned.op) == (site, 1, place.get("head"), "patch")
    assert pinned.position == place.get("position", tuple(range(11)))
    value = float(view.result.values[1, next(iter(place.values()))])
    found = view.joint_effect()
    assert found.alone == pytest.approx([value], abs=1e-5)
    assert found.together == found.alone[0]
    assert found.base == pytest.approx(view.result.base_metric, abs=1e-5)
    assert found.beyond == pytest.approx(0, abs=1e-6)


def test_several_pins_run_together_as_plain_hooks_do(view):
    for site, place in (("resid_pre", {"layer": 1, "position": 6}), ("z", {"layer": 2, "head": 0})):
        pin(view, site, **place)
    _, cache = view.model.run_with_cache(CLEAN)
    hooks = []
    for site, layer, index in (("resid_pre", 1, np.s_[:, 6]), ("z", 2, np.s_[:, :, 0])):

        def put(tensor, hook, index=index):
            tensor[index] = cache[hook.name][index]
            return tensor

        hooks.append(((site, layer), put))
    fwd = [
        (f"blocks.{layer}.{'attn.hook_z' if site == 'z' else 'hook_resid_pre'}", put) for (site, layer), put in hooks
    ]

    def metric(logits):
        right, wrong = (view.model.to_single_token(text) for text in (" Mary", " John"))
        return (logits[0, -1, right] - logits[0, -1, wrong]).item()

    plain = [metric(view.model.run_with_hooks(CORRUPTED, fwd_hooks=some)) for some in (fwd, fwd[:1], fwd[1:])]
    reply = ask(view, "joint")["value"]
    assert [reply["together"], *reply["alone"]] == pytest.approx(plain, abs=1e-5)
    base = metric(view.model(CORRUPTED))
    assert view.joint_effect().beyond == pytest.approx(plain[0] - base - sum(one - base for one in plain[1:]), abs=1e-5)


def test_nothing_pinned_is_the_run_as_it_is(view):
    assert ask(view, "joint")["value"] == {"together": pytest.approx(view.corrupted_metric, abs=1e-5), "alone": []}


def test_pins_are_interventions_that_reproduce_and_travel(view):
    pin(view, "z", layer=2, head=1)
    (pinned,) = view.interventions
    assert pinned == mw.patch_from(CLEAN, "z", 2, head=1, model=view.model)
    assert mw.Intervention.from_json(pinned.to_json()) == pinned
    with view.model.intervene(*view.interventions):
        logits = view.model(CORRUPTED)[0, -1]
    right, wrong = (view.model.to_single_token(text) for text in (" Mary", " John"))
    assert view.joint_effect().together == pytest.approx((logits[right] - logits[wrong]).item(), abs=1e-5)


def test_python_pins_and_anything_else_may_join_in(view):
    view.interventions = [mw.ablate(head=(1, 0)), mw.patch_from(CLEAN, "z", 2, head=1, model=view.model)]
    assert len(ask(view, "joint")["value"]["alone"]) == 2
    with pytest.raises(ValueError, match="Layer 9 is out of range"):
        view.interventions = [mw.ablate(head=(9, 0))]
    begun = mw.PatchingView(view.model, CLEAN, CORRUPTED, " Mary", " John", interventions=view.interventions)
    assert begun.interventions == view.interventions


def test_another_pair_or_direction_takes_the_patches_of_the_last_one_away(view):
    ablation = mw.ablate(head=(1, 0))
    for inputs, left in (
        ({"metric": "Prob"}, 2),
        ({"direction": "noise"}, 1),
        ({"clean": CLEAN.replace("store", "shop")}, 1),
    ):
        view.interventions = [ablation, mw.patch_from(CLEAN, "z", 2, head=1, model=view.model)]
        view._set_inputs(**inputs)
        assert len(view.interventions) == left, inputs
        assert view.interventions[0] == ablation


@pytest.mark.parametrize(
    ("site", "place", "message"),
    [
        ("z", {"layer": 1, "head": 7}, "Head 7 is out of range"),
        ("resid_pre", {"layer": 1, "position": 11}, "osition 11"),
    ],
)
def test_a_pin_that_is_not_there_is_an_error(view, site, place, message):
    reply = pin(view, site, **place)
    assert reply["kind"] == "mw-error"
    assert message in reply["message"]
    assert view.interventions == []


def test_pins_are_shared_and_another_pair_takes_them_from_all(view):
    changes, chosen = mw.Interventions([mw.ablate(head=(0, 1))]), mw.Selection()
    other = mw.AttentionView(view.model, CORRUPTED, interventions=changes, selection=chosen)
    view.shared_interventions, view.selection = changes, chosen
    pin(view, "z", layer=1, head=2)
    assert len(changes) == len(other.interventions) == len(ask(view, "joint")["value"]["alone"]) == 2
    chosen.choose(layer=2, head=3, position=5)
    assert (view.layer, view.head, view.position) == (2, 3, 5)
    ask(view, "set_inputs", clean="Mary gave", corrupted="John gave", answer=" a", wrong=" the")
    assert list(changes) == view.interventions == other.interventions == [mw.ablate(head=(0, 1))]
    late = mw.Intervention("z", 1, head=2, position=4)
    changes.append(late)
    ask(view, "set_inputs", clean="Mary took", corrupted="John took", answer=" a", wrong=" the")
    assert list(changes) == [mw.ablate(head=(0, 1)), late]
    assert view.interventions == [mw.ablate(head=(0, 1))]
    assert ask(view, "joint")["kind"] == "mw-result"
