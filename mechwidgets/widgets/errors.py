"""What a picture says to a value that it cannot take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import traitlets


class RefusedError(ValueError, traitlets.TraitError):
    """A value that a picture cannot take.

    The ValueError that it would be anywhere in Python; and the TraitError without which traitlets keeps a refused value that came from the front end or in
    `hold_trait_notifications`.
    """


@contextmanager
def refusing() -> Iterator[None]:
    """What is wrong with a value is a RefusedError, with the same message."""
    try:
        yield
    except ValueError as error:
        raise RefusedError(str(error)) from error
