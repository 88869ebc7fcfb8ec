"""How long a reader waits for the answer to a click: `python -m bench.click [repeats]`.

In a real JupyterLab with SmolLM2: from the click that switches a head off to the changed next-token distribution on the page; and of that, the model's own
forward pass over the same prompt, timed in the same kernel between the clicks. Medians, with the range.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e.chromium import find_chromium
from tests.e2e.lab import CHROMIUM_ARGUMENTS, JupyterServer, Lab
from tests.e2e.look import choose_head

PROMPT = "When Mary and John went to the store, John gave a drink to"
CELLS = [
    'import mechwidgets as mw, torch, time, json\nmodel = mw.HookedModel.from_pretrained("smollm2-135m")',
    f'view = mw.AttentionView(model, "{PROMPT}")\nview',
]
FORWARD = f"""
tokens = model.to_tokens("{PROMPT}")
with torch.no_grad():
    start = time.perf_counter()
    model.hf_model(tokens, use_cache=False, logits_to_keep=1)
print(json.dumps((time.perf_counter() - start) * 1000))
"""
# Clicks, and waits until the panel shows something else and the picture is ready again: milliseconds.
CLICK = """async (button) => {
  const view = button.closest(".mechwidgets");
  const panel = () => view.querySelector(".mw-prediction table").textContent;
  const before = panel();
  const start = performance.now();
  button.click();
  while (panel() === before) await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def main() -> None:
    """Measure and print a line of Markdown for bench/RESULTS.md."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    chromium = find_chromium()
    clicks, forwards = [], []
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        server = JupyterServer(Path(home))
        server.start()
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
            with Lab(server, browser).open_notebook(CELLS) as page:
                view = page.wait_for_view("attention")
                choose_head(page, 23, 3)
                page.wait_for_view("attention")
                button = view.get_by_role("button", name="Switch head")
                for _ in range(repeats):
                    clicks.append(button.evaluate(CLICK))
                    page.wait_for_view("attention")
                    forwards.append(json.loads(page.execute(FORWARD)))
        finally:
            server.stop()
    print(f"| click to changed distribution | {_summary(clicks)} |")
    print(f"| one forward pass of the same prompt | {_summary(forwards)} |")
    print(f"| ratio of the medians | {statistics.median(clicks) / statistics.median(forwards):.2f} |")


def _summary(milliseconds: list[float]) -> str:
    return f"{statistics.median(milliseconds):.0f} ms [{min(milliseconds):.0f} to {max(milliseconds):.0f}], n = {len(milliseconds)}"


if __name__ == "__main__":
    main()
