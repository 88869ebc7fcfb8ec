"""The pictures' JavaScript: once in a kernel, in a page and in a saved notebook, however many pictures there are.

What pictures share is `core.js`, and what each kind has of its own `<kind>.js`; each is the text of one model, to which pictures refer. A picture itself carries
only `loader.js`, which takes both from the page, or else from those models.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import traitlets
from ipywidgets import Widget

_STATIC = Path(__file__).parent.parent / "static"


class Bundle(Widget):  # type: ignore[misc]
    """One file of the front end, as a model that pictures refer to.

    Attributes:
        text: JavaScript.
    """

    text = traitlets.Unicode().tag(sync=True)

    def __repr__(self) -> str:
        return f"Bundle({len(self.text)} characters)"


_bundles: dict[str, Bundle] = {}
_lock = threading.Lock()


def module(kind: str) -> str | Path:
    """What anywidget loads for each picture of this kind.

    Raises:
        ImportError: the front end has not been built.
    """
    whole = _STATIC / "whole" / f"{kind}.js"
    if _is_edited() and whole.is_file():
        # Given a path, anywidget follows the file for hot reloading, and with it every picture that was ever made.
        return whole
    others = kinds() if kind == "document" else ()
    names = ["loader"] if _is_shared() else ["core", *others, kind, "loader"]
    return "".join([*(script(name) for name in names), f"export default mechwidgets.load({json.dumps(kind)});\n"])


def bundles(kind: str, others: Iterable[str] = ()) -> list[Bundle]:
    """The models from which the page takes a picture's code, in the order in which it runs them; none if the picture has it all.

    Args:
        kind: of the picture.
        others: kinds of the pictures that it draws itself.
    """
    return [_bundle(name) for name in ("core", *others, kind)] if _is_shared() else []


def kinds() -> list[str]:
    """The kinds of pictures that there are."""
    return sorted({path.stem for path in _STATIC.glob("*.js")} - {"core", "document", "loader", "page"})


def _is_shared() -> bool:
    """Whether pictures can share models; marimo takes a cell's models away when the cell runs again, whoever else refers to them."""
    marimo = sys.modules.get("marimo")
    return not (marimo and marimo.running_in_notebook())


def _bundle(name: str) -> Bundle:
    """The model of a file; a new one where it was closed, as `Widget.close_all()` does."""
    with _lock:
        there = _bundles.get(name)
        if there is None or there.comm is None:
            there = _bundles[name] = Bundle(text=script(name))
        return there


def page_scripts(drawn: Iterable[str]) -> list[str]:
    """What draws documents with these kinds of pictures, in the order in which a page has it.

    Raises:
        ImportError: the front end has not been built.
    """
    return [script(name) for name in ("core", *sorted(set(drawn)), "document", "page")]


@cache
def script(name: str) -> str:
    """The text of one file of the front end.

    Raises:
        ImportError: the front end has not been built.
    """
    path = _STATIC / f"{name}.js"
    if not path.is_file():
        raise ImportError(
            f"The front end {path.name} has not been built. In a clone run `make setup`; otherwise install mechwidgets again."
        )
    return path.read_text(encoding="utf-8")


def _is_edited() -> bool:
    """Whether the one who runs this edits the front end."""
    return os.environ.get("ANYWIDGET_HMR") == "1"
