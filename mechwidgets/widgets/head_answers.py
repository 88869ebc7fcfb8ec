"""What HeadView is told of one head: each answer is of a question whose arguments the picture knows, so that it can tell whether it is of what is chosen now."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mechwidgets.analysis.head_circuits import TokenWrites, copying_score, head_logits, head_values, writes_of
from mechwidgets.analysis.head_composition import baseline, compositions
from mechwidgets.analysis.head_keys import key_scores
from mechwidgets.analysis.head_run import HeadRun, run_head
from mechwidgets.analysis.head_streams import STREAMS as TOKEN_STREAMS
from mechwidgets.analysis.head_streams import Check, token_ids, token_streams
from mechwidgets.analysis.heads import SCORES, HeadScorer
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.intervention import Intervention

# What a token's stream is taken to hold; "prompt": what it does hold in this run.
STREAMS = ("prompt", *TOKEN_STREAMS)

SOURCES = 12
WRITTEN = 5
LOOKED_FOR = 10


class HeadAnswers:
    """Answers about the heads of one model on one prompt; of runs, the last is kept.

    Args:
        model: the model.
        tokens: the prompt, [1, pos].

    Attributes:
        model, tokens: as given.
    """

    def __init__(self, model: HookedModel, tokens: torch.Tensor) -> None:
        self.model, self.tokens = model, tokens
        self._score = HeadScorer(tokens[0])
        self._last: tuple[Any, HeadRun] | None = None

    def answer(self, name: str, args: Mapping[str, Any], check: Check) -> dict[str, Any]:
        """The answer to a question; `{"unavailable": why}` where there is none for this head, this family or this token.

        Args:
            name: "pattern", "writes", "looks", "composition" or "copying".
            args: of the method of that name.
            check: called now and then; what it raises ends the computation.
        """
        questions: dict[str, Callable[..., dict[str, Any]]] = {
            "pattern": self._pattern,
            "writes": self._writes,
            "looks": self._looks,
            "composition": self._composition,
            "copying": self._copying,
        }
        try:
            return questions[name](check, **args)
        except (ValueError, AttributeError) as reason:
            return {"unavailable": str(reason)}

    def _run(self, layer: int, head: int, interventions: Sequence[Any]) -> HeadRun:
        asked = (layer, head, list(interventions))
        if self._last is None or self._last[0] != asked:
            changes = [Intervention.from_json(one) for one in interventions]
            # Two patterns of a long prompt would be twice the memory.
            self._last = None
            self._last = asked, run_head(self.model, self.tokens, layer, head, changes)
        return self._last[1]

    def _pattern(self, check: Check, layer: int, head: int, interventions: Sequence[Any]) -> dict[str, Any]:
        """The lower triangle of the pattern, row by row, float32 [pos (pos + 1) / 2]; and what `head_scores` calls this head, NaN where undefined."""
        pattern = self._run(layer, head, interventions).pattern
        scores = dict(zip(SCORES, self._score(pattern[None])[:, 0].tolist(), strict=True))
        # from the second position on, which has a choice
        scores["first_token"] = float(pattern[1:, 0].mean()) if len(pattern) > 1 else float("nan")
        known = {name: value for name, value in scores.items() if not math.isnan(value)}
        return {"pattern": pattern.numpy()[np.tri(len(pattern), dtype=bool)], "scores": known}

    def _writes(
        self,
        check: Check,
        layer: int,
        head: int,
        interventions: Sequence[Any],
        position: int | None,
        token: str | None,
        stream: str,
    ) -> dict[str, Any]:
        """What the head adds to the logits behind a position if it attends to one token alone; for those that it attends to most there, and a token of the reader's."""
        run = self._run(layer, head, interventions)
        at = self.tokens.shape[1] - 1 if position is None else position
        sources = self._sources(run, at, by_place=stream == "prompt")
        ids = [int(self.tokens[0, place]) for place in sources]
        if stream == "prompt":
            streams = run.streams[sources]
        else:
            streams = token_streams(self.model, self.tokens[0, sources], layer, stream, check)
        if token is not None:
            own = token_ids(self.model, token)
            ids, sources = own + ids, [-1, *sources]
            alone = token_streams(self.model, self._tensor(own), layer, _alone(stream), check)
            streams = torch.cat([alone.to(streams), streams])
        scales = run.scales(at)
        found = writes_of(self.model, layer, head, streams, ids, WRITTEN, scales)
        weights = [float("nan") if place < 0 else float(run.pattern[at, place]) for place in sources]
        answer = {"position": at, "sources": np.array(sources), "attention": np.array(weights, np.float32)}
        answer |= {"tokens": self.model.token_texts(ids), "d_vocab": self.model.cfg.d_vocab, **self._named(found)}
        if run.z is not None:
            constant = head_values(self.model, layer, head, run.streams[:1])[1]
            z = run.z[at : at + 1] - constant.to(run.z) * float(run.pattern[at].sum())
            logits = head_logits(self.model, layer, z, head, scales)[0]
            up, down = logits.topk(min(WRITTEN, len(logits))), logits.topk(min(WRITTEN, len(logits)), largest=False)
            answer["together"] = {
                **{name: self.model.token_texts(one.indices.tolist()) for name, one in (("up", up), ("down", down))},
                "up_values": up.values.cpu().numpy(),
                "down_values": down.values.cpu().numpy(),
            }
        return answer

    def _sources(self, run: HeadRun, at: int, by_place: bool) -> list[int]:
        """The positions that one attends to most, the most first; of each token the first of these, unless what stands there counts."""
        order = run.pattern[at, : at + 1].argsort(descending=True, stable=True).tolist()
        if not by_place:
            first: dict[int, int] = {}
            for place in order:
                first.setdefault(int(self.tokens[0, place]), place)
            order = list(first.values())
        return order[:SOURCES]

    def _named(self, found: TokenWrites) -> dict[str, Any]:
        names = {
            name: [self.model.token_texts(row) for row in ids.tolist()]
            for name, ids in (("up", found.up), ("down", found.down))
        }
        return names | {
            "up_values": found.up_values,
            "down_values": found.down_values,
            "own_values": found.own_values,
            "own_ranks": found.own_ranks,
        }

    def _looks(
        self,
        check: Check,
        layer: int,
        head: int,
        interventions: Sequence[Any],
        position: int | None,
        token: str | None,
        stream: str,
        distance: int,
    ) -> dict[str, Any]:
        """The tokens of the vocabulary, as keys, that a query scores highest and lowest: that of the reader's token, or of the token at a position."""
        at = self.tokens.shape[1] - 1 if position is None else position
        if token is None and stream == "prompt":
            query = self._run(layer, head, interventions).streams[at]
        else:
            ids = self._tensor([int(self.tokens[0, at])] if token is None else token_ids(self.model, token))
            query = token_streams(self.model, ids, layer, _alone(stream), check)[0]
        found = key_scores(self.model, layer, head, query, distance, _alone(stream), check)
        order = np.argsort(-found.scores, kind="stable")
        up, down = order[:LOOKED_FOR], order[::-1][:LOOKED_FOR]
        return {
            "up": self.model.token_texts(up.tolist()),
            "up_values": found.scores[up],
            "down": self.model.token_texts(down.tolist()),
            "down_values": found.scores[down],
            "mean": float(found.scores.mean()),
            "rotated": found.rotated,
        }

    def _composition(self, check: Check, layer: int, head: int) -> dict[str, Any]:
        """Q-, K- and V-composition with all heads of the layers before, float32 [3, layer, head]; NaN where there are none."""
        return {
            "scores": compositions(self.model, layer, head, check),
            "baseline": baseline(self.model, layer),
        }

    def _copying(self, check: Check, layer: int, head: int, stream: str) -> dict[str, Any]:
        return {"score": copying_score(self.model, layer, head, stream=stream, check=check)}

    def _tensor(self, ids: list[int]) -> torch.Tensor:
        return torch.tensor(ids, device=self.tokens.device)


def _alone(stream: str) -> str:
    """What stands for a token that is not in the prompt."""
    return "embedding" if stream == "prompt" else stream
