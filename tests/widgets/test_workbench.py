"""Workbench: its pictures follow one question, one selection and one list of interventions."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from ipywidgets.widgets.widget import _instances

import mechwidgets as mw
from mechwidgets.widgets.typed import check_typed
from tests.models import tiny_model
from tests.widgets.asking import ask, ask_all

PROMPT, CORRUPTED = "Mary gave a drink to", "John gave a drink to"
OFF = mw.ablate(head=(1, 2))


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def bench(model):
    bench = mw.Workbench(model, PROMPT)
    yield bench
    bench.close()


def state(bench):
    """What is asked and shown."""
    return {name: getattr(bench, name) for name in (*bench.inputs, "panels", "tokens", "stale")} | {
        "views": dict(bench.views)
    }


# The pictures


def test_it_shows_the_pictures_of_its_prompt(bench):
    assert bench.panels == ["prediction", "attribution", "attention"]
    assert [type(view).__name__ for view in bench.views.values()] == [
        "PredictionView",
        "AttributionView",
        "AttentionView",
    ]
    assert {view.prompt for view in bench.views.values()} == {PROMPT}
    assert all(view.shared_interventions is bench.shared_interventions for view in bench.views.values())


def test_what_the_model_says_next_is_one_picture(bench):
    assert bench.views["attention"].prediction is False


def test_another_prompt_is_asked_of_all(bench):
    kept = dict(bench.views)
    bench.prompt = "When Mary gave John a drink"
    assert bench.views == kept
    assert {view.prompt for view in kept.values()} == {bench.prompt}
    assert bench.tokens == kept["attention"].tokens
    alone = mw.AttributionView(bench.model, bench.prompt)
    assert kept["attribution"].total == alone.total
    assert bench.stale == []


def test_a_prompt_that_cannot_be_run_leaves_everything_as_it_was(bench):
    before = state(bench)
    with pytest.raises(ValueError, match="The prompt is empty"):
        bench.prompt = ""
    assert state(bench) == before
    assert {view.prompt for view in bench.views.values()} == {PROMPT}


def test_panels_are_shown_and_hidden_and_keep_what_was_set_in_them(bench):
    bench.show("logit_lens")
    lens = bench.views["logit_lens"]
    lens.color_by = "entropy"
    bench.hide("logit_lens")
    assert "logit_lens" not in bench.views
    assert lens.comm is None
    bench.prompt = "When Mary gave John a drink"
    bench.show("logit_lens")
    assert bench.views["logit_lens"].color_by == "entropy"
    assert bench.views["logit_lens"].prompt == bench.prompt


def test_every_panel_follows_the_prompt_and_the_interventions(bench):
    bench.corrupted = CORRUPTED
    bench.show(*bench.offered)
    assert set(bench.views) == set(bench.offered)
    bench.shared_interventions.append(OFF)
    bench.prompt = CORRUPTED.replace("John", "drink")
    for view in bench.views.values():
        assert bench.prompt in (getattr(view, name, None) for name in ("prompt", "clean"))
        assert view.interventions == [OFF]


def test_a_panel_that_there_is_not_is_refused_and_names_the_others(bench):
    before = state(bench)
    with pytest.raises(ValueError, match=r"no panel 'atention'\. Did you mean 'attention'\? Panels: prediction, "):
        bench.show("logit_lens", "atention")
    assert state(bench) == before
    with pytest.raises(ValueError, match="no panel 'lens'"):
        mw.Workbench(bench.model, PROMPT, panels=["lens"])


def test_what_fails_on_the_way_leaves_no_widgets_behind(model):
    before = set(_instances)
    with pytest.raises(ValueError, match="out of range"):
        mw.Workbench(model, PROMPT, layer=99)
    with pytest.raises(ValueError, match="no panel"):
        mw.Workbench(model, PROMPT, panels=["attention", "lens"])
    assert {type(_instances[one]).__name__ for one in set(_instances) - before} <= {"Bundle"}


# The pair


def test_patching_needs_a_corrupted_prompt_and_then_compares_it(bench):
    with pytest.raises(ValueError, match="'patching' compares two prompts: give a corrupted one first"):
        bench.show("patching")
    bench.corrupted = CORRUPTED
    bench.show("patching")
    patching = bench.views["patching"]
    assert (patching.clean, patching.corrupted) == (PROMPT, CORRUPTED)
    assert (patching.answer, patching.wrong) == (bench.answer_text, bench.wrong_text)
    bench.corrupted = ""
    assert bench.panels == ["prediction", "attribution", "attention"]
    assert patching.comm is None


@pytest.mark.smollm2
def test_answers_that_are_not_given_are_the_most_probable_after_each_prompt(smollm2):
    clean = "When Mary and John went to the store, John gave a drink to"
    bench = mw.Workbench(smollm2, clean, clean.replace(", John", ", Mary"), panels=["attribution"])
    assert (bench.answer, bench.wrong) == ("", "")
    assert (bench.answer_text, bench.wrong_text) == (" Mary", " John")
    attribution = bench.views["attribution"]
    assert (attribution.answer_text, attribution.wrong_text) == (" Mary", " John")
    bench.wrong = " the"
    assert (bench.wrong_text, attribution.wrong_text) == (" the", " the")


def test_prompts_that_are_no_pair_are_refused_with_both_tokenisations(bench):
    before = state(bench)
    with pytest.raises(ValueError, match="clean has 5, corrupted 6; they part at position 5"):
        bench.corrupted = f"{PROMPT} John"
    assert state(bench) == before


def test_answers_are_texts(model):
    with pytest.raises(TypeError, match="answer is the text of one token, such as ' Mary'; got 7"):
        mw.Workbench(model, PROMPT, answer=7)


# What they share


def test_one_selection_for_all(bench):
    bench.views["attention"].layer = 2
    assert (bench.layer, bench.views["attribution"].layer, bench.selection.layer) == (2, 2, 2)
    bench.head = 1
    assert bench.views["attention"].head == 1


def test_the_token_that_is_looked_at_is_not_the_one_behind_which_the_model_is_read(bench):
    bench.show("logit_lens")
    bench.views["attention"].position = 1
    assert (bench.position, bench.views["logit_lens"].position) == (1, 1)
    assert (bench.views["prediction"].position, bench.views["attribution"].position) == (None, None)
    bench.views["prediction"].position = 2
    assert bench.position == 1


def test_one_list_of_interventions_for_all(bench):
    bench.views["attention"].interventions = [OFF]
    for view in (bench, *bench.views.values()):
        assert view.interventions == [OFF]
    with bench.model.intervene([OFF]), torch.no_grad():
        logits = bench.model(PROMPT)[0, -1]
    change = bench.views["prediction"].change
    torch.testing.assert_close(torch.tensor(change.after), logits.softmax(-1)[change.token_ids], atol=1e-6, rtol=1e-5)
    assert ask(bench, "undo")["kind"] == "mw-result"
    assert bench.views["prediction"].interventions == []


def test_a_shorter_prompt_leaves_out_what_is_done_at_positions_that_it_has_not(bench):
    late = mw.Intervention("z", 1, head=2, position=4)
    bench.shared_interventions.extend([late, OFF])
    bench.prompt = "Mary gave"
    assert (bench.stale, bench.interventions) == ([], [OFF])
    assert [view.interventions for view in bench.views.values()] == [[OFF]] * len(bench.views)
    assert [entry.intervention for entry in bench.shared_interventions.entries] == [late, OFF]
    bench.prompt = PROMPT
    assert [view.interventions for view in bench.views.values()] == [[late, OFF]] * len(bench.views)


def test_another_prompt_drops_what_was_put_in_from_the_last_one(bench):
    pinned = mw.patch_from(CORRUPTED, "z", 1, head=2, model=bench.model)
    bench.shared_interventions.extend([pinned, OFF])
    bench.answer = " Mary"
    assert bench.interventions == [pinned, OFF]
    bench.prompt = "Mary gave"
    assert (bench.stale, bench.interventions) == ([], [OFF])


def test_what_is_shared_can_be_shared_further(model):
    chosen, changes = mw.Selection(layer=1), mw.Interventions([OFF])
    bench = mw.Workbench(model, PROMPT, selection=chosen, interventions=changes)
    assert (bench.layer, bench.views["attention"].layer) == (1, 1)
    assert bench.views["prediction"].interventions == [OFF]
    other = mw.Interventions()
    bench.shared_interventions = other
    assert bench.views["prediction"].interventions == []
    bench.close()
    assert chosen.comm is not None
    assert changes.comm is not None


# What the page asks


def test_the_page_asks_about_another_question_and_for_other_panels(bench):
    asked = {"prompt": PROMPT, "corrupted": CORRUPTED, "answer": "", "wrong": ""}
    assert ask(bench, "set_inputs", **asked)["kind"] == "mw-result"
    assert bench.corrupted == CORRUPTED
    assert ask(bench, "show", panels=["patching"])["kind"] == "mw-result"
    assert list(bench.views) == ["patching"]
    refused = ask(bench, "set_inputs", **{**asked, "prompt": ""})
    assert (refused["kind"], bench.prompt) == ("mw-error", PROMPT)
    assert "The prompt is empty" in refused["message"]


def test_pictures_that_a_stop_left_behind_are_said_and_asked_again(bench, monkeypatch):
    attention = bench.views["attention"]
    renew = type(attention)._set_inputs
    monkeypatch.setattr(
        type(attention), "_set_inputs", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no memory"))
    )
    asked = {"prompt": "When Mary gave John a drink", "corrupted": "", "answer": "", "wrong": ""}
    assert ask(bench, "set_inputs", **asked)["message"] == "no memory"
    assert bench.stale == ["attention"]
    assert (bench.prompt, attention.prompt) == (asked["prompt"], PROMPT)
    monkeypatch.setattr(type(attention), "_set_inputs", renew)
    assert ask(bench, "set_inputs", **asked)["kind"] == "mw-result"
    assert (bench.stale, attention.prompt) == ([], asked["prompt"])


def test_its_interventions_are_said_as_python(bench):
    bench.shared_interventions.append(OFF)
    bench.shared_interventions.switch(0, on=False)
    code = ask(bench, "changes_code")["value"]["code"]
    scope: dict[str, object] = {}
    exec(code, scope)
    assert scope["interventions"].entries == bench.shared_interventions.entries


def test_typing_is_read_without_a_run_and_while_one_is_under_way(bench, monkeypatch):
    monkeypatch.setattr(bench.model, "forward", None)
    with bench._turn, bench.model.lock:
        answers = ask_all(bench, "check", prompt=PROMPT, corrupted=CORRUPTED, answer="", wrong="")
    assert answers[-1]["value"]["problems"] == {}


@pytest.mark.parametrize(
    ("typed", "problems"),
    [
        (("", "", "", ""), {"prompt": "The prompt is empty"}),
        ((PROMPT, CORRUPTED, " Mary", " John"), {}),
        ((PROMPT, PROMPT, "", ""), {"corrupted": "are the same"}),
        ((PROMPT, f"{CORRUPTED} the", "", ""), {"corrupted": "clean has 5, corrupted 6"}),
        ((PROMPT, "", " Mary Mary", "Mary"), {"answer": "is 2 tokens", "wrong": "has no space in front"}),
        ((PROMPT, "", " Mary", " Mary"), {"wrong": "are the same token"}),
        (("Mary " * 100_000, "", "", ""), {"prompt": "tokens"}),
    ],
)
def test_what_is_wrong_with_what_is_typed_is_said_field_by_field(model, typed, problems):
    found = check_typed(model, *typed, None)
    assert found["problems"].keys() == problems.keys()
    for field, words in problems.items():
        assert words in found["problems"][field]


def test_tokens_that_differ_are_marked(model):
    found = check_typed(model, PROMPT, CORRUPTED, "", "", None)
    assert found["prompt"]["tokens"] == model.to_str_tokens(PROMPT)
    assert found["prompt"]["differ"] == found["corrupted"]["differ"] == [True, False, False, False, False]
    found = check_typed(model, PROMPT, f"the {CORRUPTED}", "", "", None)
    assert found["corrupted"]["count"] == found["prompt"]["count"] + 1
    assert found["prompt"]["differ"] == [True, False, False, False, False]
    assert check_typed(model, PROMPT, "", "", "", None)["prompt"]["differ"] == []


# Its end


def test_closing_it_closes_what_is_in_it(model):
    bench = mw.Workbench(model, PROMPT)
    views = [*bench.views.values(), bench.selection, bench.shared_interventions]
    bench.close()
    assert [one.comm for one in views] == [None] * len(views)


def test_nothing_keeps_it_but_the_registry_of_ipywidgets(model):
    bench = mw.Workbench(model, PROMPT)
    held = [weakref.ref(one) for one in (bench, *bench.views.values())]
    for one in (bench, *bench.views.values()):
        one.comm.on_msg(None)
        _instances.pop(one.model_id)
    del bench, one
    gc.collect()
    assert [there() for there in held] == [None] * len(held)
