"""The workbench in a real JupyterLab: a newcomer's way from a prompt to the heads that matter."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.test_views import CLEAN, MODEL

CORRUPTED = CLEAN.replace("store, John", "store, Mary")
NOTEBOOK = [MODEL, f'bench = mw.Workbench(model, "{CLEAN}")\nbench']
PANELS = ("prediction", "attribution", "attention")


def test_a_click_on_the_largest_head_leads_to_what_the_model_says_without_it(open_notebook):
    page = open_notebook(NOTEBOOK)
    bench = page.wait_for_view("workbench")
    prediction, attribution, attention = (page.wait_for_view(kind) for kind in PANELS)
    # what adds most to the answer is listed, and a click on it moves every picture there
    attribution.get_by_role("button", name="L29H1", exact=True).click()
    expect(attention.get_by_role("region", name="Head L29H1", exact=True)).to_be_visible()
    bench.get_by_role("button", name="Switch L29H1 off", exact=True).click()
    expect(bench.get_by_role("checkbox", name="L29H1 off")).to_be_checked()
    expect(prediction.locator(".mw-prediction-kl")).to_be_visible(timeout=20_000)
    kernel = "print(round(bench.views['prediction'].change.kl, 4), bench.interventions == [mw.ablate(head=(29, 1))])"
    kl, same = page.execute(kernel).split()
    assert same == "True"
    shown = float(prediction.locator(".mw-prediction-kl").inner_text().split()[1])
    assert abs(shown - float(kl)) < 1e-3
    # off, on again, and taken back
    bench.get_by_role("checkbox", name="L29H1 off").uncheck()
    expect(prediction.locator(".mw-prediction-kl")).to_be_hidden()
    bench.get_by_role("button", name="Undo the last change").click()
    expect(bench.get_by_role("checkbox", name="L29H1 off")).to_be_checked(timeout=20_000)


def test_a_prompt_is_read_as_it_is_typed_and_then_asked_of_every_picture(open_notebook):
    page = open_notebook([MODEL, f'bench = mw.Workbench(model, "{CLEAN}", panels=["prediction"])\nbench'])
    bench = page.wait_for_view("workbench")
    page.wait_for_view("prediction")
    bench.get_by_role("button", name="Patching", exact=True).click()
    corrupted = bench.get_by_label("Corrupted prompt", exact=True)
    expect(corrupted).to_be_focused()
    corrupted.fill(f"{CORRUPTED} her")
    expect(bench.get_by_text("clean has 14, corrupted 15; they part at position 9")).to_be_visible()
    corrupted.fill(CORRUPTED)
    expect(bench.get_by_text("14 tokens, 1 differs").first).to_be_visible()
    corrupted.press("Enter")
    expect(bench.get_by_label("rather than")).to_have_attribute("placeholder", "·John", timeout=20_000)
    bench.get_by_role("button", name="Patching", exact=True).click()
    page.wait_for_view("patching")
    assert page.execute("print(bench.panels, bench.views['patching'].wrong)") == "['prediction', 'patching']  John\n"
    prompt = bench.get_by_role("textbox", name="Prompt", exact=True).first
    prompt.fill("The capital of France is")
    expect(bench.get_by_text("clean has 5, corrupted 14").first).to_be_visible()
    bench.get_by_role("button", name="Remove the corrupted prompt").click()
    expect(bench.get_by_role("button", name="Add a corrupted prompt")).to_be_visible()
    page.wait_for_view("workbench")
    expect(page.view("prediction").get_by_text("·Paris").first).to_be_visible(timeout=20_000)
    assert page.execute("print(bench.prompt, bench.panels, bench.stale)") == (
        "The capital of France is ['prediction'] []\n"
    )
