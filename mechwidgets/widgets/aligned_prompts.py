"""Prompts of equally many tokens: a picture shows their mean, or the difference of two groups of them, position by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mechwidgets.model.hooked_model import HookedModel

# How many other tokens a picture names at a position where prompts differ.
NAMED_ALTERNATIVES = 4


@dataclass(frozen=True)
class Prompts:
    """The prompts of a picture, of equally many tokens.

    Attributes:
        tokens: [row, pos]: those that are shown, then those that they are compared with.
        n_shown: how many are shown.
    """

    tokens: torch.Tensor
    n_shown: int

    @property
    def compares(self) -> bool:
        """Whether a difference is shown."""
        return self.n_shown < len(self.tokens)

    def means(self, values: torch.Tensor) -> list[torch.Tensor]:
        """The mean of [row, ...] over the prompts that are shown, and over those that they are compared with, if any; float32."""
        groups = (values[: self.n_shown], values[self.n_shown :])
        return [group[0].float() if len(group) == 1 else group.float().mean(0) for group in groups if len(group)]


def read_prompts(
    model: HookedModel, prompt: str | Sequence[str], compare: str | Sequence[str], prepend_bos: bool | None
) -> Prompts:
    """The tokens of prompts, and of those that they are compared with; "" for none.

    Raises:
        ValueError: a prompt that cannot be run, none, or different numbers of tokens.
    """
    shown = [prompt] if isinstance(prompt, str) else list(prompt)
    others = ([compare] if compare else []) if isinstance(compare, str) else list(compare)
    if not shown:
        raise ValueError("There is no prompt. Give a text, or several of equally many tokens.")
    rows = [model.to_tokens(text, prepend_bos)[0] for text in (*shown, *others)]
    for text, row in zip((*shown, *others), rows, strict=True):
        if len(row) != len(rows[0]):
            raise ValueError(
                "The prompts have different numbers of tokens, and are laid over each other token by token: "
                f"{shown[0]!r} has {len(rows[0])}, {text!r} has {len(row)} ({_split(model, row)}; the first: {_split(model, rows[0])}). "
                "Choose words that the tokenizer cuts into equally many."
            )
    return Prompts(torch.stack(rows), len(shown))


def _split(model: HookedModel, row: torch.Tensor) -> str:
    texts = [repr(text) for text in model.token_texts(row[:40].tolist())]
    return ", ".join(texts) + (", ..." if len(row) > len(texts) else "")


def alternatives(model: HookedModel, prompts: Prompts) -> list[list[str]]:
    """The other texts at each position where prompts differ from the first, [pos]: a few, and "…" where there are more."""
    found = []
    for column in prompts.tokens.T.tolist():
        others = [token for token in dict.fromkeys(column) if token != column[0]]
        named = model.token_texts(others[:NAMED_ALTERNATIVES]) if others else []
        found.append([*named, *(["…"] if len(others) > NAMED_ALTERNATIVES else [])])
    return found
