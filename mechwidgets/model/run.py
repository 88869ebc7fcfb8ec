"""Run: everything that one forward pass carries.

The modules of a wrapped model are instrumented once. Each instrumented place asks for the current run and does nothing when there is none, so an exception,
an interrupt or a second thread cannot leave anything behind: what a pass should do lives in its run, and the run in a context variable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Protocol, TypeVar

import torch
from torch import nn

from mechwidgets.model.architectures import Architecture
from mechwidgets.model.hooks import HookFunction, HookPoint

Hooks = Sequence[tuple[str, HookFunction]]
T = TypeVar("T")


class Owner(Protocol):
    """What the instrumentation needs to know of the HookedModel that runs."""

    @property
    def architecture(self) -> Architecture:
        """Where its family keeps its parts."""

    @property
    def attention_layers(self) -> Mapping[nn.Module, int]:
        """The layer of each attention module."""


_current: ContextVar[Run | None] = ContextVar("mechwidgets_run", default=None)
_ambient: ContextVar[tuple[tuple[Owner, Hooks], ...]] = ContextVar("mechwidgets_ambient_hooks", default=())


class Run:
    """What one forward pass should call and keep.

    Args:
        owner: the HookedModel that runs; the instrumentation of other models ignores this run.
        hooks: (full hook name, function) pairs, called in this order at each name.
        keep: full hook names to keep.
        read_only: full hook names where an edit could not reach the model.
    """

    def __init__(
        self,
        owner: Owner,
        hooks: Hooks = (),
        keep: Iterable[str] = (),
        read_only: frozenset[str] = frozenset(),
    ) -> None:
        self.owner = owner
        self.hooks: defaultdict[str, list[HookFunction]] = defaultdict(list)
        for name, function in hooks:
            self.hooks[name].append(function)
        self.keep = frozenset(keep)
        self.read_only = read_only
        self.kept: dict[str, torch.Tensor] = {}
        self._points: dict[str, HookPoint] = {}

    def visit(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Call the hooks at `name` and keep the result; returns what the model should go on with."""
        functions = self.hooks.get(name)
        if functions:
            tensor = self._call(functions, name, tensor)
        if name in self.keep:
            self.kept[name] = tensor.detach()
        return tensor

    def _call(self, functions: list[HookFunction], name: str, tensor: torch.Tensor) -> torch.Tensor:
        point = self._points.setdefault(name, HookPoint(name))
        # Hooks may edit in place, and the same tensor can be the input of a layer and kept from the layer before.
        edited = tensor.clone()
        with suspended():
            for function in functions:
                returned = function(edited, point)
                if returned is not None:
                    edited = _checked(returned, edited, name)
        if name in self.read_only and not torch.equal(edited, tensor):
            raise ValueError(
                f"{name} can be read but not edited in this model: edit attn_out or resid_pre of the same layer instead."
            )
        return edited


def _checked(returned: object, given: torch.Tensor, name: str) -> torch.Tensor:
    if not isinstance(returned, torch.Tensor) or returned.shape != given.shape:
        got = f"shape {list(returned.shape)}" if isinstance(returned, torch.Tensor) else type(returned).__name__
        raise ValueError(
            f"A hook at {name} returned {got}; expected a tensor of shape {list(given.shape)}, or None to leave it as it is."
        )
    return returned.to(dtype=given.dtype, device=given.device)


def current_run() -> Run | None:
    """The run that this context is in, whoever owns it."""
    return _current.get()


def in_run(run: Run, function: Callable[[], T]) -> T:
    """Call `function` with `run` current.

    It is called in a copy of the context, so that nothing can leave the run behind, not even an interrupt between two instructions of ours.
    """

    def call() -> T:
        _current.set(run)
        return function()

    return copy_context().run(call)


@contextmanager
def suspended() -> Iterator[None]:
    """No run is current and no ambient hooks hold: a model called inside a hook is a run of its own."""
    run_token, ambient_token = _current.set(None), _ambient.set(())
    try:
        yield
    finally:
        _ambient.reset(ambient_token)
        _current.reset(run_token)


@contextmanager
def ambient(owner: Owner, hooks: Hooks) -> Iterator[None]:
    """Every run of `owner` that starts in this context begins with `hooks`."""
    token = _ambient.set((*_ambient.get(), (owner, hooks)))
    try:
        yield
    finally:
        _ambient.reset(token)


def ambient_hooks(owner: Owner) -> list[tuple[str, HookFunction]]:
    """The hooks with which a run of `owner` begins here."""
    return [hook for other, hooks in _ambient.get() if other is owner for hook in hooks]
