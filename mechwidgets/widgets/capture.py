"""Pictures as a document: their traits, what they share, what they hold, and what was baked of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import anywidget
from ipywidgets import Layout, Widget

from mechwidgets.share.document import Document, SavedView, Shared
from mechwidgets.widgets.bakes import LISTS, inputs_of
from mechwidgets.widgets.baking import Baked, bake_views
from mechwidgets.widgets.bundles import Bundle
from mechwidgets.widgets.interventions import Interventions
from mechwidgets.widgets.selection import PLACES, Selection

if TYPE_CHECKING:
    from mechwidgets.widgets.view import View

# What every ipywidget has, and where the code is: nothing of the picture.
_NOT_SAVED = {*anywidget.AnyWidget.class_traits(sync=True), "_bundles", "_esm", "_css", "_anywidget_id"}
_REFERENCES = ("IPY_MODEL_", "anywidget:")


def capture(shown: Sequence[View], bake: str | bool | Sequence[str], room: int) -> tuple[Document, list[Baked]]:
    """Pictures as a document, and what was baked of each, those inside others included.

    Args:
        shown: the pictures, in the order in which they stand.
        bake: as `bake_views` has it.
        room: for what is baked, in bytes of the file.

    Raises:
        ValueError: a name that there is not to bake.
        RuntimeError: a picture that was closed.
    """
    views = list(_with_children(shown))
    for view in views:
        _complete(view)
    baked = bake_views(views, bake, room)
    ids = {view.model_id: f"view-{at + 1}" for at, view in enumerate(views)}
    shared = list({one.model_id: one for view in views for one in _shared_by(view)}.values())
    # Documents that stand in one page are linked by what they share, so its name is its own.
    ids |= {one.model_id: f"shared-{one.model_id}" for one in shared}
    document = Document(
        [_saved(view, ids, one) for view, one in zip(views, baked, strict=True)],
        list(dict.fromkeys(ids[view.model_id] for view in shown)),
        [_saved_shared(one, ids) for one in shared],
    )
    return document, baked


def _with_children(views: Iterable[View]) -> Iterator[View]:
    from mechwidgets.widgets.view import View

    seen: dict[str, View] = {}
    queue = list(views)
    for view in queue:
        if view.model_id not in seen:
            seen[view.model_id] = view
            queue += [one for one in _referred(view) if isinstance(one, View)]
    return iter(seen.values())


def _complete(view: View) -> None:
    """Compute what a picture leaves until it is on a page, which is then without the model."""
    compute = getattr(view, "compute", None)
    if compute is not None:
        compute()


def _trait_names(view: View) -> list[str]:
    return [name for name in type(view).class_traits(sync=True) if name not in _NOT_SAVED]


def _referred(view: View) -> Iterator[Widget]:
    """The widgets that a picture's traits refer to."""
    for name in _trait_names(view):
        value = getattr(view, name)
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        yield from (one for one in parts if isinstance(one, Widget) and not isinstance(one, (Bundle, Layout)))


def _shared_by(view: View) -> list[Widget]:
    return [one for one in _referred(view) if isinstance(one, (Selection, Interventions))]


def _saved(view: View, ids: dict[str, str], baked: Baked) -> SavedView:
    model = getattr(view, "model", None)
    with view._turn:
        traits = _renamed(view.get_state(_trait_names(view)), ids)
        code = view.to_code()
    return SavedView(
        id=ids[view.model_id],
        kind=view.kind,
        code=code,
        model=None if model is None else _model(model),
        traits=traits,
        inputs=inputs_of(view),
        lists=LISTS.get(view.kind, {}),
        answers=baked.replies(),
        states=baked.other_states(),
        left_out=baked.left_out,
    )


def _model(model: Any) -> dict[str, Any]:
    revision = getattr(model.hf_model.config, "_commit_hash", None)
    return {"name": str(model.cfg.model_name), "revision": revision and str(revision), "loading": model.loading}


def _saved_shared(shared: Any, ids: dict[str, str]) -> Shared:
    is_selection = isinstance(shared, Selection)
    traits = shared.get_state(list(PLACES) if is_selection else ["entries"])
    return Shared(ids[shared.model_id], "selection" if is_selection else "interventions", traits)


def _renamed(value: Any, ids: dict[str, str]) -> Any:
    """With what refers to a model of the kernel referring to the same in the document."""
    if isinstance(value, dict):
        return {name: _renamed(part, ids) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_renamed(part, ids) for part in value]
    if isinstance(value, str):
        for mark in _REFERENCES:
            if value.startswith(mark) and value[len(mark) :] in ids:
                return f"{mark}{ids[value[len(mark) :]]}"
    return value
