"""Places in a transformers model where a run is asked: module hooks, put on once when the model is wrapped."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from mechwidgets.model import attention, handlers, varlen
from mechwidgets.model.architectures import Architecture, LayerParts
from mechwidgets.model.config import ModelConfig
from mechwidgets.model.handlers import Handler
from mechwidgets.model.hooks import in_order, site_name
from mechwidgets.model.layer_call import LayerCall
from mechwidgets.model.norms import Norm
from mechwidgets.model.run import Pass, Run, any_run, current_run
from mechwidgets.model.watched import Heads, Visit, Visitor

FindRun = Callable[[], "Run | None"]


class ModuleHook:
    """A hook of ours on a module. A copy of the model, or what was pickled, is not wrapped: there it does nothing."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        """What torch calls, hundreds of times in a pass: where nobody asks it has to cost next to nothing."""
        return self._call(*args) if any_run() else None

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _no_hook, ()


def _no_hook() -> Callable[..., None]:
    return _do_nothing


def _do_nothing(*_: Any) -> None:
    """What a hook becomes in a copy."""


class Instrument:
    """Puts our hooks on the modules of a model, and takes them off again.

    Args:
        owner: the HookedModel whose runs are asked.
        hf_model: the transformers model.
        architecture: where it keeps its parts.
        norms: its norms taken apart, by module.
        cfg: its sizes.

    Attributes:
        names: the full hook names of all places, in the order in which a forward pass meets them.
    """

    def __init__(
        self, owner: Any, hf_model: Any, architecture: Architecture, norms: dict[nn.Module, Norm], cfg: ModelConfig
    ) -> None:
        self.hf_model, self.norms, self.cfg = hf_model, norms, cfg
        self.find = run_finder(owner)
        self.handles: list[RemovableHandle] = []
        self._names: set[str] = set()
        self._attention_modules: dict[nn.Module, Visitor] = {}
        self._begin(hf_model)
        self._after(architecture.embed, handlers.whole(self._place("embed"), architecture.embed_multiplier))
        if architecture.pos_embed is not None:
            self._after(architecture.pos_embed, handlers.one_row(self._place("pos_embed")))
        # Before all else, so that places behind it see what is whole.
        self._trimmed(architecture.layers[-1].mlp)
        for index, parts in enumerate(architecture.layers):
            self._layer(parts, index)
        if architecture.final_norm is not None:
            self._before(architecture.final_norm, handlers.end_of_layers(len(architecture.layers)))
        self._norm(architecture.final_norm, "ln_final", None)
        self._attention_function(architecture)
        self.names = sorted(self._names, key=in_order)

    def remove(self) -> None:
        """Take everything off again."""
        for handle in self.handles:
            handle.remove()
        attention.uninstall(self.hf_model, self._attention_modules)

    def _attention_function(self, architecture: Architecture) -> None:
        modules = [(index, parts.attention) for index, parts in enumerate(architecture.layers) if parts.attention]
        rotated = ["rot_q", "rot_k"] if architecture.rotary else []
        for index, module in modules:
            names = {site: self._place(site, index) for site in [*rotated, "attn_scores", "pattern"]}
            self._attention_modules[module] = self._visitor(names)
        softmax = next((attention.Softmax.of(module) for _, module in modules), None)
        heads = Heads(self.cfg.n_heads, self.cfg.n_key_value_heads, self.cfg.dtype)
        attention.install(self.hf_model, self._attention_modules, softmax, heads)

    def _visitor(self, names: dict[str, str]) -> Visitor:
        # Through `self` the modules would hold themselves.
        find = self.find

        def visitor() -> Visit | None:
            run = find()
            if run is None or not any(map(run.wants, names.values())):
                return None
            return lambda site, tensor: run.visit(names[site], tensor) if site in names else tensor

        return visitor

    def _place(self, site: str, layer: int | None = None) -> str:
        """The name of a place, which the model offers from now on."""
        name = site_name(site, layer)
        self._names.add(name)
        return name

    def _begin(self, hf_model: Any) -> None:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            run = self.find()
            if run is None:
                return
            tokens = args[0] if args else kwargs.get("input_ids")
            tokens = kwargs.get("inputs_embeds") if tokens is None else tokens
            held = kwargs.get("past_key_values")
            offset = 0 if held is None or not hasattr(held, "get_seq_length") else int(held.get_seq_length())
            if tokens is not None:
                run.begin_pass(Pass(offset, *tokens.shape[:2]))

        self.handles.append(hf_model.register_forward_pre_hook(ModuleHook(hook), with_kwargs=True))

    def _note_call(self, module: nn.Module, layer: int) -> None:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            run = self.find()
            if run is not None and run.layer_calls is not None:
                run.layer_calls[layer] = LayerCall.of(args, kwargs)

        self.handles.append(module.register_forward_pre_hook(ModuleHook(hook), with_kwargs=True))

    def _layer(self, parts: LayerParts, layer: int) -> None:
        self._note_call(parts.layer, layer)
        self._before(parts.layer, handlers.layer_input(self._place("resid_pre", layer), layer))
        self._norm(parts.ln1, "ln1", layer)
        self._attention(parts, layer)
        self._norm(parts.ln1_post, "ln1_post", layer)
        if parts.attn_out is not None:
            self._after(parts.attn_out, self._written("attn_out", parts, layer))
        if not parts.parallel:
            self._before(parts.ln2 or parts.mlp, handlers.resid_mid(self._place("resid_mid", layer)))
        self._mlp_input(parts, self._place("mlp_in", layer))
        self._norm(parts.ln2, "ln2", layer)
        self._mlp(parts, layer)
        self._norm(parts.ln2_post, "ln2_post", layer)
        handle = self._written("mlp_out", parts, layer)
        self._after(parts.mlp_out, handlers.remembered("mlp_out", handle, parts.multiplier))
        self._after(parts.layer, handlers.layer_output(self._place("resid_post", layer)))

    def _written(self, site: str, parts: LayerParts, layer: int) -> Handler:
        return handlers.whole(self._place(site, layer), parts.multiplier)

    def _attention(self, parts: LayerParts, layer: int) -> None:
        shared = self.cfg.n_heads != self.cfg.n_key_value_heads
        # Where only some of queries, keys and values are read here, nothing is common to them all.
        common = None if shared or None in (parts.q, parts.k, parts.v) else self._place("attn_in", layer)
        for site, projection in (("q", parts.q), ("k", parts.k), ("v", parts.v)):
            if projection is not None:
                own = self._place(f"{site}_input", layer)
                self._after(projection.module, handlers.split_input(parts.ln1, projection, own, common))
                self._after(projection.module, handlers.some_features(projection.features, self._place(site, layer)))
        if parts.o is not None:
            heads = handlers.by_head(self.cfg.n_heads, self._place("z", layer))
            self._before(parts.o, handlers.remembered("z", heads))
            self._after(parts.o, handlers.head_results(parts.o, self.cfg.n_heads, self._place("result", layer)))

    def _mlp_input(self, parts: LayerParts, name: str) -> None:
        if parts.parallel and parts.ln2 is None and parts.ln1 is not None:
            self._before(parts.mlp, handlers.mlp_input_behind(parts.ln1, name))
        else:
            self._before(parts.ln2 or parts.mlp, handlers.mlp_input(name))

    def _mlp(self, parts: LayerParts, layer: int) -> None:
        if parts.router is not None:
            self._after(parts.router, handlers.router_logits(self._place("router_logits", layer)))
        for site, projection in (("pre", parts.pre), ("pre_linear", parts.pre_linear)):
            if projection is not None:
                self._after(projection.module, handlers.some_features(projection.features, self._place(site, layer)))
        if parts.post is not None:
            self._before(parts.post, handlers.whole(self._place("post", layer)))

    def _trimmed(self, mlp: nn.Module) -> None:
        """Let an MLP compute no more than is wanted of it. What stands for the rest is read by nobody."""

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            together = varlen.current()
            if together is None or len(args) != 1 or kwargs or args[0].ndim != 3:
                return None
            return (together.trimmed(args[0]),), kwargs

        def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
            together = varlen.current()
            if together is None:
                return None
            several = isinstance(output, tuple)
            whole = together.whole(output[0] if several else output)
            return (whole, *output[1:]) if several else whole

        self.handles.append(mlp.register_forward_pre_hook(ModuleHook(before), with_kwargs=True))
        self.handles.append(mlp.register_forward_hook(ModuleHook(after)))

    def _norm(self, module: nn.Module | None, which: str, layer: int | None) -> None:
        norm = None if module is None else self.norms.get(module)
        if module is None or norm is None:
            return
        scale_name, normalized_name = self._place(f"{which}.scale", layer), self._place(f"{which}.normalized", layer)

        def hook(_: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
            run = self.find()
            if run is None or not (run.wants(scale_name) or run.wants(normalized_name)):
                return None
            x = handlers.shaped(run, args[0])

            def affine(normalized: torch.Tensor) -> torch.Tensor:
                gain, shift = norm.affine(args[0])
                return normalized * gain + shift

            given = norm.scale(x)
            scale = run.visit(scale_name, given)
            output = handlers.carried(output, given, scale, lambda by: affine(norm.normalized(x, by)))
            given = norm.normalized(x, scale)
            return handlers.carried(output, given, run.visit(normalized_name, given), affine)

        self.handles.append(module.register_forward_hook(ModuleHook(hook)))

    def _before(self, module: nn.Module, handle: Handler) -> None:
        """Let a handler see, and change, a module's first input."""

        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            run = self.find()
            if run is None:
                return None
            name = "" if args else _first_tensor(kwargs)
            given = args[0] if args else kwargs[name]
            visited = handlers.as_given(run, given, handle)
            if visited is given:
                return None
            return ((visited, *args[1:]), kwargs) if args else (args, {**kwargs, name: visited})

        self.handles.append(module.register_forward_pre_hook(ModuleHook(hook), with_kwargs=True))

    def _after(self, module: nn.Module, handle: Handler) -> None:
        """Let a handler see, and change, a module's output, or the first of several."""

        def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
            run = self.find()
            if run is None:
                return None
            several = isinstance(output, tuple | list)
            given = output[0] if several else output
            visited = handlers.as_given(run, given, handle)
            if visited is given:
                return None
            return type(output)([visited, *output[1:]]) if several else visited

        self.handles.append(module.register_forward_hook(ModuleHook(hook)))


def run_finder(owner: Any) -> FindRun:
    """A function that finds the owner's current run."""
    # The hooks live as long as the model, which must not keep its wrapper alive.
    reference = weakref.ref(owner)
    return lambda: current_run(reference())


def _first_tensor(kwargs: dict[str, Any]) -> str:
    return next(name for name, value in kwargs.items() if isinstance(value, torch.Tensor))
