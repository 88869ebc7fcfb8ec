"""Translators: what a tuned lens puts between a residual stream and the final norm.

Method: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens" (arXiv:2303.08112).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mechwidgets.model.hooked_model import HookedModel

# Streams [pos, d_model] before a layer to what the final norm should read.
Translate = Callable[[torch.Tensor, int], torch.Tensor]


def translation(model: HookedModel, tuned_lens: Any) -> Translate:
    """A tuned lens as a function `translate(resid, layer)` of the residual stream before a layer.

    Args:
        model: the model that it was trained for.
        tuned_lens: a function or module `tuned_lens(resid, layer)` that returns the translated stream; a `TunedLens` of the tuned-lens package; or one
            translator for each layer, in a sequence or by layer: a function or module of the stream (such as an nn.Linear), or `(weight, bias)` with weight
            [d_model, d_model] and bias [d_model] or None, which give `resid @ weight.T + bias`.

    Raises:
        TypeError: something else.
        ValueError: translators of another number than layers, or of another size than d_model.
    """
    if hasattr(tuned_lens, "transform_hidden"):
        return _checked(tuned_lens.transform_hidden)
    if isinstance(tuned_lens, (Sequence, Mapping, nn.ModuleList, nn.ModuleDict)) and not isinstance(tuned_lens, str):
        return _checked(_by_layer(model, tuned_lens))
    if callable(tuned_lens):
        return _checked(tuned_lens)
    raise TypeError(
        f"tuned_lens is a function of (resid, layer), or one translator for each layer; got {type(tuned_lens).__name__}."
    )


def _by_layer(model: HookedModel, given: Any) -> Translate:
    n_layers = model.cfg.n_layers
    keys = {int(key): key for key in given} if hasattr(given, "keys") else dict(enumerate(range(len(given))))
    if set(keys) != set(range(n_layers)):
        raise ValueError(
            f"The tuned lens has {len(keys)} translators; expected {n_layers}, one for the stream before each layer, from layer 0 on."
        )
    translators = [_translator(model, given[keys[layer]], layer) for layer in range(n_layers)]
    return lambda resid, layer: translators[layer](resid)


def _translator(model: HookedModel, given: Any, layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
    if callable(given):
        function: Callable[[torch.Tensor], torch.Tensor] = given
        return function
    d_model = model.cfg.d_model
    try:
        weight, bias = given
        shapes = [list(weight.shape), None if bias is None else list(bias.shape)]
    except (TypeError, ValueError, AttributeError):
        raise TypeError(
            f"The translator of layer {layer} is a function of the stream or (weight, bias); got {type(given).__name__}."
        ) from None
    if shapes not in ([[d_model, d_model], [d_model]], [[d_model, d_model], None]):
        raise ValueError(
            f"The translator of layer {layer} has weight {shapes[0]} and bias {shapes[1]}; expected [{d_model}, {d_model}] and [{d_model}] or None."
        )
    return lambda resid: nn.functional.linear(resid, weight.to(resid), None if bias is None else bias.to(resid))


def _checked(translate: Translate) -> Translate:
    def checked(resid: torch.Tensor, layer: int) -> torch.Tensor:
        translated: Any = translate(resid, layer)
        if not isinstance(translated, torch.Tensor) or translated.shape != resid.shape:
            got = list(translated.shape) if isinstance(translated, torch.Tensor) else type(translated).__name__
            raise ValueError(f"The tuned lens gave {got} for layer {layer}; expected a stream {list(resid.shape)}.")
        there: torch.Tensor = translated.to(resid)
        return there

    return checked
