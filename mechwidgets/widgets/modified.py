"""Whether the model of a picture has hooks that were added to it, with which every run of it begins: what its badge says.

Cells add hooks, so looking after each cell is soon enough; and nothing on the model has to know of pictures.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from mechwidgets.widgets.view import ModelView

_watched: WeakSet[ModelView] = WeakSet()


def watch(view: ModelView) -> None:
    """Keep the badge of a picture right for as long as there is the picture."""
    _watched.add(view)
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell:
        shell.events.register("post_run_cell", look_at_all)


def look_at_all(*_: Any) -> None:
    """Look at the models of all pictures that were not closed."""
    for view in list(_watched):
        if view.comm is None:
            _watched.discard(view)
        else:
            look_at(view)


def look_at(view: ModelView) -> None:
    """Look at the model of one picture."""
    view.hooks_added = view.model.is_modified
