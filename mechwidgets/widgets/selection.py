"""Selection: the place that several pictures look at, as one object that Python and all of them read and set."""

from __future__ import annotations

import operator
from typing import Any

import traitlets
from ipywidgets import Widget

from mechwidgets.model.hooks import nearest
from mechwidgets.widgets.errors import RefusedError

# What a selection holds; a picture follows those of which it has a trait of the same name.
PLACES = ("layer", "head", "position", "token")


class Index(traitlets.Int):  # type: ignore[type-arg]
    """A trait: a whole number from 0 on, or None."""

    def __init__(self) -> None:
        super().__init__(None, allow_none=True)
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> int | None:
        """Raises RefusedError for anything else."""
        if value is None:
            return None
        try:
            index = operator.index(value)
        except TypeError:
            index = -1
        if index < 0 or isinstance(value, bool):
            raise RefusedError(f"The {self.name} of a selection is a whole number from 0 on, or None; got {value!r}.")
        return index


class Selection(Widget):  # type: ignore[misc]
    """A place in a model, which pictures share: `mw.AttentionView(model, prompt, selection=chosen)`.

    Pictures that are given the same one move together: in the browser at once, also while the kernel is busy or gone, and in Python. Each picture follows what it
    has a trait for, and shows nothing chosen (or stays where it is, where something is always chosen) at a place that it does not have.

    Args:
        layer: 0 to n_layers - 1.
        head: of that layer, from 0 on.
        position: of a token in the prompt, from 0 on.
        token: the text of a token of the vocabulary.
        unknown: nothing; it is there for the error message.

    Attributes:
        layer, head, position, token: assign to move the pictures, `observe` to follow clicks; None where nothing is chosen.

    Raises:
        TypeError: an argument that a selection does not have.
        ValueError: a number below 0, or something else than a number.
    """

    layer = Index()
    head = Index()
    position = Index()
    token = traitlets.Unicode(None, allow_none=True).tag(sync=True)

    def __init__(
        self,
        *,
        layer: int | None = None,
        head: int | None = None,
        position: int | None = None,
        token: str | None = None,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            raise TypeError(f"A selection has no {name!r}.{nearest(name, PLACES)} It has {', '.join(PLACES)}.")
        super().__init__(layer=layer, head=head, position=position, token=token)

    def choose(self, **places: Any) -> None:
        """Set several at once, so that pictures and observers see them together: `chosen.choose(layer=4, head=7)`.

        Raises:
            TypeError: a place that a selection does not have.
            ValueError: a value that it cannot have; nothing changes.
        """
        for name in places:
            if name not in PLACES:
                raise TypeError(f"A selection has no {name!r}.{nearest(name, PLACES)} It has {', '.join(PLACES)}.")
        with self.hold_sync(), self.hold_trait_notifications():
            for name, value in places.items():
                setattr(self, name, value)

    def clear(self) -> None:
        """Choose nothing."""
        self.choose(**dict.fromkeys(PLACES))

    def __repr__(self) -> str:
        chosen = {name: getattr(self, name) for name in PLACES}
        return f"Selection({', '.join(f'{name}={value!r}' for name, value in chosen.items() if value is not None)})"
