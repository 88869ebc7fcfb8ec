"""Places in a transformers model where a run is asked: module hooks, put on once when the model is wrapped."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from mechwidgets.model.architectures import Architecture
from mechwidgets.model.hooks import site_name
from mechwidgets.model.run import current_run

if TYPE_CHECKING:
    from mechwidgets.model.run import Owner

Offer = Callable[[str, torch.Tensor], torch.Tensor]


def instrument(owner: Owner, layers: nn.ModuleList, architecture: Architecture, config: Any) -> list[RemovableHandle]:
    """Put hooks on the modules of every layer; returns their handles."""
    offer = _offer_to_runs_of(owner)
    handles = []
    mid_norm = architecture.mid_norm(config)
    for index, layer in enumerate(layers):
        handles += [
            _before(layer, site_name("resid_pre", index), offer),
            _after(layer.get_submodule(architecture.attn_out), site_name("attn_out", index), offer),
            _after(layer.get_submodule(architecture.mlp_out), site_name("mlp_out", index), offer),
            _after(layer, site_name("resid_post", index), offer),
        ]
        if mid_norm is not None:
            handles.append(_before(layer.get_submodule(mid_norm), site_name("resid_mid", index), offer))
    return handles


def _offer_to_runs_of(owner: Owner) -> Offer:
    # The hooks live as long as the model, which must not keep its wrapper alive.
    reference = weakref.ref(owner)

    def offer(name: str, tensor: torch.Tensor) -> torch.Tensor:
        run = current_run()
        if run is None or run.owner is not reference():
            return tensor
        return run.visit(name, tensor)

    return offer


def _before(module: nn.Module, name: str, offer: Offer) -> RemovableHandle:
    """Offer a module's first input."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (offer(name, args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": offer(name, kwargs["hidden_states"])}

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _after(module: nn.Module, name: str, offer: Offer) -> RemovableHandle:
    """Offer a module's output, or the first of several."""

    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (offer(name, output[0]), *output[1:])
        return offer(name, output)

    return module.register_forward_hook(hook)
