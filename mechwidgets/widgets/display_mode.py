"""What a cell's output is: the live picture, what needs no kernel, or both."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mechwidgets.share import document as documents
from mechwidgets.share import html
from mechwidgets.share.document import Document

if TYPE_CHECKING:
    from mechwidgets.widgets.view import View

MODES = ("live", "static", "both")
# Of each output, so that a notebook with ten has at most 3 MB.
MAX_OUTPUT_BYTES = 300_000


@dataclass(frozen=True)
class Display:
    """How pictures are shown from now on.

    Attributes:
        mode: one of MODES.
        bake, max_bytes: as `mw.to_html` has them.
    """

    mode: str = "live"
    bake: str | bool | Sequence[str] = "auto"
    max_bytes: int = MAX_OUTPUT_BYTES


# For kernels that somebody else starts, such as nbconvert: the mode with which they begin.
VARIABLE = "MECHWIDGETS_DISPLAY_MODE"


def _checked(mode: str) -> str:
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}; got {mode!r}.")
    return mode


_now = Display(_checked(os.environ.get(VARIABLE, "live")))


def display_mode(mode: str, *, bake: str | bool | Sequence[str] = "auto", max_bytes: int = MAX_OUTPUT_BYTES) -> None:
    """Choose what the outputs of later cells are.

    Args:
        mode: "live", the picture with its kernel; "static", the page with what was baked, in a frame, which nbconvert, Jupyter Book and any other tool that keeps HTML outputs
            shows without a kernel or a network; "both", the picture with its kernel and, in the same output, its document, from which `jupyter nbconvert --to mechwidgets_html`
            makes a page. The output of "static" has the document too.
        bake: which questions of a reader are answered beforehand, as in `mw.to_html`.
        max_bytes: how large an output may become with "auto".

    Raises:
        ValueError: another mode.
    """
    global _now  # noqa: PLW0603 - a setting of the session, as IPython's own
    _now = Display(_checked(mode), bake, max_bytes)


@contextmanager
def kernels_begin_with(mode: str) -> Iterator[None]:
    """Kernels that are started meanwhile show pictures in this mode, unless their notebook chooses another."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = _checked(mode)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def displayed(view: View, live: Any) -> Any:
    """A picture's output: `live` is what ipywidgets makes of it."""
    if _now.mode == "live":
        return live
    if _now.mode == "static":
        # Here, because it brings torch: whoever lists nbconvert's exporters reads this module.
        from mechwidgets.widgets.saving import code_size, document_html

        # the page has the document in it, so there are two
        room = (_now.max_bytes - code_size([view.kind])) // 2
        made = view._document(_now.bake, room)
        page = document_html(made, view._page_title(), iframe=True)
        return {"text/plain": repr(view), "text/html": page, html.TYPE: _as_json(made)}
    data, *more = live if isinstance(live, tuple) else (live,)
    with_document = {**data, html.TYPE: _as_json(view._document(_now.bake, _now.max_bytes))}
    return (with_document, *more) if more else with_document


def _as_json(made: Document) -> Any:
    return json.loads(documents.to_text(made))
