"""Closes the pictures of a cell that was run again, where nobody has them any more.

ipywidgets keeps every widget that was not closed, and IPython every result, so a cell that is run ten times would keep ten pictures in the kernel and in the page.
A picture whose cell has run again is off the page. If only those two still hold it, it is closed; if a variable, a list or a box of the user's does, it stays.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

from ipywidgets.widgets import widget as ipywidgets_widget

if TYPE_CHECKING:
    from mechwidgets.widgets.view import View

_OUTPUTS = ("_", "__", "___")


class Reruns:
    """The pictures that the cells of a notebook have made.

    Args:
        shell: IPython's, which says when a cell runs.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        # Whoever draws the first picture is in the middle of a cell.
        parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
        self._cell: str | None = parent.get("metadata", {}).get("cellId")
        self._made: dict[str, list[ref[View]]] = {}
        self._before: list[ref[View]] = []

    def before_cell(self, info: Any) -> None:
        """A cell begins."""
        self._cell = info.cell_id
        self._before = self._made.pop(info.cell_id, []) if info.cell_id else []

    def after_cell(self, *_: Any) -> None:
        """A cell has ended: what its last run made may go."""
        cell, self._cell = self._cell, None
        old, self._before = self._before, []
        if cell is None:
            return
        elsewhere = [one for one in old if _is_elsewhere(one, cell)]
        kept = [*elsewhere, *let_go([one for one in old if one not in elsewhere], self._shell)]
        if kept:
            self._made.setdefault(cell, []).extend(kept)

    def made(self, view: View) -> None:
        """The cell that runs now has made a picture."""
        if self._cell is not None:
            self._made.setdefault(self._cell, []).append(ref(view))

    def shown(self, view: View) -> None:
        """The cell that runs now shows a picture."""
        if self._cell is not None:
            view.shown_in.add(self._cell)


def _is_elsewhere(held: ref[View], cell: str) -> bool:
    """Whether another cell shows the picture. A function of its own, as a variable that lives on would keep the picture."""
    view = held()
    return view is not None and not view.shown_in <= {cell}


def let_go(views: list[ref[View]], shell: Any) -> list[ref[View]]:
    """Close the pictures that only ipywidgets and IPython hold; returns the others, as they were."""
    restore = [give_back for one in views if (give_back := _released(one, shell))]
    if not restore:
        return []
    # Pictures and what belongs to them refer to each other; a picture that is collected closes itself.
    gc.collect()
    return [there for give_back in restore if (there := give_back()) is not None]


def _released(held: ref[View], shell: Any) -> Callable[[], ref[View] | None] | None:
    """Take a picture from those that keep it for no reason of the user's; what is returned gives it back, if it is still there."""
    view = held()
    if view is None or view.comm is None:
        return None
    comm, model_id = view.comm, view.model_id
    outputs = _outputs_of(view, shell)
    del view
    comm.on_msg(None)
    ipywidgets_widget._instances.pop(model_id, None)
    for holder, name in outputs:
        if name in _OUTPUTS:
            # as IPython begins
            holder[name] = ""
        else:
            del holder[name]

    def give_back() -> ref[View] | None:
        view = held()
        if view is None:
            return None
        ipywidgets_widget._instances[model_id] = view
        comm.on_msg(view._handle_msg)
        for holder, name in outputs:
            holder[name] = view
        return held

    return give_back


def _outputs_of(view: View, shell: Any) -> list[tuple[dict[Any, Any], Any]]:
    """Where IPython keeps a picture as a result: Out[3] and _3, and the last three."""
    cache = shell.user_ns.get("_oh", {})
    numbers = [number for number, value in cache.items() if value is view]
    names = [*_OUTPUTS, *(f"_{number}" for number in numbers)]
    return [
        *((cache, number) for number in numbers),
        *(
            (holder, name)
            for holder in (shell.user_ns, shell.user_ns_hidden)
            for name in names
            if holder.get(name) is view
        ),
        *((vars(shell.displayhook), name) for name in _OUTPUTS if getattr(shell.displayhook, name, None) is view),
    ]


def watched() -> Reruns | None:
    """What watches the cells of this notebook; None outside of IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if not shell:
        return None
    reruns: Reruns | None = getattr(shell, "_mechwidgets_reruns", None)
    if reruns is None:
        reruns = shell._mechwidgets_reruns = Reruns(shell)
        shell.events.register("pre_run_cell", reruns.before_cell)
        shell.events.register("post_run_cell", reruns.after_cell)
    return reruns
