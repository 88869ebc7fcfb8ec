from __future__ import annotations

import numpy as np
import pytest
import torch

import mechwidgets as mw
from mechwidgets.analysis.head_circuits import head_logits, head_values
from mechwidgets.analysis.head_run import run_head
from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets.errors import RefusedError
from mechwidgets.widgets.head import PATTERN_BYTES, QUESTIONS
from tests.lively import lively_model
from tests.models import tiny_model
from tests.widgets.asking import ask

PROMPT = "When Mary gave John a drink"
HEAD = {"layer": 2, "head": 3}
RUN = {**HEAD, "interventions": []}
READS = {**RUN, "position": None, "token": None, "stream": "prompt"}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def value(view, name, **args):
    reply = ask(view, name, **args)
    assert reply["kind"] == "mw-result", reply
    return reply["value"]


def test_it_begins_with_the_first_answers():
    model = tiny_model()
    view = mw.HeadView(model, PROMPT, **HEAD, position=3, stream="embedding", distance=2)
    assert set(view.answers) == set(QUESTIONS)
    assert view.answers["looks"]["args"] == {**READS, "position": 3, "stream": "embedding", "distance": 2}
    assert view.answers["copying"]["value"] == {"score": mw.copying_score(model, 2, 3)}
    composition = from_wire(view.answers["composition"]["value"]["scores"])
    np.testing.assert_array_equal(composition, mw.head_composition(model, 2, 3))
    assert (view.n_layers, view.n_heads, view.tokens) == (3, 4, model.to_str_tokens(PROMPT))


def test_its_pattern_and_scores_are_the_models():
    model = tiny_model()
    view = mw.HeadView(model, PROMPT)
    _, cache = model.run_with_cache(PROMPT, names_filter="pattern")
    pattern = cache["pattern", 2][0, 3].numpy()
    answer = value(view, "pattern", **RUN)
    np.testing.assert_allclose(answer["pattern"], pattern[np.tri(6, dtype=bool)], rtol=1e-6)
    expected = mw.head_scores(model, PROMPT).sel(layer=2, head=3)
    # no token comes twice, so two scores are undefined
    assert set(answer["scores"]) == {"previous_token", "entropy", "first_token"}
    assert answer["scores"]["previous_token"] == pytest.approx(float(expected.sel(score="previous_token")), rel=1e-5)
    assert answer["scores"]["first_token"] == pytest.approx(pattern[1:, 0].mean(), rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "qwen3", "gpt_oss"])
def test_what_it_writes_in_the_prompt_is_its_attribution(family):
    """Each row is what a source gives, as logits behind the position; weighed by attention they are what the head writes there."""
    model, at = lively_model(family), 4
    view = mw.HeadView(model, PROMPT)
    answer = value(view, "writes", **{**READS, "position": at})
    run = run_head(model, model.to_tokens(PROMPT), 2, 3)
    values, constant = head_values(model, 2, 3, run.streams)
    rows = head_logits(model, 2, values, 3, run.scales(at))
    # what it writes whatever it attends to is in no row
    whatever = head_logits(model, 2, (constant * run.pattern[at].sum())[None], 3, run.scales(at))[0]
    _, cache = model.run_with_cache(PROMPT)
    stack, labels = cache.stack_head_results(return_labels=True, pos_slice=at)
    normed = cache.apply_ln_to_stack(stack[labels.index("L2H3")][None], pos_slice=at).reshape(1, -1)
    expected = (normed @ model.W_U)[0] * model.logit_multiplier - whatever
    torch.testing.assert_close(run.pattern[at] @ rows, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(answer["together"]["up_values"], expected.topk(5).values, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(answer["together"]["down_values"], -(-expected).topk(5).values, rtol=1e-3, atol=1e-4)
    order = run.pattern[at, : at + 1].argsort(descending=True, stable=True).tolist()
    assert answer["sources"].tolist() == order
    for row, source in enumerate(order):
        best = rows[source].topk(5)
        np.testing.assert_allclose(answer["up_values"][row], best.values, rtol=1e-3, atol=1e-4)
        assert answer["up"][row][0] == model.token_texts(best.indices.tolist())[0]
        own = rows[source, model.to_tokens(PROMPT)[0, source]]
        np.testing.assert_allclose(answer["own_values"][row], own, rtol=1e-3, atol=1e-4)


def test_by_embeddings_a_token_that_comes_twice_is_one():
    view = mw.HeadView(tiny_model(), "Mary gave Mary gave Mary a drink", stream="embedding")
    answer = value(view, "writes", **{**READS, "stream": "embedding"})
    assert len(answer["tokens"]) == len(set(answer["tokens"])) == len(set(view.tokens))
    assert len(value(view, "writes", **READS)["tokens"]) == len(view.tokens)


def test_a_token_of_the_readers_stands_first():
    model = tiny_model()
    view = mw.HeadView(model, PROMPT)
    answer = value(view, "writes", **{**READS, "stream": "embedding", "token": " store"})
    assert (answer["tokens"][0], answer["sources"][0]) == (" store", -1)
    assert np.isnan(answer["attention"][0])
    plain = mw.ov_tokens(model, 2, 3, " store", k=5)
    assert answer["up"][0] == plain["up"].values[0].tolist()
    scale = run_head(model, model.to_tokens(PROMPT), 2, 3).scales(5).final
    np.testing.assert_allclose(answer["up_values"][0] * scale, plain["up_value"][0], rtol=1e-4)
    looks = value(view, "looks", **{**READS, "stream": "embedding", "token": " store"}, distance=2)
    scores = mw.qk_tokens(model, 2, 3, " store", distance=2)
    np.testing.assert_allclose(looks["up_values"][0], float(scores.max()), rtol=1e-4)
    np.testing.assert_allclose(looks["down_values"][0], float(scores.min()), rtol=1e-4)
    assert looks["mean"] == pytest.approx(float(scores.mean()), rel=1e-4)
    why = value(view, "looks", **{**READS, "token": " Mary John"}, distance=0)
    assert why["unavailable"].startswith("Token ' Mary John' is 2 tokens")


def test_the_query_of_a_prompt_is_what_its_stream_holds():
    model = tiny_model()
    view = mw.HeadView(model, PROMPT)
    looks = value(view, "looks", **{**READS, "position": 3}, distance=0)
    _, cache = model.run_with_cache(PROMPT, names_filter=["q", "resid_pre"])
    block = model.blocks[2]
    keys = block.ln1(model.W_E) @ block.attn.W_K[3] + block.attn.b_K[3]
    expected = keys @ cache["q", 2][0, 3, 3] / model.cfg.d_head**0.5
    np.testing.assert_allclose(looks["up_values"], expected.topk(10).values.detach(), rtol=1e-3)


def test_interventions_change_what_it_does_but_not_its_weights():
    model = tiny_model()
    view = mw.HeadView(model, PROMPT, **HEAD)
    early = mw.ablate(head=(0, 1)).to_json()
    plain, changed = (value(view, "pattern", **{**RUN, "interventions": one}) for one in ([], [early]))
    assert not np.allclose(plain["pattern"], changed["pattern"])
    with model.intervene(mw.ablate(head=(0, 1))):
        _, cache = model.run_with_cache(PROMPT, names_filter="pattern")
    expected = cache["pattern", 2][0, 3].numpy()[np.tri(6, dtype=bool)]
    np.testing.assert_allclose(changed["pattern"], expected, rtol=1e-5)
    own = value(view, "writes", **{**READS, "interventions": [mw.ablate(head=(2, 3)).to_json()]})
    np.testing.assert_allclose(own["together"]["up_values"], 0, atol=1e-6)
    assert (own["up_values"][:, 0] > 0).all()


def test_one_run_answers_all_that_is_asked_of_it():
    model = tiny_model()
    view = mw.HeadView(model, PROMPT, **HEAD)
    runs = []
    run = type(model).run_with_cache

    def counted(self, *args, **kwargs):
        runs.append(args)
        return run(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(model), "run_with_cache", counted)
        view.prompt = "Mary went to the store"
        assert len(runs) == 1
        value(view, "pattern", layer=1, head=0, interventions=[])
        value(view, "writes", **{**READS, "layer": 1, "head": 0})
        value(view, "looks", **{**READS, "layer": 1, "head": 0}, distance=1)
        assert len(runs) == 2


def test_a_new_prompt_asks_again_of_what_is_chosen_now():
    view = mw.HeadView(tiny_model(), PROMPT)
    view.set_state({"layer": 1, "head": 2, "position": 5, "token": " Ann"})
    reply = ask(view, "set_inputs", prompt="Mary went")
    assert reply["kind"] == "mw-result"
    assert (view.position, view.tokens) == (None, ["Mary", " went"])
    assert view.answers["writes"]["args"] == {
        **READS,
        "layer": 1,
        "head": 2,
        "token": " Ann",
        "position": None,
    }
    assert ask(view, "set_inputs", prompt="")["kind"] == "mw-error"
    assert view.tokens == ["Mary", " went"]


def test_a_shared_selection_and_interventions_move_it():
    chosen, changes = mw.Selection(), mw.Interventions()
    view = mw.HeadView(tiny_model(), PROMPT, **HEAD, selection=chosen, interventions=changes)
    assert (view.layer, view.head) == (2, 3)
    chosen.choose(layer=1, head=0, position=4, token=" Ann")
    assert (view.layer, view.head, view.position, view.token) == (1, 0, 4, " Ann")
    # a picture of one head always has one
    chosen.clear()
    assert (view.layer, view.head, view.position, view.token) == (1, 0, None, None)
    view.layer = 2
    assert chosen.layer == 2
    changes.append(mw.ablate(head=(0, 0)))
    assert view.interventions == [mw.ablate(head=(0, 0))]


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("layer", 3, "Layer 3 is out of range"),
        ("head", 4, "Head 4 is out of range"),
        ("position", 6, "Position 6 is out of range"),
        ("distance", 64, "Distance 64 is out of range"),
        ("interventions", [mw.ablate(head=(7, 0))], "Layer 7 is out of range"),
    ],
)
def test_a_place_that_there_is_not_is_refused(name, wrong, message):
    view = mw.HeadView(tiny_model(), PROMPT)
    state = view.get_state()
    with pytest.raises(RefusedError, match=message):
        setattr(view, name, wrong)
    assert view.get_state() == state
    with pytest.raises(RefusedError, match=message):
        mw.HeadView(tiny_model(), PROMPT, **{name: wrong})


def test_an_unknown_stream_is_refused():
    with pytest.raises(RefusedError, match="There is no stream 'effectiv'"):
        mw.HeadView(tiny_model(), PROMPT, stream="effectiv")


@pytest.mark.parametrize(
    ("family", "unavailable"),
    [
        (
            "deepseek_v3",
            {"composition": "no matrix of its own", "copying": "no matrix of its own", "looks": "no matrix"},
        ),
        ("qwen3_5_text", {"writes": "multiplies what its heads write with a gate"}),
        ("bloom", {}),
        ("phi", {}),
        ("cohere", {}),
    ],
)
def test_what_a_family_does_not_have_is_said_and_the_rest_is_there(family, unavailable):
    view = mw.HeadView(lively_model(family), PROMPT, layer=2, head=1)
    for name in QUESTIONS:
        found = view.answers[name]["value"]
        assert ("unavailable" in found) == (name in unavailable), (name, found)
        if name in unavailable:
            assert unavailable[name] in found["unavailable"]


def test_a_layer_without_attention_says_so_and_is_not_begun_with():
    view = mw.HeadView(lively_model("lfm2"), PROMPT)
    assert view.layer == 1
    why = value(view, "pattern", layer=0, head=0, interventions=[])
    assert why["unavailable"].startswith("Layer 0 of this model has no pattern")


def test_a_long_prompts_pattern_is_asked_for():
    tokens = int((2 * PATTERN_BYTES / 4) ** 0.5) + 10
    model = tiny_model(max_position_embeddings=tokens + 10)
    view = mw.HeadView(model, "Mary" + " gave" * (tokens - 1))
    assert view.answers["pattern"] == {}
    assert "value" in view.answers["writes"]
    answer = value(view, "pattern", layer=0, head=0, interventions=[])
    assert len(answer["pattern"]) == tokens * (tokens + 1) / 2


def test_a_question_that_nobody_wants_any_more_ends():
    view = mw.HeadView(tiny_model(), PROMPT)

    class NobodyError(Exception):
        pass

    def check():
        raise NobodyError

    for name, args in (
        ("copying", {**HEAD, "stream": "embedding"}),
        ("composition", HEAD),
        ("looks", {**READS, "distance": 0}),
    ):
        with pytest.raises(NobodyError):
            view._data.answer(name, args, check)


def test_numbers_that_are_not_finite_are_said_to_be_so():
    model = tiny_model()
    with torch.no_grad():
        model.hf_model.model.layers[2].self_attn.q_proj.weight.fill_(torch.nan)
    view = mw.HeadView(model, PROMPT, layer=0)
    assert "NaN or infinity in the pattern of L2H3" in value(view, "pattern", **RUN)["unavailable"]
