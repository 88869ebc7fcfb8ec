"""Position: the trait of a picture that reads the model behind one token of its prompt."""

from __future__ import annotations

from typing import Any

import traitlets


class Position(traitlets.Int):  # type: ignore[type-arg]
    """A trait: a position, or None for the end, which is validated as any other value: traitlets asks nobody about None."""

    def __init__(self) -> None:
        super().__init__(None, allow_none=True)
        self.tag(sync=True)

    def _validate(self, obj: Any, value: Any) -> Any:
        if value is None and not obj._cross_validation_lock:
            return self._cross_validate(obj, value)
        return super()._validate(obj, value)

    @staticmethod
    def check(value: Any) -> None:
        """Raises TypeError for something else than a whole number or None."""
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"position is a whole number, or None for the end; got {value!r}.")
