"""How large saved pages are, and how soon they are there: `python -m bench.pages [folder]`.

SmolLM2-135M, the IOI prompt of 14 tokens. Pages that are in the folder already are only opened. Times are Chromium's own, of a page opened from a file in a new browser: medians of
seven, with the range.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

import mechwidgets as mw
from mechwidgets.share import document as documents
from mechwidgets.share import html
from mechwidgets.widgets.capture import capture
from mechwidgets.widgets.saving import document_html
from tests.e2e.chromium import find_chromium
from tests.e2e.lab import CHROMIUM_ARGUMENTS

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"
READY = "document.querySelector('[data-document]')?.dataset.document === 'ready'"


def main(folder: Path) -> None:
    """Write the pages that are not there, and print what was measured."""
    if not (folder / "ioi.html").exists():
        write_pages(folder)
    data = f'<script type="{html.TYPE}">'
    for name in ("ioi", "ten", "large"):
        paints, readies = zip(*(open_page(folder / f"{name}.html") for _ in range(7)), strict=True)
        text = (folder / f"{name}.html").read_text(encoding="utf-8")
        print(
            f"{name}.html: {len(text) / 1e6:.2f} MB, {text.count(data)} document, "
            f"first paint {of(paints)}, all drawn {of(readies)}"
        )


def of(times: Sequence[float]) -> str:
    """The median and the range."""
    return f"{statistics.median(times):.0f} ms [{min(times):.0f} to {max(times):.0f}]"


def write_pages(folder: Path) -> None:
    """Bake them, and say what is in them."""
    model = mw.HookedModel.from_pretrained("smollm2-135m")
    selection, changes = mw.Selection(), mw.Interventions()
    views = [
        mw.AttentionView(model, CLEAN, layer=23, head=3, selection=selection, interventions=changes),
        mw.PredictionView(model, CLEAN, changes),
        mw.LogitLensView(model, CLEAN, selection=selection),
        mw.PatchingView(model, CLEAN, CORRUPTED, " Mary", " John"),
    ]
    begun, used = time.monotonic(), time.process_time()
    said = mw.to_html(views, folder / "ioi.html")
    took, used = time.monotonic() - begun, time.process_time() - used
    print(f"the IOI page: {said!r}\nbaked in {took:.0f} s, {used:.0f} s of CPU time")
    ten = [mw.AttentionView(model, CLEAN, layer=layer) for layer in range(10)]
    print(f"ten views, nothing baked: {mw.to_html(ten, folder / 'ten.html', bake=False)!r}")
    (folder / "large.html").write_text(document_html(large(), "large"), encoding="utf-8")
    text = documents.to_text(large()).encode()
    print(f"a document of {len(text) / 1e6:.1f} MB, read in Python: {of([read(text) for _ in range(7)])}")


def read(text: bytes) -> float:
    """How long it takes, in milliseconds."""
    begun = time.perf_counter()
    documents.from_text(text)
    return (time.perf_counter() - begun) * 1000


def large() -> documents.Document:
    """A picture with so many numbers that cannot be deflated that its document has 5 MB."""
    noise = np.frombuffer(np.random.default_rng(0).bytes(3_700_000), np.uint8)
    made, _ = capture([mw.TokensView(["a", "b"], [1.0, 2.0])], bake=False, room=0)
    (saved,) = made.views
    return replace(made, views=[replace(saved, traits={**saved.traits, "noise": noise})])


def open_page(path: Path) -> tuple[float, float]:
    """When a page is first painted and when all of it is drawn, in milliseconds."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(bypass_csp=True)
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_function(READY)
        ready = page.evaluate("performance.now()")
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        browser.close()
    return float(paint), float(ready)


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    main(given)
