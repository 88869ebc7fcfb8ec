"""The logit lens: what the model would predict if its layers ended here.

Method: nostalgebraist 2020, "interpreting GPT: the logit lens". The residual stream after each layer goes through the model's own final norm and unembedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mechwidgets.model.checks import check_finite
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.tokens import TokenInput

if TYPE_CHECKING:
    import xarray as xr


def logit_lens(model: HookedModel, prompt: TokenInput, k: int = 5) -> xr.Dataset:
    """Read every layer and position of a prompt through the final norm and the unembedding.

    Args:
        model: the model.
        prompt: one prompt.
        k: how many top tokens to keep.

    Returns:
        A dataset over `row` ("embed", the input of layer 0, then "0", "1", ... for the residual stream after each layer; the last row is the model's real
        output), `position` and `k`:

        - `top_token` [row, position, k]: token ids, most probable first; `top_text` is their text
        - `probability` [row, position, k]: their probabilities, 0 to 1
        - `entropy` [row, position]: of the whole distribution, in nats, 0 to ln(d_vocab)
        - `rank` [row, position]: the rank, 0 for the top, that this row gives to the token which the model finally finds most probable there

    Raises:
        ValueError: a prompt that cannot be run, several prompts, k out of range, or weights that are not finite.
    """
    import xarray as xr

    tokens = model.to_tokens(prompt)
    if len(tokens) != 1:
        raise ValueError(f"The logit lens reads one prompt, got {len(tokens)}.")
    if not 1 <= k <= model.cfg.d_vocab:
        raise ValueError(f"k is {k}; it must be 1 to {model.cfg.d_vocab:,}, the size of the vocabulary.")
    with torch.no_grad():
        logits, cache = model.run_with_cache(
            tokens,
            names_filter=lambda name: name.endswith("hook_resid_post") or name == "blocks.0.hook_resid_pre",
        )
        check_finite(model, logits, "the logits")
        final_token = logits[0].argmax(dim=-1)
        # One row at a time: all rows at once would hold rows x positions x vocabulary.
        rows = [_read(model.unembed(resid)[0], final_token, k) for resid in cache.values()]
    top_token, probability, entropy, rank = (np.stack(column) for column in zip(*rows, strict=True))
    ids = tokens[0].tolist()
    cells = ("row", "position")
    return xr.Dataset(
        {
            "top_token": ((*cells, "k"), top_token),
            "probability": ((*cells, "k"), probability),
            "entropy": (cells, entropy),
            "rank": (cells, rank),
            "top_text": ((*cells, "k"), _texts(model, top_token)),
        },
        coords={
            "row": ["embed", *map(str, range(model.cfg.n_layers))],
            "token": ("position", model.token_texts(ids)),
        },
        attrs={"max_entropy": float(np.log(model.cfg.d_vocab))},
    )


def _read(logits: torch.Tensor, final_token: torch.Tensor, k: int) -> tuple[np.ndarray, ...]:
    """Top tokens, their probabilities, entropy and the final token's rank from logits [pos, d_vocab]."""
    log_probs = logits.float().log_softmax(dim=-1)
    top = log_probs.topk(k, dim=-1)
    # exp(log p) is 0 where log p is so low that p log p would be NaN
    entropy = -(log_probs.exp() * log_probs).nan_to_num().sum(dim=-1)
    rank = (log_probs > log_probs.gather(1, final_token[:, None])).sum(dim=-1)
    return (
        top.indices.cpu().numpy().astype(np.int32),
        top.values.exp().cpu().numpy(),
        entropy.cpu().numpy(),
        rank.cpu().numpy().astype(np.int32),
    )


def _texts(model: HookedModel, ids: np.ndarray) -> np.ndarray:
    unique, where = np.unique(ids, return_inverse=True)
    return np.array(model.token_texts(unique.tolist()), dtype=object)[where].reshape(ids.shape)
