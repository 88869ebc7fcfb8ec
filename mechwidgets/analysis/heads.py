"""Head scores: how much each attention head does one of the things that heads are known for.

Read from patterns alone, as in Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", and Olsson et al. 2022, "In-context Learning and
Induction Heads" (arXiv:2209.11895). A score on one prompt is a hint, not proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mechwidgets.analysis.attention_values import LayerAttention, read_attention
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.token_input import TokenInput

if TYPE_CHECKING:
    import xarray as xr

SCORES = ("previous_token", "duplicate_token", "induction", "entropy")

# How many queries' entropies are computed at a time.
ENTROPY_QUERIES = 32


def head_scores(model: HookedModel, prompt: TokenInput, prepend_bos: bool | None = None) -> xr.DataArray:
    """Scores [score, layer, head] of every head on one prompt; NaN where the prompt cannot show it, and in layers without attention.

    - `previous_token`: mean attention to the token just before (from the second position on), 0 to 1
    - `duplicate_token`: mean attention to earlier copies of the same token (over positions that have one), 0 to 1
    - `induction`: mean attention to the tokens that followed earlier copies of the same token (over positions that have one), 0 to 1
    - `entropy`: mean entropy of what a position attends to (from the second position on), in nats: 0 for one token alone, log(n) for n tokens alike

    Args:
        model, prompt: one prompt.
        prepend_bos: as in `HookedModel.to_tokens`; the BOS is a position like any other.

    Raises:
        ValueError: a prompt that cannot be run.
    """
    import xarray as xr

    tokens = model.to_tokens(prompt, prepend_bos)
    if len(tokens) != 1:
        raise ValueError(f"Head scores are read from one prompt, got {len(tokens)}.")
    scores = np.full((len(SCORES), model.cfg.n_layers, model.cfg.n_heads), np.nan, np.float32)
    score = HeadScorer(tokens[0])

    def read(found: LayerAttention) -> None:
        scores[:, found.layer] = score(found.pattern[0])

    read_attention(model, tokens, "standard", read)
    return xr.DataArray(scores, dims=("score", "layer", "head"), coords={"score": list(SCORES)})


class HeadScorer:
    """Scores patterns over the same tokens; what the tokens alone decide is worked out once.

    Args:
        tokens: [pos].
    """

    def __init__(self, tokens: torch.Tensor) -> None:
        n = len(tokens)
        same = tokens[:, None] == tokens[None, :]
        copies = same.tril(-1)
        followers = torch.zeros_like(copies)
        followers[:, 1:] = copies[:, :-1]
        self._targets = [
            torch.stack([torch.arange(1, n), torch.arange(n - 1)], dim=1),
            copies.nonzero(),
            # a copy just before is followed by the query itself
            followers.tril().nonzero(),
        ]
        # of the queries over which each score is a mean
        counts = [*(len(torch.unique(pairs[:, 0])) for pairs in self._targets), n - 1]
        self._counts = np.array(counts, np.float32)[:, None]

    def __call__(self, patterns: torch.Tensor) -> np.ndarray:
        """The scores [score, head] of patterns [head, query_pos, key_pos], in the order of `SCORES`."""
        return self.means(self.sums(patterns))

    def sums(self, patterns: torch.Tensor, first: int = 0) -> np.ndarray:
        """What some queries add to the scores, [score, head].

        Args:
            patterns: [head, query_pos, key_pos], of the queries from `first` on.
            first: from 0.
        """
        last = first + patterns.shape[1]
        found = [_sum_of_attention(patterns, _between(pairs, first, last), first) for pairs in self._targets]
        return np.stack([*found, _sum_of_entropies(patterns, first)])

    def means(self, sums: np.ndarray) -> np.ndarray:
        """The scores of which all queries together added `sums`."""
        with np.errstate(invalid="ignore"):
            return np.asarray(sums / self._counts)


def _between(pairs: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """The pairs of a query and a key, sorted by query, whose query is from `first` to before `last`."""
    start, end = torch.searchsorted(pairs[:, 0].contiguous(), torch.tensor([first, last])).tolist()
    return pairs[start:end]


def _sum_of_attention(patterns: torch.Tensor, pairs: torch.Tensor, first: int) -> np.ndarray:
    """Attention from queries to keys, [pair, 2], whose patterns begin at the query `first`."""
    queries, keys = pairs.to(patterns.device).unbind(1)
    return np.asarray(patterns[:, queries - first, keys].float().sum(dim=1).cpu())


def _sum_of_entropies(patterns: torch.Tensor, first: int) -> np.ndarray:
    """In nats, of the queries that see more than themselves."""
    total = torch.zeros(len(patterns), device=patterns.device)
    for at in range(int(first == 0), patterns.shape[1], ENTROPY_QUERIES):
        # No query of a block sees a key after its last one; and what is made at a time stays in the processor's cache.
        block = patterns[:, at : at + ENTROPY_QUERIES, : first + at + ENTROPY_QUERIES].float()
        total -= block.clamp(min=torch.finfo(block.dtype).tiny).log_().mul_(block).sum((1, 2))
    return np.asarray(total.cpu())
