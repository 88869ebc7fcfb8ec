"""A sweep over one prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mechwidgets.analysis.base_run import as_it_is
from mechwidgets.analysis.metrics import Metric
from mechwidgets.analysis.question import baseline, read_terms
from mechwidgets.analysis.replay import Replay
from mechwidgets.analysis.result import PatchingResult, Prompt
from mechwidgets.analysis.result_code import metric_code
from mechwidgets.analysis.sweep import Sweep
from mechwidgets.model.intervention import Intervention

if TYPE_CHECKING:
    import numpy as np

    from mechwidgets.analysis.axes import Axes
    from mechwidgets.model.hooked_model import HookedModel

Change = Callable[[Mapping[str, Any]], Intervention]


@dataclass(frozen=True)
class Done:
    """What is done to the prompt.

    Attributes:
        direction: "zero", "mean", "resample" or "steer".
        code: Python that does it again.
        given: a digest of what it is done with.
    """

    direction: str
    code: str
    given: str


class PromptSweep(Sweep):
    """A sweep over one prompt.

    Args:
        model: the model.
        tokens: the prompt, [1, pos], with what the metric wants to be run behind it.
        n_pos: how many tokens the prompt itself has.
        metric: what to read from the logits.
        axes: what to go through.
        change: of a cell, given its place.
        done: what the changes are.
        options: of `Replay`.

    Attributes:
        clean_metric: the metric of the prompt as it is.
    """

    def __init__(
        self,
        model: HookedModel,
        tokens: torch.Tensor,
        n_pos: int,
        metric: Metric,
        axes: Axes,
        change: Change,
        done: Done,
        **options: Any,
    ) -> None:
        self.str_tokens, self._done = model.token_texts(tokens[0, :n_pos].tolist()), done
        self._prompt, self._metric_code = Prompt.of(tokens[:, :n_pos], self.str_tokens), metric_code(metric)
        bound = metric.bind(model, after=self.str_tokens[-1])
        positions = bound.absolute(tokens.shape[1])
        if metric.needs_reference:
            logits, _ = as_it_is(model, tokens, positions)
            bound = metric.bind(model, logits, self.str_tokens[-1])
        terms = read_terms(options)
        replay = Replay(model, tokens, axes.names(), positions=bound.positions, answers=bound.tokens, **terms)
        super().__init__(axes, replay, bound, change)
        self.clean_metric = baseline(bound, replay.logits)

    def result(self, values: np.ndarray, done: np.ndarray | None = None) -> PatchingResult:
        """Label a table of values.

        Args:
            values: float32 [*shape], or means of it over the last axis.
            done: which cells have been run, bool, of the same shape; by default those whose value is not NaN.
        """
        exists, direction = self.axes.exists, self._done.direction
        return PatchingResult(
            self.table(values, {"token": self.str_tokens}, direction=direction, clean=self.clean_metric),
            self.clean_metric,
            None,
            self.axes.site,
            direction,
            self.metric.name,
            self.metric.unit,
            cells=exists if values.ndim == exists.ndim else exists[..., 0],
            done=done,
            clean=self._prompt,
            model_name=self.model.cfg.model_name,
            metric_code=self._metric_code,
            code=self._done.code,
            given=self._done.given,
        )


def digest(*tensors: torch.Tensor) -> str:
    """What tells some tensors from others; "" for none."""
    if not tensors:
        return ""
    known = hashlib.sha256()
    for tensor in tensors:
        numbers = tensor.detach().double().cpu().contiguous()
        known.update(f"{list(numbers.shape)}".encode())
        known.update(numbers.numpy().tobytes())
    return known.hexdigest()
