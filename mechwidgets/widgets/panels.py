"""The pictures that a Workbench holds, and what each is asked about its question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.prompt_pair import PromptPair, check_answer
from mechwidgets.widgets.attention import AttentionView
from mechwidgets.widgets.attribution import AttributionView
from mechwidgets.widgets.head import HeadView
from mechwidgets.widgets.logit_lens import LogitLensView
from mechwidgets.widgets.patching import PatchingView
from mechwidgets.widgets.prediction import PredictionView
from mechwidgets.widgets.view import ModelView

# Tokens that are tried as an answer.
CANDIDATES = 100


@dataclass(frozen=True)
class WorkbenchQuestion:
    """What a Workbench asks all of its pictures.

    Attributes:
        prompt: the text.
        corrupted: another of as many tokens; "" for none.
        answer: the next token that is asked about, as a text; "" for what the model finds most probable. With a corrupted prompt it is always there.
        wrong: the token that it is held against, likewise; "" for none.
        prepend_bos: as in `HookedModel.to_tokens`.
        tokens: the texts of the prompt's tokens, [pos].
        corrupted_tokens: of the corrupted one's, [pos], or none.
    """

    prompt: str
    corrupted: str
    answer: str
    wrong: str
    prepend_bos: bool | None
    tokens: list[str]
    corrupted_tokens: list[str]

    @classmethod
    def read(
        cls, model: HookedModel, prompt: str, corrupted: str, answer: str, wrong: str, prepend_bos: bool | None
    ) -> WorkbenchQuestion:
        """Check what was typed; with a corrupted prompt, answers that were not given are what the model finds most probable after each of the two.

        Raises:
            ValueError: a prompt or an answer that cannot be used, or prompts that are no pair.
        """
        tokens = model.to_tokens(prompt, prepend_bos)
        texts = model.token_texts(tokens[0].tolist())
        others: list[str] = []
        if corrupted:
            pair = PromptPair.of(model, prompt, corrupted, answer or None, wrong or None, prepend_bos)
            others = pair.corrupted_str_tokens
        for given, what in ((answer, "Answer"), (wrong, "Wrong answer")):
            if given and not corrupted:
                check_answer(model, given, what, texts[-1])
        if corrupted:
            answer = answer or _most_probable(model, tokens, texts[-1], wrong)
            wrong = wrong or _most_probable(model, pair.corrupted, texts[-1], answer)
        return cls(prompt, corrupted, answer, wrong, prepend_bos, texts, others)


def _most_probable(model: HookedModel, tokens: torch.Tensor, after: str, other_than: str) -> str:
    """The most probable next token that can be said as a text, and that is another than this one.

    Raises:
        ValueError: none of the first hundred can.
    """
    with torch.no_grad():
        logits = model(tokens)[0, -1]
    ids = logits.topk(min(CANDIDATES, len(logits))).indices.tolist()
    for token, text in zip(ids, model.token_texts(ids), strict=True):
        if text != other_than and _is_said_by(model, token, text, after):
            return text
    raise ValueError(
        "What the model finds most probable cannot be written as a text. Give the answer and the wrong one."
    )


def _is_said_by(model: HookedModel, token: int, text: str, after: str) -> bool:
    try:
        return check_answer(model, text, after=after) == token
    except ValueError:
        return False


@dataclass(frozen=True)
class Panel:
    """One kind of picture in a Workbench.

    Attributes:
        view: its class.
        inputs: what it is made with, and asked again, about a question.
        needs_pair: whether it compares the prompt with a corrupted one.
        settings: what it is made with besides.
        own_places: places of a selection that mean something else in it: behind which token it reads the model is not the token that is looked at.
    """

    view: type[ModelView]
    inputs: Callable[[WorkbenchQuestion], dict[str, Any]]
    needs_pair: bool = False
    own_places: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def _prompt(question: WorkbenchQuestion) -> dict[str, Any]:
    return {"prompt": question.prompt, "prepend_bos": question.prepend_bos}


def _alone(question: WorkbenchQuestion) -> dict[str, Any]:
    # what the last prompt was compared with in the picture need not have as many tokens as this one
    return {**_prompt(question), "compare": ""}


def _answers(question: WorkbenchQuestion) -> dict[str, Any]:
    return {"answer": question.answer, "wrong": question.wrong}


def _pair(question: WorkbenchQuestion) -> dict[str, Any]:
    return {"clean": question.prompt, "corrupted": question.corrupted, "prepend_bos": question.prepend_bos}


# In the order in which they are offered.
PANELS: dict[str, Panel] = {
    "prediction": Panel(PredictionView, _prompt, own_places=("position",)),
    "attribution": Panel(
        AttributionView, lambda question: {**_prompt(question), **_answers(question)}, own_places=("position",)
    ),
    "attention": Panel(AttentionView, _alone, settings={"prediction": False}),
    "head": Panel(HeadView, _prompt),
    "logit_lens": Panel(LogitLensView, _alone),
    "patching": Panel(PatchingView, lambda question: {**_pair(question), **_answers(question)}, needs_pair=True),
}
