"""Interventions: changes to a model's runs that several pictures share; and the trait with which one picture has its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import traitlets
from ipywidgets import Widget

from mechwidgets.model.intervention import Intervention
from mechwidgets.widgets.errors import RefusedError, refusing

if TYPE_CHECKING:
    from mechwidgets.model.hooked_model import HookedModel

# The traits that say how many positions a picture has; js/hosts/shared.ts has them too.
_TOKENS = ("tokens", "clean_tokens")

# How many changes of a list can be undone.
KEPT_STEPS = 100


class InterventionList(traitlets.List):  # type: ignore[type-arg]
    """A trait: a list of Intervention, objects in Python and JSON on the wire."""

    def __init__(self) -> None:
        super().__init__(traitlets.Instance(Intervention))
        self.tag(sync=True, to_json=self._to_json, from_json=self._from_json)

    def validate(self, obj: Any, value: Any) -> list[Intervention]:
        """Take a list; of a shared one, those that are switched on, and go on following it.

        Raises:
            RefusedError: anything else.
        """
        if isinstance(value, Interventions):
            obj.shared_interventions = value
            return shown_in(obj, value)
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, Intervention) for one in value):
            raise RefusedError(f"interventions is a list of them, such as [mw.ablate(head=(4, 7))]; got {value!r}.")
        return list(value)

    @staticmethod
    def _to_json(interventions: list[Intervention], _: Any) -> list[dict[str, Any]]:
        return [intervention.to_json() for intervention in interventions]

    @staticmethod
    def _from_json(fields: Any, _: Any) -> Any:
        with refusing():
            return [Intervention.from_json(one) for one in fields] if isinstance(fields, list) else fields


@dataclass(frozen=True)
class Entry:
    """One of a shared list.

    Attributes:
        intervention: the change.
        on: whether pictures and runs carry it out.
    """

    intervention: Intervention
    on: bool = True

    def to_json(self) -> dict[str, Any]:
        """As the wire has it."""
        return {"intervention": self.intervention.to_json(), "on": self.on}

    @classmethod
    def from_json(cls, fields: Any) -> Entry:
        """Read what `to_json` wrote.

        Raises:
            ValueError: something else.
        """
        if not isinstance(fields, dict) or set(fields) != {"intervention", "on"} or not isinstance(fields["on"], bool):
            raise ValueError(
                f"An entry of interventions is an object with the fields intervention and on; got {fields!r}."
            )
        return cls(Intervention.from_json(fields["intervention"]), fields["on"])


class Entries(traitlets.List):  # type: ignore[type-arg]
    """A trait: a list of Entry, objects in Python and JSON on the wire."""

    def __init__(self) -> None:
        super().__init__(traitlets.Instance(Entry))
        self.tag(sync=True, to_json=self._to_json, from_json=self._from_json)

    @staticmethod
    def _to_json(entries: list[Entry], _: Any) -> list[dict[str, Any]]:
        return [entry.to_json() for entry in entries]

    @staticmethod
    def _from_json(fields: Any, _: Any) -> Any:
        with refusing():
            return [Entry.from_json(one) for one in fields] if isinstance(fields, list) else fields


class Interventions(Widget):  # type: ignore[misc]
    """Changes to a model's runs, which pictures share: `mw.AttentionView(model, prompt, interventions=changes)`.

    A click that switches a head off in one picture switches it off in all that were given the same list, and each runs the model again. One can be switched off
    without being dropped. As a sequence it has those that are switched on, so `with model.intervene(changes): model(...)` is what the pictures show.

    Args:
        interventions: what is in it to begin with, all switched on but `off`.
        off: indices of those that are switched off.

    Attributes:
        entries: all of them, a list of Entry (`intervention`, `on`); `observe` it to follow every change.

    Raises:
        TypeError: something else than interventions.
        IndexError: an index in `off` that the list does not have.
    """

    entries = Entries()

    def __init__(self, interventions: Iterable[Intervention] = (), *, off: Iterable[int] = ()) -> None:
        entries = [Entry(_checked(one)) for one in interventions]
        for index in off:
            entries[index] = replace(entries[index], on=False)
        self._past: list[list[Entry]] = []
        self._undoing = False
        super().__init__(entries=entries)

    def append(self, intervention: Intervention) -> None:
        """Add one at the end, switched on.

        Raises:
            TypeError: something else than an Intervention.
        """
        self.entries = [*self.entries, Entry(_checked(intervention))]

    def extend(self, interventions: Iterable[Intervention]) -> None:
        """Add several at the end, switched on; one `undo` takes them away again.

        Raises:
            TypeError: something else than interventions.
        """
        self.entries = [*self.entries, *(Entry(_checked(one)) for one in interventions)]

    def remove(self, which: Intervention | int) -> None:
        """Drop one: the intervention, or its index among all entries.

        Raises:
            ValueError: it is not in the list.
            IndexError: no such index.
        """
        index = self._index(which)
        self.entries = [entry for at, entry in enumerate(self.entries) if at != index]

    def clear(self) -> None:
        """Drop all of them."""
        self.entries = []

    def drop_patches(self) -> None:
        """Drop those that put in what another run had: with another prompt they mean nothing."""
        if any(entry.intervention.op == "patch" for entry in self.entries):
            self.entries = [entry for entry in self.entries if entry.intervention.op != "patch"]

    def switch(self, which: Intervention | int, on: bool | None = None) -> None:
        """Switch one off without dropping it, or on again.

        Args:
            which: the intervention, or its index among all entries.
            on: what it becomes; by default what it is not.

        Raises:
            ValueError: it is not in the list.
            IndexError: no such index.
        """
        index = self._index(which)
        entries = list(self.entries)
        entries[index] = replace(entries[index], on=not entries[index].on if on is None else bool(on))
        self.entries = entries

    def undo(self) -> None:
        """Take back the last change, whether Python or a click made it; the last hundred are kept."""
        if not self._past:
            return
        self._undoing = True
        try:
            self.entries = self._past.pop()
        finally:
            self._undoing = False

    def take(self, before: Sequence[Intervention], now: Sequence[Intervention]) -> None:
        """Carry over how a picture changed the ones that it shows: what went is dropped, what came is switched on or added.

        Args:
            before: what the picture showed.
            now: what it shows.
        """
        gone, come = _without(before, now), _without(now, before)
        entries = list(self.entries)
        for one in gone:
            if Entry(one) in entries:
                entries.remove(Entry(one))
        for one in come:
            off = Entry(one, on=False)
            if off in entries:
                entries[entries.index(off)] = Entry(one)
            else:
                entries.append(Entry(one))
        self.entries = entries

    def to_code(self) -> str:
        """Python that makes this list again."""
        lines = "".join(f"    mw.{entry.intervention!r},\n" for entry in self.entries)
        off = [at for at, entry in enumerate(self.entries) if not entry.on]
        return f"import mechwidgets as mw\n\ninterventions = mw.Interventions([\n{lines}]{f', off={off}' if off else ''})\n"

    def __iter__(self) -> Iterator[Intervention]:
        return iter([entry.intervention for entry in self.entries if entry.on])

    def __len__(self) -> int:
        return sum(entry.on for entry in self.entries)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __bool__(self) -> bool:
        """Always true, as of any widget: `len` says whether something is switched on."""
        return True

    def __repr__(self) -> str:
        off = [at for at, entry in enumerate(self.entries) if not entry.on]
        return f"Interventions([{', '.join(str(entry.intervention) for entry in self.entries)}]{f', off={off}' if off else ''})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))

    def _index(self, which: Intervention | int) -> int:
        if not isinstance(which, Intervention):
            return range(len(self.entries))[which]
        for index, entry in enumerate(self.entries):
            if entry.intervention == which:
                return index
        raise ValueError(f"{which} is not among the interventions: {self!r}.")

    @traitlets.observe("entries")
    def _remember(self, change: Any) -> None:
        if not self._undoing and isinstance(change["old"], list):
            self._past = [*self._past, change["old"]][-KEPT_STEPS:]


def fits(intervention: Intervention, model: HookedModel, n_pos: int | None) -> bool:
    """Whether a model, and a prompt of that many tokens (None: of any), have the place of an intervention."""
    try:
        intervention.check(model)
    except ValueError:
        return False
    positions = intervention.position
    if positions is None or n_pos is None:
        return True
    return all(-n_pos <= one < n_pos for one in ((positions,) if isinstance(positions, int) else positions))


def shown_in(view: Any, shared: Interventions) -> list[Intervention]:
    """Those that are switched on and that a picture's model and prompt have."""
    n_pos = next((len(getattr(view, name)) for name in _TOKENS if view.has_trait(name)), None)
    return [one for one in shared if fits(one, view.model, n_pos)]


def begun_with(shared: Interventions, model: HookedModel, inputs: Mapping[str, Any]) -> list[Intervention]:
    """Those that a picture with these inputs will show.

    Raises:
        ValueError: a prompt that cannot be run.
    """
    tokens = model.to_tokens(inputs["prompt"], inputs.get("prepend_bos"))
    return [one for one in shared if fits(one, model, tokens.shape[1])]


def _without(those: Sequence[Intervention], others: Sequence[Intervention]) -> list[Intervention]:
    """Those that are not among the others, each as often as it is there more."""
    left = list(others)
    found = []
    for one in those:
        if one in left:
            left.remove(one)
        else:
            found.append(one)
    return found


def _checked(one: Any) -> Intervention:
    if not isinstance(one, Intervention):
        raise TypeError(f"Interventions are made by mw.ablate(head=(4, 7)), mw.steer(...) and the like; got {one!r}.")
    return one
