"""How fast and how heavy a picture of all attention heads is, beside CircuitsVis and BertViz: `python -m bench.pictures TOKENS [rounds] [name ...]`.

SmolLM2's 270 heads. Ours in a real JupyterLab: from the command that runs the cell to a picture in which everything is drawn; AttentionView's cell runs the model
too, PatternsView is given the arrays that the others are given. The others as a page of their own in the same Chromium, without a notebook around it, which is kind
to them: the time to make the page's HTML and the time until nothing changes in it any more. Each has a Chromium of its own, and is ended after LIMIT seconds or when
the browser, or the Python that makes the page, takes more than `bench.browser.MAX_BYTES`.

BERTVIZ_PYTHON is an interpreter that has BertViz and torch; BERTVIZ_LIBRARIES a folder `node_modules` with requirejs, d3 and jquery, which its pages load from a
network that is not there. Without them BertViz is left out.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Error

from bench.browser import SETTLED, chromium, received, run_watched
from tests.e2e.lab import JupyterServer, Lab

LIMIT = int(os.environ.get("LIMIT", "150"))
PEERS = (
    "circuitsvis.attention_patterns",
    "circuitsvis.attention_heads",
    "bertviz.head_view",
    "bertviz.model_view",
)
OURS = {
    "AttentionView": "view = mw.AttentionView(model, prompt)\nview",
    "PatternsView": "view = mw.PatternsView(tokens, attention.reshape(-1, *attention.shape[2:]), columns=9)\nview",
}
LIBRARIES = {
    "require.min.js": "requirejs/require.js",
    "d3.min.js": "d3/dist/d3.min.js",
    "jquery.min.js": "jquery/dist/jquery.min.js",
}
# Runs the second cell, and stamps: something of a head is drawn, and all is. Milliseconds from the command on.
RUN = """async (kind) => {
  const app = window.jupyterapp, start = performance.now();
  const found = {};
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  void app.commands.execute("notebook:run-cell");
  while (found.drawn === undefined) {
    await frame();
    const view = document.querySelector(`.mechwidgets[data-view=${kind}]`);
    if (!view || !view.querySelector("[role=grid] canvas")) continue;
    const now = performance.now() - start;
    found.there ??= now;
    const bar = view.querySelector(".mw-heads [role=progressbar]");
    if (!bar || Number(bar.getAttribute("aria-valuenow")) > 0) found.first ??= now;
    if (!bar && !view.querySelector(".mw-progress") && view.dataset.state === "ready") found.drawn = now;
  }
  return found;
}"""


@dataclass
class Made:
    """What one candidate took: seconds, bytes."""

    python: float | None = None
    drawn: float | None = None
    first: float | None = None
    sent: int = 0
    memory: int = 0
    python_memory: int = 0
    why: str = ""


def write_attention(n_tokens: int, path: Path | None) -> str:
    """The patterns of a text, as a plain file that every package reads, if any does; returns the text."""
    import mechwidgets as mw

    model = mw.HookedModel.from_pretrained("smollm2-135m")
    text = "".join((Path(__file__).parents[1] / name).read_text() for name in ("ARCHITECTURE.md", "CHANGELOG.md"))
    prompt = model.tokenizer.decode(model.to_tokens(text[: 8 * n_tokens])[0, :n_tokens])
    if path is None:
        return str(prompt)
    _, cache = model.run_with_cache(prompt, names_filter="pattern")
    layers = [cache["pattern", layer][0].numpy() for layer in range(model.cfg.n_layers)]
    np.savez(path, attention=np.stack(layers), tokens=np.array(model.to_str_tokens(prompt)))
    return str(prompt)


def ours(name: str, prompt: str, attention: Path) -> Made:
    """A cell in JupyterLab."""
    cells = [
        "import mechwidgets as mw, numpy as np\nmodel = mw.HookedModel.from_pretrained('smollm2-135m')\n"
        f"prompt = {prompt!r}\n"
        + (
            f"given = np.load({str(attention)!r})\nattention, tokens = given['attention'], given['tokens'].tolist()\n"
            if name == "PatternsView"
            else ""
        )
        + "model(prompt[:200]); print('ready')",
        OURS[name],
    ]
    kind = "attention" if name == "AttentionView" else "patterns"
    with tempfile.TemporaryDirectory() as home, chromium() as (browser, memory):
        server = JupyterServer(Path(home))
        server.start()
        try:
            with Lab(server, browser).open_notebook(cells, run=False, height=1400) as page:
                page.page.set_default_timeout(LIMIT * 1000)
                page.page.locator(".jp-CodeCell").nth(0).click()
                page.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
                page.page.get_by_text("ready", exact=True).wait_for()
                page.page.wait_for_timeout(500)
                sizes = received(page.page)
                found = page.page.evaluate(RUN, kind)
                page.page.wait_for_timeout(300)
        finally:
            server.stop()
    return Made(0.0, found["drawn"] / 1000, found["first"] / 1000, sum(sizes), memory.peak)


def peer(name: str, attention: Path, folder: Path) -> Made:
    """A page of its own."""
    page_file = folder / f"{name}.html"
    python = os.environ["BERTVIZ_PYTHON"] if name.startswith("bertviz") else sys.executable
    took, memory, said = run_watched([python, "-m", "bench.peer_pages", name, attention, page_file], LIMIT)
    if took is None:
        return Made(python_memory=memory, why=f"no page: {said.strip().splitlines()[-1] if said.strip() else 'ended'}")
    made = Made(float(said.strip().splitlines()[-1]), sent=page_file.stat().st_size, python_memory=memory)
    with chromium() as (browser, watched):
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 1400})
            page.set_default_timeout(LIMIT * 1000)
            page.route("**/cdnjs.cloudflare.com/**", _library)
            page.goto(page_file.as_uri(), wait_until="commit")
            made.drawn = page.evaluate(_within(SETTLED)) / 1000
        except Error as error:
            made.why = "ended: too much memory" if watched.exceeded else str(error).splitlines()[0]
        made.memory = watched.peak
    page_file.unlink()
    return made


def _within(script: str) -> str:
    """The script's promise, or a failure after the limit."""
    return f"""() => Promise.race([({script})(), new Promise((_, fail) =>
        setTimeout(() => fail(new Error("nothing drawn after {LIMIT} s")), {LIMIT * 1000}))])"""


def _library(route: Any) -> None:
    name = route.request.url.rsplit("/", 1)[1]
    route.fulfill(
        path=Path(os.environ["BERTVIZ_LIBRARIES"]) / LIBRARIES[name if name.endswith(".js") else f"{name}.js"]
    )


def line(name: str, rounds: list[Made], base: float | None) -> str:
    """One candidate as a line of Markdown."""
    done = [one for one in rounds if one.drawn is not None]
    last = rounds[-1]
    if not done:
        return f"| {name} | {last.sent / 1e6:.2f} MB | | | | {last.memory / 1e9:.1f} GB | {last.why} ({last.python_memory / 1e9:.1f} GB in Python) |"

    def middle(values: list[float]) -> str:
        return f"{statistics.median(values):.2f} s [{min(values):.2f}-{max(values):.2f}]"

    totals = [(one.python or 0) + (one.drawn or 0) for one in done]
    first = [one.first for one in done if one.first is not None]
    ratio = "" if base is None else f"{statistics.median(totals) / base:.1f}x"
    return (
        f"| {name} | {statistics.median([one.sent for one in done]) / 1e6:.2f} MB | {middle(first) if first else ''} | {middle(totals)} | {ratio} "
        f"| {max(one.memory for one in done) / 1e9:.1f} GB | {len(done)} of {len(rounds)} |"
    )


def main() -> None:
    """Measure and print a table of Markdown for bench/RESULTS.md."""
    given = sys.argv[1:]
    n_tokens, rounds = int(given[0]), int(given[1]) if len(given) > 1 else 3
    names = given[2:] or [*OURS, *PEERS]
    if "BERTVIZ_PYTHON" not in os.environ:
        names = [name for name in names if not name.startswith("bertviz")]
    found: dict[str, list[Made]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as home:
        attention = Path(home) / "attention.npz"
        prompt = write_attention(n_tokens, None if set(names) <= {"AttentionView"} else attention)
        for _ in range(rounds):
            for name in names:
                made = ours(name, prompt, attention) if name in OURS else peer(name, attention, Path(home))
                found[name].append(made)
                print(name, made, os.getloadavg(), file=sys.stderr, flush=True)
    base = [one.drawn for one in found.get("AttentionView", []) if one.drawn is not None]
    print(f"\n{n_tokens} tokens, {rounds} rounds; the load at the end {os.getloadavg()[0]:.1f}\n")
    print(
        "| | bytes | the first heads | all drawn | over AttentionView | browser, peak | |\n|---|---|---|---|---|---|---|"
    )
    for name, one in found.items():
        print(line(name, one, statistics.median(base) if base else None))


if __name__ == "__main__":
    main()
