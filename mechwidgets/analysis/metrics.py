"""Metrics: what a sweep reads from the logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from mechwidgets.model.hooked_model import HookedModel


@dataclass(frozen=True)
class LogitDiff:
    """Logit of the right answer minus logit of the wrong one, at the last position.

    Attributes:
        answer, wrong: texts of one token each, or token ids.
    """

    answer: str | int
    wrong: str | int

    def bind(self, model: HookedModel) -> BoundLogitDiff:
        """Look the answers up in a model's vocabulary.

        Raises:
            ValueError: an answer that is not one token, or the same answer twice.
        """
        answer, wrong = (
            self._token(model, self.answer, "Answer"),
            self._token(model, self.wrong, "Wrong answer"),
        )
        if answer == wrong:
            raise ValueError(
                f"The answer and the wrong answer are the same token ({self.answer!r}), so their logit difference is always 0. Choose two."
            )
        texts = model.token_texts([answer, wrong])
        return BoundLogitDiff(answer, wrong, f"logit difference {texts[0]!r} − {texts[1]!r}")

    @staticmethod
    def _token(model: HookedModel, given: str | int, what: str) -> int:
        if isinstance(given, str):
            return model.to_single_token(given, what)
        if not 0 <= given < model.cfg.d_vocab:
            raise ValueError(f"{what} {given} is outside the vocabulary (0 to {model.cfg.d_vocab - 1:,}).")
        return given


@dataclass(frozen=True)
class BoundLogitDiff:
    """A LogitDiff with its token ids."""

    answer: int
    wrong: int
    name: str

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """The differences [batch], in logits, of logits [batch, pos, d_vocab]."""
        last = logits[:, -1].float()
        return last[:, self.answer] - last[:, self.wrong]
