"""Weights of all layers as one tensor, kept for the next time."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

# Stacks are copies; those used last are kept up to this size together.
KEPT_BYTES = 2**30

Fingerprint = tuple[tuple[int, int], ...]
_kept: weakref.WeakKeyDictionary[Any, OrderedDict[str, tuple[Fingerprint, torch.Tensor]]] = weakref.WeakKeyDictionary()


def stack_of(
    owner: Any, name: str, modules: Iterable[nn.Module], read: Callable[[], list[torch.Tensor]]
) -> torch.Tensor:
    """The stack over layers, [layer, ...], from what was kept if nothing has changed since.

    Args:
        owner: whose stack it is; what is kept goes with it.
        name: of the weight, such as "W_Q".
        modules: whose parameters it is made of.
        read: the weight of each layer.

    Raises:
        ValueError: layers of different shapes.
    """
    kept = _kept.setdefault(owner, OrderedDict())
    now = tuple(version_of(weight) for module in modules for weight in module.parameters(recurse=False))
    before, stack = kept.get(name, (None, None))
    if stack is None or before != (*now, version_of(stack)):
        kept.pop(name, None)
        stack = _stacked(name, read())
    if stack.nbytes <= KEPT_BYTES:
        kept[name] = (*now, version_of(stack)), stack
        kept.move_to_end(name)
        while sum(tensor.nbytes for _, tensor in kept.values()) > KEPT_BYTES:
            kept.popitem(last=False)
    return stack


def _stacked(name: str, layers: list[torch.Tensor]) -> torch.Tensor:
    shapes = {tuple(weight.shape) for weight in layers}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} has other shapes in other layers ({', '.join(map(str, sorted(shapes)))}), so it cannot be stacked. Take it layer by layer "
            f"from model.blocks[l]."
        )
    return torch.stack([weight.to(layers[0].device) for weight in layers])


def version_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Where a tensor lies, and how often it was edited in place."""
    # Tensors made in inference mode count no versions; and cannot be changed outside of it.
    return tensor.data_ptr() if not tensor.is_meta else 0, 0 if tensor.is_inference() else tensor._version
