"""Next-token predictions, and how an intervention moves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mechwidgets.model.checks import check_finite
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import Index, check_range
from mechwidgets.model.token_input import TokenInput


@dataclass(frozen=True)
class PredictionChange:
    """The next-token distribution at a position before and after interventions.

    Attributes:
        token_ids: the tokens that are among the most probable before or after, and those whose probability moves most, by probability before.
        tokens: their texts.
        before, after: their probabilities, float32 [token], 0 to 1.
        kl: Kullback-Leibler divergence of the distribution after from that before, over the whole vocabulary, in nats.
    """

    token_ids: list[int]
    tokens: list[str]
    before: np.ndarray
    after: np.ndarray
    kl: float


def prediction_change(
    model: HookedModel,
    prompt: TokenInput,
    interventions: Sequence[Intervention],
    k: int = 6,
    before: torch.Tensor | None = None,
    prepend_bos: bool | None = None,
    position: int = -1,
) -> PredictionChange:
    """Run a prompt with and without interventions.

    Args:
        model, prompt: one prompt.
        interventions: carried out together; none gives the same distribution twice.
        k: how many of the most probable tokens to report of each distribution.
        before: what `next_token_log_probs` gave for this prompt, where it is known.
        prepend_bos: as in `HookedModel.to_tokens`.
        position: behind which token of the prompt, negative from its end.

    Raises:
        ValueError: a prompt or an intervention that this model cannot run, several prompts, a position that the prompt does not have, or weights that are not
            finite.
    """
    before = next_token_log_probs(model, prompt, (), prepend_bos, position) if before is None else before
    after = next_token_log_probs(model, prompt, interventions, prepend_bos, position) if interventions else before
    k = min(k, len(before))
    moved = (after.exp() - before.exp()).abs()
    top = {token for numbers in (before, after) for token in numbers.topk(k).indices.tolist()}
    top |= {token for token in moved.topk(k).indices.tolist() if moved[token] > 0}
    ids = sorted(top, key=lambda token: -float(before[token]))
    # where a token is impossible, p log p is 0 in the limit and NaN in arithmetic
    kl = float((before.exp() * (before - after)).nan_to_num().sum())
    return PredictionChange(
        ids,
        model.token_texts(ids),
        before[ids].exp().cpu().numpy(),
        after[ids].exp().cpu().numpy(),
        max(kl, 0.0),
    )


def next_token_log_probs(
    model: HookedModel,
    prompt: TokenInput,
    interventions: Sequence[Intervention] = (),
    prepend_bos: bool | None = None,
    position: int = -1,
) -> torch.Tensor:
    """Log-probabilities [d_vocab], in nats, of the token that follows one prompt, or one of its tokens.

    Raises:
        ValueError: as `prediction_change`.
    """
    tokens = model.to_tokens(prompt, prepend_bos)
    if len(tokens) != 1:
        raise ValueError(f"The next token is read from one prompt, got {len(tokens)}.")
    check_range("position", position, tokens.shape[1], from_end=True)
    behind = tokens.shape[1] - position % tokens.shape[1]
    with torch.no_grad(), model.intervene(*interventions):
        logits = model.forward(tokens, logits_to_keep=behind)[0, -behind]
    return finite_log_probs(model, logits)


def continuation(
    model: HookedModel,
    tokens: torch.Tensor,
    interventions: Sequence[Intervention] = (),
    steps: int = 10,
    check: Callable[[], None] = lambda: None,
) -> list[int]:
    """The token ids that a model writes behind a prompt under interventions, the most probable one at each step.

    Args:
        model: the model.
        tokens: of the prompt, [1, pos].
        interventions: in force at every step; their negative positions count from the end of the prompt.
        steps: how many tokens at most; fewer where the text ends or becomes longer than the model reads.
        check: called at each step; what it raises ends the writing.

    Raises:
        ValueError: an intervention that this model cannot run.
    """
    steps = min(steps, model.cfg.n_ctx - tokens.shape[1])
    # These look at all positions, and so have to be shown them at every step.
    whole = any(one.op == "freeze" or (one.op == "mean" and one.value is None) for one in interventions)
    with model.intervene(*interventions):
        written = model.generate_stream(
            tokens, steps, do_sample=False, use_past_kv_cache=not whole, return_type="tokens", verbose=False
        )
    ids = []
    for new in written:
        check()
        ids.append(int(new[0, 0]))
    return ids


def anchored(interventions: Sequence[Intervention], n_pos: int) -> list[Intervention]:
    """Interventions in a prompt of `n_pos` tokens that mean the same places when more is written behind it."""

    def from_front(position: Index) -> Index:
        if isinstance(position, tuple):
            return tuple(one % n_pos for one in position)
        return position if position is None else position % n_pos

    return [replace(one, position=from_front(one.position)) for one in interventions]


def finite_log_probs(model: HookedModel, logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities, in nats, of logits [..., d_vocab].

    Raises:
        ValueError: they are NaN or infinite; the message names the weights that are.
    """
    check_finite(model, logits, "the logits")
    return logits.float().log_softmax(dim=-1)
