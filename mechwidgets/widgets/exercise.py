"""Exercise: a question that a reader answers by clicking in a picture."""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import traitlets
from ipywidgets import widget_serialization

from mechwidgets.model.run import suspended
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.selection import PLACES, Selection
from mechwidgets.widgets.view import View

Verdict = tuple[bool, str]


class Exercise(View, kind="exercise"):
    """A question about a picture, such as "Which heads are induction heads?", that is answered by clicking in it; each answer is checked at once.

    Args:
        view: the picture. What is chosen in it is the reader's choice.
        check: the right answers, such as the heads `[(5, 1), (9, 4)]`; or a function of one answer, called as `check(layer=5, head=1)`, that says whether it is
            right: True or False, or both with a text for the reader, such as `(False, "It attends to the previous token.")`.
        question: what is asked.
        asks: which places make up an answer, of "layer", "head" and "position"; by default those of "layer" and "head" that the picture has, or else its position.
        count: how many right answers there are to find; by itself the length of the list, and 1 for a function.
        hint: a text that the reader can ask for; "" for none.
        settings: `title`, and what every ipywidget takes (`layout`, `tabbable`, `tooltip`).

    Attributes:
        answers: what was answered, in order: a list of dicts with the places, `right` (whether it is) and `feedback` (a text).
        solved: whether all that there is to find was found.
        tokens: the texts of the picture's tokens, [pos].
        model_name: what the picture calls the model.

    Raises:
        TypeError: something else than a picture, or a check that is neither a list nor a function.
        ValueError: places that the picture does not have, or answers that are no such places.
    """

    settings = ()
    _subject = "a picture, check"

    view = traitlets.Instance(View).tag(sync=True, **widget_serialization)
    question = traitlets.Unicode("").tag(sync=True)
    hint = traitlets.Unicode("").tag(sync=True)
    asks = traitlets.List(traitlets.Unicode()).tag(sync=True)
    count = traitlets.Int(1).tag(sync=True)
    answers = traitlets.List(traitlets.Dict()).tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    layer = traitlets.Int(None, allow_none=True).tag(sync=True)
    head = traitlets.Int(None, allow_none=True).tag(sync=True)
    position = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        view: View,
        check: Iterable[Any] | Callable[..., Any],
        question: str = "",
        *,
        asks: Sequence[str] | None = None,
        count: int | None = None,
        hint: str = "",
        **settings: Any,
    ) -> None:
        if not isinstance(view, View):
            raise TypeError(f"An exercise is about a picture, such as mw.AttentionView(model, prompt); got {view!r}.")
        for name in settings:
            self._check_argument(name)
        places = _places(view) if asks is None else list(asks)
        missing = [name for name in places if name not in PLACES or not view.has_trait(name)]
        if missing or not places:
            has = ", ".join(name for name in PLACES if view.has_trait(name)) or "none"
            raise ValueError(f"{type(view).__name__} has no place {', '.join(missing)} to ask for; it has {has}.")
        self._right = None if callable(check) else _right_answers(check, places)
        self._check = check if callable(check) else self._is_listed
        if view.selection is None:
            view.selection = Selection()
        super().__init__(
            getattr(getattr(view, "model", None), "lock", None) or threading.RLock(),
            view=view,
            question=question,
            asks=places,
            count=len(self._right or ["one"]) if count is None else count,
            hint=hint,
            model_name=view.model_name,
            tokens=list(getattr(view, "tokens", [])),
            selection=view.selection,
            **settings,
        )

    @property
    def solved(self) -> bool:
        """Whether all that there is to find was found; each answer is checked again."""
        whole = [answer for answer in self.answers if all(isinstance(answer.get(name), int) for name in self.asks)]
        given = {tuple(answer[name] for name in self.asks) for answer in whole}
        return sum(self.verdict(**dict(zip(self.asks, places, strict=True)))[0] for places in given) >= self.count

    def verdict(self, **answer: int) -> Verdict:
        """Whether an answer is right, and what the reader is told.

        Args:
            answer: each of the places in `asks`.

        Raises:
            TypeError: the function that checks answers says something else than that.
        """
        # A check may run the model; hooks of the cell that made the exercise are not meant.
        with suspended():
            said = self._check(**answer)
        if isinstance(said, tuple) and len(said) == 2 and isinstance(said[1], str):
            return bool(said[0]), said[1]
        if not isinstance(said, (bool, int)) and type(said).__name__ != "bool":
            raise TypeError(
                f"The check of an exercise says True, False, or either with a text, such as (False, 'Look at later layers.'); it said {said!r}."
            )
        return bool(said), ""

    def _is_listed(self, **answer: int) -> bool:
        return tuple(answer[name] for name in self.asks) in (self._right or ())

    def _handlers(self) -> Mapping[str, Handler]:
        return {"check": self._answer_of}

    def _answer_of(self, request: Request, **answer: int) -> dict[str, Any]:
        request.check()
        right, feedback = self.verdict(**{name: answer[name] for name in self.asks})
        return {"right": right, "feedback": feedback}

    def __repr__(self) -> str:
        return f"Exercise({self.question!r}, {self.view!r})"


def _places(view: View) -> list[str]:
    found = [name for name in ("layer", "head") if view.has_trait(name)]
    return found or [name for name in ("position",) if view.has_trait(name)]


def _right_answers(check: Iterable[Any], places: Sequence[str]) -> list[tuple[int, ...]]:
    """The right answers as tuples in the order of the places, each once."""
    example = "(5, 1)" if len(places) == 2 else "(5, 1, 3)" if len(places) == 3 else "5"
    expected = f"The right answers are {', '.join(places)} each, such as [{example}]"
    if isinstance(check, (str, Mapping)) or not isinstance(check, Iterable):
        raise TypeError(f"{expected}; or a function that checks one. Got {check!r}.")
    found: list[tuple[int, ...]] = []
    for one in check:
        try:
            place = tuple(operator.index(part) for part in (one if isinstance(one, (tuple, list)) else [one]))
        except TypeError:
            place = ()
        if len(place) != len(places):
            raise ValueError(f"{expected}; got {one!r}.")
        found.append(place)
    if not found:
        raise ValueError(f"{expected}; got none.")
    return list(dict.fromkeys(found))
