"""The Python that a picture says draws the same picture."""

from __future__ import annotations

import ast
import threading

import numpy as np
import pytest

import mechwidgets as mw
from tests.models import tiny_model
from tests.widgets.asking import ask, ask_all
from tests.widgets.fixtures import own_traits, traits
from tests.widgets.test_view import ARGUMENTS, PAIR, PROMPT, make

HOSTILE = "</script>\n\"Mary\" 'gave' \\ {John}"


def drawn_by(code, **scope):
    """What the last line of a cell gives."""
    tree = ast.parse(code)
    last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, "cell", "exec"), scope)
    return eval(compile(last, "cell", "eval"), scope)


STATES = {
    mw.AttentionView: {"layer": 2, "head": 1, "direction": "to", "interventions": [mw.ablate(head=(1, 2))]},
    mw.AttributionView: {"answer": " John", "layer": 1, "part": "mlp", "neuron": 3, "position": 2},
    mw.HeadView: {"layer": 2, "head": 1, "token": " Ann", "stream": "effective", "distance": 2, "composition": "V"},
    mw.LogitLensView: {"color_by": "entropy", "position": 1, "prepend_bos": True},
    mw.PatchingView: {"scale": "raw", "site": "z", "layer": 1},
    mw.PredictionView: {"position": 2, "interventions": [mw.ablate(head=(1, 2))]},
    mw.Workbench: {"layer": 1, "panels": ["logit_lens", "prediction"], "interventions": [mw.ablate(head=(1, 2))]},
}


@pytest.mark.parametrize("kind", ARGUMENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("changed", [False, True], ids=["as it begins", "changed"])
def test_the_code_of_a_picture_draws_it_again(kind, changed):
    model = tiny_model()
    view = make(kind, model, **(STATES[kind] if changed else {}))
    code = view.to_code()
    again = drawn_by(code, model=model)
    assert type(again).__name__ == kind.__name__
    assert traits(again) == traits(view)
    assert again.to_code() == code


def test_code_leaves_out_what_a_picture_has_by_itself():
    assert make(mw.LogitLensView).to_code() == (
        "import mechwidgets as mw\n\n# model: 'tiny llama', as the picture had it.\n"
        f"mw.LogitLensView(\n    model,\n    prompt={PROMPT!r},\n)\n"
    )


def test_code_names_what_cannot_be_written_out():
    model = tiny_model()

    def tuned_lens(resid, layer):
        return resid * 2

    view = mw.LogitLensView(model, PROMPT, tuned_lens=tuned_lens, stream="resid_pre", target=" John")
    code = view.to_code()
    assert "# tuned_lens: " in code
    assert traits(drawn_by(code, model=model, tuned_lens=tuned_lens)) == traits(view)


def test_code_follows_clicks_and_shared_objects():
    model, chosen, changes = tiny_model(), mw.Selection(layer=2, head=3), mw.Interventions([mw.ablate(mlp=0)])
    view = mw.AttentionView(model, PROMPT, selection=chosen, interventions=changes)
    chosen.set_state({"head": 1})
    changes.append(mw.steer([0.5] * model.cfg.d_model, layer=1))
    again = drawn_by(view.to_code(), model=model)
    assert (again.layer, again.head, again.interventions) == (2, 1, list(changes))


def test_text_in_code_stays_text():
    model = tiny_model()
    view = make(mw.LogitLensView, model, title=HOSTILE)
    assert drawn_by(view.to_code(), model=model).title == HOSTILE


def test_code_says_how_the_model_was_loaded():
    model = tiny_model()
    model.loading = "mw.HookedModel.from_pretrained('smollm2-135m')"
    assert f"# model = {model.loading}\n" in make(mw.LogitLensView, model).to_code()


def test_arrays_are_names():
    tokens, patterns = ["a", "b"], np.tril(np.full((3, 2, 2), 0.5))
    view = mw.PatternsView(tokens, patterns, head=2, drawing="lines", value_name="weight", columns=2)
    code = view.to_code()
    assert "# tokens: as the picture had it.\n# patterns: as the picture had it.\n" in code
    again = drawn_by(code, tokens=tokens, patterns=patterns)
    assert {name: getattr(again, name) for name in own_traits(type(view))} == {
        name: getattr(view, name) for name in own_traits(type(view))
    }


def test_the_code_of_a_result_makes_the_result_too():
    model = tiny_model()
    result = mw.PatchingView(model, **PAIR).result
    view = mw.PatchingResultView(result, scale="raw")
    assert view.to_code().startswith(result.code)
    assert traits(drawn_by(view.to_code(), model=model)) == traits(view)


def test_what_was_pinned_is_written_as_the_patch_that_it_is():
    model = tiny_model()
    view = make(mw.PatchingView, model)
    for site, place in (("z", {"layer": 1, "head": 2}), ("resid_pre", {"layer": 2, "position": 3})):
        ask(view, "pin", site=site, **place)
    view.interventions = [*view.interventions, mw.ablate(head=(0, 1))]
    code = view.to_code()
    assert f"mw.patch_from({view.clean!r}, 'z', 1, head=2, model=model)" in code
    assert len(code) < 1000
    assert drawn_by(code, model=model).interventions == view.interventions


def test_a_result_of_pairs_is_a_name():
    result = mw.patching.sweep_pairs(tiny_model(), [(PAIR["clean"], PAIR["corrupted"], mw.Prob(PAIR["answer"]))])
    view = mw.PatchingResultView(result)
    assert "# result: as the picture had it." in view.to_code()
    assert traits(drawn_by(view.to_code(), result=result)) == traits(view)


def test_the_picture_gets_its_code_though_it_is_busy_and_another_has_the_model():
    view = make(mw.AttentionView)
    with view.model.lock, view._turn:
        messages = []
        asking = threading.Thread(target=lambda: messages.extend(ask_all(view, "code")))
        asking.start()
        asking.join(20)
        assert [message["kind"] for message in messages] == ["mw-ack", "mw-result"]
    assert messages[0]["state"] == "running"
    assert ask(view, "code")["value"] == {"code": view.to_code()}
