"""Ask a view as its picture would."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from mechwidgets.share.arrays import from_wire
from mechwidgets.widgets.view import View


def ask(view: View, name: str, **args: Any) -> dict[str, Any]:
    """The last message that answers a request, its arrays in place."""
    return ask_all(view, name, **args)[-1]


def ask_all(view: View, name: str, **args: Any) -> list[dict[str, Any]]:
    """Every message that answers a request, in order."""
    messages: list[dict[str, Any]] = []

    def take(content: dict[str, Any], buffers: list[bytes]) -> None:
        messages.append(_unpack(content, buffers))

    with patch.object(view._requests, "_send", take):
        thread = view._requests.receive({"kind": "mw-request", "id": "test", "name": name, "args": args})
        assert thread is not None
        thread.join()
    return messages


def _unpack(value: Any, buffers: list[bytes]) -> Any:
    if isinstance(value, dict):
        if "buffer" in value:
            return from_wire({**value, "data": buffers[value["buffer"]]})
        return {key: _unpack(part, buffers) for key, part in value.items()}
    if isinstance(value, list):
        return [_unpack(part, buffers) for part in value]
    return value
