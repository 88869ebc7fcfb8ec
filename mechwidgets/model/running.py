"""How a HookedModel is run: with a cache, with hooks, with interventions; TransformerLens' calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from mechwidgets.model.cache import ActivationCache
from mechwidgets.model.guard import guarded
from mechwidgets.model.hook_methods import HookMethods
from mechwidgets.model.hook_points import check_specs
from mechwidgets.model.hooks import HookFunction, NamesFilter, nearest
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.padding import PaddingSide, next_token_loss
from mechwidgets.model.run import Run, current_run, standing
from mechwidgets.model.slices import Slice
from mechwidgets.model.text_methods import TextMethods
from mechwidgets.model.token_input import TokenInput

if TYPE_CHECKING:
    from mechwidgets.model.hooked_model import HookedModel

ReturnType = Literal["logits", "loss", "both"] | None
RETURN_TYPES = ("logits", "loss", "both", None)
HookSpec = tuple[NamesFilter, HookFunction]


class RunMethods(TextMethods, HookMethods):
    """Calling a model, and `run_with_cache`, `run_with_hooks`, `hooks` and `intervene`."""

    @property
    def _model(self) -> HookedModel:
        return cast("HookedModel", self)

    def __call__(
        self,
        input: TokenInput,
        return_type: ReturnType = "logits",
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
        padding_side: PaddingSide | None = None,
        stop_at_layer: int | None = None,
        **model_kwargs: Any,
    ) -> Any:
        """Run the model, with what `hooks` or `intervene` put around it.

        Args:
            input: text, texts, token ids [pos] or [batch, pos], or what a tokenizer returns. Texts of different lengths are padded; each has the numbers that
                it has alone.
            return_type: "logits" [batch, pos, d_vocab], "loss" (mean next-token cross-entropy, nats; padding does not count), "both" or None.
            loss_per_token: the loss as [batch, pos - 1] instead of its mean; 0 where there is padding.
            prepend_bos: a BOS token in front (True), none (False), or `default_prepend_bos` (None).
            padding_side: where shorter texts are filled up, "right" (as None) or "left".
            stop_at_layer: run only the layers before this one (negative: from the end), and return its residual stream [batch, pos, d_model].
            model_kwargs: for the transformers model, such as `attention_mask`, which says what is padding where ids do not (`Tokens.real`).

        Raises:
            TypeError: something else than text or token ids.
            ValueError: a prompt that cannot be run, or a layer that the model does not have.
        """
        run = self._model.new_run(stop_at_layer=stop_at_layer)
        return self._run(run, input, return_type, loss_per_token, prepend_bos, padding_side, **model_kwargs)

    def run_with_cache(  # noqa: PLR0913, PLR0917 - TransformerLens' signature
        self,
        input: TokenInput,
        names_filter: NamesFilter = None,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
        incl_bwd: bool = False,
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        pos_slice: Any = None,
        return_type: ReturnType = "logits",
        **kwargs: Any,
    ) -> tuple[Any, ActivationCache]:
        """Run the model and keep activations.

        Args:
            input, return_type: as in a call; kwargs are the other arguments of one.
            names_filter: what to keep: None for everything but what is offered on request, a hook name, a site such as "pattern" (all layers), a list of
                them, or a function of the name. Only this is held in memory.
            device: where to keep it; by default where it is computed.
            remove_batch_dim: drop the first dimension of the activations of a single prompt.
            incl_bwd: also call `backward()` on what is returned, which has to be a single number (return_type="loss"), and keep the gradients of the
                activations under their names with `_grad` behind.
            reset_hooks_end: TransformerLens' argument; a run leaves no hooks behind in any case.
            clear_contexts: empty the `ctx` of every hook point afterwards.
            pos_slice: the positions to keep, as in `mechwidgets.model.slices.Slice`; an int keeps its dimension.

        Returns:
            The logits (or what return_type says) and an ActivationCache of detached tensors.

        Raises:
            mechwidgets.model.memory.NotEnoughMemoryError: what is to be kept does not fit; the message says what to keep instead.
            ValueError: as a call; incl_bwd without a single number.
        """
        positions = None if pos_slice is None else Slice.unwrap(pos_slice)
        run = self._model.new_run(
            keep=self._select(names_filter),
            keep_gradients=incl_bwd,
            pos_slice=positions,
            device=device,
            stop_at_layer=kwargs.pop("stop_at_layer", None),
        )
        output = self._run(run, input, return_type, **kwargs)
        if incl_bwd:
            if not isinstance(output, torch.Tensor) or output.numel() != 1:
                raise ValueError(
                    "incl_bwd=True needs a single number to go back from: add return_type='loss', without stop_at_layer and loss_per_token."
                )
            output.backward()  # type: ignore[no-untyped-call]
        if clear_contexts:
            self.clear_contexts()
        cache = ActivationCache(run.kept, self._model, pos_slice=positions)
        return output, cache.remove_batch_dim() if remove_batch_dim else cache

    def run_with_hooks(
        self,
        input: TokenInput,
        fwd_hooks: Sequence[HookSpec] = (),
        bwd_hooks: Sequence[HookSpec] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        return_type: ReturnType = "logits",
        **kwargs: Any,
    ) -> Any:
        """Run the model with hooks that hold for this run only.

        Args:
            input, return_type: as in a call; kwargs are the other arguments of one.
            fwd_hooks: (name, function) pairs. The name is a full hook name, a site, or a function of the name; the hook is called as
                `function(tensor, hook_point)` and returns a tensor of the same shape, or None (it may edit in place).
            bwd_hooks: the same for gradients, called when a backward pass comes by, also after this returns.
            reset_hooks_end: TransformerLens' argument; a run leaves no hooks behind in any case.
            clear_contexts: empty the `ctx` of every hook point afterwards.

        Raises:
            TypeError: something else than pairs of a name and a function.
            ValueError: an unknown name, or a hook that returns another shape.
        """
        run = self._model.new_run(
            self._named(fwd_hooks, "fwd_hooks"),
            bwd_hooks=self._named(bwd_hooks, "bwd_hooks"),
            stop_at_layer=kwargs.pop("stop_at_layer", None),
        )
        output = self._run(run, input, return_type, **kwargs)
        if clear_contexts:
            self.clear_contexts()
        return output

    def _run(
        self,
        run: Run,
        input: TokenInput,
        return_type: ReturnType,
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
        padding_side: PaddingSide | None = None,
        **model_kwargs: Any,
    ) -> Any:
        check_model_arguments(self._model._argument_names, model_kwargs)
        if return_type not in RETURN_TYPES:
            raise ValueError(f"Unknown return_type {return_type!r}. It is 'logits', 'loss', 'both' or None.")
        tokens, real = self.read_tokens(input, prepend_bos, padding_side)
        mask = as_mask(model_kwargs.pop("attention_mask", None), tokens, "past_key_values" in model_kwargs)
        if mask is None and "past_key_values" not in model_kwargs:
            mask = real
        output = guarded(
            self._model, run, tokens, lambda: self._model.forward(tokens, run, attention_mask=mask, **model_kwargs)
        )
        if run.stop_at_layer is not None:
            return output
        counted = mask if mask is not None and mask.shape == tokens.shape else real
        return _returned(output, tokens, counted, return_type, loss_per_token)

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Sequence[HookSpec] = (),
        bwd_hooks: Sequence[HookSpec] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator[HookedModel]:
        """Hooks for every run of this model in a `with` block, in this thread; also for calls of `hf_model` itself, such as `hf_model.generate`.

        Args:
            fwd_hooks, bwd_hooks: as in `run_with_hooks`.
            reset_hooks_end: TransformerLens' argument; the hooks end with the block in any case.
            clear_contexts: empty the `ctx` of every hook point at the end.
        """
        context = current_run(self)
        run = Run(
            self._model,
            [*(context.hooks if context else ()), *self._named(fwd_hooks, "fwd_hooks")],
            bwd_hooks=[*(context.bwd_hooks if context else ()), *self._named(bwd_hooks, "bwd_hooks")],
        )
        with standing(run):
            yield self._model
        if clear_contexts:
            self.clear_contexts()

    def _named(self, specs: Sequence[HookSpec], argument: str) -> list[tuple[str, HookFunction]]:
        check_specs(specs, argument)
        return [(name, function) for spec, function in specs for name in self._select(spec)]

    def intervene(self, *interventions: Intervention | Iterable[Intervention]) -> AbstractContextManager[HookedModel]:
        """Interventions for every run of this model in a `with` block, in this thread: `with model.intervene(mw.ablate(head=(4, 7))): model(...)`.

        They hold for calls of `hf_model` itself too, such as `hf_model.generate`.

        Args:
            interventions: carried out in this order, after those of an outer block; lists of them are taken too.

        Raises:
            TypeError: something else than an Intervention.
            ValueError: a site, layer, head or neuron that this model does not have.
        """
        changes: list[Any] = []
        for one in interventions:
            changes.extend([one] if isinstance(one, Intervention | str) or not isinstance(one, Iterable) else one)
        for change in changes:
            if not isinstance(change, Intervention):
                raise TypeError(f"intervene takes interventions such as mw.ablate(head=(4, 7)), got {change!r}.")
            change.check(self._model)
        return self.hooks([change.as_hook() for change in changes])


def _returned(
    logits: torch.Tensor, tokens: torch.Tensor, real: torch.Tensor, return_type: ReturnType, loss_per_token: bool
) -> Any:
    if return_type == "logits":
        return logits
    if return_type is None:
        return None
    loss = next_token_loss(logits, tokens, real, loss_per_token)
    return loss if return_type == "loss" else (logits, loss)


def check_model_arguments(known: Sequence[str], given: Iterable[str]) -> None:
    """Raises TypeError for an argument that neither we nor the transformers model know; transformers itself would let a misspelt one pass."""
    for name in given:
        if name not in (*known, "attention_mask"):
            ours = (
                "names_filter",
                "return_type",
                "prepend_bos",
                "stop_at_layer",
                "pos_slice",
                "remove_batch_dim",
                "fwd_hooks",
            )
            raise TypeError(f"Unknown argument {name!r}.{nearest(name, [*ours, *known])}")


def as_mask(given: Any, tokens: torch.Tensor, more_before: bool) -> torch.Tensor | None:
    """An attention mask as a tensor; with `more_before`, it also covers tokens that a key-value cache holds.

    Raises:
        ValueError: its shape is not that of the tokens.
    """
    if given is None:
        return None
    mask = torch.as_tensor(given, device=tokens.device)
    if mask.ndim == 2 and mask.shape != tokens.shape and not more_before:
        raise ValueError(
            f"The attention_mask has shape {list(mask.shape)}, the tokens have {list(tokens.shape)}: one value a token."
        )
    return mask
