"""Workbench: the pictures of a model around one prompt, with one selection and one list of interventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import traitlets
from ipywidgets import Widget, widget_serialization

from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import nearest
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import check_range
from mechwidgets.widgets.interventions import InterventionList, Interventions, shown_in
from mechwidgets.widgets.optional import PrependBos
from mechwidgets.widgets.panels import PANELS, WorkbenchQuestion
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.selection import Selection
from mechwidgets.widgets.typed import check_typed
from mechwidgets.widgets.view import Answer, ModelView, RefusedError, refusing

_PLACES = ("layer", "head", "position")
# What all pictures have in common is not a panel's own.
_SHARED = (*_PLACES, "interventions")

FIRST_PANELS = ("prediction", "attribution", "attention")


class Workbench(ModelView, kind="workbench"):
    """The pictures of a model around one prompt: what it says next, which heads and MLPs say it, where they look, and what changes without them.

    Its pictures share one selection and one list of interventions: a click in one shows in all of them.

    Args:
        model: a HookedModel.
        prompt: the text.
        corrupted: another prompt of as many tokens, whose answer is another one, for patching between the two; "" for none.
        answer: the next token that is asked about, a text; "" for what the model finds most probable.
        wrong: the token that it is held against, a text; "" for none, or, with a corrupted prompt, for what the model finds most probable after that.
        prepend_bos: a BOS token in front (True), none (False), or what the tokenizer does by itself (None); as in `model(prompt, prepend_bos=...)`.
        panels: which pictures are shown, of "prediction", "attribution", "attention", "head", "logit_lens" and "patching" (which needs a corrupted prompt).
        interventions: changes under which the model runs, such as `[mw.ablate(head=(4, 7))]`, or an Interventions shared with other pictures.
        settings: `layer`, `head` and `position` (what is chosen to begin with), `selection` (to share it with pictures outside), `title`, and what every ipywidget takes (`layout`, `tabbable`, `tooltip`).

    Attributes:
        prompt, corrupted, answer, wrong, panels: assign to ask about, or show, something else.
        views: the pictures that are shown, by panel name: `bench.views["attention"]` is an AttentionView.
        tokens: the texts of the prompt's tokens, [pos].
        layer, head, position: what is chosen, each a number or None.
        interventions: what is switched on now, a list of Intervention; `shared_interventions` has those that are switched off too, and `undo`.
        answer_text, wrong_text: the tokens that are asked about, as texts.
        corrupted_tokens: the texts of the corrupted prompt's tokens, [pos].
        offered: the panels that there are, by name, and whether each `needs_pair`.
        stale: the panels that are still about the last question.
        n_layers, n_heads, model_name: of the model.

    Raises:
        ValueError: a prompt or an answer that cannot be used, prompts of different numbers of tokens, or a panel that there is not.
        TypeError: an argument that the workbench does not take.
    """

    inputs = ("prompt", "corrupted", "answer", "wrong", "prepend_bos")
    settings = ("panels", "layer", "head", "position", "interventions")

    prompt = traitlets.Unicode("").tag(sync=True)
    corrupted = traitlets.Unicode("").tag(sync=True)
    answer = traitlets.Unicode("").tag(sync=True)
    wrong = traitlets.Unicode("").tag(sync=True)
    prepend_bos = PrependBos()
    answer_text = traitlets.Unicode("").tag(sync=True)
    wrong_text = traitlets.Unicode("").tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    corrupted_tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    n_layers = traitlets.Int(0).tag(sync=True)
    n_heads = traitlets.Int(0).tag(sync=True)
    offered = traitlets.Dict().tag(sync=True)
    panels = traitlets.List(traitlets.Unicode(), list(FIRST_PANELS)).tag(sync=True)
    views = traitlets.Dict().tag(sync=True, **widget_serialization)
    stale = traitlets.List(traitlets.Unicode()).tag(sync=True)
    layer = traitlets.Int(None, allow_none=True).tag(sync=True)
    head = traitlets.Int(None, allow_none=True).tag(sync=True)
    position = traitlets.Int(None, allow_none=True).tag(sync=True)
    interventions = InterventionList()

    def __init__(
        self,
        model: HookedModel,
        prompt: str,
        corrupted: str = "",
        answer: str = "",
        wrong: str = "",
        *,
        prepend_bos: bool | None = None,
        panels: Sequence[str] = FIRST_PANELS,
        interventions: Sequence[Intervention] | Interventions = (),
        **settings: Any,
    ) -> None:
        inputs: dict[str, Any] = {"prompt": prompt, "corrupted": corrupted, "answer": answer, "wrong": wrong}
        inputs["prepend_bos"] = prepend_bos
        shared = interventions if isinstance(interventions, Interventions) else Interventions(interventions)
        # what a panel that was hidden had been set to
        self._settings: dict[str, dict[str, Any]] = {}
        self._own: list[Widget] = [] if shared is interventions else [shared]
        if settings.get("selection") is None:
            settings["selection"] = Selection()
            self._own.append(settings["selection"])
        # A selection of its own begins with nothing, and the workbench would follow it.
        places = {name: settings.pop(name) for name in _PLACES if name in settings}
        super().__init__(model, inputs, panels=[], interventions=shared, **settings)
        try:
            for name, value in places.items():
                setattr(self, name, value)
            self.panels = list(panels)
        except BaseException:
            self.close()
            raise

    def show(self, *panels: str) -> None:
        """Show these pictures beside those that are shown.

        Raises:
            ValueError: there is no such panel, or it needs a corrupted prompt.
        """
        self.panels = [*self.panels, *(name for name in panels if name not in self.panels)]

    def hide(self, *panels: str) -> None:
        """Take these pictures away; what was set in them is kept for when they are shown again."""
        self.panels = [name for name in self.panels if name not in panels]

    def close(self) -> None:
        """Take it off the page, with its pictures."""
        there = [*self.views.values(), *self._own]
        super().close()
        for one in there:
            one.close()

    def _ask(self, **inputs: Any) -> Answer:
        question = WorkbenchQuestion.read(self.model, **inputs)
        cfg = self.model.cfg
        traits = {
            "answer_text": question.answer if question.corrupted else "",
            "wrong_text": question.wrong if question.corrupted else "",
            "tokens": question.tokens,
            "corrupted_tokens": question.corrupted_tokens,
            "n_layers": cfg.n_layers,
            "n_heads": cfg.n_heads,
            "offered": {name: {"needs_pair": panel.needs_pair} for name, panel in PANELS.items()},
            **({"position": None} if (self.position or 0) >= len(question.tokens) else {}),
        }
        return Answer(traits, question)

    def _set_inputs(self, request: Request | None = None, **inputs: Any) -> None:
        with self._turn:
            before = self._answer.inputs
            super()._set_inputs(request, **inputs)
            asks_elsewhere = any(before[name] != getattr(self, name) for name in ("prompt", "corrupted", "prepend_bos"))
            if asks_elsewhere and self.shared_interventions is not None:
                self.shared_interventions.drop_patches()
            if not self._data.corrupted:
                self.panels = [name for name in self.panels if not PANELS[name].needs_pair]
            self.stale = list(self.views)
            self._renew(request)

    def _renew(self, request: Request | None = None) -> None:
        """Ask the pictures that are still about the last question, one after the other."""
        for name in [name for name in self.panels if name in self.stale]:
            if request is not None:
                request.check()
            view = self.views[name]
            asked = PANELS[name].inputs(self._data)
            if "interventions" in view.inputs and self.shared_interventions is not None:
                # not those of a longer prompt, which the picture itself would drop only afterwards
                asked["interventions"] = shown_in(self, self.shared_interventions)
            view._set_inputs(request, **asked)
            self.stale = [other for other in self.stale if other != name]

    def _handlers(self) -> Mapping[str, Handler]:
        return {"set_inputs": self._take_inputs, "show": self._take_panels, "undo": self._undo}

    def _at_once(self) -> Mapping[str, Handler]:
        return {**super()._at_once(), "check": self._check_typed, "changes_code": self._changes_code}

    def _take_inputs(self, request: Request, **inputs: Any) -> dict[str, Any]:
        unknown = set(inputs) - set(self.inputs)
        if unknown:
            raise ValueError(f"The workbench is not computed from {', '.join(sorted(unknown))}.")
        same = all(getattr(self, name) == value for name, value in inputs.items())
        if same and self.stale:
            with self._turn:
                self._renew(request)
        else:
            self._set_inputs(request, **inputs)
        return {}

    def _take_panels(self, request: Request, panels: list[str]) -> dict[str, Any]:
        request.check()
        self.panels = panels
        return {}

    def _check_typed(self, _: Request, prompt: str, corrupted: str, answer: str, wrong: str) -> dict[str, Any]:
        return check_typed(self.model, prompt, corrupted, answer, wrong, self.prepend_bos)

    def _undo(self, _: Request) -> dict[str, Any]:
        if self.shared_interventions is not None:
            self.shared_interventions.undo()
        return {}

    def _changes_code(self, _: Request) -> dict[str, Any]:
        shared = self.shared_interventions or Interventions(self.interventions)
        return {"code": shared.to_code()}

    @traitlets.observe("selection", "shared_interventions")
    def _tie_views(self, change: Any) -> None:
        for view in self.views.values():
            setattr(view, change["name"], change["new"])

    def _check_input(self, name: str, value: Any) -> None:
        if name in ("answer", "wrong") and not isinstance(value, str):
            raise TypeError(f"{name} is the text of one token, such as ' Mary'; got {value!r}.")
        super()._check_input(name, value)

    @traitlets.validate("panels")
    def _open_before_accepting(self, proposal: Any) -> list[str]:
        wanted = list(dict.fromkeys(proposal["value"]))
        for name in wanted:
            if name not in PANELS:
                raise RefusedError(f"There is no panel {name!r}.{nearest(name, PANELS)} Panels: {', '.join(PANELS)}.")
            if PANELS[name].needs_pair and not self._data.corrupted:
                raise RefusedError(
                    f"The panel {name!r} compares two prompts: give a corrupted one first, of as many tokens as the prompt."
                )
        with self._turn, refusing():
            self._open(wanted)
        return wanted

    def _open(self, wanted: Sequence[str]) -> None:
        before = dict(self.views)
        opened: dict[str, ModelView] = {}
        try:
            for name in wanted:
                if name not in before:
                    opened[name] = self._make(name)
        except BaseException:
            for view in opened.values():
                view.close()
            raise
        self.views = {name: opened.get(name) or before[name] for name in wanted}
        for name in set(before) - set(wanted):
            view = before[name]
            self._settings[name] = {one: getattr(view, one) for one in view.settings if one not in _SHARED}
            view.close()

    def _make(self, name: str) -> ModelView:
        panel = PANELS[name]
        asked = {**panel.settings, **panel.inputs(self._data), **self._settings.get(name, {})}
        view = panel.view(self.model, **asked, interventions=self.shared_interventions)
        view._own_places = list(panel.own_places)
        view.selection = self.selection
        return view

    @traitlets.validate("interventions")
    def _interventions_fit(self, proposal: Any) -> list[Intervention]:
        with refusing():
            for intervention in proposal["value"]:
                intervention.check(self.model)
        return list(proposal["value"])

    @traitlets.validate("layer", "head", "position")
    def _place_is_there(self, proposal: Any) -> int | None:
        name: str = proposal["trait"].name
        value: int | None = proposal["value"]
        if value is not None:
            sizes = {"layer": self.n_layers, "head": self.n_heads, "position": len(self.tokens)}
            with refusing():
                check_range(name, value, sizes[name])
        return value
