"""View: the base of all pictures; ModelView: of those that run a model."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import anywidget
import traitlets
from ipywidgets import Layout, widget_serialization

from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import nearest
from mechwidgets.model.run import suspended
from mechwidgets.widgets import bundles
from mechwidgets.widgets.code import view_code
from mechwidgets.widgets.display_mode import displayed
from mechwidgets.widgets.errors import RefusedError, refusing
from mechwidgets.widgets.interventions import Interventions, begun_with
from mechwidgets.widgets.links import Links
from mechwidgets.widgets.modified import look_at, watch
from mechwidgets.widgets.reruns import watched
from mechwidgets.widgets.rpc import Handler, Request, Requests
from mechwidgets.widgets.saving import Savable
from mechwidgets.widgets.selection import PLACES, Selection
from mechwidgets.widgets.trait_help import with_defaults

__all__ = ["Answer", "ModelView", "RefusedError", "View", "refusing"]

# Traits that some view is computed from.
_INPUTS = ("prompt", "clean", "corrupted", "answer", "wrong", "prepend_bos")

# What every picture can be given.
_SETTINGS = ("title", "selection", "layout", "tabbable", "tooltip")


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model said about a view's inputs.

    Attributes:
        traits: what the picture shows of it.
        data: what the kernel keeps for later requests.
        inputs: what it was asked about.
    """

    traits: Mapping[str, Any]
    data: Any
    inputs: Mapping[str, Any] = field(default_factory=dict)


class View(anywidget.AnyWidget, Savable):
    """A picture that answers clicks.

    A subclass names its kind, which is also the name of its front end: `class AttentionView(ModelView, kind="attention")`; and its settings, the traits that it
    can be made with.

    Args:
        lock: held by whoever computes with what the picture shows.
        traits: its first values.

    Attributes:
        title: text above the picture; none by default.
        model_name: what the picture calls the model.
        selection: a Selection that it shares with other pictures, or None.
        shared_interventions: the Interventions that it shares with others, if its `interventions` were given as such, or None.
    """

    kind: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[tuple[str, ...]] = ()
    # what a picture is made of, for messages
    _subject: ClassVar[str]

    title = traitlets.Unicode("").tag(sync=True)
    model_name = traitlets.Unicode("").tag(sync=True)
    selection = traitlets.Instance(Selection, allow_none=True).tag(sync=True, **widget_serialization)
    shared_interventions = traitlets.Instance(Interventions, allow_none=True).tag(sync=True, **widget_serialization)
    # Where the page finds its code.
    _bundles = traitlets.List(traitlets.Instance(bundles.Bundle)).tag(sync=True, **widget_serialization)
    # The places where something is always chosen, and those that the picture shares with nobody.
    _always_chosen = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _own_places = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init_subclass__(cls, kind: str | None = None, **kwargs: Any) -> None:
        # A subclass of a picture is the same kind; anywidget makes one for each instance.
        if kind is not None:
            cls.kind = kind
            cls._esm = bundles.module(kind)
        super().__init_subclass__(**kwargs)
        if kind is not None:
            cls.__doc__ = with_defaults(cls)

    def __init__(self, lock: threading.RLock, **traits: Any) -> None:
        self._turn = threading.RLock()
        self._links = Links(self)
        # cells
        self.shown_in: set[str] = set()
        self._has_own_layout = not isinstance(traits.get("layout"), Layout)
        if isinstance(traits.get("interventions"), Interventions):
            # traitlets tells nobody of a trait that is set while others are given at the beginning.
            traits["shared_interventions"] = traits["interventions"]
        super().__init__(**traits)
        self._requests = Requests(self._handlers(), lock, self._turn, self.send, self._at_once())
        self.on_msg(lambda _, content, __: self._requests.receive(content))
        if reruns := watched():
            reruns.made(self)

    def _check_argument(self, name: str) -> None:
        accepted = (*self.inputs, *self.settings, *_SETTINGS)
        if name in accepted:
            return
        hint = " The picture computes it." if self.has_trait(name) else nearest(name, accepted)
        raise TypeError(
            f"{type(self).__name__} has no argument {name!r}.{hint} It takes {self._subject}, {', '.join(accepted)}."
        )

    def _handlers(self) -> Mapping[str, Handler]:
        """The requests that this picture may send, by name."""
        raise NotImplementedError

    def _at_once(self) -> Mapping[str, Handler]:
        """Those that change nothing and run no model, so that they wait for nothing."""
        return {"code": lambda _: {"code": self.to_code()}}

    def to_code(self) -> str:
        """Python that draws this picture as it is now: its menu's "Copy as Python".

        What cannot be written out (the model, arrays) is a name, and a comment says what it was.
        """
        return view_code(self)

    @traitlets.default("_bundles")
    def _bundles_of_its_kind(self) -> list[bundles.Bundle]:
        return bundles.bundles(self.kind)

    @traitlets.default("_always_chosen")
    def _places_that_are_never_empty(self) -> list[str]:
        return [name for name in PLACES if self.has_trait(name) and not self.traits()[name].allow_none]

    @traitlets.observe("selection", "shared_interventions")
    def _tie(self, change: Any) -> None:
        self._links.tie(change["name"], change["new"])

    def close(self) -> None:
        """Cancel what runs for this picture and take it off the page."""
        if hasattr(self, "_requests"):
            self._requests.cancel_all()
            self._links.close()
            if self._has_own_layout:
                self.layout.close()
        super().close()
        # ipywidgets puts None there, with which IPython would show the repr, as if this were the picture.
        self.__dict__.pop("_repr_mimebundle_", None)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if self.comm is None:
            return {"text/plain": self._closed()}
        if reruns := watched():
            reruns.shown(self)
        return displayed(self, super()._repr_mimebundle_(**kwargs))

    @property
    def model_id(self) -> str:
        """What the page knows the picture by.

        Raises:
            RuntimeError: the picture was closed.
        """
        if self.comm is None:
            raise RuntimeError(self._closed())
        return str(super().model_id)

    def _closed(self) -> str:
        return f"{self!r} was closed, so it cannot be shown any more. Make a new one."

    def set_state(self, sync_data: Any) -> None:
        """Take values from the page; when they are refused, the page gets back what holds.

        Raises:
            RefusedError: a value that this picture cannot take.
        """
        try:
            super().set_state(sync_data)
        except traitlets.TraitError:
            self.send_state([name for name in sync_data if name in self.keys])
            raise


class ModelView(View):
    """A picture of a model.

    It shows the model as it is, hooks that were added to it (`model.add_hook`) included, with the interventions that are switched on in the picture;
    `with model.hooks(...)` around a cell does not reach it.

    A subclass names its inputs, the traits that the picture is computed from. Assigning an input runs the model; when that fails, the picture stays as it was.

    Attributes:
        model: the HookedModel.
        hooks_added: whether hooks were added to it (`model.add_hook`); the picture is marked as that of a modified model.
    """

    _subject = "the model"

    hooks_added = traitlets.Bool(False).tag(sync=True)

    # A trait, so that traitlets takes it back together with the others when it refuses one of them.
    _answer = traitlets.Instance(Answer)

    def __init__(self, model: HookedModel, inputs: Mapping[str, Any], **traits: Any) -> None:
        if not isinstance(model, HookedModel):
            raise TypeError(
                f"{type(self).__name__} needs a HookedModel, got {type(model).__name__}. "
                "Make one with mw.HookedModel.from_pretrained(name) or mw.HookedModel(hf_model, tokenizer)."
            )
        for name in traits:
            self._check_argument(name)
        self.model = model
        self._accepting: int | None = None
        self._changes: list[Any] = []
        shared = traits.get("interventions")
        if "interventions" in inputs and isinstance(shared, Interventions):
            with refusing():
                inputs = {**inputs, "interventions": begun_with(shared, model, inputs)}
            traits |= {"interventions": inputs["interventions"], "shared_interventions": shared}
        answer = self._ask_unmodified(**inputs)
        first = {"model_name": model.cfg.model_name, **inputs, "_answer": answer, **answer.traits, **traits}
        super().__init__(model.lock, **first)
        watch(self)
        look_at(self)

    @property
    def _data(self) -> Any:
        return self._answer.data

    def _ask_unmodified(self, **inputs: Any) -> Answer:
        for name, value in inputs.items():
            self._check_input(name, value)
        # Clicks are answered in threads of their own, where hooks of the cell that made the picture do not hold; so they must not here.
        with suspended(), refusing():
            return replace(self._ask(**inputs), inputs=inputs)

    def _check_input(self, name: str, value: Any) -> None:
        """Raises TypeError for an input of the wrong type."""
        if name == "prepend_bos":
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"prepend_bos is True, False, or None for what the tokenizer does; got {value!r}.")
        elif not isinstance(value, str):
            raise TypeError(
                f"{name} is one text, got {type(value).__name__}. A picture shows one prompt: for several, make several pictures."
            )

    def _ask(self, *args: Any, **inputs: Any) -> Answer:
        """Run the model on the inputs.

        Raises:
            ValueError: they cannot be run; the message is for the reader of the picture, who is told it as a RefusedError.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        given = {name: getattr(self, name) for name in self.inputs}
        inputs = "".join(f", {name}={value!r}" for name, value in given.items() if value != self.trait_defaults(name))
        return f"{type(self).__name__}({self.model_name!r}{inputs})"

    def _set_inputs(self, request: Request | None = None, **inputs: Any) -> None:
        """Change inputs together; nothing changes if the model cannot run them, or the request was cancelled meanwhile."""
        with self._turn:
            whole = {name: getattr(self, name) for name in self.inputs} | inputs
            answer = self._ask_unmodified(**whole)
            if request is not None:
                request.check()
            self._accept({**inputs, "_answer": answer, **answer.traits})

    def _accept(self, values: Mapping[str, Any]) -> None:
        """Take all values, then tell observers of each: one that raises keeps neither the picture nor other observers from the rest."""
        look_at(self)
        with self._links.held(), self.hold_sync(), ExitStack() as observers:
            self._accepting = threading.get_ident()
            try:
                for name, value in values.items():
                    setattr(self, name, value)
            finally:
                self._accepting = None
                # The stack calls the last first, and each, whatever the others raise.
                for change in reversed(self._changes):
                    observers.callback(self.notify_change, change)
                self._changes = []

    def notify_change(self, change: Any) -> None:
        """Tell observers and the page of a change; while an answer is accepted, once all of it is there."""
        if self._accepting == threading.get_ident():
            self._changes.append(change)
        else:
            super().notify_change(change)

    @traitlets.validate(*_INPUTS)
    def _ask_before_accepting(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        # Another thread may be accepting an answer of its own just now.
        with self._turn:
            if self._accepting != threading.get_ident() and not self._has_asked({name: value}):
                self._set_inputs(**{name: value})
        return value

    def _ask_unless_answered(self, proposal: Any) -> Any:
        """As `_ask_before_accepting`, for inputs that linked pictures set again and again to what they are."""
        inputs = {name: getattr(self, name) for name in self.inputs} | {proposal["trait"].name: proposal["value"]}
        return proposal["value"] if inputs == self._answer.inputs else self._ask_before_accepting(proposal)

    def _has_asked(self, changed: dict[str, Any]) -> bool:
        """Whether the answer is about these inputs already: where several change together, the first is asked about with all."""
        together: bool = self._cross_validation_lock
        return together and {name: getattr(self, name) for name in self.inputs} | changed == self._answer.inputs
