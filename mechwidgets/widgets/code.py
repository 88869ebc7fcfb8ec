"""A picture's state as the Python that makes the picture again."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mechwidgets.analysis.result_code import Unwritten, as_python
from mechwidgets.model.intervention import Intervention

if TYPE_CHECKING:
    from mechwidgets.widgets.view import View


def view_code(view: View, known: Mapping[str, str] = MappingProxyType({})) -> str:
    """Python that draws the picture as it is now, from objects that the reader has.

    What is no text, number or list of these (the model, arrays) is a name; a comment says what it was.

    Args:
        view: the picture.
        known: how some of its arguments are written, by name.
    """
    positional, named = _parameters(type(view))
    notes = [note for name in positional if (note := _note(view, name))]
    lines = [name for name in positional if not _is_written(view, name)]
    names = [name for name in positional if _is_written(view, name)]
    names += [name for name in (*view.inputs, *named, *view.settings, "title") if view.has_trait(name)]
    for name in dict.fromkeys(names):
        value = getattr(view, name)
        if name not in positional and _is_default(view, name, value):
            continue
        try:
            lines.append(f"{name}={known[name] if name in known else _written(value)}")
        except Unwritten as unwritten:
            notes.append(f"# {name}: {unwritten}, which cannot be written out. Define it before.")
            lines.append(f"{name}={name}")
    arguments = "".join(f"    {line},\n" for line in lines)
    head = "".join(f"{note}\n" for note in notes)
    return f"import mechwidgets as mw\n\n{head}mw.{type(view).__name__}(\n{arguments})\n"


def _parameters(cls: type[View]) -> tuple[list[str], list[str]]:
    """The arguments that have to be given, and those that may be."""
    parameters = list(inspect.signature(cls).parameters.values())
    given = [one for one in parameters if one.kind is not one.VAR_KEYWORD]
    needed = [one.name for one in given if one.default is one.empty]
    return needed, [one.name for one in given if one.default is not one.empty]


def _is_written(view: View, name: str) -> bool:
    """Whether an argument that has to be given is a text, not an object of the reader's."""
    return name in view.inputs


def _note(view: View, name: str) -> str | None:
    if _is_written(view, name):
        return None
    if name == "model":
        model = getattr(view, "model", None)
        loading = getattr(model, "loading", None)
        return f"# model = {loading}" if loading else f"# model: {view.model_name!r}, as the picture had it."
    return f"# {name}: as the picture had it."


def _is_default(view: View, name: str, value: Any) -> bool:
    return bool(value == view.traits()[name].default(view))


def _written(value: Any) -> str:
    if isinstance(value, Intervention):
        return f"mw.{value!r}"
    if (
        isinstance(value, Iterable)
        and not isinstance(value, str)
        and any(isinstance(one, Intervention) for one in value)
    ):
        return f"[{', '.join(map(_written, value))}]"
    return as_python(value)
