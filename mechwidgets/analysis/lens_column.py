"""One position through the layers: its most probable tokens, and what becomes of chosen ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mechwidgets.analysis.lens_states import LensStates
from mechwidgets.model.hooked_model import HookedModel


@dataclass(frozen=True)
class LensColumn:
    """What a lens reads at one position of one prompt or of two.

    Attributes:
        top_token, top_probability: [prompt, row, k], most probable first.
        probability, rank, logit: of the followed tokens, float32 [prompt, token, row]; ranks begin at 0. NaN where a state gives no finite logits.
    """

    top_token: np.ndarray
    top_probability: np.ndarray
    probability: np.ndarray
    rank: np.ndarray
    logit: np.ndarray


def read_column(
    model: HookedModel, prompts: Sequence[LensStates], position: int, follow: Sequence[int], k: int
) -> LensColumn:
    """Read the states of one position.

    Args:
        model, prompts: as in `mechwidgets.analysis.logit_lens.read_lens`.
        position: which.
        follow: the token ids to follow, any number of them.
        k: how many top tokens.
    """
    with torch.no_grad():
        states = [torch.stack([state[position] for state in prompt.states]) for prompt in prompts]
        logits = torch.stack([model.logits_of(state).float() for state in states])
    top = logits.topk(min(k, logits.shape[-1]), dim=-1)
    normalizer = logits.logsumexp(dim=-1, keepdim=True)
    followed = logits[..., list(follow)]
    higher = [(logits > logits[..., [token]]).sum(dim=-1).float() for token in follow]
    rank = torch.stack(higher, dim=-1) if higher else torch.empty_like(followed)
    rank = rank.masked_fill(normalizer.isnan(), torch.nan)
    lines = ((followed - normalizer).exp(), rank, followed)
    return LensColumn(
        top.indices.cpu().numpy(),
        (top.values - normalizer).exp().cpu().numpy(),
        *(line.mT.contiguous().cpu().numpy() for line in lines),
    )
