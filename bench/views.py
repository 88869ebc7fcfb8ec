"""How pictures behave in a notebook: `python -m bench.views [messages] [hover] [many] [reruns]`; all of them where none is named.

messages: what the kernel sends of each picture at first sight, with SmolLM2 and prompts of 14, 128 and 512 tokens (AttentionView also 2,048).
hover, many and reruns in a real JupyterLab: what the page's scripts and its layout take when the pointer moves over a prompt of 2,048 tokens (a frame has 16 ms), how
long a head takes that the page has, and one that the kernel has to compute; how long 10 to 100 pictures take and what the page's heap grows by; what is left in kernel
and page when a cell runs 50 times.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ipywidgets.widgets.widget import _instances, _remove_buffers

import mechwidgets as mw
from bench.browser import chromium
from mechwidgets.widgets.bundles import Bundle
from tests.e2e.lab import JupyterServer, Lab
from tests.e2e.test_reruns import COUNT, RUN, heap

MODEL = "import mechwidgets as mw, numpy as np\nmodel = mw.HookedModel.from_pretrained('smollm2-135m')"
# Moves over elements, one a frame, and gives for each the milliseconds of the scripts and, behind them, of style and layout.
MOVE = """async ([kind, selector, event, from, to]) => {
  const view = document.querySelector(`.mechwidgets[data-view=${kind}]`);
  const all = [...view.querySelectorAll(selector)].slice(from, to), found = [];
  const soon = () => new Promise((done) => { const c = new MessageChannel(); c.port1.onmessage = done; c.port2.postMessage(0); });
  for (const one of all) {
    await new Promise((done) => requestAnimationFrame(done));
    await soon();
    const start = performance.now();
    one.dispatchEvent(new PointerEvent(event, {bubbles: true}));
    await soon();
    const scripts = performance.now() - start;
    view.offsetHeight;
    found.push([scripts, performance.now() - start]);
  }
  return found;
}"""
# Opens a head by the keyboard, and stamps: the head is shown, and the picture has all of it.
OPEN = """async (key) => {
  const view = document.querySelector(".mechwidgets[data-view=attention]");
  const grid = view.querySelector('[role=grid][aria-label="Attention heads"]');
  grid.focus();
  const before = view.querySelector(".mw-head strong").textContent;
  const press = (one) => grid.dispatchEvent(new KeyboardEvent("keydown", {key: one, bubbles: true, cancelable: true}));
  press(key);
  const start = performance.now(), found = {};
  press("Enter");
  for (let since = 0; found.whole === undefined; ) {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
    const now = performance.now() - start;
    if (view.querySelector(".mw-head strong").textContent !== before) found.shown ??= now;
    // what is missing is asked for in the frame after the one that shows the head
    if (found.shown !== undefined && ++since > 2 && view.dataset.state === "ready") found.whole = now;
  }
  return found;
}"""


def text_of(model: mw.HookedModel, n_tokens: int) -> str:
    """A text of so many tokens."""
    text = "".join((Path(__file__).parents[1] / name).read_text() for name in ("ARCHITECTURE.md", "CHANGELOG.md"))
    return str(model.tokenizer.decode(model.to_tokens(text[: 8 * n_tokens])[0, :n_tokens]))


def messages() -> None:
    """Print what the kernel sends first."""
    model = mw.HookedModel.from_pretrained("smollm2-135m")
    made: dict[str, Callable[[str], Any]] = {
        "AttentionView": lambda text: mw.AttentionView(model, text),
        "LogitLensView": lambda text: mw.LogitLensView(model, text),
        "PatchingView": lambda text: mw.PatchingView(model, text + " Mary", text + " John", " Mary", " John"),
        "AttributionView": lambda text: mw.AttributionView(model, text, " Mary", " John"),
        "PredictionView": lambda text: mw.PredictionView(model, text),
        "Workbench": lambda text: mw.Workbench(model, text),
    }
    lengths = (14, 128, 512, 2048)
    print("| first message, kB | " + " | ".join(f"{n:,} tokens" for n in lengths) + " |")
    print("|" + "---|" * (len(lengths) + 1))
    for name, make in made.items():
        sizes = []
        for n in lengths if name == "AttentionView" else lengths[:3]:
            known = set(_instances)
            view = make(text_of(model, n))
            getattr(view, "compute", lambda: None)()
            sizes.append(_size(known))
        print(f"| {name} | " + " | ".join(f"{size / 1000:.0f}" for size in sizes) + " |", flush=True)
    print(f"| the code of all pictures, once in a notebook: {sum(map(len, _scripts().values())) / 1000:.0f} kB |")


def _size(known: set[str]) -> int:
    """Of all widgets that were not known before: a picture and what it holds, less the code, which is sent once."""
    total = 0
    for one in [widget for key, widget in _instances.items() if key not in known and not isinstance(widget, Bundle)]:
        state, _, buffers = _remove_buffers(one.get_state())
        total += len(json.dumps(state, default=str)) + sum(map(len, buffers))
    return total


def _scripts() -> dict[str, str]:
    folder = Path(mw.__file__).parent / "static"
    return {path.name: path.read_text() for path in folder.glob("*.js") if path.name not in ("document.js", "page.js")}


@contextmanager
def notebook(cells: list[str], run: bool = True) -> Iterator[Any]:
    """A notebook in a JupyterLab and a Chromium of its own."""
    with tempfile.TemporaryDirectory() as home, chromium() as (browser, _):
        server = JupyterServer(Path(home))
        server.start()
        try:
            with Lab(server, browser).open_notebook(cells, run=run, height=1400) as page:
                page.page.set_default_timeout(300_000)
                yield page
        finally:
            server.stop()


def hover() -> None:
    """Print what a pointer over a long prompt takes, and what opening a head takes."""
    text = text_of(mw.HookedModel.from_pretrained("smollm2-135m"), 2048)
    with notebook([MODEL, f"view = mw.AttentionView(model, {text!r}, layer=17, head=3, position=1500)\nview"]) as page:
        view = page.view("attention")
        page.page.wait_for_function(
            "() => { const v = document.querySelector('.mechwidgets'); return !v.querySelector('.mw-progress') && v.dataset.state === 'ready'; }"
        )
        view.scroll_into_view_if_needed()
        moved = page.page.evaluate(MOVE, ["attention", '.mw-tokens [role="option"]', "pointerover", 1450, 1550])
        print(f"| pointer over the tokens of 2,048: scripts, and with style and layout | {_both(moved)} |")
        for key, what in (("ArrowRight", "computed by the kernel"), ("ArrowLeft", "kept by the page")):
            opened = page.page.evaluate(OPEN, key)
            print(f"| a head opened, {what}: shown, whole | {opened['shown']:.0f} ms, {opened['whole']:.0f} ms |")
        forward = "import time; t = time.perf_counter(); model.forward(model.to_tokens(view.prompt), logits_to_keep=1); print(time.perf_counter() - t)"
        print(
            f"| a forward pass of the same prompt in the same kernel | {1000 * float(page.execute(forward)):.0f} ms |"
        )


def _both(moved: list[list[float]]) -> str:
    parts = []
    for column in zip(*moved, strict=True):
        ordered = sorted(column)
        parts.append(f"{statistics.median(ordered):.1f} ms [{ordered[0]:.1f}-{ordered[int(0.95 * len(ordered))]:.1f}]")
    return ", ".join(parts)


def many() -> None:
    """Print what a hundred pictures take."""
    print(
        "| AttentionViews in a notebook | run to all drawn | page heap, above that without | for each |\n|---|---|---|---|"
    )
    for count in (10, 25, 50, 100):
        show = "view = mw.AttentionView(model, 'When Mary and John went to the store, John gave a drink to', layer={})\nview"
        with notebook([MODEL, *(show.format(number % 30) for number in range(count))], run=False) as page:
            page.page.locator(".jp-CodeCell").nth(0).click()
            page.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
            session = page.page.context.new_cdp_session(page.page)
            before, start = heap(session), time.perf_counter()
            page.run_all_cells(timeout=600)
            drawn = f"() => document.querySelectorAll('.mechwidgets[data-view=attention]').length === {count}"
            page.page.wait_for_function(drawn)
            took = time.perf_counter() - start
            grown = heap(session) - before
        print(
            f"| {count} | {took:.1f} s | {grown / 1e6:.1f} MB | {1000 * took / count:.0f} ms, {grown / 1e3 / count:.0f} kB |",
            flush=True,
        )


def reruns() -> None:
    """Print what is left when a cell runs 50 times."""
    show = "view = mw.AttentionView(model, 'When Mary and John went to the store, John gave a drink to')\nview"
    with notebook([MODEL, show]) as page:
        page.wait_for_view("attention")
        session = page.page.context.new_cdp_session(page.page)
        page.page.locator(".jp-CodeCell").nth(1).click()
        rss = "import psutil, gc; gc.collect(); print(psutil.Process().memory_info().rss)"
        found = []
        for times in (5, 50):
            for _ in range(times):
                page.page.evaluate(RUN)
            page.wait_for_view("attention")
            found.append((page.execute(COUNT).split(), heap(session), int(page.execute(rss))))
        (widgets, comms), bytes_before, rss_before = found[0]
        (widgets_after, comms_after), bytes_after, rss_after = found[1]
    print(f"| widgets in the kernel, after 5 and after 55 runs | {widgets}, {widgets_after} |")
    print(f"| comms | {comms}, {comms_after} |")
    print(f"| the page's heap, for each of the 50 runs | {(bytes_after - bytes_before) / 50 / 1e3:.1f} kB |")
    print(f"| the kernel's memory, for each | {(rss_after - rss_before) / 50 / 1e3:.0f} kB |")


def main() -> None:
    """Measure and print lines of Markdown for bench/RESULTS.md."""
    for name in sys.argv[1:] or ["messages", "hover", "many", "reruns"]:
        print(f"\n{name}; load {os.getloadavg()[0]:.1f}\n", flush=True)
        {"messages": messages, "hover": hover, "many": many, "reruns": reruns}[name]()


if __name__ == "__main__":
    main()
