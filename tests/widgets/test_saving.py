"""Pictures as documents and pages: what was baked is what the kernel answers, and the pictures stay as they are."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re

import numpy as np
import pytest
import tqdm.auto

import mechwidgets as mw
from mechwidgets.share import document as documents
from mechwidgets.share.arrays import from_wire
from mechwidgets.share.html import TYPE
from mechwidgets.widgets import baking
from mechwidgets.widgets.bakes import bakes
from tests.models import tiny_model
from tests.widgets.asking import ask

CLEAN, CORRUPTED = "When Mary gave John a drink", "When Mary gave Mary a drink"
HOSTILE = "</script><script>alert(1)</script><!--"
OFF = mw.ablate(head=(1, 2))


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def pictures(model):
    """One of each kind that can be baked."""
    pattern = np.tril(np.full((2, 3, 3), 0.5, np.float32))
    return {
        "attention": mw.AttentionView(model, CLEAN),
        "logit_lens": mw.LogitLensView(model, CLEAN),
        "prediction": mw.PredictionView(model, CLEAN),
        "attribution": mw.AttributionView(model, CLEAN),
        "head": mw.HeadView(model, CLEAN),
        "patching": mw.PatchingView(model, CLEAN, CORRUPTED, " drink", " gave"),
        "exercise": mw.Exercise(mw.AttentionView(model, CLEAN), [(1, 2)], "Which?"),
        "patterns": mw.PatternsView([["a", "b", "c"], ["d", "e", "f"]], [pattern, pattern / 2]),
        "tokens": mw.TokensView([["a", "b"]] * 12, [np.array([1.0, 2.0])] * 12),
        "top_tokens": mw.TopTokensView([["a", "b", "c"]], [np.random.default_rng(0).normal(size=(2, 3, 30))]),
    }


KINDS = list(pictures(tiny_model()))


def saved(view, tmp_path, **options):
    """A picture that was saved and read again, and what was said of the file."""
    said = view.save(tmp_path / "a.mw.json", **options)
    return documents.read(tmp_path / "a.mw.json").views[0], said


def plain(value):
    """Arrays and wire arrays as lists, so that they compare."""
    if isinstance(value, dict) and {"dtype", "shape"} <= set(value):
        value = from_wire({**value, "data": bytes(value["data"])})
    if isinstance(value, np.ndarray):
        return np.nan_to_num(value.astype(np.float64), nan=-777.0).tolist()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def near(value, expected):
    """Whether two are the same but for the rounding of numbers."""
    if isinstance(expected, float) and isinstance(value, float):
        return value == pytest.approx(expected, rel=1e-4, abs=1e-6)
    if isinstance(expected, dict):
        return value.keys() == expected.keys() and all(near(value[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(near, value, expected))
    return value == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_picture_has_its_traits_its_code_and_its_model(kind, model, tmp_path):
    view = pictures(model)[kind]
    read, said = saved(view, tmp_path, bake=False)
    assert (read.kind, read.code) == (kind, view.to_code())
    own = [name for name in read.traits if name not in ("selection", "view")]
    assert plain({name: read.traits[name] for name in own}) == plain(view.get_state(own))
    assert {"title", "model_name"} <= set(read.traits)
    assert not {"_esm", "layout", "_bundles", "_view_name"} & set(read.traits)
    assert (read.answers, read.states, said.answers) == ([], [], ())
    assert said.size == (tmp_path / "a.mw.json").stat().st_size
    if kind in ("patterns", "tokens", "top_tokens", "exercise"):
        assert read.model is None
    else:
        assert read.model == {"name": model.cfg.model_name, "revision": None, "loading": None}


@pytest.mark.parametrize("kind", KINDS)
def test_baked_answers_are_the_kernels(kind, model, tmp_path):
    view = pictures(model)[kind]
    before = plain(view.get_state([name for name in view.keys if name not in ("results", "_esm")]))
    read, said = saved(view, tmp_path, bake="all")
    assert said.left_out == ()
    for reply in [*read.answers[:: max(1, len(read.answers) // 12)], *read.answers[-2:]]:
        answer = ask(view, reply.name, **reply.args)
        assert answer["kind"] == "mw-result", answer
        assert near(plain(answer["value"]), plain(reply.value))
    after = plain(view.get_state([name for name in view.keys if name not in ("results", "_esm")]))
    assert after == before


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "gpt_neox", "qwen3_5_text"])
def test_ablations_that_are_answered_together_are_what_the_kernel_says(family, tmp_path):
    changes = mw.Interventions([mw.Intervention("mlp_out", 1)])
    model = tiny_model(family)
    attention = mw.AttentionView(model, CLEAN, interventions=changes)
    prediction = mw.PredictionView(model, CLEAN, changes, position=-2 % len(attention.tokens))
    answers, states = (saved(view, tmp_path, bake=["ablations"])[0] for view in (attention, prediction))
    assert len(answers.answers) == len(states.states) > 8
    for reply in answers.answers[::3]:
        assert near(plain(ask(attention, reply.name, **reply.args)["value"]), plain(reply.value))
    for state in states.states[::3]:
        prediction.interventions = [mw.Intervention.from_json(one) for one in state.inputs["interventions"]]
        assert near(plain(prediction.get_state(list(state.traits))), plain(state.traits))


@pytest.mark.smollm2
def test_heads_of_the_default_model_are_baked_together(smollm2, tmp_path):
    view = mw.PredictionView(smollm2, "When Mary and John went to the store, John gave a drink to")
    read, _ = saved(view, tmp_path, bake=["ablations"])
    assert len(read.states) == 270
    for state in read.states[7::90]:
        view.interventions = [mw.Intervention.from_json(one) for one in state.inputs["interventions"]]
        live, baked = (plain(one["distribution"]) for one in (view.get_state(["distribution"]), state.traits))
        assert live["kl"] == pytest.approx(baked["kl"], rel=1e-3, abs=1e-6)
        after = [dict(zip(one["tokens"], one["after"], strict=True)) for one in (live, baked)]
        shared = after[0].keys() & after[1].keys()
        # of tokens that move all but alike, rounding says which is the last that is shown
        assert len(shared) >= len(after[0]) - 1
        assert all(after[0][token] == pytest.approx(after[1][token], rel=1e-3, abs=1e-6) for token in shared)


@pytest.mark.parametrize("kind", ["logit_lens", "prediction", "attribution"])
def test_baked_states_are_what_the_picture_shows_with_those_inputs(kind, model, tmp_path):
    view = pictures(model)[kind]
    read, _ = saved(view, tmp_path, bake=["ablations"])
    state = next(one for one in read.states if one.inputs == {"interventions": [OFF.to_json()]})
    view.interventions = [OFF]
    assert state.traits
    assert near(plain(view.get_state(list(state.traits))), plain(state.traits))
    moved = {name for name in read.traits if plain(view.get_state([name])) != plain({name: read.traits[name]})}
    assert moved == {"interventions", *state.traits}


def test_positions_and_streams_are_states_too(model, tmp_path):
    view = mw.PredictionView(model, CLEAN)
    read, _ = saved(view, tmp_path, bake=["positions"])
    assert [state.inputs["position"] for state in read.states] == list(range(len(view.tokens)))
    assert read.states[2].traits["answered"]["position"] == 2
    lens, _ = saved(mw.LogitLensView(model, CLEAN), tmp_path, bake=["streams"])
    assert {state.inputs["stream"] for state in lens.states} == {"resid_pre", "resid_mid", "attn_out", "mlp_out"}


def test_pages_and_samples_of_data_are_states(tmp_path):
    tokens, _ = saved(pictures(tiny_model())["tokens"], tmp_path)
    assert [state.inputs["page"] for state in tokens.states] == [0, 1, 2]
    assert tokens.states[1].traits["content"]["samples"] == [5, 6, 7, 8, 9]
    view = pictures(tiny_model())["patterns"]
    patterns, _ = saved(view, tmp_path)
    (state,) = patterns.states
    assert (state.inputs, state.traits["tokens"]) == ({"sample": 1}, ["d", "e", "f"])
    assert [reply.args for reply in state.answers] == [{"sample": 1, "head": 0}, {"sample": 1, "head": 1}]
    assert view.tokens == ["a", "b", "c"]
    view.sample = 1
    assert view.tokens == ["d", "e", "f"]


def test_an_ablation_is_baked_on_top_of_what_is_switched_off(model, tmp_path):
    view = mw.AttentionView(model, CLEAN, interventions=[OFF])
    read, _ = saved(view, tmp_path, bake=["prediction", "ablations"])
    asked = [reply.args["interventions"] for reply in read.answers]
    assert [] in asked
    assert [OFF.to_json()] in asked
    assert [OFF.to_json(), mw.ablate(head=(0, 0)).to_json()] in asked


def test_a_sweep_is_run_to_the_end(model, tmp_path):
    view = pictures(model)["patching"]
    read, said = saved(view, tmp_path)
    assert isinstance(read.traits["results"]["resid_pre"], np.ndarray)
    assert read.traits["results"]["z"] is None
    assert said.left_out == ("sites: the sweeps of the other sites",)


def test_auto_keeps_within_the_size_and_says_what_is_left_out(model, tmp_path):
    view = mw.AttentionView(model, CLEAN)
    bare = saved(view, tmp_path, bake=False)[1].size
    read, said = saved(view, tmp_path, max_bytes=bare + 1500)
    assert said.size <= bare + 1500 + 400
    assert said.left_out
    assert re.fullmatch(r"(patterns|ablations): .* \(about \d+\.\d MB\)", said.left_out[0])
    assert said.left_out[0] in repr(said)
    assert list(read.left_out) == list(said.left_out)
    assert saved(view, tmp_path)[1].left_out == ()


def test_auto_leaves_out_what_takes_long(model, tmp_path, monkeypatch):
    monkeypatch.setattr(baking, "MOST_SECONDS", 0)
    said = saved(mw.LogitLensView(model, CLEAN), tmp_path)[1]
    assert any(re.search(r"ablations: .* \(about \d+ minutes\)", one) for one in said.left_out)


def test_baking_says_what_it_does_and_how_long_it_still_takes(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(baking, "DELAY", 0)
    monkeypatch.setattr("tqdm.auto.tqdm", functools.partial(tqdm.auto.tqdm, mininterval=0))
    mw.save([pictures(model)[kind] for kind in ("logit_lens", "patching")], tmp_path / "a.mw.json", bake="all")
    told = capsys.readouterr().err
    assert re.search(r"LogitLensView: the lens with each head switched off: .* 5/12 \[00:\d\d<00:\d\d, ", told)
    assert re.search(r"PatchingView: the sweep of resid_pre: .*/18 \[00:\d\d<", told)
    assert re.search(r"PatchingView: the sweeps of the other sites: .* 12/12 \[00:\d\d<", told)


@pytest.mark.parametrize("write", ["save", "to_html"])
@pytest.mark.parametrize("during", [(baking, "state_of"), (os, "fsync")], ids=["baking", "writing"])
def test_an_interrupt_leaves_the_file_as_it_was(write, during, model, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    view = mw.LogitLensView(model, CLEAN)
    monkeypatch.setattr(*during, interrupt)
    for path in (tmp_path / "new.mw.json", tmp_path / "old.mw.json"):
        if path.name.startswith("old"):
            path.write_text("what was there")
        with pytest.raises(KeyboardInterrupt):
            getattr(view, write)(path, bake=["ablations"])
    assert [one.name for one in tmp_path.iterdir()] == ["old.mw.json"]
    assert (tmp_path / "old.mw.json").read_text() == "what was there"


@pytest.mark.parametrize("bake", [["nothing"], True, [1]])
def test_what_cannot_be_baked_is_refused_with_what_can(bake, model, tmp_path):
    with pytest.raises(ValueError, match=r"ablations, patterns, prediction|bake is"):
        mw.AttentionView(model, CLEAN).save(tmp_path / "a.mw.json", bake=bake)
    assert not (tmp_path / "a.mw.json").exists()


def test_names_to_bake_are_no_others(model):
    names = {kind: [one.name for one in bakes(view)] for kind, view in pictures(model).items()}
    assert names["attention"] == ["prediction", "patterns", "ablations"]
    assert all(len(set(several)) == len(several) for several in names.values())


def test_pictures_that_are_linked_stay_so(model, tmp_path):
    selection, changes = mw.Selection(layer=1), mw.Interventions([OFF])
    first = mw.AttentionView(model, CLEAN, selection=selection, interventions=changes)
    second = mw.LogitLensView(model, CLEAN, selection=selection, interventions=changes)
    mw.save([first, second], tmp_path / "a.mw.json", bake=False)
    read = documents.read(tmp_path / "a.mw.json")
    assert read.shown == ["view-1", "view-2"]
    ids = [f"shared-{one.model_id}" for one in (selection, changes)]
    assert [(one.kind, one.id) for one in read.shared] == list(zip(["selection", "interventions"], ids, strict=True))
    assert read.shared[0].traits["layer"] == 1
    assert read.shared[1].traits["entries"] == [{"intervention": OFF.to_json(), "on": True}]
    for view in read.views:
        assert view.traits["selection"] == f"IPY_MODEL_{ids[0]}"
        assert view.traits["shared_interventions"] == f"IPY_MODEL_{ids[1]}"


def test_what_looks_like_a_reference_and_is_none_stays(model, tmp_path):
    view = mw.AttentionView(model, CLEAN, title="IPY_MODEL_shared-1")
    assert saved(view, tmp_path, bake=False)[0].traits["title"] == "IPY_MODEL_shared-1"


def test_a_loaded_document_is_a_picture_without_a_model(model, tmp_path):
    path = tmp_path / "a.mw.json"
    view = mw.AttentionView(model, CLEAN)
    view.save(path)
    loaded = mw.load(path)
    assert repr(loaded) == f"DocumentView(attention of {model.cfg.model_name})"
    assert loaded.to_code() == view.to_code()
    assert json.loads(loaded.text) == json.loads(path.read_text())
    assert "application/vnd.jupyter.widget-view+json" in loaded._repr_mimebundle_()[0]
    assert [bundle.text[:40] for bundle in loaded._bundles]
    loaded.save(tmp_path / "b.mw.json")
    assert (tmp_path / "b.mw.json").read_text() == path.read_text()
    with pytest.raises(ValueError, match="Baking takes the model"):
        loaded.save(path, bake="all")
    assert parts(loaded.to_html())[1] == parts(view.to_html())[1]
    for save in (mw.to_html, lambda several: mw.save(several, path)):
        with pytest.raises(TypeError, match="saved again by itself"):
            save([view, loaded])


def test_results_are_saved_and_loaded_as_results(model, tmp_path):
    result = mw.patching.sweep(model, CLEAN, CORRUPTED, metric=mw.LogitDiff(" drink", " gave"), progress=False)
    result.save(tmp_path / "a.mw.json")
    assert type(mw.load(tmp_path / "a.mw.json")) is type(result)
    assert "Activation patching" in mw.to_html(result)


def parts(page):
    """The policy, the documents and the scripts of a page."""
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    data = re.findall(r'<script type="application/vnd\.mechwidgets\.views\+json">(.*?)</script>', page, re.DOTALL)
    return policy and policy[1], data, re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def test_a_page_has_the_document_once_and_only_scripts_that_its_policy_names(model, tmp_path):
    views = [mw.AttentionView(model, CLEAN), mw.AttentionView(model, CORRUPTED), mw.LogitLensView(model, CLEAN)]
    said = mw.to_html(views, tmp_path / "a.html", bake=False)
    page = (tmp_path / "a.html").read_text()
    assert said.size == len(page.encode())
    policy, data, scripts = parts(page)
    assert len(documents.from_text(data[0].encode()).views) == 3
    assert len(data) == 1
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert re.findall(r"sha256-([^']+)'", policy) == digests
    # core, attention, logit_lens, document, page, and what tells its height
    assert len(scripts) == 6
    assert policy.startswith("default-src 'none'")
    assert not re.search(
        r"(src|href)=|https?://(?!www\.w3\.org/)|@import|url\(",
        re.sub("<script.*?</script>", "", page, flags=re.DOTALL),
    )


def test_markup_in_a_page_is_text(tmp_path):
    view = mw.TokensView([HOSTILE, "<img src=x onerror=alert(1)>"], [1.0, 2.0], title=HOSTILE)
    for text in (view.to_html(), view.to_html(fragment=True)):
        _, data, scripts = parts(text)
        read = documents.from_text(data[0].encode()).views[0]
        assert (read.traits["title"], read.traits["content"]["tokens"][0][0]) == (HOSTILE, HOSTILE)
        assert not any("alert(1)" in script for script in scripts)
        assert "<img" not in text
        assert "<script>alert" not in text
    framed = view.to_html(iframe=True)
    assert framed.count("<iframe") == 1
    assert "<script>alert" not in framed.replace("&lt;", "<").replace("&quot;", '"') or "\\u003c" in framed


def test_a_page_is_one_thing(model):
    with pytest.raises(ValueError, match="fragment=True or iframe=True"):
        mw.to_html(mw.AttentionView(model, CLEAN), fragment=True, iframe=True)
    for wrong in ([], "text", [1]):
        with pytest.raises(TypeError, match="Give a picture"):
            mw.to_html(wrong)
    with pytest.raises(TypeError, match="no_option"):
        mw.AttentionView(model, CLEAN).to_html(no_option=1)


@pytest.fixture
def display():
    """`mw.display_mode`, which is as it was after the test."""
    yield mw.display_mode
    mw.display_mode("live")


def test_an_output_is_the_picture_the_page_or_both(model, display):
    view = mw.TokensView(["a", "b"], [1.0, 2.0])
    live = view._repr_mimebundle_()
    display("static")
    static = view._repr_mimebundle_()
    assert set(static) == {"text/plain", "text/html", TYPE}
    assert static["text/html"] == view.to_html(iframe=True)
    assert len(static["text/html"]) < 300_000
    display("both")
    both, *metadata = view._repr_mimebundle_()
    assert both == {**live[0], TYPE: static[TYPE]}
    assert documents.from_text(json.dumps(both[TYPE]).encode()).views[0].kind == "tokens"
    assert metadata == list(live[1:])
    with pytest.raises(ValueError, match="live, static, both"):
        display("interactive")
