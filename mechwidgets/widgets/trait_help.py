"""What `help(mw.AttentionView)` says of a picture's traits beyond its docstring: from where they begin."""

from __future__ import annotations

import inspect
from typing import Any

import traitlets


def with_defaults(cls: type[Any]) -> str | None:
    """A picture's docstring with a line for the default of each argument that need not be given and is a trait; as it is where there are none."""
    documentation = inspect.getdoc(cls)
    given = inspect.signature(cls.__init__).parameters
    needed = {name for name, one in given.items() if one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty}
    # traitlets has not yet listed them when a class is being made
    traits = {name: inspect.getattr_static(cls, name, None) for name in (*cls.inputs, *cls.settings, "title")}
    lines = [
        f"    {name} = {_default(trait)!r}"
        for name, trait in traits.items()
        if isinstance(trait, traitlets.TraitType) and name not in needed
    ]
    if not documentation or not lines:
        return documentation
    return "\n".join([documentation.rstrip(), "", "Defaults:", *lines, ""])


def _default(trait: traitlets.TraitType[Any, Any]) -> Any:
    default = trait.default()
    return None if default is traitlets.Undefined else default
