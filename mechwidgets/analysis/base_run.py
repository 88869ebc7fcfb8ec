"""The run that a sweep starts from: kept so that any layer can be run again from any position on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from mechwidgets.model.cache import ActivationCache
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import site_name, site_of
from mechwidgets.model.layer_call import LayerCall
from mechwidgets.model.places import position_axis
from mechwidgets.model.run import Run, Stopped


class HeldLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values of the base run, of which the first `length` positions stand before what a pass feeds."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, length: int = 0, held: HeldLayer | None = None) -> None:
        super().__init__()
        self.length, self.recording = length, held is None
        self.is_initialized = True
        if held is not None:
            self.keys, self.values = held.keys, held.values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys and values [rows, head, pos, d_head] that a layer attends to. Nothing grows: a pass is made again with other rows."""
        if self.recording:
            self.keys, self.values = key_states, value_states
        if not self.length:
            return key_states, value_states
        return self._behind(self.keys, key_states), self._behind(self.values, value_states)

    def _behind(self, held: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        beginning, times = held[..., : self.length, :], len(states) // len(held)
        beginning = beginning.expand(times, -1, -1, -1) if len(held) == 1 else beginning.repeat(times, 1, 1, 1)
        return torch.cat([beginning, states], dim=-2)

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing to be done."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys a mask is for, and which is the first."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """How many positions stand before what is fed."""
        return self.length

    def get_max_length(self) -> int:
        """There is no bound."""
        return -1


class BaseRun:
    """A prompt, or a batch, as it runs unchanged.

    Args:
        model: the model; whatever hooks hold in this context are part of the run.
        tokens: [batch, pos].
        real: which tokens are not padding, bool [batch, pos].
        names: the full hook names of activations to keep.
        keep_layers: also keep what is needed to run layers again: each layer's input, keys and values, and how it was called.
        positions: the positions whose logits are wanted, counted from 0; None for all.

    Attributes:
        logits: at these positions, [batch, pos, d_vocab].
        cache: the activations at `names`, and each layer's input where `keep_layers`.
        whole_calls: how the model called each layer, by layer; where `keep_layers`.
        standing: the hooks that hold in this context, which are part of the run and of all changes to it.
    """

    def __init__(
        self,
        model: HookedModel,
        tokens: torch.Tensor,
        real: torch.Tensor,
        names: Iterable[str],
        keep_layers: bool = True,
        positions: Sequence[int] | None = None,
    ) -> None:
        self.model, self.tokens, self.real = model, tokens, real
        self.n_layers = model.cfg.n_layers
        inputs = [site_name("resid_pre", layer) for layer in range(self.n_layers)] if keep_layers else []
        run = model.new_run(keep=[*names, *inputs])
        self.standing = run.hooks
        self._held = [HeldLayer() for _ in range(self.n_layers)]
        self.whole_calls: dict[int, LayerCall] = {}
        run.layer_calls = self.whole_calls if keep_layers else None
        n_pos = tokens.shape[1]
        keep = 0 if positions is None else n_pos - min(positions)
        logits = self._forward(tokens, run, 0, self._held if keep_layers else None, logits_to_keep=keep)
        self.logits = logits if positions is None else logits[:, [position - n_pos for position in positions]]
        for layer in self._held:
            layer.recording = False
        self.cache = ActivationCache(run.kept, model)
        self._last_calls: tuple[int, list[LayerCall]] = (0, list(self.whole_calls.values()))

    def _forward(
        self, tokens: torch.Tensor, run: Run, start: int, held: list[HeldLayer] | None, **options: Any
    ) -> torch.Tensor:
        told: dict[str, Any] = {"attention_mask": self.real}
        if held is not None:
            told = {
                **self.model.padding(tokens, self.real),
                "past_key_values": Cache(layers=held),
                "use_cache": True,
            }
            if "position_ids" in told:
                told["position_ids"] = told["position_ids"][:, start:]
        with torch.no_grad():
            return self.model.forward(tokens[:, start:], run, **told, **options)

    def _held_before(self, start: int) -> list[HeldLayer]:
        return [HeldLayer(start, layer) for layer in self._held]

    def alike(
        self, tokens: torch.Tensor, positions: Sequence[int], names: Sequence[str]
    ) -> tuple[torch.Tensor, ActivationCache]:
        """Another batch as it is, of which only what comes behind the beginning that it shares with this one is computed.

        Args:
            tokens: [batch, pos], padded where this one is.
            positions: whose logits are wanted, counted from 0.
            names: the full hook names of activations to keep, all of places that this run has kept.

        Returns:
            The logits [batch, len(positions), d_vocab], and the activations.
        """
        differs, n_pos = (tokens != self.tokens).any(dim=0), tokens.shape[1]
        start = int(differs.int().argmax()) if bool(differs.any()) else n_pos - 1
        run = self.model.new_run(keep=names)
        behind = [position for position in positions if position >= start]
        keep = n_pos - min(behind, default=n_pos - 1)
        fed = self._forward(tokens, run, start, self._held_before(start), logits_to_keep=keep)
        logits = self.logits.clone()
        logits[:, [position >= start for position in positions]] = fed[:, [position - n_pos for position in behind]]
        for name, found in run.kept.items():
            at = position_axis(site_of(name))
            if found.shape[at] < n_pos:
                run.kept[name] = torch.cat([self.cache[name].narrow(at, 0, start), found], dim=at)
        return logits, ActivationCache(run.kept, self.model)

    def resid(self, layer: int, start: int) -> torch.Tensor:
        """The input of a layer from a position on, [batch, pos - start, d_model]."""
        return self.cache[site_name("resid_pre", layer)][:, start:]

    def keys_and_values(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What a layer attends to, [batch, key_value_head, pos, d_head] each."""
        return self._held[layer].keys, self._held[layer].values

    def calls(self, start: int) -> list[LayerCall]:
        """How the model calls each layer where it is fed the tokens from `start` on, and the base's keys and values stand for those before.

        Most families give all layers the same masks and tables, so that a pass may end where the last that is new has been seen.
        """
        if self._last_calls[0] != start:
            known: dict[tuple[int, ...], int] = {}
            asked = [tuple(map(id, self.whole_calls[layer].parts())) for layer in range(self.n_layers)]
            first = [known.setdefault(parts, layer) for layer, parts in enumerate(asked)]
            run = Run(self.model, stop_at_layer=max(first))
            found: dict[int, LayerCall] = {}
            run.layer_calls = found
            with suppress(Stopped):
                self._forward(self.tokens, run, start, self._held_before(start))
            self._last_calls = (start, [found[layer] for layer in first])
        return self._last_calls[1]


@torch.no_grad()
def as_it_is(
    model: HookedModel, tokens: torch.Tensor, positions: Sequence[int], names: Sequence[str] = ()
) -> tuple[torch.Tensor, ActivationCache]:
    """A prompt [1, pos] as it is: its logits at some positions [1, len(positions), d_vocab], and its activations at some full hook names."""
    keep = tokens.shape[1] - min(positions)
    logits, cache = model.run_with_cache(tokens, names_filter=list(names), logits_to_keep=keep)
    return logits[:, [position - tokens.shape[1] for position in positions]], cache
