"""Several changes at once, and whether that is more or less than each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mechwidgets.analysis.metrics import BoundMetric
from mechwidgets.analysis.question import baseline
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.intervention import Intervention


@dataclass(frozen=True)
class JointEffect:
    """What a metric becomes under some interventions.

    Attributes:
        base: the metric without any.
        together: with all of them.
        alone: with each by itself.
    """

    base: float
    together: float
    alone: tuple[float, ...]

    @property
    def sum(self) -> float:
        """What their effects alone add up to, in the metric's unit."""
        return sum(value - self.base for value in self.alone)

    @property
    def beyond(self) -> float:
        """How much farther they move the metric together than their effects alone add up to: below 0 where they do the same work, above where they need one another."""
        return self.together - self.base - self.sum


def joint_effect(
    model: HookedModel, tokens: torch.Tensor, metric: BoundMetric, interventions: Sequence[Intervention]
) -> JointEffect:
    """Run a prompt with some interventions together, with each alone, and with none: whole forward passes.

    Args:
        model: the model.
        tokens: the prompt, with what the metric wants to be run behind it, [1, pos].
        metric: what is read.
        interventions: any; of none, all is as it is.

    Raises:
        ValueError: an intervention that the model or the prompt does not have the place for, or a metric that is not one finite number.
    """
    n_pos = tokens.shape[1]
    positions = metric.absolute(n_pos)

    def read(*changes: Intervention) -> float:
        with torch.no_grad(), model.intervene(*changes):
            logits = model.forward(tokens, logits_to_keep=n_pos - min(positions))
        return baseline(metric, logits[:, [position - n_pos for position in positions]])

    base = read()
    alone = tuple(read(one) for one in interventions)
    together = read(*interventions) if len(interventions) > 1 else alone[0] if alone else base
    return JointEffect(base, together, alone)
