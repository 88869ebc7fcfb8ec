"""The logit lens: what the model would predict if its layers ended here.

Method: nostalgebraist 2020, "interpreting GPT: the logit lens". The residual stream after each layer goes through the model's own final norm and unembedding;
with a tuned lens (Belrose et al. 2023) through an affine map first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mechwidgets.analysis.lens_states import LensStates, read_states
from mechwidgets.model.checks import check_finite
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.prompt_pair import check_answer
from mechwidgets.model.token_input import TokenInput

if TYPE_CHECKING:
    import xarray as xr

# What the logits of the positions that are unembedded together may take, a few times over: a long prompt has positions x vocabulary of them in each row.
LOGIT_BYTES = 32_000_000
NO_RANK = -1
# Logits of which only the largest is looked at first.
BLOCK = 128
# Tokens that a message shows of where two prompts part.
SHOWN = 5


@dataclass(frozen=True)
class Reading:
    """What the lens reads, in arrays made once: small results made between large logits would leave the heap in pieces too small for the next logits.

    Of one prompt or of two. Where a state gives no finite logits the numbers are NaN and the rank is -1.

    Attributes:
        top_token, probability: [prompt, row, position, k].
        entropy, kl, rank, target_probability: [prompt, row, position].
        target: the token whose rank and probability these are, [position].
        divergence: [row, position], between the two prompts.
    """

    top_token: np.ndarray
    probability: np.ndarray
    entropy: np.ndarray
    kl: np.ndarray
    rank: np.ndarray
    target_probability: np.ndarray
    target: np.ndarray
    divergence: np.ndarray

    @classmethod
    def empty(cls, prompts: int, rows: int, n_pos: int, k: int) -> Reading:
        """Room for prompts of equally many tokens."""
        cells = (prompts, rows, n_pos)
        return cls(
            top_token=np.empty((*cells, k), np.int32),
            probability=np.empty((*cells, k), np.float32),
            entropy=np.empty(cells, np.float32),
            kl=np.empty(cells, np.float32),
            rank=np.empty(cells, np.int32),
            target_probability=np.empty(cells, np.float32),
            target=np.empty(n_pos, np.int32),
            divergence=np.empty((rows, n_pos), np.float32),
        )

    def take(self, where: tuple[int, int, slice], row: Distribution, final: Distribution) -> None:
        """Read distributions into the cells `where`, beside those of the output."""
        self.top_token[where] = row.top_token.cpu()
        self.probability[where] = (row.top_logit - row.log_total[:, None]).exp().cpu()
        target = torch.from_numpy(self.target[where[2]]).to(row.logits.device).long()[:, None]
        logit = row.logits.gather(1, target)
        self.target_probability[where] = (logit[:, 0] - row.log_total).exp().cpu()
        higher = (row.logits > logit).sum(dim=-1, dtype=torch.int32)
        self.rank[where] = higher.masked_fill(row.log_total.isnan(), NO_RANK).cpu()
        self.kl[where] = final.divergence_of(row).cpu()
        self.entropy[where] = (row.log_total - row.mean_logit).cpu()


class Distribution:
    """Distributions over the vocabulary, with what is read of them; few passes over them, as there are as many as cells.

    Args:
        logits: [pos, d_vocab].
        k: how many top tokens.

    Attributes:
        logits: in float32.
        top_token, top_logit: [pos, k].
        log_total: log of the sum of exponentials, [pos]; NaN where logits are not finite.
        mean_logit: the mean of the logits under the distribution, [pos].
    """

    def __init__(self, logits: torch.Tensor, k: int) -> None:
        self.logits = logits.float()
        self.top_token, self.top_logit = top_k(self.logits, k)
        most = self.top_logit[:, :1]
        # exp(logit - most), of which the probabilities are shares
        self._weights = (self.logits - most).exp_()
        self._total = self._weights.sum(dim=-1)
        self.log_total = most[:, 0] + self._total.log()
        self.mean_logit = self._mean(self.logits)

    def divergence_of(self, other: Distribution) -> torch.Tensor:
        """Kullback-Leibler divergence of other distributions from these, in nats, [pos]; to some 1e-5."""
        ours, theirs = self.mean_logit - self.log_total, self._mean(other.logits) - other.log_total
        return (ours - theirs).clamp_min(0)

    def _mean(self, logits: torch.Tensor) -> torch.Tensor:
        total = torch.linalg.vecdot(self._weights, logits)
        # An impossible token, of logit minus infinity, has no part in a mean; in arithmetic 0 times infinity is NaN.
        doubtful = total.isnan()
        if bool(doubtful.any()):
            total[doubtful] = (self._weights[doubtful] * logits[doubtful]).nan_to_num_(nan=0.0).sum(dim=-1)
        mean: torch.Tensor = (total / self._total).masked_fill(logits[:, 0].isnan() | self.log_total.isnan(), torch.nan)
        return mean


def top_k(logits: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and values [pos, k] of the largest logits [pos, d_vocab], the largest first.

    They lie in the k blocks with the largest maxima, and what is left over behind whole blocks; sorting these is several times as fast as sorting all.
    """
    n_pos, d_vocab = logits.shape
    n_blocks = d_vocab // BLOCK
    if n_blocks <= k:
        top = logits.topk(k, dim=-1)
        return top.indices, top.values
    blocks = logits[:, : n_blocks * BLOCK].view(n_pos, n_blocks, BLOCK)
    chosen = blocks.amax(dim=-1).topk(k, dim=-1).indices
    ids = (chosen[..., None] * BLOCK + torch.arange(BLOCK, device=logits.device)).view(n_pos, -1)
    rest = torch.arange(n_blocks * BLOCK, d_vocab, device=logits.device).expand(n_pos, -1)
    ids = torch.cat([ids, rest], dim=-1)
    top = logits.gather(1, ids).topk(k, dim=-1)
    return ids.gather(1, top.indices), top.values


def logit_lens(
    model: HookedModel,
    prompt: TokenInput,
    k: int = 5,
    prepend_bos: bool | None = None,
    *,
    stream: str = "resid_post",
    target: str | int | None = None,
    tuned_lens: Any = None,
    compare: TokenInput | None = None,
) -> xr.Dataset:
    """Read every layer and position of a prompt through the final norm and the unembedding.

    Args:
        model: the model.
        prompt: one prompt.
        k: how many top tokens to keep.
        prepend_bos: as in `HookedModel.to_tokens`.
        stream: what is read of each layer. "resid_post", "resid_pre" or "resid_mid": the residual stream, as if the model ended there. "attn_out" or
            "mlp_out": what that component alone writes, read as if it were the whole stream, with its own scale; not a prediction of the model.
        target: the token, a text or an id, whose rank and probability are read; None for what the model finally finds most probable at each position.
        tuned_lens: translators of the stream before each layer, as `mechwidgets.analysis.tuned_lens.translation` takes them: the tuned lens instead of the
            logit lens, of "resid_post" or "resid_pre".
        compare: a second prompt of equally many tokens.

    Returns:
        A dataset over `row` (for "resid_post": "embed", the input of layer 0, then "0", "1", ... for the stream after each layer; otherwise the layers, then
        "output"; the last row is always the model's real output), `position` and `k`; with `compare=`, over `prompt` (0 and 1) before these:

        - `top_token` [row, position, k]: token ids, most probable first; `top_text` is their text
        - `probability` [row, position, k]: their probabilities, 0 to 1
        - `entropy` [row, position]: of the whole distribution, in nats, 0 to ln(d_vocab)
        - `kl` [row, position]: Kullback-Leibler divergence of this row's distribution from the output's, in nats, from 0 up
        - `rank`, `target_probability` [row, position]: rank (0 for the top) and probability of the target, which with `compare=` is that of the first prompt
        - `divergence` [row, position], with `compare=`: Kullback-Leibler divergence of the second prompt's distribution from the first's, in nats

        and the coordinates `token` [position] and `target` [position], texts. Where a state gives no finite logits, numbers are NaN and the rank -1.

    Raises:
        TypeError: a tuned lens of another kind.
        ValueError: a prompt that cannot be run, several prompts, two of different token counts, k or a target out of range, a stream that the model has not,
            or weights that are not finite.
    """
    prompts = [model.to_tokens(one, prepend_bos) for one in (prompt, compare) if one is not None]
    for tokens in prompts:
        if len(tokens) != 1:
            raise ValueError(f"The logit lens reads one prompt, got {len(tokens)}.")
    if not 1 <= k <= model.cfg.d_vocab:
        raise ValueError(f"k is {k}; it must be 1 to {model.cfg.d_vocab:,}, the size of the vocabulary.")
    check_lengths(model, prompts)
    target_id = None if target is None else check_answer(model, target, "Target token")
    states = [read_states(model, tokens, stream, tuned_lens) for tokens in prompts]
    return lens_dataset(model, states, read_lens(model, states, k, target_id))


def read_lens(
    model: HookedModel,
    prompts: Sequence[LensStates],
    k: int,
    target: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Reading:
    """Read the states of one or two prompts of equally many tokens.

    Args:
        model, prompts: what is read.
        k: how many top tokens.
        target: the token id whose rank and probability are read; None for the output's.
        check: called before each row; what it raises ends the reading.

    Raises:
        ValueError: the output is not finite.
    """
    first = prompts[0]
    n_pos, step = first.tokens.shape[1], _positions_together(model)
    reading = Reading.empty(len(prompts), len(first.rows), n_pos, k)
    with torch.no_grad():
        for positions in (slice(start, start + step) for start in range(0, n_pos, step)):
            finals = [Distribution(model.logits_of(prompt.states[-1][positions]), k) for prompt in prompts]
            for final in finals:
                check_finite(model, final.logits, "the logits")
            reading.target[positions] = finals[0].top_token[:, 0].cpu() if target is None else target
            for row in range(len(first.rows)):
                check()
                read = [Distribution(model.logits_of(prompt.states[row][positions]), k) for prompt in prompts]
                for index, distribution in enumerate(read):
                    reading.take((index, row, positions), distribution, finals[index])
                reading.divergence[row, positions] = read[0].divergence_of(read[-1]).cpu() if len(read) > 1 else 0.0
    return reading


def check_lengths(model: HookedModel, prompts: Sequence[torch.Tensor]) -> None:
    """Raises ValueError for prompts [1, pos] of different token counts, whose cells could not be compared."""
    counts = {prompt.shape[1] for prompt in prompts}
    if len(counts) < 2:
        return
    texts = [model.token_texts(prompt[0].tolist()) for prompt in prompts]
    start = next((i for i, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), min(counts))
    here, there = (", ".join(map(repr, text[start : start + SHOWN])) or "nothing" for text in texts)
    raise ValueError(
        f"The prompts have {len(texts[0])} and {len(texts[1])} tokens; to be compared they need equally many. "
        f"They part at position {start}: {here} and {there}. Use words that are equally many tokens."
    )


def lens_dataset(model: HookedModel, prompts: Sequence[LensStates], reading: Reading) -> xr.Dataset:
    """A reading with its labels; see `logit_lens`."""
    import xarray as xr

    cells = ("prompt", "row", "position")
    data: xr.Dataset = xr.Dataset(
        {
            "top_token": ((*cells, "k"), reading.top_token),
            "probability": ((*cells, "k"), reading.probability),
            "entropy": (cells, reading.entropy),
            "kl": (cells, reading.kl),
            "rank": (cells, reading.rank),
            "target_probability": (cells, reading.target_probability),
            "top_text": ((*cells, "k"), _texts(model, reading.top_token)),
        },
        coords={
            "row": prompts[0].rows,
            "token": (("prompt", "position"), [model.token_texts(prompt.tokens[0].tolist()) for prompt in prompts]),
            "target": ("position", model.token_texts(reading.target.tolist())),
        },
        attrs={"max_entropy": float(np.log(model.cfg.d_vocab))},
    )
    if len(prompts) > 1:
        data["divergence"] = (("row", "position"), reading.divergence)
        return data
    alone: xr.Dataset = data.isel(prompt=0)
    return alone


def _positions_together(model: HookedModel) -> int:
    bytes_per_position = model.cfg.d_vocab * torch.finfo(torch.float32).bits // 8
    return max(1, LOGIT_BYTES // bytes_per_position)


def _texts(model: HookedModel, ids: np.ndarray) -> np.ndarray:
    unique, where = np.unique(ids, return_inverse=True)
    return np.array(model.token_texts(unique.tolist()), dtype=object)[where].reshape(ids.shape)
