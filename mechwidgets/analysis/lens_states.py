"""What a lens reads: the states of one prompt, layer after layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mechwidgets.analysis.tuned_lens import translation
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.hooks import site_name
from mechwidgets.model.intervention import Intervention

# The residual stream at three places of a layer, and what the two components of a layer write into it.
STREAMS = ("resid_post", "resid_pre", "resid_mid", "attn_out", "mlp_out")
# The places that a tuned lens is trained for: the stream between two layers.
TRANSLATED = ("resid_post", "resid_pre")


@dataclass(frozen=True, eq=False)
class LensStates:
    """The states of one prompt that a lens reads.

    Attributes:
        tokens: [1, pos].
        rows: what each state is of: "embed", a layer's number, or "output".
        states: each [pos, d_model]; the last is the stream that the model's own final norm reads.
    """

    tokens: torch.Tensor
    rows: list[str]
    states: list[torch.Tensor]

    @property
    def nbytes(self) -> int:
        """What the states take in memory."""
        return sum(state.nbytes for state in self.states)


def streams_of(model: HookedModel, tuned: bool = False) -> list[str]:
    """The streams that this model has; those that a tuned lens can translate."""
    return [
        stream
        for stream in (TRANSLATED if tuned else STREAMS)
        if all(site_name(stream, layer) in model.hook_dict for layer in range(model.cfg.n_layers))
    ]


def read_states(
    model: HookedModel,
    tokens: torch.Tensor,
    stream: str = "resid_post",
    tuned_lens: Any = None,
    interventions: Sequence[Intervention] = (),
) -> LensStates:
    """Run one prompt [1, pos] and keep a stream of all layers.

    Args:
        model, tokens: the prompt.
        stream: one of `STREAMS`. After "resid_post" of the last layer comes nothing, as that is what the model reads; before that of the first comes the
            embedding. The others end in the row "output".
        tuned_lens: as in `mechwidgets.analysis.tuned_lens.translation`.
        interventions: carried out together in this run.

    Raises:
        TypeError, ValueError: a stream that there is not, or a tuned lens that does not fit.
    """
    n_layers = model.cfg.n_layers
    if stream not in streams_of(model, tuned_lens is not None):
        raise ValueError(_refusal(model, stream, tuned_lens is not None))
    translate = None if tuned_lens is None else translation(model, tuned_lens)
    sites = [(str(layer), site_name(stream, layer), layer) for layer in range(n_layers)]
    if stream == "resid_post":
        # what a layer leaves is what the next one finds, which is what its translator was trained on
        sites = [(row, name, layer + 1) for row, name, layer in sites]
        sites.insert(0, ("embed", site_name("resid_pre", 0), 0))
    else:
        sites.append(("output", site_name("resid_post", n_layers - 1), n_layers))
    with torch.no_grad(), model.intervene(*interventions):
        run = model.new_run(keep=[name for _, name, _ in sites])
        model.forward(tokens, run, logits_to_keep=1)
        states = [
            state if translate is None or layer == n_layers else translate(state, layer)
            for state, layer in ((run.kept[name][0], layer) for _, name, layer in sites)
        ]
    return LensStates(tokens, [row for row, _, _ in sites], states)


def _refusal(model: HookedModel, stream: str, tuned: bool) -> str:
    offered = ", ".join(map(repr, streams_of(model, tuned)))
    if tuned and stream in STREAMS:
        return f"A tuned lens translates the residual stream between layers, so it cannot read {stream!r}. Choose one of {offered}, or no tuned lens."
    if stream in STREAMS:
        return f"The layers of this model have no {stream!r}. Choose one of {offered}."
    return f"Unknown stream {stream!r}. Choose one of {offered}."
