"""What ties a picture to the objects that it shares with others, on the kernel's side; js/hosts/shared.ts is the browser's.

In the browser a picture reads and writes the shared object alone, so nothing that happens there waits for the kernel, and what the kernel says to the picture's own
traits, perhaps late, moves nothing. Here both are kept equal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import ref

import traitlets

from mechwidgets.widgets.interventions import Interventions, shown_in
from mechwidgets.widgets.selection import PLACES, Selection

if TYPE_CHECKING:
    from mechwidgets.widgets.view import ModelView, View


class Links:
    """The shared objects of one picture.

    Args:
        view: the picture.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._links: dict[str, SelectionLink | InterventionsLink] = {}
        self._following: set[int] = set()

    def tie(self, name: str, shared: Selection | Interventions | None) -> None:
        """Tie the picture to another object than before, or to none, and take what it has."""
        old = self._links.pop(name, None)
        if old is not None:
            old.close()
        if isinstance(shared, Selection):
            self._links[name] = SelectionLink(self, self._view, shared)
        elif isinstance(shared, Interventions) and self._view.has_trait("interventions"):
            self._links[name] = InterventionsLink(self, self._view, shared)
        if name in self._links:
            self.follow(self._links[name])

    def close(self) -> None:
        """Untie the picture from everything."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    def follow(self, link: SelectionLink | InterventionsLink) -> None:
        """Let a link change the picture; what changes with it is not news for the shared object."""
        with self._quiet(), self._view.hold_sync():
            link.follow()

    def lead(self, link: SelectionLink | InterventionsLink) -> None:
        """Let a link change the shared object."""
        if threading.get_ident() not in self._following:
            link.lead()

    @contextmanager
    def held(self) -> Iterator[None]:
        """While another prompt comes in, which leaves what is shared as it is; afterwards the picture takes what of it this prompt has."""
        with self._quiet():
            yield
        for link in self._links.values():
            self.follow(link)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        # Only this thread's changes: another may set the picture for its own reasons meanwhile.
        thread = threading.get_ident()
        if thread in self._following:
            yield
            return
        self._following.add(thread)
        try:
            yield
        finally:
            self._following.discard(thread)


class SelectionLink:
    """A picture follows the places of a selection of which it has traits."""

    def __init__(self, links: Links, view: View, selection: Selection) -> None:
        self._view, self._selection = view, selection
        self._names = [name for name in PLACES if view.has_trait(name) and name not in view._own_places]
        # What picture and selection last agreed on: several places change one after the other, and are told together.
        self._known: dict[str, Any] = {name: getattr(view, name) for name in self._names}
        self._follow, self._lead = _weakly(links.follow, self), _weakly(links.lead, self)
        selection.observe(self._follow, list(PLACES))
        if self._names:
            view.observe(self._lead, self._names)

    def follow(self) -> None:
        """Take what is shared, as far as the picture can."""
        for name in self._names:
            value = getattr(self._selection, name)
            if not _accepts(self._view, name, value):
                _accepts(self._view, name, None)
            self._known[name] = getattr(self._view, name)

    def lead(self) -> None:
        """Share what has changed in the picture."""
        now = {name: getattr(self._view, name) for name in self._names}
        changed = {name: value for name, value in now.items() if value != self._known[name]}
        self._known = now
        if changed:
            self._selection.choose(**changed)

    def close(self) -> None:
        """Untie them."""
        self._selection.unobserve(self._follow, list(PLACES))
        if self._names:
            self._view.unobserve(self._lead, self._names)


class InterventionsLink:
    """A picture that has interventions shows those of a shared list that are switched on and that its model and its prompt have."""

    def __init__(self, links: Links, view: ModelView, shared: Interventions) -> None:
        self._view, self._shared = view, shared
        self._known: list[Any] = []
        self._follow, self._lead = _weakly(links.follow, self), _weakly(links.lead, self)
        shared.observe(self._follow, "entries")
        view.observe(self._lead, "interventions")

    def follow(self) -> None:
        """Take what is shared, as far as the picture can."""
        self._view.interventions = shown_in(self._view, self._shared)
        self._known = self._view.interventions

    def lead(self) -> None:
        """Share what has changed in the picture."""
        before, self._known = self._known, self._view.interventions
        if self._known != before:
            self._shared.take(before, self._known)

    def close(self) -> None:
        """Untie them."""
        self._shared.unobserve(self._follow, "entries")
        self._view.unobserve(self._lead, "interventions")


def _weakly(act: Callable[[Any], None], link: Any) -> Callable[[Any], None]:
    """What observers call: it does not keep a picture that nobody has any more, as the shared object would."""
    links, name, held = ref(act.__self__), act.__name__, ref(link)  # type: ignore[attr-defined]

    def called(_: Any) -> None:
        there, one = links(), held()
        if there is not None and one is not None:
            getattr(there, name)(one)

    return called


def _accepts(view: View, name: str, value: Any) -> bool:
    """Set a trait of the picture, which may refuse it."""
    try:
        setattr(view, name, value)
    except traitlets.TraitError:
        return False
    return True
