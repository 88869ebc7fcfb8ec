"""Whether a model still is what it was: what a run of it depends on besides its input."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from mechwidgets.model.stacks import version_of

if TYPE_CHECKING:
    from mechwidgets.model.hooked_model import HookedModel


def fingerprint(model: HookedModel) -> Hashable:
    """Another one once weights were edited (other than through `.data`, which PyTorch does not count), or hooks were added or removed, ours or PyTorch's."""
    hf_model = model.hf_model
    weights = tuple(version_of(weight) for weight in hf_model.parameters())
    hooks = tuple(
        id(hook)
        for module in hf_model.modules()
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    )
    return weights, hooks, tuple(map(id, model.list_hooks()))
