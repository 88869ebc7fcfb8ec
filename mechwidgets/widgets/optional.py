"""Traits of a picture for which None is an answer of its own."""

from __future__ import annotations

from typing import Any

import traitlets


class _AsksAboutNone:
    """Validates None as any other value, where traitlets asks nobody about it."""

    def _validate(self, obj: Any, value: Any) -> Any:
        if value is None and not obj._cross_validation_lock:
            return self._cross_validate(obj, value)  # type: ignore[attr-defined]
        return super()._validate(obj, value)  # type: ignore[misc]


class Position(_AsksAboutNone, traitlets.Int):  # type: ignore[type-arg]
    """A trait: the position of the token behind which the model is read, or None for the end."""

    def __init__(self) -> None:
        super().__init__(None, allow_none=True)
        self.tag(sync=True)

    @staticmethod
    def check(value: Any) -> None:
        """Raises TypeError for something else than a whole number or None."""
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"position is a whole number, or None for the end; got {value!r}.")


class PrependBos(_AsksAboutNone, traitlets.Bool):  # type: ignore[type-arg]
    """A trait: a BOS token in front, none, or None for what the tokenizer does by itself."""

    def __init__(self) -> None:
        super().__init__(None, allow_none=True)
