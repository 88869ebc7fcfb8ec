"""What is asked of a pair of prompts: which of the two is changed, and what is read from its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsInt

import torch
from accelerate.utils import convert_file_size_to_int

from mechwidgets.analysis.metrics import BoundMetric, Metric, as_metric, check_values
from mechwidgets.analysis.replay import Replay
from mechwidgets.analysis.result_code import metric_code
from mechwidgets.model.cache import ActivationCache
from mechwidgets.model.prompt_pair import PromptPair
from mechwidgets.model.token_input import TokenInput

if TYPE_CHECKING:
    from mechwidgets.model.hooked_model import HookedModel

DIRECTIONS = ("denoise", "noise")


@dataclass(frozen=True, eq=False)
class Runs:
    """Both prompts as they are.

    Attributes:
        metric: what is read.
        source: activations of the run that gives.
        base: the run that is changed.
        clean_metric, corrupted_metric: the metric of the two prompts as they are.
    """

    metric: BoundMetric
    source: ActivationCache
    base: Replay
    clean_metric: float
    corrupted_metric: float


class Question:
    """A pair of prompts and a metric that have been checked and are ready to run.

    Args:
        model: the model.
        clean, corrupted: the pair of prompts, of equally many tokens.
        metric: what to read from the logits: a Metric, or a function of logits [batch, pos, d_vocab].
        direction: "denoise" puts what the clean run has into the corrupted run; "noise" puts what the corrupted run has into the clean run.
        prepend_bos: as in `HookedModel.to_tokens`.

    Attributes:
        pair: the prompts.
        n_pos: how many tokens each has.
        source_tokens, base_tokens: the prompt whose activations are put in and the one that is changed, with what the metric wants to be run behind them,
            [1, pos].
        asked: what was given, by name.

    Raises:
        TypeError: a metric that is not one.
        ValueError: a pair, an answer or a metric that cannot be used, or an unknown direction.
    """

    def __init__(
        self,
        model: HookedModel,
        clean: TokenInput,
        corrupted: TokenInput,
        metric: Metric | Callable[[torch.Tensor], Any],
        direction: str = "denoise",
        prepend_bos: bool | None = None,
    ) -> None:
        if direction not in DIRECTIONS:
            raise ValueError(f"Unknown direction {direction!r}: it is 'denoise' or 'noise'.")
        self.model, self.direction, self._asked = model, direction, as_metric(metric)
        self.pair = PromptPair.of(model, clean, corrupted, prepend_bos=prepend_bos)
        self.n_pos = self.pair.clean.shape[1]
        prompts = [fed(model, self._asked, tokens) for tokens in (self.pair.clean, self.pair.corrupted)]
        self.source_tokens, self.base_tokens = prompts if direction == "denoise" else prompts[::-1]
        self._bound = self._asked.bind(model, after=self.pair.clean_str_tokens[-1])

        bos = model.default_prepend_bos if prepend_bos is None else prepend_bos
        self.asked: dict[str, Any] = {"clean": clean, "corrupted": corrupted, "metric": self._asked}
        self.asked |= {"direction": direction, "prepend_bos": bos}

    @property
    def metric_code(self) -> str | None:
        """The metric as Python, or None where it cannot be written out."""
        return metric_code(self._asked)

    @property
    def str_tokens(self) -> dict[str, list[str]]:
        """The texts of both prompts' tokens, [pos] each."""
        return {"clean_token": self.pair.clean_str_tokens, "corrupted_token": self.pair.corrupted_str_tokens}

    def run(self, names: Iterable[str], base_names: Iterable[str] = (), **options: Any) -> Runs:
        """Run both prompts.

        Args:
            names: the full hook names of activations to keep of both.
            base_names: of those to keep of the base alone.
            options: of `Replay`: max_memory, verify, plain.

        Raises:
            TypeError: a max_memory that is none.
            ValueError: a metric that is not one finite number for each prompt, options that cannot be used, or too little memory.
        """
        names, metric = list(names), self._bound
        replay = Replay(
            self.model,
            self.base_tokens,
            {*names, *base_names},
            positions=metric.positions,
            answers=metric.tokens,
            **read_terms(options),
        )
        source_logits, cache = replay.other(self.source_tokens, names)
        if self._asked.needs_reference:
            logits = source_logits if self.direction == "denoise" else replay.logits
            metric = self._asked.bind(self.model, logits, self.pair.clean_str_tokens[-1])
        values = [baseline(metric, logits) for logits in (source_logits, replay.logits)]
        return Runs(metric, cache, replay, *(values if self.direction == "denoise" else values[::-1]))


def read_terms(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `Replay`, max_memory also in words such as "2GB".

    Raises:
        TypeError, ValueError: a max_memory or verify that is none.
    """
    memory, verify = options.get("max_memory"), options.get("verify", 0)
    if not isinstance(memory, SupportsInt | str | None):
        raise TypeError(f'max_memory is a number of bytes, or a text such as "2GB"; got {memory!r}.')
    if not isinstance(verify, int) or verify < 0:
        raise ValueError(
            f"verify says how many cells are run again as whole forward passes, 0 or more; got {verify!r}."
        )
    if memory is None:
        return dict(options)
    try:
        # accelerate reads a small b as bits
        size = convert_file_size_to_int(memory.upper()) if isinstance(memory, str) else int(memory)
        return {**options, "max_memory": size}
    except ValueError:
        raise ValueError(f'max_memory is a number of bytes, or a text such as "2GB"; got {memory!r}.') from None


def fed(model: HookedModel, metric: Metric, tokens: torch.Tensor) -> torch.Tensor:
    """A prompt with what a metric wants to be run behind it, [1, pos]."""
    behind = torch.tensor([metric.continuation(model)], dtype=tokens.dtype, device=tokens.device)
    return torch.cat([tokens, behind], dim=1)


def baseline(metric: BoundMetric, logits: torch.Tensor) -> float:
    """The metric of a prompt as it is, from its logits [1, pos, d_vocab]."""
    return float(check_values(metric(logits), 1, metric.name))
