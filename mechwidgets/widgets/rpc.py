"""Requests: a picture asks, the kernel answers. ARCHITECTURE.md, "The wire", has the messages.

Each request runs in a thread of its own, so that a cancel can reach one that is running whatever thread the host delivers messages in, and the requests of one
view take turns. The model's lock keeps them apart from the user's cells.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

from mechwidgets.share.arrays import pack

log = logging.getLogger("mechwidgets")

# JupyterLab drops messages of a kernel that sends more than about a thousand a second.
SECONDS_BETWEEN_PROGRESS = 0.05

Send = Callable[[dict[str, Any], list[bytes]], None]


class CancelledError(Exception):
    """The picture no longer wants the answer."""


class Request:
    """One request while it runs.

    Args:
        request_id: from the message.
        send: puts a message on the wire.
    """

    def __init__(self, request_id: str, send: Send) -> None:
        self.id = request_id
        self._send = send
        self._cancelled = threading.Event()
        self._last_progress = 0.0

    def cancel(self) -> None:
        """Ask the handler to stop at its next `check`."""
        self._cancelled.set()

    def check(self) -> None:
        """Raises CancelledError once the picture has cancelled."""
        if self._cancelled.is_set():
            raise CancelledError

    def progress_due(self) -> bool:
        """Has enough time passed since the last progress message?"""
        return time.monotonic() - self._last_progress >= SECONDS_BETWEEN_PROGRESS

    def progress(self, value: dict[str, Any]) -> None:
        """Send a progress message."""
        self._last_progress = time.monotonic()
        self.send("mw-progress", value=value)

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message about this request."""
        content, buffers = pack({"kind": kind, "id": self.id, **fields})
        self._send(content, buffers)


Handler = Callable[..., Any]


class Requests:
    """Answers the requests of one view.

    Args:
        handlers: functions by request name, called as `handler(request, **args)`; what they return is the result, what they raise the error.
        model_lock: held by whoever runs the model now.
        turn: held by whoever changes the view now.
        send: puts a message on the wire.
        at_once: functions as `handlers`, of requests that change nothing and run no model, so that they wait for nothing.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        model_lock: threading.RLock,
        turn: threading.RLock,
        send: Send,
        at_once: Mapping[str, Handler] = MappingProxyType({}),
    ) -> None:
        self._handlers = {**handlers, **at_once}
        self._at_once = frozenset(at_once)
        self._model_lock = model_lock
        self._turn = turn
        self._send = send
        self._running: dict[str, Request] = {}

    def receive(self, content: Any) -> threading.Thread | None:
        """Take a message from the picture; returns the thread that answers a request."""
        if not isinstance(content, dict) or not isinstance(content.get("id"), str):
            return None
        if content.get("kind") == "mw-cancel":
            request = self._running.get(content["id"])
            if request:
                request.cancel()
            return None
        if content.get("kind") != "mw-request":
            return None
        request = Request(content["id"], self._send)
        at_once = str(content.get("name")) in self._at_once
        waits = not at_once and (bool(self._running) or _is_taken(self._turn) or _is_taken(self._model_lock))
        self._running[request.id] = request
        request.send("mw-ack", state="waiting" if waits else "running")
        question = (request, content.get("name"), content.get("args"), waits)
        thread = threading.Thread(target=self._answer, args=question, name="mechwidgets-request", daemon=True)
        thread.start()
        return thread

    def cancel_all(self) -> None:
        """Cancel what is running, because the view closes."""
        for request in list(self._running.values()):
            request.cancel()

    def _answer(self, request: Request, name: Any, args: Any, waited: bool) -> None:
        try:
            with nullcontext() if str(name) in self._at_once else self._turn:
                request.check()
                if waited and not _is_taken(self._model_lock):
                    request.send("mw-ack", state="running")
                value = self._handler(name, args)(request)
            request.send("mw-result", value=value)
        except CancelledError:
            request.send("mw-cancelled")
        except Exception as error:
            # The picture is where the reader looks; the traceback goes to the kernel's log for whoever mends it.
            log.debug("request %s failed", name, exc_info=True)
            request.send("mw-error", message=str(error) or type(error).__name__, error_type=type(error).__name__)
        finally:
            self._running.pop(request.id, None)

    def _handler(self, name: Any, args: Any) -> Callable[[Request], Any]:
        handler = self._handlers.get(name)
        if handler is None:
            raise ValueError(
                f"The picture asked for {name!r}, which this kernel does not know. Restart the kernel, so that both have the same version."
            )
        if not isinstance(args, dict):
            raise ValueError(f"The arguments of {name!r} are an object; got {args!r}.")
        return lambda request: handler(request, **args)


def _is_taken(lock: threading.RLock) -> bool:
    free = lock.acquire(blocking=False)
    if free:
        lock.release()
    return not free
