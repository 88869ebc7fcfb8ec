"""Next-token predictions, and how an intervention moves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch

from mechwidgets.analysis.passes import Room
from mechwidgets.analysis.replay import Replay
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
    return _between(model, before, after, k)


def prediction_changes(
    model: HookedModel,
    prompt: TokenInput,
    changes: Sequence[Sequence[Intervention]],
    k: int = 6,
    prepend_bos: bool | None = None,
    position: int = -1,
    max_memory: int | None = None,
) -> Iterator[tuple[list[int], list[PredictionChange]]]:
    """What `prediction_change` says, to rounding, of each of many changes by itself.

    Each is computed from the first layer and position that it reaches, many in one pass (`Replay`). Those that freeze something, and all where not even one
    fits into the memory, are whole forward passes one by one.

    Args:
        model, prompt: one prompt.
        changes: interventions that are carried out together.
        k, prepend_bos, position: as in `prediction_change`.
        max_memory: bytes for passes of several; by default a quarter of what is free, 2 GiB at most.

    Yields:
        Indices into `changes` and what these do, as they are done, each once. Stop iterating to cancel.

    Raises:
        ValueError: as `prediction_change`.
        ReplayError: two of them, which are run as whole passes too, came out otherwise there.
    """
    tokens = _one_prompt(model, prompt, prepend_bos, position)
    for one in chain(*changes):
        one.check(model)
    # what "freeze" puts there is of a run without the hooks that are part of the base
    several = _has_room(model, tokens, max_memory)
    alone = [index for index, change in enumerate(changes) if not several or any(one.op == "freeze" for one in change)]
    together = [index for index in range(len(changes)) if index not in set(alone)]
    if together:
        asked = [changes[index] for index in together]
        for indices, found in _replayed(model, tokens, asked, k, position, max_memory):
            yield [together[index] for index in indices], found
    before = next_token_log_probs(model, tokens, position=position) if alone else None
    for index in alone:
        yield [index], [prediction_change(model, tokens, changes[index], k, before, position=position)]


def _has_room(model: HookedModel, tokens: torch.Tensor, max_memory: int | None) -> bool:
    try:
        Room(model, 1, tokens.shape[1], max_memory)
    except ValueError:
        return False
    return True


def _replayed(
    model: HookedModel,
    tokens: torch.Tensor,
    changes: Sequence[Sequence[Intervention]],
    k: int,
    position: int,
    max_memory: int | None,
) -> Iterator[tuple[list[int], list[PredictionChange]]]:
    names = {one.name for one in chain(*changes)}
    replay = Replay(model, tokens, names, positions=[position], max_memory=max_memory)
    before = finite_log_probs(model, replay.logits[0, 0])
    found: list[PredictionChange] = []

    def read(logits: torch.Tensor) -> torch.Tensor:
        """Where in `found` each row's is: the logits of all rows would take too much room."""
        found.extend(_between(model, before, finite_log_probs(model, row), k) for row in logits[:, 0, 0])
        return torch.arange(len(found) - len(logits), len(found))

    for indices, places in replay.run(changes, read):
        yield indices, [found[place] for place in places.tolist()]


def _between(model: HookedModel, before: torch.Tensor, after: torch.Tensor, k: int) -> PredictionChange:
    """How one distribution differs from another, both log-probabilities [d_vocab] in nats."""
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
    tokens = _one_prompt(model, prompt, prepend_bos, position)
    behind = tokens.shape[1] - position % tokens.shape[1]
    with torch.no_grad(), model.intervene(*interventions):
        logits = model.forward(tokens, logits_to_keep=behind)[0, -behind]
    return finite_log_probs(model, logits)


def _one_prompt(model: HookedModel, prompt: TokenInput, prepend_bos: bool | None, position: int) -> torch.Tensor:
    """The tokens [1, pos] of a prompt that has this position."""
    tokens = model.to_tokens(prompt, prepend_bos)
    if len(tokens) != 1:
        raise ValueError(f"The next token is read from one prompt, got {len(tokens)}.")
    check_range("position", position, tokens.shape[1], from_end=True)
    return tokens


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
