"""PredictionView: the next token's distribution without and with interventions, and what the model writes on under them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import traitlets

from mechwidgets.analysis.prediction import (
    PredictionChange,
    anchored,
    continuation,
    next_token_log_probs,
    prediction_change,
    prediction_changes,
)
from mechwidgets.model.fingerprint import fingerprint
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import check_range
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.interventions import Interventions
from mechwidgets.widgets.reads_behind import ReadsBehind
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.view import Answer

TOP_TOKENS = 8
STEPS = 12


class PredictionView(ReadsBehind, kind="prediction"):
    """The next token's distribution, as the model is and under interventions, sorted by how much they move it; and what it writes on, with them and without.

    Args:
        model: a HookedModel.
        prompt: the text.
        interventions: changes under which the model runs, such as `[mw.ablate(head=(4, 7))]`, or an Interventions shared with other pictures.
        position: behind which token the next one is read; None for the end.
        prepend_bos: a BOS token in front (True), none (False), or what the tokenizer does by itself (None); as in `model(prompt, prepend_bos=...)`.
        settings: `order`, `title`, and what every ipywidget takes (`layout`, `tabbable`, `tooltip`).

    Attributes:
        prompt, interventions, position: assign to ask about something else.
        order: "change" (what moves most first) or "probability" (most probable without interventions first).
        tokens: the texts of the prompt's tokens, [pos].
        change: the numbers, a `mechwidgets.analysis.prediction.PredictionChange`.
        answered: the `position` and the `interventions` that the distribution is of.
        distribution: `tokens` (texts), `before` and `after` (probabilities, float32 [token]) and `kl` (nats).
        model_name: what the picture calls the model.

    Raises:
        ValueError: a prompt that cannot be run, or a position that it does not have.
        TypeError: an argument that the picture does not take.
    """

    inputs = ("prompt", "interventions", "position", "prepend_bos")
    settings = ("order",)

    prompt = traitlets.Unicode("").tag(sync=True)
    order = traitlets.Enum(("change", "probability"), "change").tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    answered = traitlets.Dict().tag(sync=True)
    distribution = traitlets.Dict().tag(sync=True)

    _before: tuple[Any, torch.Tensor] | None = None

    def __init__(
        self,
        model: HookedModel,
        prompt: str,
        interventions: Sequence[Intervention] | Interventions = (),
        *,
        position: int | None = None,
        prepend_bos: bool | None = None,
        **settings: Any,
    ) -> None:
        inputs = {
            "prompt": prompt,
            "interventions": list(interventions),
            "position": position,
            "prepend_bos": prepend_bos,
        }
        super().__init__(model, inputs, interventions=interventions, **settings)

    @property
    def change(self) -> PredictionChange:
        """The numbers that the picture shows."""
        found: PredictionChange = self._data
        return found

    def _ask(
        self, prompt: str, interventions: Sequence[Intervention], position: int | None, prepend_bos: bool | None
    ) -> Answer:
        tokens = self.model.to_tokens(prompt, prepend_bos)
        at = tokens.shape[1] - 1 if position is None else position
        check_range("position", at, tokens.shape[1])
        before = self._unmodified(tokens, at)
        found = prediction_change(self.model, tokens, list(interventions), TOP_TOKENS, before, position=at)
        traits = {"tokens": self.model.token_texts(tokens[0].tolist()), **_shown(found, at, interventions)}
        return Answer(traits, found)

    def _under_each(
        self, changes: Sequence[Sequence[Intervention]]
    ) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
        """The traits under each of several lists of interventions, with indices into these."""
        tokens = self._tokens()
        at = tokens.shape[1] - 1 if self.position is None else self.position
        for indices, found in prediction_changes(self.model, tokens, changes, TOP_TOKENS, position=at):
            yield (
                indices,
                [_shown(one, at, changes[index]) for index, one in zip(indices, found, strict=True)],
            )

    def _unmodified(self, tokens: torch.Tensor, position: int) -> torch.Tensor:
        """The distribution without interventions, which a change of them leaves as it is: kept until the prompt, the place or the model is another."""
        of = (tokens.tolist(), position, fingerprint(self.model))
        if self._before is None or self._before[0] != of:
            self._before = of, next_token_log_probs(self.model, tokens, position=position)
        return self._before[1]

    def _handlers(self) -> Mapping[str, Handler]:
        return {"set_inputs": self._set, "write": self._write, "behind": self._behind}

    def _set(self, request: Request, prompt: str) -> dict[str, Any]:
        self._set_inputs(request, prompt=prompt)
        return {}

    def _write(self, request: Request) -> dict[str, Any]:
        """What the model writes behind the prompt, without interventions and with them."""
        tokens, interventions = self._tokens(), list(self.interventions)
        plain = continuation(self.model, tokens, (), STEPS, request.check)
        changed = continuation(self.model, tokens, interventions, STEPS, request.check) if interventions else plain
        return {
            name: {"token_ids": ids, "tokens": self.model.token_texts(ids)}
            for name, ids in (("before", plain), ("after", changed))
        }

    def _behind(self, request: Request, token_ids: list[int]) -> dict[str, Any]:
        """The distribution behind the prompt and some tokens more."""
        tokens = self._tokens()
        more = torch.tensor([token_ids], dtype=tokens.dtype, device=tokens.device)
        interventions = anchored(self.interventions, tokens.shape[1])
        return distribution_of(
            prediction_change(self.model, torch.cat([tokens, more], dim=1), interventions, TOP_TOKENS)
        )

    def _tokens(self) -> torch.Tensor:
        return self.model.to_tokens(self.prompt, self.prepend_bos)


def _shown(change: PredictionChange, position: int, interventions: Sequence[Intervention]) -> dict[str, Any]:
    """What the picture shows of it."""
    return {
        "answered": {"position": position, "interventions": [one.to_json() for one in interventions]},
        "distribution": {
            name: to_wire(one) if isinstance(one, np.ndarray) else one for name, one in distribution_of(change).items()
        },
    }


def distribution_of(change: PredictionChange) -> dict[str, Any]:
    """What a page draws of it: `tokens`, `before`, `after` and `kl`."""
    return {
        "tokens": change.tokens,
        "before": change.before,
        "after": change.after,
        "kl": change.kl,
    }
