"""A Chromium and a program that are watched while they work: what memory they take, and their end where they take too much."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.chromium import find_chromium
from tests.e2e.lab import CHROMIUM_ARGUMENTS

if TYPE_CHECKING:
    from pathlib import Path

# What one measurement may take; others work on the machine too.
MAX_BYTES = 6_000_000_000

# Resolves with the time since the page was asked for, in ms, at which something is drawn and nothing has changed for a second: no element, no long task.
SETTLED = """() => new Promise((resolve) => {
  let [last, before] = [performance.now(), performance.now()];
  const changed = () => { last = performance.now(); };
  new MutationObserver(changed).observe(document, {subtree: true, childList: true, attributes: true});
  const look = () => {
    const now = performance.now();
    if (now - before > 150) last = now;
    before = now;
    if (now - last > 1000 && document.querySelector("canvas, svg, img")) resolve(last);
    else setTimeout(look, 50);
  };
  look();
})"""


class Memory:
    """What some processes take together, watched from now on; the processes end when that is too much.

    Attributes:
        peak: in bytes.
        exceeded: whether they were ended.
    """

    def __init__(self, processes: Any, max_bytes: int = MAX_BYTES) -> None:
        self.peak, self.exceeded = 0, False
        self._processes, self._max_bytes = processes, max_bytes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            processes, now = self._processes(), 0
            for process in processes:
                with suppress(psutil.Error):
                    now += process.memory_full_info().pss
            self.peak = max(self.peak, now)
            if now > self._max_bytes:
                self.exceeded = True
                for process in processes:
                    with suppress(psutil.Error):
                        process.kill()
                return

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()
        self._thread.join()


@contextmanager
def chromium() -> Iterator[tuple[Browser, Memory]]:
    """A new Chromium, alone in its processes."""
    known = {process.pid for process in psutil.Process().children(recursive=True)}

    def mine() -> list[psutil.Process]:
        children = psutil.Process().children(recursive=True)
        return [one for one in children if one.pid not in known and "chrom" in _name(one)]

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS)
        memory = Memory(mine)
        try:
            yield browser, memory
        finally:
            memory.stop()
            with suppress(Exception):
                browser.close()


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.name())
    return ""


def received(page: Page) -> list[int]:
    """The sizes of the messages that a page gets from now on over its web sockets, in bytes."""
    session, sizes = page.context.new_cdp_session(page), []

    def take(event: Any) -> None:
        frame = event["response"]
        # Binary frames are given in base64.
        length = len(frame["payloadData"])
        sizes.append(length * 3 // 4 if frame["opcode"] == 2 else length)

    session.send("Network.enable")
    session.on("Network.webSocketFrameReceived", take)
    return sizes


def run_watched(command: Sequence[str | Path], seconds: float) -> tuple[float | None, int, str]:
    """Run a program: its seconds by the clock (None if it was ended), its memory at the peak, and what it said."""
    start = time.perf_counter()
    arguments = [str(part) for part in command]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603 - a program of ours
    memory = Memory(lambda: [psutil.Process(process.pid)] if process.poll() is None else [])
    try:
        said = process.communicate(timeout=seconds)[0].decode()
    except subprocess.TimeoutExpired:
        process.kill()
        said = f"ended after {seconds:.0f} s"
        process.communicate()
    memory.stop()
    took = time.perf_counter() - start
    return (took if process.returncode == 0 else None), memory.peak, said
