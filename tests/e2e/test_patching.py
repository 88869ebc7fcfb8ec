"""The picture of patching in a real JupyterLab: what is asked, pinned and shown of finished results."""

from __future__ import annotations

import re

from playwright.sync_api import expect

MODEL = "import mechwidgets as mw\nmodel = mw.HookedModel.from_pretrained('smollm2-135m')"
CLEAN = "When Mary and John went to the store, John gave a drink to"
PAIR = (
    f'clean, corrupted = "{CLEAN}", "{CLEAN.replace("John gave", "Mary gave")}"\n'
    'patching = mw.PatchingView(model, clean, corrupted, " Mary", " John")\npatching'
)


def walk(page, grid, row: int, col: int) -> None:
    """Go to a cell with the keyboard, and press Enter."""
    grid.focus()
    page.page.keyboard.press("Control+Home")
    for key, times in (("ArrowDown", row), ("ArrowRight", col)):
        for _ in range(times):
            page.page.keyboard.press(key)
    page.page.keyboard.press("Enter")


def test_pinned_cells_run_together_and_are_interventions_in_python(open_notebook):
    page = open_notebook([MODEL, PAIR])
    view = page.wait_for_view("patching")
    expect(view).to_contain_text("all 420 cells computed", timeout=60_000)
    grid = view.get_by_role("grid")
    walk(page, grid, 16, 9)
    expect(view.get_by_role("row", name="resid_pre L16 at 9")).to_be_visible()
    view.get_by_label("Patch", exact=True).select_option("z: heads")
    expect(view).to_contain_text("all 270 cells computed", timeout=60_000)
    walk(page, grid, 23, 3)
    expect(view.get_by_role("row", name="together")).to_contain_text(re.compile(r"[+−]\d"))
    said = page.execute(
        "with model.intervene(*patching.interventions):\n"
        "    logits = model(corrupted)[0, -1]\n"
        "mary, john = map(model.to_single_token, (' Mary', ' John'))\n"
        "print([(one.site, one.layer) for one in patching.interventions], f'{(logits[mary] - logits[john]).item():+.3g}')"
    )
    assert said.startswith("[('resid_pre', 16), ('z', 23)]")
    expect(view.locator(".mw-verdict")).to_contain_text(f"The metric becomes {said.split()[-1].replace('-', '−')}")
    grid.focus()
    page.page.keyboard.press("Escape")
    expect(view.get_by_role("row", name="together")).to_have_count(0)
    view.get_by_role("button", name="Unpin resid_pre L16").click()
    expect(view.locator(".mw-pins")).to_have_count(0)
    assert page.execute("print(patching.interventions)") == "[]\n"


def test_another_metric_and_direction_are_swept_in_the_picture(open_notebook):
    page = open_notebook([MODEL, PAIR])
    view = page.wait_for_view("patching")
    expect(view).to_contain_text("all 420 cells computed", timeout=60_000)
    view.get_by_label("Read", exact=True).select_option("probability of the answer")
    expect(view).to_contain_text("metric probability ' Mary'", timeout=60_000)
    view.get_by_role("button", name="noise", exact=True).click()
    expect(view).to_contain_text("Corrupted activations into the clean run")
    expect(view).to_contain_text("all 420 cells computed", timeout=60_000)
    code = (
        "import numpy as np\n"
        "other = mw.patching.sweep(model, clean, corrupted, mw.Prob(' Mary'), direction='noise', progress=False)\n"
        "print(patching.metric, patching.direction, np.abs(patching.result.values - other.values).max().item() < 1e-5)"
    )
    assert page.execute(code) == "Prob noise True\n"


def test_results_of_other_shapes_show_as_their_pictures(open_notebook):
    cells = [
        "metric = mw.LogitDiff(' Mary', ' John')\n"
        f"mw.patching.ablation(model, '{CLEAN}', metric, 'mlp_out', by=('layer',), progress=False)",
    ]
    page = open_notebook([MODEL, *cells])
    view = page.wait_for_view("patching")
    expect(view).to_contain_text("Zero ablation")
    expect(view.get_by_role("grid", name="Metric after patching, by layer")).to_be_visible()
    view.get_by_role("button", name="ranked").click()
    grid = view.get_by_role("grid")
    grid.focus()
    page.page.keyboard.press("Control+Home")
    expect(view.locator(".mw-status")).to_contain_text("Layer 0 → raw")
