"""The pass that makes an AttentionView: before the picture is there, or layer by layer when it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mechwidgets.analysis.attention_values import LayerAttention, check_attention, read_attention
from mechwidgets.analysis.prediction import finite_log_probs
from mechwidgets.model.hooked_model import HookedModel
from mechwidgets.widgets.aligned_prompts import Prompts
from mechwidgets.widgets.attention_maps import HeadMaps
from mechwidgets.widgets.head_cache import Head, HeadCache, WholeHeads

# Weights times tokens of a pass that is made before there is a picture: some tenths of a second on two processor cores, or on a GPU.
WORK_AT_ONCE = {"cpu": 3e10}
WORK_AT_ONCE_ELSEWHERE = 3e12


class AttentionPass:
    """What a picture knows of its prompts: their tokens, and all else once they have run.

    Args:
        model: the model.
        prompts: what runs.
        attention_type: what is drawn of them.
        room: for whole heads, in bytes.

    Attributes:
        maps: every head small, and its scores.
        heads: whole heads.
        log_probs: of the first prompt's next token, [d_vocab], with nothing switched off; None before the prompts have run.

    Raises:
        ValueError: a type that this model does not show.
    """

    def __init__(self, model: HookedModel, prompts: Prompts, attention_type: str, room: int) -> None:
        check_attention(model, attention_type)
        n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
        self.model, self.prompts, self.attention_type = model, prompts, attention_type
        self.maps = HeadMaps(n_layers, n_heads, prompts, attention_type)
        self.heads = HeadCache(room)
        self.log_probs: torch.Tensor | None = None
        triangle_bytes = 4 * self.n_pos * (self.n_pos + 1) // 2 * (2 if prompts.compares else 1)
        self._keeps_all = n_layers * n_heads * triangle_bytes <= room
        # Short prompts are read whole, as a plain run computes them.
        self._queries = None if self._keeps_all else self.maps.queries

    @property
    def n_pos(self) -> int:
        """How many tokens each prompt has."""
        return self.prompts.tokens.shape[1]

    @property
    def is_long(self) -> bool:
        """Whether nobody should have to wait for it before there is a picture."""
        weights = sum(one.numel() for one in self.model.hf_model.parameters())
        at_once = WORK_AT_ONCE.get(self.model.device.type, WORK_AT_ONCE_ELSEWHERE)
        return bool(weights * self.prompts.tokens.numel() > at_once)

    def run(
        self,
        wanted: Callable[[], Sequence[Head]] = list,
        check: Callable[[], None] = lambda: None,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Run the prompts and read all layers.

        Args:
            wanted: the heads to keep whole, if there is not room for all; asked at each layer.
            check: called often; what it raises ends the pass.
            told: called with the number of each layer that has been read.
        """
        n_heads, whole = self.model.cfg.n_heads, WholeHeads(self.prompts)

        def read(found: LayerAttention) -> None:
            check()
            self.maps.read(found)
            heads = range(n_heads) if self._keeps_all else [head for layer, head in wanted() if layer == found.layer]
            self._keep(whole.take(found, heads))
            if found.ends_layer:
                told(found.layer)
                self.model.step_aside()

        logits = read_attention(self.model, self.prompts.tokens, self.attention_type, read, queries=self._queries)
        assert logits is not None  # noqa: S101 - all layers were read
        self.log_probs = finite_log_probs(self.model, logits[0])

    def whole(self, heads: Sequence[Head], check: Callable[[], None]) -> list[list[np.ndarray]]:
        """Heads as `HeadCache` keeps them; those that it does not have are computed again, which `check` can end."""
        found = {head: kept for head in heads if (kept := self.heads.get(head)) is not None}
        missing = [head for head in heads if head not in found]
        whole = WholeHeads(self.prompts)

        def read(one: LayerAttention) -> None:
            check()
            found.update(whole.take(one, [head for layer, head in missing if layer == one.layer]))

        if missing:
            layers = {layer for layer, _ in missing}
            read_attention(self.model, self.prompts.tokens, self.attention_type, read, layers, queries=self._queries)
        self._keep({head: found[head] for head in missing})
        return [found[head] for head in heads]

    def drawn(self, layer: int) -> np.ndarray:
        """All heads of a layer as they are drawn, [head, query_pos, key_pos]; 0 where there is no value."""
        values: list[torch.Tensor] = []

        def read(found: LayerAttention) -> None:
            means = self.prompts.means(found.values)
            values.append(means[0] - means[1] if self.prompts.compares else means[0])

        read_attention(self.model, self.prompts.tokens, self.attention_type, read, [layer])
        return np.asarray(values[0].nan_to_num(0).cpu())

    def _keep(self, heads: dict[Head, list[np.ndarray]]) -> None:
        for head, triangles in heads.items():
            self.heads.put(head, triangles)

    def traits(self) -> dict[str, Any]:
        """What the picture shows of it now."""
        return {"complete": self.log_probs is not None, **self.maps.traits()}
