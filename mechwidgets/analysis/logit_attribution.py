"""Direct logit attribution: what each component adds to the logit of an answer, or to a logit difference.

Method: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; nostalgebraist 2020. The last residual stream is a sum of what components wrote, and
with the scale of the final norm held as it was in the run, logits are linear in it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mechwidgets.model.cache import ActivationCache
from mechwidgets.model.checks import check_finite
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import parse_name
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import check_range
from mechwidgets.model.prompt_pair import check_answer
from mechwidgets.model.token_input import TokenInput

if TYPE_CHECKING:
    import xarray as xr

_SITES = frozenset({"embed", "pos_embed", "attn_out", "mlp_out", "z", "post", "ln1_post.scale", "ln2_post.scale"})
# Neurons that are expanded together: each is d_model numbers.
NEURONS_TOGETHER = 2048
# How far parts may be from their sum before the difference is shown, in parts of the largest: some thousand roundings of float32.
REST = 1e-4


@dataclass(frozen=True)
class Writes:
    """The tokens whose logits a component moves most.

    Attributes:
        up, down: token ids, the largest change first.
        up_values, down_values: what it adds to their logits, float32.
        on_answer, on_wrong: what it adds to the logits of the answer and of the wrong one; `on_wrong` is None where there is none.
    """

    up: list[int]
    up_values: np.ndarray
    down: list[int]
    down_values: np.ndarray
    on_answer: float
    on_wrong: float | None


@dataclass(frozen=True, eq=False)
class Attribution:
    """The direct logit attribution of one prompt at one position.

    All values are in logits. `layers`, `others` and nothing else add up to `total`; `heads` and `head_bias` of a layer to its attention.

    Attributes:
        cache: what the run kept of that position.
        position: in the prompt, from 0 on.
        answer, wrong: token ids; `wrong` is None where it is the answer's logit alone.
        layers: what attention and MLP of each layer add, float32 [layer, 2]; NaN where a layer has none.
        heads: what each head adds, float32 [layer, head]; NaN where a layer has no heads to tell apart.
        head_bias: what a layer's attention adds besides its heads (biases, the shift of a norm behind it), float32 [layer].
        others: by name: "embed", "pos_embed", "bias" (the final norm's shift and the unembedding's bias), and, where it is not 0, "rest": what the stream holds
            beyond what components wrote, put there by interventions or by the rounding of a 16-bit model.
        total: of all parts: the logit, or the logit difference, before a soft cap.
        logit: the model's own, after its soft cap, where its family has one.
        capped: whether it has one.
    """

    cache: ActivationCache
    position: int
    answer: int
    wrong: int | None
    layers: np.ndarray
    heads: np.ndarray
    head_bias: np.ndarray
    others: dict[str, float]
    total: float
    logit: float
    capped: bool

    def neurons(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """What each neuron of a layer's MLP adds, and how active it is: float32 [neuron] each.

        They add up to what the MLP adds, less its biases.

        Raises:
            ValueError: a layer that the model does not have, or one whose MLP has no neurons to tell apart (experts).
        """
        self._check_neurons(layer)
        post = self.cache["post", layer].reshape(-1)
        values = []
        for first in range(0, len(post), NEURONS_TOGETHER):
            several = list(range(first, min(first + NEURONS_TOGETHER, len(post))))
            results = self.cache.get_neuron_results(layer, neuron_slice=several)
            values.append(self._values(results.movedim(-2, 0)))
        return np.concatenate(values), post.float().cpu().numpy()

    def written(
        self, part: str, layer: int | None = None, head: int | None = None, neuron: int | None = None
    ) -> torch.Tensor:
        """What a component wrote to the stream, [1, 1, d_model].

        Args:
            part: "attn" or "mlp" of a layer, a "head" or a "neuron" of it, "embed", "pos_embed".
            layer, head, neuron: which.

        Raises:
            ValueError: no such component.
        """
        cfg = self.cache.model.cfg
        if part in ("embed", "pos_embed") and part in self.others:
            return self.cache[part]
        if part not in ("attn", "mlp", "head", "neuron") or layer is None:
            raise ValueError(f"There is no component {part!r} that writes to the stream by itself.")
        check_range("layer", layer, cfg.n_layers)
        if part == "neuron":
            self._check_neurons(layer)
            check_range("neuron", -1 if neuron is None else neuron, self.cache["post", layer].shape[-1])
            return self.cache.get_neuron_results(layer, neuron_slice=[neuron])[..., 0, :]
        column = ("attn", "mlp").index(part) if part != "head" else 0
        if np.isnan(self.layers[layer, column]):
            raise ValueError(f"Layer {layer} of this model has no {part}.")
        if part != "head":
            return self.cache[f"{part}_out", layer]
        check_range("head", -1 if head is None else head, cfg.n_heads)
        if np.isnan(self.heads[layer, head]):
            raise ValueError(f"Layer {layer} of this model has no heads to tell apart.")
        stack, labels = self.cache.stack_head_results(return_labels=True)
        written: torch.Tensor = stack[labels.index(f"L{layer}H{head}")]
        return written

    def writes(self, written: torch.Tensor, k: int = 10) -> Writes:
        """The tokens towards which a component wrote [1, 1, d_model], and those away from which.

        What it adds to each logit, with the final norm held at its scale; the answer's is its attribution.
        """
        model = self.cache.model
        normed = self.cache.apply_ln_to_stack(written[None].float())[0, 0, 0]
        weight = model.W_U
        logits = (normed.to(weight) @ weight).float() * model.logit_multiplier
        up, down = logits.topk(min(k, len(logits))), (-logits).topk(min(k, len(logits)))
        return Writes(
            up.indices.tolist(),
            up.values.cpu().numpy(),
            down.indices.tolist(),
            (-down.values).cpu().numpy(),
            float(logits[self.answer]),
            None if self.wrong is None else float(logits[self.wrong]),
        )

    def _check_neurons(self, layer: int) -> None:
        check_range("layer", layer, self.cache.model.cfg.n_layers)
        if ("post", layer) not in self.cache:
            raise ValueError(f"The MLP of layer {layer} has no neurons to tell apart (experts, for one, have none).")

    def _values(self, stack: torch.Tensor) -> np.ndarray:
        return _values(self.cache, stack, self.answer, self.wrong)


def attribute(
    model: HookedModel,
    tokens: torch.Tensor,
    answer: str | int | None = None,
    wrong: str | int | None = None,
    position: int | None = None,
    interventions: Sequence[Intervention] = (),
) -> Attribution:
    """The attribution of one prompt [1, pos]; the arguments are those of `logit_attribution`."""
    n_pos = tokens.shape[1]
    at = n_pos - 1 if position is None else operator.index(position)
    check_range("position", at, n_pos, from_end=True)
    at %= n_pos
    last = model.cfg.n_layers - 1
    names = [
        name for name in model.hook_dict if parse_name(name)[0] in _SITES or parse_name(name) == ("resid_post", last)
    ]
    with torch.no_grad(), model.intervene(*interventions):
        _, cache = model.run_with_cache(tokens, names_filter=names, pos_slice=at, logits_to_keep=1)
        logits = model.logits_of(cache["resid_post", last])[0, 0].float()
        check_finite(model, logits, "the logits")
        answer_id, wrong_id = _answers(model, tokens[0, : at + 1], answer, wrong, logits)
        logit = float(logits[answer_id] - (0 if wrong_id is None else logits[wrong_id]))
        return _attribution(cache, at, answer_id, wrong_id, logit)


def logit_attribution(
    model: HookedModel,
    prompt: TokenInput,
    answer: str | int | None = None,
    wrong: str | int | None = None,
    *,
    position: int | None = None,
    prepend_bos: bool | None = None,
) -> xr.Dataset:
    """What each component of a model adds directly to the logit of an answer, or to its difference from a wrong one's.

    With the scale of the final norm held at what it was in this run; what a component does by way of later ones is not in it.

    Args:
        model: the model.
        prompt: one prompt.
        answer: the text of one token, or an id; None for what the model finds most probable there.
        wrong: the token whose logit is subtracted; None for the answer's logit alone.
        position: where the next token is read; None for the end.
        prepend_bos: as in `HookedModel.to_tokens`.

    Returns:
        A dataset, in logits, float32:

        - `component` [component]: what the embeddings, each attention and MLP layer ("0_attn_out", "0_mlp_out", ...) and the constant "bias" (the final norm's
          shift and the unembedding's bias) add; they add up to `attrs["total"]`. In a 16-bit model its rounding is the component "rest".
        - `head` [layer, head]: what each head adds; NaN where a layer has none to tell apart

        with the attributes `total`, `logit` (the model's own, after a soft cap where its family has one), `answer`, `wrong` (texts; "" for none) and `position`.

    Raises:
        ValueError: a prompt that cannot be run, several prompts, an answer that is not one token, or a position that is not there.
    """
    import xarray as xr

    tokens = model.to_tokens(prompt, prepend_bos)
    if len(tokens) != 1:
        raise ValueError(f"Logits are attributed for one prompt, got {len(tokens)}.")
    found = attribute(model, tokens, answer, wrong, position)
    labelled = {name: value for name, value in found.others.items() if name.endswith("embed")}
    for layer, (attn, mlp) in enumerate(found.layers.tolist()):
        labelled |= {f"{layer}_attn_out": attn, f"{layer}_mlp_out": mlp}
    labelled |= {name: value for name, value in found.others.items() if name not in labelled}
    kept = {name: value for name, value in labelled.items() if not np.isnan(value)}
    texts = model.token_texts([found.answer, *([] if found.wrong is None else [found.wrong])])
    return xr.Dataset(
        {
            "component_value": ("component", np.array(list(kept.values()), np.float32)),
            "head_value": (("layer", "head"), found.heads),
        },
        coords={"component": list(kept)},
        attrs={
            "total": found.total,
            "logit": found.logit,
            "answer": texts[0],
            "wrong": texts[1] if len(texts) > 1 else "",
            "position": found.position,
        },
    )


def _answers(
    model: HookedModel, before: torch.Tensor, answer: Any, wrong: Any, logits: torch.Tensor
) -> tuple[int, int | None]:
    after = model.token_texts([int(before[-1])])[0]
    answer_id = int(logits.argmax()) if answer is None else check_answer(model, answer, "Answer", after)
    wrong_id = None if wrong is None else check_answer(model, wrong, "Wrong answer", after)
    if answer_id == wrong_id:
        text = model.token_texts([answer_id])[0]
        raise ValueError(
            f"The answer and the wrong answer are the same token ({text!r}), so their logits never differ. Choose two."
        )
    return answer_id, wrong_id


def _attribution(cache: ActivationCache, position: int, answer: int, wrong: int | None, logit: float) -> Attribution:
    model = cache.model
    cfg = model.cfg
    stack, labels = cache.decompose_resid(return_labels=True)
    values = dict(zip(labels, _values(cache, stack, answer, wrong).tolist(), strict=True))
    layers = np.array(
        [[values.get(f"{layer}_{site}", np.nan) for site in ("attn_out", "mlp_out")] for layer in range(cfg.n_layers)],
        np.float32,
    )
    others = {name: values[name] for name in ("embed", "pos_embed") if name in values}
    bias = float(cache.logit_bias(answer, wrong))
    if bias:
        others["bias"] = bias
    total = float(_values(cache, cache["resid_post", -1][None], answer, wrong)[0]) + bias
    parts = float(np.nansum(layers, dtype=np.float64)) + sum(others.values())
    largest = max(np.nanmax(np.abs(layers)), *map(abs, others.values()), 1e-6)
    if abs(total - parts) > REST * largest:
        others["rest"] = total - parts
    heads = _heads(cache, answer, wrong)
    head_bias = layers[:, 0] - np.nansum(heads, axis=1)
    capped = bool(getattr(model.hf_model.config, "final_logit_softcapping", None))
    return Attribution(cache, position, answer, wrong, layers, heads, head_bias, others, total, logit, capped)


def _heads(cache: ActivationCache, answer: int, wrong: int | None) -> np.ndarray:
    cfg = cache.model.cfg
    heads = np.full((cfg.n_layers, cfg.n_heads), np.nan, np.float32)
    stack, labels = cache.stack_head_results(return_labels=True)
    if labels:
        for label, value in zip(labels, _values(cache, stack, answer, wrong), strict=True):
            layer, head = label[1:].split("H")
            heads[int(layer), int(head)] = value
    return heads


def _values(cache: ActivationCache, stack: torch.Tensor, answer: int, wrong: int | None) -> np.ndarray:
    """What each of a stack [n, 1, 1, d_model] adds, float32 [n]."""
    values = cache.logit_attrs(stack, answer, wrong, apply_ln=True)
    return values.reshape(len(stack)).float().cpu().numpy()
