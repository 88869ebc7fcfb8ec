"""Pictures that share a selection and interventions, in a real JupyterLab."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.test_views import CLEAN, MODEL

LINKED = [
    MODEL,
    "chosen, changes = mw.Selection(), mw.Interventions()\n"
    f'one = mw.AttentionView(model, "{CLEAN}", selection=chosen, interventions=changes)\none',
    'other = mw.AttentionView(model, "The capital of France is", selection=chosen, interventions=changes)\nother',
    "import ipywidgets\nslider = ipywidgets.IntSlider(max=29)\n"
    'ipywidgets.jslink((slider, "value"), (chosen, "layer"))\nslider',
]
SLEEP = (
    "() => { const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session; window.cellEnded = false;"
    " kernel.requestExecute({ code: 'import time; time.sleep(6)' }).done.then(() => { window.cellEnded = true; }); }"
)


def head(view, layer, number):
    return view.get_by_role("region", name=f"Head L{layer}H{number}", exact=True)


def press_in_map(page, view, *keys):
    view.get_by_role("grid", name="Attention heads").focus()
    for key in keys:
        page.page.keyboard.press(key)


def test_pictures_on_one_selection_move_together_whatever_the_kernel_does(open_notebook):
    page = open_notebook(LINKED)
    one, other = (page.wait_for_view("attention", index) for index in range(2))
    press_in_map(page, one, "Control+Home", "ArrowDown", "ArrowRight", "ArrowRight", "Enter")
    expect(head(other, 1, 2)).to_be_visible()
    assert page.execute("print(chosen, one.layer, one.head, other.layer, other.head)") == (
        "Selection(layer=1, head=2) 1 2 1 2\n"
    )
    page.execute("chosen.choose(layer=23, head=3)")
    for view in (one, other):
        expect(head(view, 23, 3)).to_be_visible()
    expect(page.page.locator(".widget-readout")).to_have_text("23")
    page.execute("other.layer = 7")
    expect(head(one, 7, 3)).to_be_visible()

    page.page.evaluate(SLEEP)
    press_in_map(page, other, "Control+Home", "Enter")
    for view in (one, other):
        expect(head(view, 0, 0)).to_be_visible(timeout=1000)
    page.page.locator(".widget-slider .noUi-handle").focus()
    page.page.keyboard.press("ArrowRight")
    for view in (one, other):
        expect(head(view, 1, 0)).to_be_visible(timeout=1000)
    assert page.page.evaluate("window.cellEnded") is False, "the cell ended before the pictures had moved"
    page.page.wait_for_function("window.cellEnded", timeout=20_000)
    assert page.execute("print(chosen, one.layer, other.head)") == "Selection(layer=1, head=0) 1 0\n"

    # Many steps, one after the other: what the kernel says of earlier ones moves nothing back.
    press_in_map(page, one, "Control+Home", *["ArrowRight", "Enter"] * 8)
    expect(head(other, 0, 8)).to_be_visible()
    page.page.wait_for_timeout(500)
    expect(head(one, 0, 8)).to_be_visible()
    assert page.execute("print(chosen, one.head, other.head)") == "Selection(layer=0, head=8) 8 8\n"

    page.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_kernel()
    expect(one).to_have_attribute("data-state", "detached", timeout=20_000)
    press_in_map(page, one, "Control+Home", "ArrowDown", "Enter")
    for view in (one, other):
        expect(head(view, 1, 0)).to_be_visible()


def test_pictures_with_the_same_interventions_switch_heads_off_together(open_notebook):
    page = open_notebook(LINKED)
    one, other = (page.wait_for_view("attention", index) for index in range(2))
    press_in_map(page, one, "x")
    for view in (one, other):
        expect(view.get_by_role("region", name="Next token")).to_contain_text("L0H0")
        expect(view.locator(".mw-badge")).to_have_text("modified")
    assert page.execute("print(changes, other.interventions == one.interventions == list(changes))") == (
        "Interventions([Intervention('z', layer=0, head=0)]) True\n"
    )
    page.execute("changes.switch(0, False)")
    for view in (one, other):
        expect(view.locator(".mw-badge")).to_have_count(0)
    press_in_map(page, other, "x")
    expect(one.locator(".mw-badge")).to_have_count(1)
    page.page.wait_for_timeout(200)
    assert page.execute("print(changes); changes.undo(); changes.undo()") == (
        "Interventions([Intervention('z', layer=0, head=0)])\n"
    )
    page.wait_for_view("attention", 0)
    assert page.execute("print(one.interventions)") == ("[Intervention('z', layer=0, head=0)]\n")
