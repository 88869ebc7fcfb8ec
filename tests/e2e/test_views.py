"""What a user does with the pictures of SmolLM2, in a real JupyterLab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.look import choose_head

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
KINDS = ("attention", "head", "logit_lens", "attribution", "patching", "workbench")

CLEAN = "When Mary and John went to the store, John gave a drink to"
MODEL = 'import mechwidgets as mw\nmodel = mw.HookedModel.from_pretrained("smollm2-135m")'
PICTURES = [
    MODEL,
    f'attention = mw.AttentionView(model, "{CLEAN}")\nattention',
    'lens = mw.LogitLensView(model, "The capital of France is")\nlens',
]
# Where the code that pictures share begins, as a saved notebook has it.
SHARED_CODE = "??={views:{},loading:{}}).modules"
# What the model says before anything is clicked, and whether it still says so, bit for bit.
REMEMBER = f'import torch; before = model("{CLEAN}").detach()'
UNTOUCHED = f'print(torch.equal(before, model("{CLEAN}")) and not hasattr(model.hf_model, "_mechwidgets"))'


@pytest.fixture(scope="module")
def page(lab):
    """One notebook with two pictures, for the tests that leave them usable."""
    with lab.open_notebook(PICTURES) as page:
        yield page


@pytest.fixture
def attention(page):
    """The attention picture, with nothing switched off and no error showing."""
    view = page.wait_for_view("attention")
    yield view
    page.execute(f'attention.interventions = []; attention.prompt = "{CLEAN}"')


def wait_ready(view):
    """A picture that has its answer."""
    expect(view).to_have_attribute("data-state", "ready", timeout=20_000)


def test_the_quickstart_draws_its_pictures_and_asks_no_other_machine(open_notebook):
    page = open_notebook(QUICKSTART)
    for kind in KINDS:
        view = page.wait_for_view(kind)
        assert view.get_by_role("alert").count() == 0
        drawn = view.locator("canvas").first.evaluate(
            "canvas => new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"
        )
        assert drawn > 20, f"{kind} is nearly blank"
    assert "420" in page.view("patching").inner_text()
    assert page.external_requests() == []


def test_a_finished_sweep_shows_as_its_picture(open_notebook):
    pair = '"When Mary and John", "When Mary and Ann"'
    page = open_notebook([MODEL, f'mw.patching.sweep(model, {pair}, mw.LogitDiff(" Mary", " John"), progress=False)'])
    view = page.wait_for_view("patching")
    wait_ready(view)
    expect(view).to_contain_text("120 cells")
    assert view.locator("form").count() == 0


def test_clicking_a_head_and_switching_it_off_moves_the_next_token(page, attention):
    page.execute(REMEMBER)
    choose_head(page, 23, 3)
    assert page.execute("print(attention.layer, attention.head)") == "23 3\n"
    prediction = attention.get_by_role("region", name="Next token")
    expect(prediction).to_contain_text("0.923")
    attention.get_by_role("button", name="Switch head off").click()
    expect(prediction).to_contain_text("0.873")
    wait_ready(attention)
    expect(attention).to_contain_text("modified")
    assert page.execute("print(attention.interventions)") == "[Intervention('z', layer=23, head=3)]\n"
    assert page.execute(UNTOUCHED) == "True\n"
    attention.get_by_role("button", name="Switch head on").click()
    expect(prediction).not_to_contain_text("0.873")
    assert page.execute("print(attention.interventions)") == "[]\n"


def test_a_click_with_the_mouse_opens_the_head_under_it(page, attention):
    choose_head(page, 0, 0)
    grid = attention.get_by_role("grid", name="Attention heads")
    canvas = attention.locator("canvas").first
    box = canvas.bounding_box()
    canvas.hover(position={"x": box["width"] * 0.6, "y": box["height"] * 0.5})
    said = attention.locator(".mw-status").inner_text()
    layer, head = map(int, re.search(r"L(\d+)H(\d+)", said).groups())
    assert (layer, head) != (0, 0)
    canvas.click(position={"x": box["width"] * 0.6, "y": box["height"] * 0.5})
    expect(attention.get_by_role("region", name=f"Head L{layer}H{head}")).to_be_visible()
    assert page.execute("print(attention.layer, attention.head)") == f"{layer} {head}\n"
    assert grid.count() == 1


def test_python_moves_the_picture(page, attention):
    page.execute("attention.layer, attention.head = 11, 2")
    expect(attention.get_by_role("region", name="Head L11H2")).to_be_visible()
    page.execute("attention.interventions = [mw.ablate(head=(20, 0))]")
    expect(attention.get_by_role("region", name="Next token")).to_contain_text("L20H0")
    page.execute('attention.prompt = "Mary had a little"')
    expect(attention.get_by_role("textbox", name="Prompt")).to_have_value("Mary had a little")
    wait_ready(attention)


def test_an_error_of_the_kernel_stands_in_the_picture_which_stays_usable(page, attention):
    prompt = attention.get_by_role("textbox", name="Prompt")
    prompt.fill("")
    prompt.press("Enter")
    expect(attention.get_by_role("alert")).to_contain_text("The prompt is empty")
    expect(attention).to_have_attribute("data-state", "error")
    assert page.execute("print(attention.prompt)") == CLEAN + "\n"
    prompt.fill("The capital of France is")
    prompt.press("Enter")
    expect(attention.get_by_role("alert")).to_have_count(0)
    wait_ready(attention)
    expect(attention.get_by_role("region", name="Next token")).to_contain_text("Paris")
    assert page.execute("print(attention.tokens)") == "['The', ' capital', ' of', ' France', ' is']\n"


def test_token_text_is_never_markup(page, attention):
    hostile = "<img src=x onerror=alert(1)></script><b>bold</b>"
    alerts = []
    page.page.on("dialog", lambda dialog: alerts.append(dialog.dismiss()))
    prompt = attention.get_by_role("textbox", name="Prompt")
    prompt.fill(hostile)
    prompt.press("Enter")
    expect(attention.locator("body, b, img")).to_have_count(0)
    wait_ready(attention)
    assert page.execute("print(''.join(attention.tokens))") == hostile + "\n"
    assert attention.locator("b, img, script").count() == 0
    assert alerts == []


def test_a_click_is_answered_beside_a_busy_cell_and_does_not_see_its_edits(page, attention):
    choose_head(page, 23, 3)
    wait_ready(attention)
    busy = (
        "import time\n"
        f'with model.hooks([("mlp_out", lambda mlp_out, hook: mlp_out * 0)]):\n'
        "    until = time.time() + 8\n"
        f'    while time.time() < until: model("{CLEAN}")\n'
        "ended = time.time()"
    )
    start = (
        "async (code) => { const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;"
        " window.cellEnded = false;"
        " kernel.requestExecute({ code }).done.then(() => { window.cellEnded = true; }); }"
    )
    page.page.evaluate(start, busy)
    attention.get_by_role("button", name="Switch head off").click()
    expect(attention.get_by_role("region", name="Next token")).to_contain_text("0.873", timeout=7_000)
    assert page.page.evaluate("window.cellEnded") is False, "the answer came only after the cell"
    page.page.wait_for_function("window.cellEnded", timeout=20_000)


def test_pointing_at_the_lens_tells_the_top_tokens_and_a_click_locks_it(page):
    lens = page.wait_for_view("logit_lens")
    panel = lens.get_by_role("region", name="The cell's most probable tokens")
    expect(panel).to_contain_text("Paris")
    grid = lens.get_by_role("grid", name="Most probable token, layers by positions")
    grid.focus()
    page.page.keyboard.press("Control+Home")
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("Enter")
    page.page.wait_for_timeout(100)
    assert page.execute("print(lens.layer, lens.position)") == "0 0\n"
    expect(lens.locator(".mw-status")).to_contain_text("After layer 0, position 0")
    page.page.keyboard.press("Escape")
    page.page.wait_for_timeout(100)
    assert page.execute("print(lens.layer, lens.position)") == "None None\n"
    lens.get_by_role("combobox", name="colour").select_option("entropy")
    page.page.wait_for_timeout(100)
    assert page.execute("print(lens.color_by)") == "entropy\n"


def test_the_lens_follows_a_token_compares_prompts_and_reads_what_components_write(open_notebook):
    page = open_notebook([MODEL, PICTURES[2]])
    lens = page.wait_for_view("logit_lens")
    page.execute("lens.layer, lens.position = 29, 4")
    followed = lens.get_by_role("region", name="Tokens through the layers")
    expect(followed).to_contain_text("Paris")
    expect(followed.get_by_role("img")).to_be_visible()
    followed.get_by_role("textbox", name="Follow").fill(" London")
    followed.get_by_role("button", name="Add").click()
    expect(followed.get_by_role("listitem")).to_have_count(2)
    followed.get_by_role("button", name="Colour the cells by ' London'").click()
    wait_ready(lens)
    expect(lens).to_contain_text("probability of ' London'")
    assert page.execute("print(lens.target_text, lens.lens['rank'].values[-1, -1] > 0)") == " London True\n"
    lens.get_by_role("combobox", name="of").select_option("mlp_out")
    expect(lens.get_by_role("note")).to_contain_text("as if this component's output were the whole stream")
    wait_ready(lens)
    assert page.execute("print(lens.stream, lens.row_labels[-1])") == "mlp_out output\n"
    lens.get_by_role("button", name="Compare…").click()
    lens.get_by_role("textbox", name="Second").fill("The capital of Italy")
    lens.get_by_role("textbox", name="Second").press("Enter")
    expect(lens.get_by_role("alert")).to_contain_text("The prompts have 5 and 4 tokens")
    lens.get_by_role("textbox", name="Second").fill("The capital of Italy is")
    lens.get_by_role("textbox", name="Second").press("Enter")
    wait_ready(lens)
    expect(lens).to_contain_text("probability of ' London', first − second")
    assert page.execute("print(lens.compare, lens.lens['divergence'].shape)") == "The capital of Italy is (31, 5)\n"


def test_attribution_names_the_head_that_matters_and_follows_what_is_switched_off(open_notebook):
    page = open_notebook(
        [MODEL, f'attribution = mw.AttributionView(model, "{CLEAN}", " Mary", " John")\nattribution', REMEMBER]
    )
    view = page.wait_for_view("attribution")
    expect(view).to_contain_text("is what the parts add up to; the model itself says +6.12")
    view.get_by_role("button", name="L23H3").click()
    panel = view.get_by_role("region", name="Head L23H3")
    expect(panel).to_contain_text("·John")
    page.page.wait_for_timeout(100)
    assert page.execute("print(attribution.layer, attribution.head)") == "23 3\n"
    panel.get_by_role("button", name="Switch head off").click()
    expect(view).not_to_contain_text("the model itself says +6.12")
    expect(view.locator(".mw-attribution")).to_have_attribute("data-stale", "false")
    expect(panel).to_contain_text("adds 0")
    assert page.execute("print(attribution.interventions, attribution.total < 5)") == (
        "[Intervention('z', layer=23, head=3)] True\n"
    )
    assert page.execute(UNTOUCHED) == "True\n"
    view.get_by_role("button", name="Undo L23H3").click()
    expect(view).to_contain_text("the model itself says +6.12")
    view.get_by_role("combobox", name="after position").select_option("4")
    expect(view).to_contain_text("after ·went")
    view.get_by_role("textbox", name="Answer").fill(" Mary Ann")
    view.get_by_role("textbox", name="Answer").press("Enter")
    expect(view.get_by_role("alert")).to_contain_text("Answer ' Mary Ann' is 2 tokens")
    view.get_by_role("textbox", name="Answer").fill(" Mary")
    view.get_by_role("textbox", name="Answer").press("Enter")
    wait_ready(view)
    grid = view.get_by_role("grid", name="What attention and MLP of each layer add")
    grid.focus()
    page.page.keyboard.press("Control+Home")
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("Enter")
    expect(view.get_by_role("region", name="MLP of layer 0")).to_contain_text("of 1536")


def test_a_prediction_follows_the_heads_that_another_picture_switches_off(open_notebook):
    cell = (
        "changes = mw.Interventions()\n"
        f'attribution = mw.AttributionView(model, "{CLEAN}", " Mary", " John", interventions=changes)\n'
        f'prediction = mw.PredictionView(model, "{CLEAN}", interventions=changes)\n'
        "display(attribution, prediction)"
    )
    page = open_notebook([MODEL, cell, REMEMBER])
    view, other = page.wait_for_view("prediction"), page.wait_for_view("attribution")
    expect(view).not_to_contain_text("KL")
    other.get_by_role("button", name="L23H3").click()
    other.get_by_role("button", name="Switch head off").click()
    expect(view).to_contain_text("KL", timeout=20_000)
    expect(view.locator(".mw-bars")).to_have_attribute("data-stale", "false")
    expect(view.locator(".mw-bars tbody tr").first).to_contain_text("·Mary")
    view.get_by_role("button", name="Write", exact=True).click()
    without = view.get_by_role("list", name="Written without the changes")
    expect(without).to_contain_text("·Mary", timeout=20_000)
    without.get_by_role("button").nth(1).click()
    expect(view).to_contain_text("drink·to·Mary")
    assert page.execute("print(prediction.interventions, prediction.change.kl > 0.03)") == (
        "[Intervention('z', layer=23, head=3)] True\n"
    )
    assert page.execute(UNTOUCHED) == "True\n"


PAIR = (
    f'patching = mw.PatchingView(model, clean="{CLEAN}", corrupted="{CLEAN.replace("John gave", "Mary gave")}",'
    ' answer=" Mary", wrong=" John")\npatching'
)


def test_a_sweep_fills_in_stops_and_goes_on(open_notebook):
    page = open_notebook([MODEL, PAIR])
    patching = page.wait_for_view("patching")
    assert (
        page.execute("print(patching.result.values.shape, float(patching.result.normalized[0, 9].round(2)))")
        == "(30, 14) 1.0\n"
    )
    patching.get_by_label("Patch", exact=True).select_option("z: heads")
    expect(patching).to_have_attribute("data-state", "busy")
    patching.get_by_role("button", name="Stop").click()
    expect(patching).to_have_attribute("data-state", "ready")
    expect(patching).to_contain_text(re.compile(r"of 270 cells"))
    assert page.execute("print(patching.results['z'])") == "None\n"
    patching.get_by_role("button", name="Run", exact=True).last.click()
    page.wait_for_view("patching")
    expect(patching).to_contain_text("270")
    assert page.execute("print(patching.site, patching.result.values.shape)") == "z (30, 9)\n"


def test_a_bad_pair_is_explained_in_the_picture(open_notebook):
    page = open_notebook([MODEL, PAIR])
    patching = page.wait_for_view("patching")
    patching.get_by_text("Edit pair").click()
    patching.get_by_role("textbox", name="answer", exact=False).first.fill(" Mary Ann")
    patching.get_by_role("textbox", name="answer", exact=False).first.press("Enter")
    expect(patching.get_by_role("alert")).to_contain_text("Answer ' Mary Ann' is 2 tokens (' Mary', ' Ann')")
    patching.get_by_role("textbox", name="answer", exact=False).first.fill(" Mary")
    patching.get_by_role("textbox", name="corrupted").fill("Mary")
    patching.get_by_role("textbox", name="corrupted").press("Enter")
    expect(patching.get_by_role("alert")).to_contain_text("clean has 14, corrupted 1; they part at position 0")
    assert page.execute("print(patching.answer)") == " Mary\n"


def test_after_the_kernel_is_gone_the_picture_says_so_and_stays_readable(open_notebook):
    page = open_notebook([MODEL, PICTURES[1]])
    attention = page.wait_for_view("attention")
    page.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.wait_for_kernel()
    expect(attention).to_have_attribute("data-state", "detached", timeout=20_000)
    expect(attention).to_contain_text("kernel gone")
    choose_head(page, 3, 3)
    expect(attention.get_by_role("region", name="Head L3H3")).to_be_visible()


def test_a_saved_notebook_that_is_opened_again_says_that_its_kernel_is_gone(lab):
    with lab.open_notebook([MODEL, PICTURES[1], PAIR]) as page:
        page.wait_for_view("attention")
        # Executed, and saved before the sweep came to its end.
        patching = page.wait_for_view("patching", state="busy")
        patching.get_by_role("button", name="Stop").click()
        expect(patching).to_have_attribute("data-state", "ready")
        path = lab.server.root / page.save_with_pictures()
    assert path.read_text().count(SHARED_CODE) == 1
    with lab.open_notebook(path, run=False) as page:
        attention = page.wait_for_view("attention", state="detached")
        expect(attention).to_contain_text("kernel gone")
        expect(attention.get_by_role("alert")).to_have_count(0)
        expect(attention.get_by_role("button", name="Switch head off")).to_have_count(0)
        choose_head(page, 3, 3)
        expect(attention.get_by_role("region", name="Head L3H3")).to_be_visible()
        patching = page.wait_for_view("patching", state="detached")
        expect(patching).to_contain_text("420 of 420 cells are not computed; that takes a running kernel.")
        expect(patching.get_by_role("button", name="Run")).to_have_count(0)
        # The kernel answers again once the cells have run.
        page.run_all_cells()
        page.wait_for_view("attention")
        expect(page.wait_for_view("patching")).to_contain_text("all 420 cells computed", timeout=60_000)


def test_running_a_cell_again_leaves_one_picture_and_no_error(open_notebook):
    page = open_notebook(PICTURES[:2])
    page.wait_for_view("attention")
    page.run_all_cells()
    page.wait_for_view("attention")
    assert page.page.locator(".mechwidgets[data-view='attention']").count() == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_narrow_dark_or_light_page_clips_nothing(open_notebook, dark):
    page = open_notebook(QUICKSTART, dark=dark, width=700, scale=2)
    for kind in KINDS:
        view = page.wait_for_view(kind)
        overflow = view.evaluate("el => el.scrollWidth - el.clientWidth")
        assert overflow <= 1, f"{kind} is {overflow} px wider than its cell"
        background = view.evaluate("el => getComputedStyle(document.body).colorScheme")
        assert ("dark" in background) == dark
