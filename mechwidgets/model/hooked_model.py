"""HookedModel: an untouched transformers model whose insides have names."""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from mechwidgets.model import foreign
from mechwidgets.model.architectures import Architecture, architecture_of
from mechwidgets.model.checks import check_model
from mechwidgets.model.config import ModelConfig
from mechwidgets.model.generation import GenerationMethods
from mechwidgets.model.hook_points import AddedHook, Direction, HookPoint
from mechwidgets.model.hooks import HookFunction
from mechwidgets.model.instrument import Instrument
from mechwidgets.model.norms import Norm
from mechwidgets.model.placement import input_device
from mechwidgets.model.places import check_range
from mechwidgets.model.run import Run, Stopped, current_run, in_run, suspended
from mechwidgets.model.running import RunMethods
from mechwidgets.model.tokens import Tokens
from mechwidgets.model.warn import warn_caller
from mechwidgets.model.weights import WeightMethods

T = TypeVar("T")

SECONDS_FOR_OTHERS = 0.002
SECONDS_TO_WAKE_UP = 0.2


class HookedModel(RunMethods, WeightMethods, GenerationMethods):
    """A transformers causal language model with named activations.

    The forward pass is the model's own, with eager attention: logits are bit-identical to those of `attn_implementation="eager"`. Hooks, caches and
    interventions belong to a run and vanish with it, also after an exception or an interrupt; hooks that you put on the modules yourself keep working.
    Runs from several threads take turns (`lock`).

    Args:
        hf_model: what `AutoModelForCausalLM.from_pretrained` returns. It is put in eval mode and stays usable as it is. Of a TransformerLens bridge, an
            nnsight model or a compiled one, the transformers model inside is taken.
        tokenizer: its tokenizer, or None to use token ids only.
        name: how pictures call it; by default the name it was loaded by.

    Attributes:
        hf_model, tokenizer: what was given.
        cfg: sizes (`n_layers`, `n_heads`, `d_model`, ...).
        hook_dict: the hook points, by full hook name.
        overwritten: the hook names whose tensors the model changes in place later on; runs keep copies of them.
        lock: held during each forward pass.
        loading: the Python that loads it; None where it was loaded elsewhere.

    Raises:
        TypeError: not a causal language model.
        ValueError: a family that cannot be read, weights that are not finite, or a model whose activations do not add up.
    """

    def __init__(self, hf_model: Any, tokenizer: Any = None, *, name: str | None = None) -> None:
        hf_model, tokenizer = foreign.unwrap(hf_model, tokenizer)
        self.architecture: Architecture = architecture_of(hf_model)
        was_training = hf_model.training
        self.hf_model = hf_model.eval()
        self.tokenizer = tokenizer
        self.norms = self._take_norms_apart()
        label = name or getattr(hf_model.config, "_name_or_path", "") or type(hf_model).__name__
        self.cfg = ModelConfig.of(hf_model, self.architecture, self._final_norm, label)
        self.lock = threading.RLock()
        self.loading: str | None = None
        self._waiting: set[int] = set()
        self._argument_names = _argument_names(hf_model)
        self._tokens = Tokens(
            tokenizer,
            self.cfg.n_ctx,
            self.cfg.d_vocab,
            takes_position_ids="position_ids" in self._argument_names,
        )
        self._added: list[AddedHook] = []
        instrument = Instrument(self, hf_model, self.architecture, self.norms, self.cfg)
        self._unwrap = weakref.finalize(self, _give_back, hf_model, instrument, was_training)
        self.hook_dict = {name: HookPoint(name, self._added) for name in instrument.names}
        self.overwritten: frozenset[str] = frozenset()
        try:
            check_model(self)
        except BaseException:
            self.unwrap()
            raise

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        **offload: Any,
    ) -> HookedModel:
        """Load and wrap a model that is on this machine.

        Args:
            name: "smollm2-135m" (the default model, offline), a folder, a GGUF file, "ollama:NAME[:TAG]", or a name in the Hugging Face cache, also in
                TransformerLens' short form ("gpt2-small", "pythia-70m").
            dtype: the precision, such as torch.bfloat16 or "bfloat16"; by default that of the file, float32 for a quantised GGUF file.
            device: such as "cpu" or "cuda".
            offload: `device_map` (such as "auto"), `max_memory` and `offload_folder`, as transformers takes them, for a model larger than one device.

        Raises:
            mechwidgets.model.sources.ModelNotFoundError: not on this machine; the message says how to get it.
            mechwidgets.model.sources.UnsupportedModelError: not a causal language model, or its files are broken, incomplete or pickled.
            ValueError: an unknown dtype or device, or one that this machine does not have.
        """
        from mechwidgets.model import sources

        hf_model, tokenizer, label = sources.load(name, dtype=dtype, device=device, **offload)
        model = cls(hf_model, tokenizer, name=label)
        given = "" if dtype is None else f", dtype={str(dtype).removeprefix('torch.')!r}"
        model.loading = f"mw.HookedModel.from_pretrained({str(name)!r}{given})"
        return model

    def _take_norms_apart(self) -> dict[nn.Module, Norm]:
        layers = self.architecture.layers
        modules = [module for parts in layers for module in (parts.ln1, parts.ln1_post, parts.ln2, parts.ln2_post)]
        config, device = self.hf_model.config, self.device
        taken = {
            module: Norm.of(module, config.hidden_size, self.hf_model.dtype, device)
            for module in [*modules, self.architecture.final_norm]
            if module is not None
        }
        return {module: norm for module, norm in taken.items() if norm is not None}

    @property
    def _final_norm(self) -> Norm | None:
        norm = self.architecture.final_norm
        return None if norm is None else self.norms.get(norm)

    @property
    def device(self) -> torch.device:
        """Where token ids have to be for a run."""
        return input_device(self.hf_model)

    def unwrap(self) -> Any:
        """Take our instrumentation off and give the transformers model back, with the attention implementation and the mode it had."""
        self._unwrap()
        return self.hf_model

    def __repr__(self) -> str:
        cfg = self.cfg
        return f"HookedModel({cfg.model_name!r}: {cfg.architecture}, {cfg.n_layers} layers x {cfg.n_heads} heads, d_model {cfg.d_model})"

    def forward(self, tokens: torch.Tensor, run: Run | None = None, **kwargs: Any) -> torch.Tensor:
        """One pass of the transformers model over tokens [batch, pos].

        Args:
            tokens: token ids.
            run: what the pass carries; by default the hooks that hold in this context.
            kwargs: for the transformers model, such as `logits_to_keep`, or an `attention_mask` where ids do not tell what is padding.

        Returns:
            Its logits [batch, pos, d_vocab]; with the run's `stop_at_layer`, the residual stream [batch, pos, d_model] before that layer.

        Raises:
            RuntimeError: the model was unwrapped.
        """
        self._check_ready()
        tokens = tokens.to(self.device)
        carried = run or self.new_run()
        told = {"use_cache": False, **kwargs}
        if "past_key_values" not in kwargs:
            told = {**self._tokens.padding(tokens, told.pop("attention_mask", None)), **told}
        carried.real = kwargs.get("attention_mask", told.get("attention_mask"))
        self._refer(carried, tokens, **told)

        def call() -> torch.Tensor:
            logits: torch.Tensor = self.hf_model(input_ids=tokens, **told).logits
            return logits

        try:
            return self.in_turn(lambda: in_run(carried, call))
        except Stopped as stopped:
            return stopped.resid

    def _refer(self, run: Run, tokens: torch.Tensor, **kwargs: Any) -> None:
        """Let a run know what the activations are in the model as it is, where one of its hooks needs them."""
        if not run.referred:
            return
        if kwargs.get("past_key_values") is not None:
            raise ValueError(
                "op='freeze' needs a pass over the whole prompt, which past_key_values leave no room for. Run without, or use model.generate."
            )
        plain = Run(self, keep=run.referred, stop_at_layer=run.stop_at_layer)
        with suppress(Stopped), torch.no_grad():
            self.in_turn(lambda: in_run(plain, lambda: self.hf_model(input_ids=tokens, **kwargs)))
        run.reference = plain.kept

    def _check_ready(self) -> None:
        if not self._unwrap.alive:
            raise RuntimeError(
                "This model was unwrapped, so it has no hooks any more. Wrap it again: mw.HookedModel(hf_model, tokenizer)."
            )
        if self.hf_model.training:
            warn_caller(
                "The model is in training mode, in which dropout makes every run another one. For numbers that can be compared: model.hf_model.eval()."
            )

    def in_turn(self, call: Callable[[], T]) -> T:
        """Call with the lock held, and let others have it in between."""
        me = threading.get_ident()
        self._waiting.add(me)
        try:
            with self.lock:
                self._waiting.discard(me)
                output = call()
        finally:
            self._waiting.discard(me)
        if self._waiting:
            # A cell that runs the model in a loop would take the lock again before a waiting click wakes up.
            time.sleep(SECONDS_FOR_OTHERS)
        return output

    def step_aside(self) -> None:
        """In the middle of a pass, by the thread that makes it: let those who wait for the model run it first."""
        waiting, until = set(self._waiting), time.monotonic() + SECONDS_TO_WAKE_UP
        if not waiting:
            return
        self.lock.release()
        try:
            while waiting & self._waiting and time.monotonic() < until:
                time.sleep(SECONDS_FOR_OTHERS)
        finally:
            self.lock.acquire()

    def new_run(
        self,
        hooks: Sequence[tuple[str, HookFunction]] = (),
        keep: Sequence[str] = (),
        *,
        bwd_hooks: Sequence[tuple[str, HookFunction]] = (),
        stop_at_layer: int | None = None,
        **options: Any,
    ) -> Run:
        """A run for `forward`: the hooks that were added to the model, what holds in this context, then `hooks`.

        Args:
            hooks, bwd_hooks: (full hook name, function) pairs.
            keep: the full hook names of activations to keep.
            stop_at_layer: as in a call.
            options: of `Run`.
        """
        context = current_run(self)
        return Run(
            self,
            [*self._added_hooks("fwd"), *(context.hooks if context else ()), *hooks],
            keep,
            bwd_hooks=[*self._added_hooks("bwd"), *(context.bwd_hooks if context else ()), *bwd_hooks],
            stop_at_layer=self._layer_to_stop_at(stop_at_layer),
            **options,
        )

    def _added_hooks(self, dir: Direction) -> list[tuple[str, HookFunction]]:
        return [(added.name, added.hook) for added in list(self._added) if added.dir == dir]

    def _layer_to_stop_at(self, layer: int | None) -> int | None:
        n_layers = self.cfg.n_layers
        if layer is None or layer == n_layers:
            return layer
        check_range("stop_at_layer", layer, n_layers, from_end=True)
        return layer % n_layers

    def logits_of(self, resid: torch.Tensor, tokens: Sequence[int] | None = None) -> torch.Tensor:
        """The logits that the model would give if its last residual stream were another: final norm, unembedding, soft cap.

        Args:
            resid: the stream, [..., d_model].
            tokens: the token ids whose logits are wanted; None for all.

        Returns:
            Logits [..., d_vocab], or [..., len(tokens)].
        """
        config, norm = self.hf_model.config, self.architecture.final_norm
        with suspended():
            logits = _unembedded(self.hf_model.get_output_embeddings(), resid if norm is None else norm(resid), tokens)
        if getattr(config, "logit_scale", None):
            logits = logits * config.logit_scale
        if getattr(config, "logits_scaling", None):
            logits = logits / config.logits_scaling
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap


def _argument_names(hf_model: Any) -> tuple[str, ...]:
    """What the transformers model takes by name, less what it passes on unread."""
    parameters = inspect.signature(hf_model.forward).parameters.values()
    return tuple(one.name for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD)


def _unembedded(unembed: Any, resid: torch.Tensor, tokens: Sequence[int] | None) -> torch.Tensor:
    if tokens is None:
        logits: torch.Tensor = unembed(resid)
        return logits
    weight = unembed.weight if type(unembed) is nn.Linear else None
    if weight is None or weight.device != resid.device or not weight.is_floating_point():
        return _unembedded(unembed, resid, None)[..., list(tokens)]
    ids = torch.tensor(tokens, device=weight.device)
    return nn.functional.linear(resid, weight[ids], None if unembed.bias is None else unembed.bias[ids])


def _give_back(hf_model: Any, instrument: Instrument, was_training: bool) -> None:
    instrument.remove()
    if was_training:
        hf_model.train()
