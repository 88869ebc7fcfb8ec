"""What an AttentionView tells the page while the heads of a long prompt are computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mechwidgets.widgets.attention_pass import AttentionPass
from mechwidgets.widgets.rpc import Request


class AttentionProgress:
    """Tells of layers as they are read.

    Args:
        read: the pass.
        request: who asks; None where nobody is told.
        scores: all scores as they are now, [score, layer, head].
    """

    def __init__(self, read: AttentionPass, request: Request | None, scores: Callable[[], np.ndarray]) -> None:
        self._read, self._request, self._scores = read, request, scores
        self._told = 0
        self._limits = np.empty(0)

    def check(self) -> None:
        """Raises CancelledError once the picture has cancelled."""
        if self._request is not None:
            self._request.check()

    def tell(self, layer: int) -> None:
        """A layer has been read: send it, with those before it that are not sent, or whose colours now end elsewhere."""
        if self._request is None or not self._request.progress_due():
            return
        maps, done = self._read.maps, layer + 1
        limits = maps.limits()
        same = np.array_equal(self._limits[: self._told], limits[: self._told])
        first = self._told if same else 0
        self._request.progress(
            {
                "layers": done,
                "first": first,
                "thumbnails": maps.thumbnails(limits, first, done),
                "limits": limits,
                "score_values": self._scores(),
            }
        )
        self._told, self._limits = done, limits
