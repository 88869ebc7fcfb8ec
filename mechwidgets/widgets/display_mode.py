"""What a cell's output is: the live picture, the page that needs no kernel, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


_now = Display()


def display_mode(mode: str, *, bake: str | bool | Sequence[str] = "auto", max_bytes: int = MAX_OUTPUT_BYTES) -> None:
    """Choose what the outputs of later cells are.

    Args:
        mode: "live", the picture with its kernel; "static", the page with what was baked, in a frame, which nbconvert, Jupyter Book and any other tool that keeps HTML outputs
            shows without a kernel or a network; "both", in one output.
        bake: which questions of a reader are answered beforehand, as in `mw.to_html`.
        max_bytes: how large an output may become with "auto".

    Raises:
        ValueError: another mode.
    """
    global _now  # noqa: PLW0603 - a setting of the session, as IPython's own
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}; got {mode!r}.")
    _now = Display(mode, bake, max_bytes)


def displayed(view: View, live: Any) -> Any:
    """A picture's output: `live` is what ipywidgets makes of it."""
    if _now.mode == "live":
        return live
    page = view.to_html(iframe=True, bake=_now.bake, max_bytes=_now.max_bytes)
    if _now.mode == "static":
        return {"text/plain": repr(view), "text/html": page}
    data, *more = live if isinstance(live, tuple) else (live,)
    with_page = {**data, "text/html": page}
    return (with_page, *more) if more else with_page
