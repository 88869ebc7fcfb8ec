from __future__ import annotations

import gc
import json
import re
import threading
import weakref

import numpy as np
import pytest
import torch
import xarray as xr

import mechwidgets as mw
from mechwidgets.analysis.attention_values import ATTENTION_TYPES, read_attention
from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets import attention, attention_maps
from mechwidgets.widgets.head_cache import HeadCache
from mechwidgets.widgets.own_scores import read_scores
from tests.models import patterns_alive, tiny_model
from tests.widgets.asking import ask

PROMPT = "When Mary gave John a drink Mary gave"
OFF = {"site": "z", "layer": 1, "head": 2, "position": None, "op": "zero", "value": None}


def lower(matrix):
    """The lower triangle of [query_pos, key_pos], row by row."""
    matrix = torch.as_tensor(matrix).detach()
    return matrix[tuple(torch.tril_indices(*matrix.shape))].numpy()


def test_thumbnails_are_the_patterns():
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    _, cache = model.run_with_cache(PROMPT)
    thumbnails = from_wire(view.thumbnails)
    assert thumbnails.shape == (3, 4, 8, 8)
    assert view.thumbnail_block == 1
    for layer in range(3):
        np.testing.assert_allclose((thumbnails[layer] - 1.0) / 254, cache["pattern", layer][0].detach(), atol=0.5 / 254)
    assert view.tokens == model.to_str_tokens(PROMPT)
    np.testing.assert_allclose(from_wire(view.score_values), mw.head_scores(model, PROMPT), rtol=1e-6)


def test_long_prompts_become_blocks_that_show_their_largest_weight(monkeypatch):
    monkeypatch.setattr("mechwidgets.widgets.thumbnails.THUMBNAIL_BYTES", 12 * 3 * 3)
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    thumbnails, pattern = from_wire(view.thumbnails), model.run_with_cache(PROMPT)[1]["pattern", 0][0].detach().numpy()
    assert view.thumbnail_block == 3
    assert thumbnails.shape == (3, 4, 3, 3)
    assert thumbnails[0, 0, 1, 0] == round(1 + float(pattern[0, 3:6, 0:3].max()) * 254)
    assert thumbnails[0, 0, 2, 2] == round(1 + float(pattern[0, 6:8, 6:8].max()) * 254)


@pytest.mark.parametrize("kept", [attention.KEPT_HEAD_BYTES, 0], ids=["kept", "computed again"])
def test_one_head_is_asked_for(kept, monkeypatch):
    monkeypatch.setattr(attention, "KEPT_HEAD_BYTES", kept)
    model = tiny_model()
    value = ask(mw.AttentionView(model, PROMPT), "patterns", heads=[[2, 3], [0, 1]])["value"]
    _, cache = model.run_with_cache(PROMPT)
    for triangle, (layer, head) in zip(value["patterns"], [(2, 3), (0, 1)], strict=True):
        np.testing.assert_array_equal(triangle, lower(cache["pattern", layer][0, head]))
    assert value["compared"] == []


@pytest.mark.parametrize("kept", [0, attention.KEPT_HEAD_BYTES], ids=["long", "short"])
def test_one_pass_makes_the_picture_and_holds_one_layer(kept, monkeypatch):
    monkeypatch.setattr(attention, "KEPT_HEAD_BYTES", kept)
    model, passes, held = tiny_model(num_hidden_layers=6), [], []
    forward, read = model.forward, attention_maps.HeadMaps.read

    def counted(*args, **kwargs):
        passes.append(1)
        return forward(*args, **kwargs)

    def watched(maps, found):
        held.append(len(patterns_alive(n_pos=23)))
        return read(maps, found)

    monkeypatch.setattr(model, "forward", counted)
    monkeypatch.setattr(attention_maps.HeadMaps, "read", watched)
    prompt = " ".join(["Mary"] * 23)
    view = mw.AttentionView(model, prompt)
    assert passes == [1]
    assert len(held) == 6
    # this layer, the copy that hooks get, and what the model made it from; whole heads are kept as triangles
    assert max(held) <= 3
    log_probs = model(prompt)[0, -1].log_softmax(-1)
    torch.testing.assert_close(view._data.log_probs, log_probs, rtol=1e-5, atol=1e-6)


def test_switching_a_head_off_runs_the_model_and_leaves_it_untouched():
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    before = model(PROMPT)
    value = ask(view, "predict", interventions=[OFF])["value"]
    with model.intervene(mw.ablate(head=(1, 2))):
        after = model(PROMPT)[0, -1].softmax(-1)
    ids = [model.to_single_token(text) if text in (" Mary", " John") else None for text in value["tokens"]]
    for token, p_before, p_after in zip(ids, value["before"], value["after"], strict=True):
        if token is not None:
            assert p_before == pytest.approx(before[0, -1].softmax(-1)[token].item(), rel=1e-5)
            assert p_after == pytest.approx(after[token].item(), rel=1e-5)
    assert value["kl"] > 0
    assert torch.equal(model(PROMPT), before)


def test_interventions_are_objects_in_python_and_json_on_the_wire():
    view = mw.AttentionView(tiny_model(), PROMPT, interventions=[mw.ablate(head=(1, 2))])
    assert view.get_state("interventions") == {"interventions": [OFF]}
    view.set_state({"interventions": [{**OFF, "head": 3}]})
    assert view.interventions == [mw.ablate(head=(1, 3))]


def test_a_picture_shows_the_model_without_the_hooks_of_its_cell():
    model = tiny_model()
    plain = mw.AttentionView(model, PROMPT)
    with model.hooks([("resid_pre", lambda resid, hook: resid * 2)]):
        inside = mw.AttentionView(model, PROMPT)
        inside.prompt = "Mary went"
        inside.prompt = PROMPT
    assert inside.thumbnails == plain.thumbnails
    answers = [ask(view, "predict", interventions=[])["value"] for view in (plain, inside)]
    np.testing.assert_array_equal(answers[0]["before"], answers[1]["before"])


def test_it_prints_as_what_it_is():
    assert repr(mw.AttentionView(tiny_model(), "Mary went")) == "AttentionView('tiny llama', prompt='Mary went')"


def test_assigning_a_prompt_runs_it():
    view = mw.AttentionView(tiny_model(), PROMPT)
    view.prompt = "Mary went"
    assert view.tokens == ["Mary", " went"]
    assert from_wire(view.thumbnails).shape == (3, 4, 2, 2)
    assert ask(view, "patterns", heads=[[0, 0]])["value"]["patterns"][0].shape == (3,)


@pytest.mark.parametrize(
    ("prompt", "message"), [("", "The prompt is empty"), (" ".join(["Mary"] * 65), "reads at most 64")]
)
def test_a_bad_prompt_is_an_error_and_the_picture_stays(prompt, message):
    view = mw.AttentionView(tiny_model(), PROMPT)
    state = view.get_state()
    reply = ask(view, "set_inputs", prompt=prompt)
    assert reply["kind"] == "mw-error"
    assert message in reply["message"]
    with pytest.raises(ValueError, match=message):
        view.prompt = prompt
    with pytest.raises(ValueError, match=message):
        mw.AttentionView(tiny_model(), prompt)
    assert view.get_state() == state
    assert ask(view, "set_inputs", prompt="Mary went")["kind"] == "mw-result"
    assert view.prompt == "Mary went"


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("patterns", {"heads": [[3, 0]]}, "Layer 3 is out of range: there are 3, 0 to 2."),
        ("patterns", {"heads": [[0, -1]]}, "Head -1 is out of range: there are 4, 0 to 3."),
        ("predict", {"interventions": [{**OFF, "layer": 7}]}, "Layer 7 is out of range: there are 3, 0 to 2."),
        ("predict", {"interventions": [{"site": "z"}]}, "An intervention is an object with the fields"),
    ],
)
def test_a_request_out_of_range_is_an_error(name, args, message):
    reply = ask(mw.AttentionView(tiny_model(), PROMPT), name, **args)
    assert reply["kind"] == "mw-error"
    assert reply["message"].startswith(message)


@pytest.mark.parametrize(
    ("traits", "error", "message"),
    [
        ({"layer": 3}, ValueError, "Layer 3 is out of range"),
        ({"head": 4}, ValueError, "Head 4 is out of range"),
        ({"interventions": [mw.ablate(head=(9, 0))]}, ValueError, "Layer 9 is out of range"),
        ({"tittle": "x"}, TypeError, "AttentionView has no argument 'tittle'. Did you mean 'title'"),
    ],
)
def test_bad_arguments_are_explained(traits, error, message):
    with pytest.raises(error, match=message):
        mw.AttentionView(tiny_model(), PROMPT, **traits)


@pytest.mark.parametrize("prompt", [None, [PROMPT, 3], torch.tensor([1, 2])])
def test_something_else_than_texts_is_explained(prompt):
    with pytest.raises(TypeError, match=r"prompt is a text, or several of equally many tokens; got"):
        mw.AttentionView(tiny_model(), prompt)


def test_a_prompt_that_was_stopped_does_not_arrive(monkeypatch):
    view = mw.AttentionView(tiny_model(), PROMPT)
    asked = view._ask

    def ask_and_be_stopped(**inputs):
        for request in view._requests._running.values():
            request.cancel()
        return asked(**inputs)

    monkeypatch.setattr(view, "_ask", ask_and_be_stopped)
    assert ask(view, "set_inputs", prompt="Mary went")["kind"] == "mw-cancelled"
    assert view.prompt == PROMPT


def test_a_closed_picture_and_its_model_are_let_go():
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    ask(view, "predict", interventions=[OFF])
    gone = [weakref.ref(view), weakref.ref(model), weakref.ref(model.hf_model)]
    view.close()
    del view, model
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]


def test_something_else_than_a_hooked_model_is_explained():
    with pytest.raises(TypeError, match=r"AttentionView needs a HookedModel, got str.*from_pretrained"):
        mw.AttentionView("smollm2-135m", PROMPT)


def test_a_damaged_model_says_so_in_the_picture():
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    with torch.no_grad():
        model.hf_model.lm_head.weight[0] = float("nan")
    reply = ask(view, "set_inputs", prompt="Mary")
    assert reply["kind"] == "mw-error"
    assert "These weights hold NaN or infinity: lm_head.weight" in reply["message"]
    assert view.prompt == PROMPT


def test_clicks_beside_a_busy_cell_do_not_see_its_edits():
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    expected = ask(view, "predict", interventions=[OFF])["value"]["after"]
    stop, wrong = threading.Event(), []

    def cell():
        with model.hooks([("mlp_out", lambda mlp_out, hook: mlp_out * 0)]):
            reference = model(PROMPT)
            while not stop.is_set():
                wrong.extend([1] if not torch.equal(model(PROMPT), reference) else [])

    thread = threading.Thread(target=cell)
    thread.start()
    for _ in range(10):
        np.testing.assert_array_equal(ask(view, "predict", interventions=[OFF])["value"]["after"], expected)
    stop.set()
    thread.join()
    assert wrong == []


@pytest.mark.parametrize("kept", [attention.KEPT_HEAD_BYTES, 0], ids=["kept", "computed again"])
def test_the_chosen_layer_can_be_drawn_by_circuitsvis(kept, monkeypatch):
    monkeypatch.setattr(attention, "KEPT_HEAD_BYTES", kept)
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT, layer=1)
    with model.hooks([("pattern", lambda pattern, hook: pattern * 0)]):
        html = str(view.to_circuitsvis())
    given = json.loads(re.search(r"CircuitsVis\.AttentionHeads,\s+(\{.*\})\s+\)\s+</script>\Z", html, re.DOTALL)[1])
    np.testing.assert_allclose(given["attention"], model.run_with_cache(PROMPT)[1]["pattern", 1][0].detach(), rtol=1e-6)
    assert given["attentionHeadNames"] == ["L1H0", "L1H1", "L1H2", "L1H3"]
    assert given["tokens"] == view.tokens
    with pytest.raises(ValueError, match="Layer 3 is out of range"):
        view.to_circuitsvis(3)


SWAPPED = "When Mary gave John a drink John gave"


def values_of(view, layer, head):
    """What the picture would show of a head: the prompts', and what they are compared with."""
    value = ask(view, "patterns", heads=[[layer, head]])["value"]
    return value["patterns"][0], (value["compared"] or [None])[0]


@pytest.mark.parametrize("attention_type", ["value-weighted", "info-weighted", "pre-softmax"])
def test_other_values_can_be_drawn(attention_type):
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT)
    plain = view.thumbnails
    view.attention_type = attention_type
    found = []
    read_attention(model, model.to_tokens(PROMPT), attention_type, found.append)
    limits, thumbnails = from_wire(view.limits), from_wire(view.thumbnails)
    causal = np.tri(8, dtype=bool)
    for layer in range(3):
        for head in range(4):
            whole = found[layer].values[0, head]
            np.testing.assert_array_equal(values_of(view, layer, head)[0], lower(whole))
            low, high = limits[layer, head]
            places = 1 + 254 * (lower(whole) - low) / (high - low)
            np.testing.assert_allclose(thumbnails[layer, head][causal], places, atol=0.51)
            # colours end where the head does: at its lowest and highest score, or where it would give its loudest source all its attention
            if attention_type == "pre-softmax":
                assert (low, high) == (lower(whole).min(), lower(whole).max())
                assert (thumbnails[layer, head][~causal] == 0).all()
            else:
                assert (low, high) == (0, found[layer].norms[0, head].max())
    view.attention_type = "standard"
    assert view.thumbnails == plain
    with pytest.raises(ValueError, match="no attention_type 'values'"):
        mw.AttentionView(model, PROMPT, attention_type="values")


@pytest.mark.parametrize("kept", [attention.KEPT_HEAD_BYTES, 0], ids=["kept", "computed again"])
def test_several_prompts_show_their_mean(kept, monkeypatch):
    monkeypatch.setattr(attention, "KEPT_HEAD_BYTES", kept)
    model = tiny_model()
    prompts = [PROMPT, SWAPPED, "When Ann gave John a store Ann gave"]
    view = mw.AttentionView(model, prompts)
    alone = [model.run_with_cache(prompt)[1]["pattern", 1][0, 2].detach() for prompt in prompts]
    np.testing.assert_allclose(values_of(view, 1, 2)[0], lower(torch.stack(alone).mean(0)), rtol=1e-4, atol=1e-6)
    scores = np.nanmean([mw.head_scores(model, prompt) for prompt in prompts], axis=0)
    np.testing.assert_allclose(from_wire(view.score_values), scores, rtol=1e-4)
    assert view.alternatives == [[], [" Ann"], [], [], [], [" store"], [" John", " Ann"], []]
    assert view.tokens == model.to_str_tokens(PROMPT)
    log_probs = model(PROMPT)[0, -1].log_softmax(-1)
    torch.testing.assert_close(view._data.log_probs, log_probs, rtol=1e-4, atol=1e-5)
    assert view.get_state("prompt") == {"prompt": prompts}


def test_many_others_at_a_position_are_named_in_part():
    names = ["Mary", "John", "Ann", "store", "drink", "the"]
    view = mw.AttentionView(tiny_model(), [f"When {name} gave" for name in names])
    assert view.alternatives[1] == [" John", " Ann", " store", " drink", "…"]


@pytest.mark.parametrize("attention_type", ATTENTION_TYPES)
def test_a_difference_of_two_prompts(attention_type):
    model = tiny_model()
    view = mw.AttentionView(model, PROMPT, compare=SWAPPED, attention_type=attention_type)
    each = [mw.AttentionView(model, prompt, attention_type=attention_type) for prompt in (PROMPT, SWAPPED)]
    limits, thumbnails = from_wire(view.limits), from_wire(view.thumbnails)
    shares = []
    for layer in range(3):
        for head in range(4):
            both = values_of(view, layer, head)
            for one, alone in zip(both, each, strict=True):
                np.testing.assert_allclose(one, values_of(alone, layer, head)[0], rtol=1e-4, atol=1e-5)
            low, high = limits[layer, head]
            assert low == -high
            drawn = thumbnails[layer, head][np.tri(8, dtype=bool)]
            np.testing.assert_allclose(drawn, 128 + 127 * (both[0] - both[1]) / high, atol=0.51)
            shares.append(np.abs(both[0] - both[1]).max() / high)
    # one head reaches the end of its colours, and none goes beyond
    assert max(shares) == pytest.approx(1, rel=1e-5)
    assert view.diverging
    view.score = "difference"
    largest = from_wire(view.score_values)[view.score_names.index("difference")]
    assert largest[2, 1] == pytest.approx(np.abs(np.subtract(*values_of(view, 2, 1))).max(), rel=1e-5)
    # the score goes with what it is about
    view.compare = ""
    assert (view.score, view.diverging, view.compare) == ("", False, "")
    assert "difference" not in view.score_names
    np.testing.assert_array_equal(from_wire(view.thumbnails), from_wire(each[0].thumbnails))


@pytest.mark.parametrize("inputs", [{"compare": "Mary went"}, {"prompt": [PROMPT, "Mary went"]}])
def test_prompts_of_different_lengths_are_refused_in_words(inputs):
    view = mw.AttentionView(tiny_model(), PROMPT)
    state = view.get_state()
    message = r"different numbers of tokens.*has 8, 'Mary went' has 2 \('Mary', ' went'; the first: 'When', ' Mary'.*Choose words"
    reply = ask(view, "set_inputs", **inputs)
    assert reply["kind"] == "mw-error"
    assert re.search(message, reply["message"])
    with pytest.raises(ValueError, match=message):
        mw.AttentionView(tiny_model(), **{"prompt": PROMPT, **inputs})
    assert view.get_state() == state


def test_the_page_asks_for_inputs_together():
    view = mw.AttentionView(tiny_model(), "Mary went")
    assert ask(view, "set_inputs", prompt=PROMPT, compare=SWAPPED)["kind"] == "mw-result"
    assert (view.prompt, view.compare) == (PROMPT, SWAPPED)
    assert ask(view, "set_inputs", compare="")["kind"] == "mw-result"
    assert view.compare == ""
    assert "There is no input 'tokens'" in ask(view, "set_inputs", tokens=[])["message"]
    assert "no prompt. Give a text" in ask(view, "set_inputs", prompt=[])["message"]


def test_a_shorter_prompt_frees_the_token_that_was_locked():
    view = mw.AttentionView(tiny_model(), PROMPT, position=6)
    view.prompt = SWAPPED
    assert view.position == 6
    view.prompt = "Mary went"
    assert view.position is None


def effects():
    return np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    ("scores", "names"),
    [
        (effects(), ["score"]),
        (torch.tensor(effects()), ["score"]),
        (xr.DataArray(effects().T, dims=("head", "layer"), name="effect"), ["effect"]),
        ({"one": effects(), "two": effects().tolist()}, ["one", "two"]),
    ],
)
def test_own_scores_stand_beside_those_of_the_prompt(scores, names):
    view = mw.AttentionView(tiny_model(), PROMPT, scores=scores, score=names[-1], order="score")
    assert view.score_names == ["previous_token", "duplicate_token", "induction", "entropy", *names]
    np.testing.assert_array_equal(from_wire(view.score_values)[-1], effects())
    view.prompt = "Mary went"
    np.testing.assert_array_equal(from_wire(view.score_values)[-1], effects())
    assert "scores" in view.to_code()
    view.scores = None
    assert len(view.score_names) == 4
    assert (view.score, view.order) == ("", "layer")


def test_head_scores_of_another_prompt_can_be_given():
    model = tiny_model()
    other = mw.head_scores(model, SWAPPED)
    view = mw.AttentionView(model, PROMPT, scores={"on the other": other.sel(score="induction")})
    np.testing.assert_array_equal(from_wire(view.score_values)[-1], other.sel(score="induction"))
    assert read_scores(other, 3, 4).keys() == {"previous_token", "duplicate_token", "induction", "entropy"}


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        (
            {"scores": np.zeros((4, 3))},
            r"scores 'score' have shape \[4, 3\]; one for each head of this model is \[3, 4\]",
        ),
        ({"scores": {"a": "b"}}, "Expected numbers"),
        ({"score": "inductoin"}, "no score 'inductoin'. Did you mean 'induction'"),
        ({"position": 8}, "Position 8 is out of range: there are 8, 0 to 7"),
        ({"heads": [(1, 1), (3, 0)]}, "Layer 3 is out of range"),
    ],
)
def test_places_and_scores_that_there_are_not_are_explained(traits, message):
    with pytest.raises(ValueError, match=message):
        mw.AttentionView(tiny_model(), PROMPT, **traits)
    view = mw.AttentionView(tiny_model(), PROMPT)
    state = view.get_state()
    for name, value in traits.items():
        with pytest.raises(ValueError, match=message):
            setattr(view, name, value)
    assert view.get_state() == state


def test_heads_are_pairs_each_once():
    view = mw.AttentionView(tiny_model(), PROMPT, heads=[(1, 2), (0, 3), (1, 2)])
    assert view.heads == [(1, 2), (0, 3)]
    view.set_state({"heads": [[2, 2]]})
    assert view.heads == [(2, 2)]


def test_heads_asked_for_last_are_kept_and_never_too_many():
    cache = HeadCache(room=3 * 40)
    for head in range(3):
        cache.put((0, head), [np.zeros(10, np.float32)])
    assert cache.get((0, 0)) is not None
    cache.put((0, 3), [np.zeros(10, np.float32)])
    assert [cache.get((0, head)) is not None for head in range(4)] == [True, False, True, True]
    cache.put((1, 0), [np.zeros(100, np.float32)])
    assert [cache.get((0, head)) for head in range(4)] == [None] * 4


def test_a_difference_can_be_drawn_by_circuitsvis():
    view = mw.AttentionView(tiny_model(), PROMPT, compare=SWAPPED, layer=1)
    given = json.loads(
        re.search(r"CircuitsVis\.AttentionHeads,\s+(\{.*\})\s+\)\s+</script>\Z", str(view.to_circuitsvis()), re.DOTALL)[
            1
        ]
    )
    both = values_of(view, 1, 3)
    np.testing.assert_allclose(lower(given["attention"][3]), both[0] - both[1], atol=1e-6)
    assert given["minValue"] < 0


def test_layers_without_attention_have_no_values():
    view = mw.AttentionView(tiny_model("jamba"), PROMPT)
    assert view.layer == 1
    thumbnails, scores = from_wire(view.thumbnails), from_wire(view.score_values)
    assert [bool(layer.any()) for layer in thumbnails] == [False, True, False]
    assert [bool(np.isnan(layer).all()) for layer in scores.transpose(1, 0, 2)] == [True, False, True]
    assert ask(view, "patterns", heads=[[1, 0]])["kind"] == "mw-result"
    reply = ask(view, "patterns", heads=[[0, 0]])
    assert reply["message"] == "Layer 0 of this model has no attention to show. Layers that have: 1."


def test_what_an_architecture_does_not_show_is_explained():
    view = mw.AttentionView(tiny_model("deepseek_v3"), PROMPT)
    with pytest.raises(ValueError, match=r"'value-weighted' is made of the site 'v', which \w+ does not show"):
        view.attention_type = "value-weighted"
    assert view.attention_type == "standard"
