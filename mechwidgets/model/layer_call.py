"""How a model calls one of its layers, so that the call can be made again with another residual stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True, eq=False)
class LayerCall:
    """The arguments that a model gives one of its layers besides the residual stream: masks, positions, rotary tables, the key-value cache.

    Attributes:
        args, kwargs: the other arguments.
        stream: the keyword under which the stream is given; "" where it is the first argument.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    stream: str = ""

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LayerCall:
        """Take the stream out of the arguments of a call."""
        if args:
            return cls(args[1:], kwargs)
        stream = next(name for name, value in kwargs.items() if isinstance(value, torch.Tensor))
        return cls((), {name: value for name, value in kwargs.items() if name != stream}, stream)

    def __call__(self, layer: nn.Module, resid: torch.Tensor) -> torch.Tensor:
        """What the layer makes of a residual stream [rows, pos, d_model]: the stream after it."""
        given = {**self.kwargs, self.stream: resid} if self.stream else self.kwargs
        output = layer(*self.args, **given) if self.stream else layer(resid, *self.args, **given)
        after: torch.Tensor = output[0] if isinstance(output, tuple | list) else output
        return after

    def parts(self) -> list[Any]:
        """All arguments, those inside tuples, lists and mappings too; two calls with the same ones ask the same of a layer."""
        return list(_leaves([self.args, self.kwargs]))

    def at(self, later: LayerCall, positions: torch.Tensor) -> LayerCall:
        """The call for tokens at other positions.

        Args:
            later: the call without the first token, which tells what goes by position.
            positions: int [n].

        Raises:
            ValueError: it cannot be told.
        """
        return replace(
            self, args=_at(self.args, later.args, positions), kwargs=_at(self.kwargs, later.kwargs, positions)
        )

    def repeated(self, batch: int, times: int) -> LayerCall:
        """The call for `times` copies of a batch, one after the other; what is one for all rows of a batch stays so."""

        def repeat(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                if value.ndim < 2 or value.shape[0] != batch:
                    return value
                others = value.shape[1:]
                return value.expand(times, *others) if batch == 1 else value.repeat(times, *[1] * len(others))
            if isinstance(value, tuple | list):
                return type(value)(map(repeat, value))
            return {key: repeat(one) for key, one in value.items()} if isinstance(value, dict) else value

        return replace(self, args=repeat(self.args), kwargs=repeat(self.kwargs))


def _at(value: Any, later: Any, positions: torch.Tensor) -> Any:
    if isinstance(value, torch.Tensor):
        shapes = zip(value.shape, later.shape, strict=True)
        along = [dim for dim, (whole, shorter) in enumerate(shapes) if whole != shorter]
        if len(along) > 1:
            raise ValueError(f"An argument [{', '.join(map(str, value.shape))}] goes by position twice.")
        return value.index_select(along[0], positions.to(value.device)) if along else value
    if isinstance(value, tuple | list):
        return type(value)(_at(one, other, positions) for one, other in zip(value, later, strict=True))
    return {key: _at(one, later[key], positions) for key, one in value.items()} if isinstance(value, dict) else value


def _leaves(value: Any) -> Any:
    if isinstance(value, tuple | list):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _leaves(one)
    else:
        yield value
