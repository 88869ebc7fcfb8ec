"""AttentionView: every attention head as a thumbnail, one large, and switches that run the model again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import traitlets

from mechwidgets.analysis.heads import SCORES, read_patterns, scores_of_patterns
from mechwidgets.analysis.prediction import finite_log_probs, prediction_change
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.model.intervention import Intervention
from mechwidgets.model.places import check_range
from mechwidgets.model.run import suspended
from mechwidgets.share.arrays import to_wire
from mechwidgets.widgets.interventions import InterventionList, Interventions
from mechwidgets.widgets.rpc import Handler, Request
from mechwidgets.widgets.thumbnails import thumbnail_block
from mechwidgets.widgets.view import Answer, ModelView, refusing

# Patterns kept for later clicks; those of longer prompts (from about 120 tokens in SmolLM2) are computed again, one layer at a time. Not more, because ipywidgets
# keeps every picture that was not closed, such as those of a cell that was run ten times.
KEPT_PATTERN_BYTES = 16_000_000


@dataclass(frozen=True)
class Kept:
    """What later clicks need of a prompt.

    Attributes:
        tokens: [1, pos].
        patterns: [head, query_pos, key_pos] by layer, or nothing where they would be too large.
        log_probs: of the next token, [d_vocab], with nothing switched off.
    """

    tokens: torch.Tensor
    patterns: list[torch.Tensor]
    log_probs: torch.Tensor


class AttentionView(ModelView, kind="attention"):
    """Attention heads of one prompt.

    Click a thumbnail to see that head large; switch heads off to see how the next-token distribution moves. The model itself is never changed.

    Args:
        model: a HookedModel.
        prompt: the text.
        layer, head: the head to begin with.
        interventions: what is switched off to begin with, such as `[mw.ablate(head=(4, 7))]`; or an `mw.Interventions` that other pictures share.
        prepend_bos: a BOS token in front (True), none (False), or what the tokenizer does by itself (None); as in `model(prompt, prepend_bos=...)`.
        settings: `title`, and what every ipywidget takes (`layout`, `tabbable`, `tooltip`).

    Attributes:
        prompt: assign to look at another text.
        tokens: the texts of its tokens, [pos].
        layer, head: the chosen head; assign to choose, `observe` to follow clicks.
        interventions: what is switched off now, a list of Intervention.

    Raises:
        ValueError: a prompt that cannot be run (empty, too long), or a layer or head that the model does not have.
        TypeError: an argument that the picture does not take.
    """

    inputs = ("prompt", "prepend_bos")
    settings = ("layer", "head", "interventions")

    prompt = traitlets.Unicode("").tag(sync=True)
    prepend_bos = traitlets.Bool(None, allow_none=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    n_layers = traitlets.Int(0).tag(sync=True)
    n_heads = traitlets.Int(0).tag(sync=True)
    thumbnails = traitlets.Dict().tag(sync=True)
    thumbnail_block = traitlets.Int(1).tag(sync=True)
    score_names = traitlets.List(traitlets.Unicode(), list(SCORES)).tag(sync=True)
    scores = traitlets.Dict().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    interventions = InterventionList()

    def __init__(
        self,
        model: HookedModel,
        prompt: str,
        *,
        layer: int = 0,
        head: int = 0,
        interventions: Sequence[Intervention] | Interventions = (),
        prepend_bos: bool | None = None,
        **settings: Any,
    ) -> None:
        inputs = {"prompt": prompt, "prepend_bos": prepend_bos}
        super().__init__(model, inputs, layer=layer, head=head, interventions=interventions, **settings)

    def _ask(self, prompt: str, prepend_bos: bool | None) -> Answer:
        cfg, tokens = self.model.cfg, self.model.to_tokens(prompt, prepend_bos)
        n_pos = tokens.shape[1]
        block = thumbnail_block(n_pos, cfg.n_layers * cfg.n_heads)
        side = math.ceil(n_pos / block)
        keep = cfg.n_layers * cfg.n_heads * n_pos**2 * 4 <= KEPT_PATTERN_BYTES
        kept: list[torch.Tensor] = []
        # Made once: small arrays made between large patterns would leave the heap in pieces too small for the next pattern.
        thumbnails = np.empty((cfg.n_layers, cfg.n_heads, side, side), np.uint8)
        scores = np.empty((len(SCORES), cfg.n_layers, cfg.n_heads), np.float32)

        def read(layer: int, pattern: torch.Tensor) -> None:
            thumbnails[layer] = _thumbnails(pattern.float(), block)
            scores[:, layer] = scores_of_patterns(pattern, tokens[0])
            if keep:
                kept.append(pattern.float().cpu())

        log_probs = finite_log_probs(self.model, read_patterns(self.model, tokens, read))
        traits = {
            "tokens": self.model.token_texts(tokens[0].tolist()),
            "n_layers": cfg.n_layers,
            "n_heads": cfg.n_heads,
            "thumbnails": to_wire(thumbnails),
            "thumbnail_block": block,
            "scores": to_wire(scores),
        }
        return Answer(traits, Kept(tokens, kept, log_probs))

    def to_circuitsvis(self, layer: int | None = None) -> Any:
        """The heads of one layer drawn by the CircuitsVis package: its RenderedHTML, from the bundle in its wheel, with no network.

        Args:
            layer: by default the chosen one.

        Raises:
            ValueError: a layer that the model does not have, or a prompt so long that a notebook could not hold its patterns.
        """
        from mechwidgets.widgets.circuitsvis import rendered

        layer = self.layer if layer is None else layer
        check_range("layer", layer, self.model.cfg.n_layers)
        with self._turn:
            tokens, patterns = self.tokens, self._data.patterns[layer : layer + 1]
            if not patterns:
                with suspended():
                    read_patterns(self.model, self._data.tokens, lambda _, pattern: patterns.append(pattern), [layer])
        return rendered(
            "AttentionHeads",
            attention=patterns[0].float().cpu().numpy(),
            attentionHeadNames=[f"L{layer}H{head}" for head in range(len(patterns[0]))],
            tokens=tokens,
        )

    def _handlers(self) -> Mapping[str, Handler]:
        return {"set_prompt": self._set_prompt, "pattern": self._pattern, "predict": self._predict}

    def _set_prompt(self, request: Request, prompt: str) -> dict[str, Any]:
        self._set_inputs(request, prompt=prompt)
        return {}

    def _pattern(self, request: Request, layer: int, head: int) -> dict[str, Any]:
        """One head's pattern, float32 [query_pos, key_pos]."""
        check_range("layer", layer, self.model.cfg.n_layers)
        check_range("head", head, self.model.cfg.n_heads)
        if self._data.patterns:
            return {"pattern": self._data.patterns[layer][head].numpy()}
        found: list[torch.Tensor] = []
        read_patterns(self.model, self._data.tokens, lambda _, pattern: found.append(pattern[head].float()), [layer])
        return {"pattern": found[0].cpu().numpy()}

    def _predict(self, request: Request, interventions: Sequence[Any]) -> dict[str, Any]:
        """The next-token distribution without and with interventions."""
        changes = [Intervention.from_json(one) for one in interventions]
        change = prediction_change(self.model, self._data.tokens, changes, before=self._data.log_probs)
        return {"tokens": change.tokens, "before": change.before, "after": change.after, "kl": change.kl}

    @traitlets.validate("layer")
    def _layer_in_range(self, proposal: Any) -> int:
        with refusing():
            check_range("layer", proposal["value"], self.model.cfg.n_layers)
        return int(proposal["value"])

    @traitlets.validate("head")
    def _head_in_range(self, proposal: Any) -> int:
        with refusing():
            check_range("head", proposal["value"], self.model.cfg.n_heads)
        return int(proposal["value"])

    @traitlets.validate("interventions")
    def _interventions_fit(self, proposal: Any) -> list[Intervention]:
        with refusing():
            for intervention in proposal["value"]:
                intervention.check(self.model)
        return list(proposal["value"])


def _thumbnails(pattern: torch.Tensor, block: int) -> np.ndarray:
    """Patterns [head, query_pos, key_pos] as uint8 [head, s, s], 255 for weight 1; the largest weight of each block."""
    if block > 1:
        pattern = torch.nn.functional.max_pool2d(pattern, block, ceil_mode=True)
    thumbnails: np.ndarray = (pattern * 255).round().to(torch.uint8).cpu().numpy()
    return thumbnails
