"""Rows going down a model's layers together, each from the layer and the position that it changes; and which models can be run like this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

from mechwidgets.analysis.base_run import BaseRun
from mechwidgets.analysis.layouts import BatchRows, Ends, PassLayout, VarlenRows
from mechwidgets.analysis.passes import Plan, Row
from mechwidgets.analysis.rows import Change, rows_run
from mechwidgets.model import attention
from mechwidgets.model.errors import first_line
from mechwidgets.model.hooks import site_name
from mechwidgets.model.memory import is_out_of_memory
from mechwidgets.model.run import in_run
from mechwidgets.model.varlen import standing

if TYPE_CHECKING:
    from mechwidgets.model.hooked_model import HookedModel

# How far logits may be from a plain run's, in units in the last place of the largest.
ROUNDING = {torch.float32: 256, torch.float64: 256}
ROUNDING_OF_HALVES = 16
# Where one of these is changed, the MLP of the last layer is computed at all positions.
FROM_MLP_ON = (
    "mlp_in",
    "pre",
    "pre_linear",
    "post",
    "router_logits",
    "ln2_post.scale",
    "ln2_post.normalized",
    "mlp_out",
    "resid_post",
)


@dataclass(frozen=True)
class Way:
    """How a model's changed runs are computed.

    Attributes:
        varlen: one behind the other along the positions; else as rows of a batch.
        refusal: why they are whole forward passes; None if they are replayed.
    """

    varlen: bool
    refusal: str | None = None


_ways: WeakKeyDictionary[HookedModel, dict[int, Way]] = WeakKeyDictionary()


def descend(base: BaseRun, plan: Plan, changes: Sequence[Change], positions: Sequence[int]) -> Ends:
    """What comes out of the last layer in changed runs.

    Args:
        base: what they are changed from.
        plan: which runs, from which layer and position on.
        changes: of each.
        positions: which are wanted, counted from 0.
    """
    model = base.model
    layout: PassLayout = VarlenRows(base, plan) if plan.varlen else BatchRows(base, plan)
    run = rows_run(base, changes, layout)
    last = base.n_layers - 1
    behind = [site_name(site, last) for site in FROM_MLP_ON]

    def go() -> torch.Tensor:
        resid = None
        for layer in range(plan.rows[0].layer, base.n_layers):
            resid = layout.join(resid, layer)
            run.begin_pass(layout.now())
            if layer == last and not any(map(run.wants, behind)):
                layout.trim(positions)
            resid = layout.call(layer)(model.architecture.layers[layer].layer, resid)
        assert resid is not None  # noqa: S101 - a plan has rows, and they have layers
        return resid

    with torch.no_grad(), standing(layout.varlen):
        resid = model.in_turn(lambda: in_run(run, go))
    return layout.ends(resid, positions)


def way(model: HookedModel, tokens: torch.Tensor, real: torch.Tensor) -> Way:
    """How a model's layers can be run by themselves. Found once for each model and size of batch, by doing it.

    Args:
        model: the model.
        tokens, real: a prompt to try it on, and which of it is not padding, [batch, pos].
    """
    if model.new_run().hooks:
        return Way(False, "hooks hold in this context")
    if model.hf_model.training:
        return Way(False, "the model is in training mode, in which no two runs are the same")
    if (module := _hooked_module(model)) is not None:
        return Way(False, f"a hook that is not ours is on {module}, and may look at any position")
    known = _ways.setdefault(model, {})
    batch, n_pos = tokens.shape
    if batch in known:
        return replace(known[batch], varlen=known[batch].varlen and n_pos > 1)
    # Attention that is the family's own code knows only rows of a batch.
    found = Way(model.hf_model.config._attn_implementation == attention.NAME and n_pos > 1)
    reason = _try(model, tokens, real, found.varlen)
    if reason is not None and found.varlen:
        found, reason = Way(False), _try(model, tokens, real, False)
    found = replace(found, refusal=reason)
    if n_pos > 1 or reason is not None:  # one token says nothing of prompts whose beginning is not computed
        known[batch] = found
    return found


def _hooked_module(model: HookedModel) -> str | None:
    """The name of a module inside the layers that carries a hook of the user's, or None."""
    ours = ("mechwidgets.", "transformers.", "accelerate.")
    for index, parts in enumerate(model.architecture.layers):
        for name, module in parts.layer.named_modules():
            for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
                if not str(getattr(hook, "__module__", type(hook).__module__)).startswith(ours):
                    return f"layer {index}{f' ({name})' if name else ''}"
    return None


def _try(model: HookedModel, tokens: torch.Tensor, real: torch.Tensor, varlen: bool) -> str | None:
    """Why a way is none for a model, or None."""
    try:
        alike = _unchanged(model, tokens, real, varlen)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # Whatever a family trips over, the plain way remains, and says what is wrong.
        return f"the layers of {model.cfg.architecture} cannot be run by themselves ({first_line(error)})"
    return (
        None if alike else f"the layers of {model.cfg.architecture} give other results when they are run by themselves"
    )


@torch.no_grad()
def _unchanged(model: HookedModel, tokens: torch.Tensor, real: torch.Tensor, varlen: bool) -> bool:
    """Whether the end of a prompt is what it is where it is run from the first layer on, from the middle one, and as two halves of one pass."""
    last, middle = tokens.shape[1] - 1, model.cfg.n_layers // 2
    half = tokens.shape[1] // 2
    base = BaseRun(model, tokens, real, ())
    rows = [Row(0, 0, half), Row(1, 0, last if varlen else half), Row(2, middle, half)]
    ends = descend(base, Plan(half, rows, varlen), [()] * len(rows), [last])
    logits, expected = model.logits_of(ends.resid), base.logits[None, :, -1:]
    return distance(logits, expected.expand_as(logits)) <= rounding(expected, ROUNDING_OF_HALVES)


def distance(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """How far two results are apart; infinitely if they are not infinite, or no numbers, at the same places."""
    logits, expected = logits.to(expected.device).float(), expected.float()
    finite = expected.isfinite()
    if not torch.equal(finite, logits.isfinite()):
        return math.inf
    return float((logits - expected)[finite].abs().max()) if bool(finite.any()) else 0.0


def rounding(logits: torch.Tensor, of_halves: float) -> float:
    """What rounding in many layers may come to: some units in the last place of the largest logit, so many in half precision."""
    largest = float(logits[logits.isfinite()].abs().max()) if bool(logits.isfinite().any()) else 0.0
    return ROUNDING.get(logits.dtype, of_halves) * torch.finfo(logits.dtype).eps * max(1.0, largest)
