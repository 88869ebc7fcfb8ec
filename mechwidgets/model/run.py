"""Run: everything that one forward pass carries.

The modules of a wrapped model are instrumented once. Each instrumented place asks for the current run and does nothing when there is none, so an exception,
an interrupt or a second thread cannot leave anything behind: what a pass should do lives in its run, and the run in a context variable.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch

from mechwidgets.model import query_blocks, varlen
from mechwidgets.model.hook_points import HookPoint, call_hook
from mechwidgets.model.hooks import HEAD_SITES, HookFunction, site_of
from mechwidgets.model.layer_call import LayerCall
from mechwidgets.model.slices import Slice

Hooks = Sequence[tuple[str, HookFunction]]
T = TypeVar("T")


class Owner(Protocol):
    """What a run needs to know of the HookedModel that runs."""

    @property
    def hook_dict(self) -> Mapping[str, HookPoint]:
        """The hook point of each hook name."""

    @property
    def overwritten(self) -> frozenset[str]:
        """The hook names whose tensors the model changes in place later on."""


@dataclass
class Pass:
    """What one pass through the modules has seen so far, for places later in the same pass.

    Attributes:
        offset: how many tokens a key-value cache holds already.
        rows, n_pos: of the tokens that are fed.
        prompt: how many tokens the prompt has, of which this pass may feed some or which it may follow; 0 where that is not said.
        longest: how many tokens there can be in the end; 0 where nothing is generated.
        real: which tokens are not padding, [batch, pos]; None where none is.
        seen: tensors that a later place of the same layer needs, by site.
    """

    offset: int = 0
    rows: int = 1
    n_pos: int = 1
    prompt: int = 0
    longest: int = 0
    real: torch.Tensor | None = None
    seen: dict[str, torch.Tensor] = field(default_factory=dict)


class Stopped(Exception):  # noqa: N818 - not an error: how a pass ends at the layer that was asked for
    """A pass has reached `stop_at_layer`; carries its residual stream [batch, pos, d_model]."""

    def __init__(self, resid: torch.Tensor) -> None:
        super().__init__()
        self.resid = resid


class RunHook:
    """A hook that is told the run, and so knows where in a prompt a pass is."""

    @property
    def needs_reference(self) -> bool:
        """Whether it has to know the activation in a run of the model as it is."""
        return False

    def in_run(self, tensor: torch.Tensor, name: str, run: Run) -> torch.Tensor:
        """What the model should go on with; the tensor may be edited in place."""
        raise NotImplementedError

    def __call__(self, tensor: torch.Tensor, hook: HookPoint) -> torch.Tensor:
        """As any hook, where there is no run to ask."""
        raise NotImplementedError


class Run:
    """What one forward pass should call and keep.

    Args:
        owner: the HookedModel that runs; the instrumentation of other models ignores this run.
        hooks: (full hook name, function) pairs, called in this order at each name.
        bwd_hooks: the same for gradients.
        keep: full hook names to keep.
        keep_gradients: also keep their gradients, as `<name>_grad`, when a backward pass comes by.
        pos_slice: the positions to keep.
        device: where to keep them.
        stop_at_layer: end the pass before this layer.

    Attributes:
        prompt, longest, real: as in `Pass`, set by what runs; by default the prompt is what the first pass feeds.
        reference: activations of the model as it is, by full hook name, for the hooks that need them.
        layer_calls: where a mapping is put here, how each layer is called is kept in it, by layer.
    """

    def __init__(
        self,
        owner: Owner,
        hooks: Hooks = (),
        keep: Iterable[str] = (),
        *,
        bwd_hooks: Hooks = (),
        keep_gradients: bool = False,
        pos_slice: Slice | None = None,
        device: torch.device | str | None = None,
        stop_at_layer: int | None = None,
    ) -> None:
        self.owner = owner
        self.hooks, self.bwd_hooks = list(hooks), list(bwd_hooks)
        self._forward, self._backward = _by_name(self.hooks), _by_name(self.bwd_hooks)
        self.keep = frozenset(keep)
        self.keep_gradients = keep_gradients
        self.pos_slice, self.device, self.stop_at_layer = pos_slice, device, stop_at_layer
        self.prompt = self.longest = 0
        self.real: torch.Tensor | None = None
        self.kept: dict[str, torch.Tensor] = {}
        self.reference: dict[str, torch.Tensor] = {}
        self.layer_calls: dict[int, LayerCall] | None = None
        self._wanted = self.keep | set(self._forward) | set(self._backward)
        self._passes = threading.local()

    @property
    def now(self) -> Pass:
        """The pass that this thread is in."""
        try:
            return self._passes.now  # type: ignore[no-any-return]
        except AttributeError:
            return self.begin_pass(Pass())

    def begin_pass(self, now: Pass) -> Pass:
        """A pass starts in this thread; what an earlier one saw is let go."""
        earlier: Pass | None = getattr(self._passes, "now", None)
        now.prompt = self.prompt or (earlier.prompt if earlier and now.offset else now.offset + now.n_pos)
        now.longest, now.real = self.longest, self.real
        self._passes.now = now
        return now

    @property
    def referred(self) -> list[str]:
        """The full hook names whose activation in a run of the model as it is has to be known."""
        return [name for name, hook in self.hooks if isinstance(hook, RunHook) and hook.needs_reference]

    @property
    def has_work(self) -> bool:
        """Whether anything is to be done at any place."""
        return bool(self._wanted) or self.stop_at_layer is not None or varlen.current() is not None

    def wants(self, name: str) -> bool:
        """Whether anything is to be done at a place."""
        return name in self._wanted

    def edits(self, name: str) -> bool:
        """Whether what comes after a place may depend on what is done there, so that the model has to go on with what `visit` returns."""
        return name in self._forward or self.watches(name)

    def watches(self, name: str) -> bool:
        """Whether the gradient at a place is asked for."""
        return name in self._backward or (self.keep_gradients and name in self.keep)

    def visit(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Call the hooks at `name` and keep the result; returns what the model should go on with."""
        if name not in self._wanted:
            return tensor
        functions = self._forward.get(name)
        if functions:
            tensor = self._call(functions, name, tensor)
        if self.watches(name):
            tensor = self._watch(name, tensor)
        if name in self.keep:
            self.kept[name] = self._slice(name, tensor.detach())
        # What is kept, and what hooks hold on to, stays as it was seen.
        return tensor.clone() if name in self.owner.overwritten else tensor

    def _call(self, functions: list[HookFunction], name: str, tensor: torch.Tensor) -> torch.Tensor:
        point = self.owner.hook_dict[name]
        # Hooks may edit in place, and the same tensor can be the input of a layer and kept from the layer before.
        edited = tensor.clone()
        with suspended():
            for function in functions:
                if isinstance(function, RunHook):
                    edited = function.in_run(edited, name, self)
                elif (returned := call_hook(function, edited, point)) is not None:
                    edited = _own(_checked(returned, edited, name), edited)
        return edited

    def _watch(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.requires_grad:
            raise ValueError(
                f"There is no gradient at {name}: the model runs under torch.no_grad(), or its parameters do not require gradients."
            )
        # One tensor can stand at two places; each gets a node of its own, so that a gradient changed at one is seen at the other once.
        own = tensor.view_as(tensor)
        context = self.owner.hook_dict[name].ctx
        own.register_hook(lambda gradient: self._visit_gradient(name, gradient, context))  # type: ignore[no-untyped-call]
        return own

    def _visit_gradient(self, name: str, gradient: torch.Tensor, context: dict[str, Any]) -> torch.Tensor:
        point = self.owner.hook_dict[name]
        # On some devices a backward pass runs in threads of its own.
        point.ctx = context
        edited = gradient.clone()
        with suspended():
            for function in self._backward.get(name, ()):
                returned = call_hook(function, edited, point)
                if isinstance(returned, tuple):
                    returned = returned[0]
                if returned is not None:
                    edited = _own(_checked(returned, edited, f"the gradient of {name}"), edited)
        if self.keep_gradients and name in self.keep:
            self.kept[f"{name}_grad"] = self._slice(name, edited.detach())
        return edited

    def _slice(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if self.pos_slice is not None:
            tensor = self.pos_slice.apply(tensor, dim=-3 if site_of(name) in HEAD_SITES else -2)
        if self.device is not None:
            tensor = tensor.to(self.device)
        # A part of a larger tensor would keep all of it in memory; in an expanded one, rows would be changed together.
        if tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        return tensor


_current: ContextVar[tuple[Run, ...]] = ContextVar("mechwidgets_runs", default=())


def _by_name(hooks: Hooks) -> dict[str, list[HookFunction]]:
    by_name: defaultdict[str, list[HookFunction]] = defaultdict(list)
    for name, function in hooks:
        by_name[name].append(function)
    return dict(by_name)


def _checked(returned: Any, given: torch.Tensor, name: str) -> torch.Tensor:
    if not isinstance(returned, torch.Tensor) or returned.shape != given.shape:
        got = f"shape {list(returned.shape)}" if isinstance(returned, torch.Tensor) else type(returned).__name__
        raise ValueError(
            f"A hook at {name} returned {got}; expected a tensor of shape {list(given.shape)}, or None to leave it as it is."
        )
    edited = returned.to(dtype=given.dtype, device=given.device)
    # Some families view what they are given in another shape, which an expanded or transposed tensor does not allow.
    return edited if edited.stride() == given.stride() else edited.contiguous()


def _own(returned: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """What a hook returned, as a tensor that the next hook may edit: it may be one that somebody holds on to, such as a cache's."""
    return returned if returned is given else returned.clone()


def any_run() -> bool:
    """Whether this context is in a run of any model."""
    return bool(_current.get())


def current_run(owner: object) -> Run | None:
    """The run of `owner` that this context is in."""
    for run in _current.get():
        if run.owner is owner:
            return run
    return None


def in_run(run: Run, function: Callable[[], T]) -> T:
    """Call `function` with `run` current.

    It is called in a copy of the context, so that nothing can leave the run behind, not even an interrupt between two instructions of ours.
    """

    def call() -> T:
        # Where there is nothing to do, no place need ask what.
        _current.set((run,) if run.has_work else ())
        return function()

    return copy_context().run(call)


@contextmanager
def suspended() -> Iterator[None]:
    """No run is current: a model called inside a hook is a run of its own."""
    token = _current.set(())
    try:
        with varlen.standing(None), query_blocks.standing(None):
            yield
    finally:
        _current.reset(token)


@contextmanager
def standing(run: Run) -> Iterator[None]:
    """A run for whatever passes its owner makes in this context; it takes the place of an earlier one."""
    others = tuple(other for other in _current.get() if other.owner is not run.owner)
    token = _current.set((*others, run))
    try:
        yield
    finally:
        _current.reset(token)
