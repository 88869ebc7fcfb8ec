"""Text to tokens and back; prompt pairs and their alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from mechwidgets.model.hooked_model import HookedModel

TokenInput = str | Sequence[str] | Sequence[int] | torch.Tensor | Mapping[str, Any]


class Tokens:
    """A tokenizer as an analysis needs it.

    Args:
        tokenizer: a transformers tokenizer, or None for a model that takes token tensors only.
        n_ctx: the longest prompt, in tokens.
        d_vocab: the size of the model's vocabulary.
    """

    def __init__(self, tokenizer: Any, n_ctx: int, d_vocab: int) -> None:
        self.tokenizer = tokenizer
        self.n_ctx = n_ctx
        self.d_vocab = d_vocab

    def encode(self, text: TokenInput, prepend_bos: bool | None = None) -> torch.Tensor:
        """Tokens [batch, pos] of a text, of several texts of equally many tokens, or of token ids.

        Args:
            text: a string, strings, ids, or a tensor [pos] or [batch, pos].
            prepend_bos: True puts the BOS token in front, False leaves it out, None does what the tokenizer does by itself. Says nothing about ids.

        Raises:
            ValueError: no tokens, too many, ids outside the vocabulary, texts of different lengths, or a BOS that the tokenizer lacks.
        """
        if isinstance(text, Mapping):
            # what a tokenizer returns; iterated over, it is its keys
            return self.encode(text["input_ids"])
        if isinstance(text, torch.Tensor):
            tokens = text.long()
            tokens = tokens[None] if tokens.ndim == 1 else tokens
        elif isinstance(text, str):
            tokens = torch.tensor([self._encode_one(text, prepend_bos)], dtype=torch.long)
        elif text and all(isinstance(part, str) for part in text):
            tokens = self._encode_many([str(part) for part in text], prepend_bos)
        else:
            tokens = torch.tensor([[int(part) for part in text]], dtype=torch.long)
        self._check(tokens, text)
        return tokens

    def _check(self, tokens: torch.Tensor, text: TokenInput) -> None:
        if tokens.ndim != 2:
            raise ValueError(f"Expected tokens of shape [pos] or [batch, pos], got {list(tokens.shape)}.")
        length = tokens.shape[1]
        if tokens.numel() == 0:
            what = (
                f"The prompt is empty ({text!r} is 0 tokens)" if isinstance(text, str) else "The prompt has no tokens"
            )
            raise ValueError(f"{what}. A run needs at least one token: type some text.")
        if length > self.n_ctx:
            raise ValueError(
                f"The prompt has {length:,} tokens; this model reads at most {self.n_ctx:,}. Shorten it by {length - self.n_ctx:,} tokens."
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= self.d_vocab:
            raise ValueError(
                f"Token id {low if low < 0 else high} is outside the vocabulary (0 to {self.d_vocab - 1:,})."
            )

    def _encode_one(self, text: str, prepend_bos: bool | None) -> list[int]:
        tokenizer = self._require()
        if prepend_bos is None:
            return list(tokenizer(text)["input_ids"])
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if not prepend_bos:
            return ids
        if tokenizer.bos_token_id is None:
            raise ValueError("prepend_bos=True, but this tokenizer has no BOS token. Use prepend_bos=False.")
        return [tokenizer.bos_token_id, *ids]

    def _encode_many(self, texts: list[str], prepend_bos: bool | None) -> torch.Tensor:
        rows = [self._encode_one(text, prepend_bos) for text in texts]
        if len({len(row) for row in rows}) > 1:
            raise ValueError(
                f"The prompts have {', '.join(str(len(row)) for row in rows)} tokens; a batch needs equally many. Run them one by one."
            )
        return torch.tensor(rows, dtype=torch.long)

    def _require(self) -> Any:
        if self.tokenizer is None:
            raise ValueError(
                "This model was wrapped without a tokenizer, so it takes token ids, not text. Give HookedModel a tokenizer to use text."
            )
        return self.tokenizer

    def decode_each(self, ids: Sequence[int]) -> list[str]:
        """The text of each token by itself, spaces and newlines kept; a part of a character shows as U+FFFD."""
        if self.tokenizer is None:
            return [f"<{i}>" for i in ids]
        return [self._decode_one(int(i)) for i in ids]

    def _decode_one(self, token_id: int) -> str:
        piece = self.tokenizer.convert_ids_to_tokens(token_id)
        if piece is None:
            # Models pad their vocabulary: such an id has weights and no text.
            return f"<{token_id}>"
        if "▁" in piece:
            # Decoded alone, a SentencePiece token loses the space it starts with.
            return str(piece).replace("▁", " ")
        return str(self.tokenizer.decode([token_id], skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def single(self, text: str, what: str = "Text") -> int:
        """The id of a text that is exactly one token.

        Raises:
            ValueError: it is none or several; the message shows them.
        """
        ids = self._encode_one(text, prepend_bos=False)
        if len(ids) == 1:
            return ids[0]
        parts = ", ".join(repr(part) for part in self.decode_each(ids))
        advice = "Choose a text that is one token" + (
            f", for example its first: {self.decode_each(ids[:1])[0]!r}." if ids else "."
        )
        if text and not text.startswith(" ") and len(self._encode_one(f" {text}", prepend_bos=False)) == 1:
            advice = f"With a space in front it is one: {f' {text}'!r}."
        raise ValueError(
            f"{what} {text!r} is {len(ids)} tokens{f' ({parts})' if parts else ''}; expected exactly one. {advice}"
        )


@dataclass(frozen=True)
class PromptPair:
    """A clean and a corrupted prompt of equally many tokens.

    Attributes:
        clean, corrupted: tokens [1, pos].
        clean_str_tokens, corrupted_str_tokens: their texts, [pos].
    """

    clean: torch.Tensor
    corrupted: torch.Tensor
    clean_str_tokens: list[str]
    corrupted_str_tokens: list[str]

    @classmethod
    def of(cls, model: HookedModel, clean: TokenInput, corrupted: TokenInput) -> PromptPair:
        """Tokenise and check a pair before anything runs.

        Raises:
            ValueError: different token counts (the message shows both tokenisations), identical prompts, or a prompt that cannot be run.
        """
        tokens = [model.to_tokens(prompt) for prompt in (clean, corrupted)]
        texts = [model.to_str_tokens(prompt) for prompt in (clean, corrupted)]
        if any(len(prompt) != 1 for prompt in tokens):
            raise ValueError("A pair is one clean and one corrupted prompt, got a batch.")
        if tokens[0].shape != tokens[1].shape:
            raise ValueError(
                "The prompts of a pair need equally many tokens, so that each position has its counterpart. "
                f"clean is {len(texts[0])}: {texts[0]}; corrupted is {len(texts[1])}: {texts[1]}. "
                "Change one of them, for example with names or words that are one token each."
            )
        if torch.equal(*tokens):
            raise ValueError(
                "The clean and the corrupted prompt are the same, so patching one into the other changes nothing. Change a word in one of them."
            )
        return cls(tokens[0], tokens[1], texts[0], texts[1])

    @property
    def differs(self) -> list[bool]:
        """Where the two prompts have different tokens, [pos]."""
        return (self.clean != self.corrupted)[0].tolist()
