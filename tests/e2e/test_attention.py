"""AttentionView in a real JupyterLab: finding heads by their scores, comparing prompts, and long prompts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.test_views import CLEAN, MODEL, wait_ready

# A text twice, so that induction heads have something to do.
TWICE = " violet zebra anchor candle museum" * 3
PICTURE = f'view = mw.AttentionView(model, "{TWICE}", scores={{"own": scores}})\nview'
# A plain transformers model with the same weights, and its attention.
PLAIN = (
    "import copy, torch\nconfig = copy.deepcopy(model.hf_model.config)\nconfig._attn_implementation = 'eager'\n"
    "plain = type(model.hf_model)(config).eval()\nplain.load_state_dict(model.hf_model.state_dict())\n"
    f'ids = model.tokenizer("{TWICE}", return_tensors="pt").input_ids\n'
    "with torch.no_grad(): attentions = plain(ids, output_attentions=True).attentions"
)


@pytest.fixture(scope="module")
def page(lab):
    """A notebook with one picture; the scores of the user's own rise from head to head."""
    scores = "import numpy as np\nscores = np.arange(270.0).reshape(30, 9)"
    with lab.open_notebook([MODEL, scores, PICTURE]) as page:
        yield page


def wait_for(page, code, said):
    """Wait until the kernel has heard of a click."""
    for _ in range(50):
        if page.execute(f"print({code})") == f"{said}\n":
            return
        page.page.wait_for_timeout(100)
    assert page.execute(f"print({code})") == f"{said}\n"


def head(view, name):
    return view.get_by_role("region", name=f"Head {name}", exact=True)


def test_the_best_induction_head_is_found_by_sorting_and_its_numbers_are_the_models(page):
    view = page.wait_for_view("attention")
    view.get_by_label("tint").select_option("induction")
    view.get_by_role("button", name="sort by it").click()
    grid = view.get_by_role("grid", name="Attention heads")
    grid.focus()
    for key in ("Control+Home", "Enter"):
        page.page.keyboard.press(key)
    wait_ready(view)
    best = "found = mw.head_scores(model, view.prompt).sel(score='induction').values\n"
    layer, number = map(int, page.execute(best + "print(*np.unravel_index(found.argmax(), found.shape))").split())
    wait_for(page, "view.layer, view.head, view.score, view.order", f"{layer} {number} induction score")
    view.get_by_role("grid", name=f"Attention of L{layer}H{number}").focus()
    for key in ("Control+End", "Home", "ArrowRight", "ArrowRight"):
        page.page.keyboard.press(key)
    said = view.locator(".mw-status").inner_text()
    page.execute(PLAIN)
    weight = float(page.execute(f"print(attentions[{layer}][0, {number}, -1, 2].item())"))
    assert float(said.rsplit(": ", 1)[1]) == pytest.approx(weight, rel=0.01)
    view.get_by_label("tint").select_option("own")
    grid.focus()
    page.page.keyboard.press("Control+Home")
    expect(view.locator(".mw-status")).to_contain_text("L29H8")
    view.get_by_role("button", name="sort by it").click()


def test_heads_stay_side_by_side_and_one_token_is_locked_in_all(page):
    view = page.wait_for_view("attention")
    page.execute("view.layer, view.head, view.heads = 4, 7, [(9, 6)]")
    expect(head(view, "L9H6")).to_be_visible()
    grid = view.get_by_role("grid", name="Attention heads")
    grid.focus()
    for key in ("Control+Home", "k"):
        page.page.keyboard.press(key)
    for name in ("L4H7", "L9H6", "L0H0"):
        expect(head(view, name)).to_be_visible()
    wait_ready(view)
    wait_for(page, "view.heads", "[(9, 6), (0, 0)]")
    view.get_by_role("listbox", name="Tokens").get_by_role("option").nth(5).click()
    wait_for(page, "view.position", "5")
    page.page.keyboard.press("Escape")
    wait_for(page, "view.position", "None")
    page.execute("view.heads = []")
    expect(head(view, "L9H6")).to_have_count(0)


def test_prompts_of_different_lengths_are_refused_in_words_and_equal_ones_are_compared(page):
    view = page.wait_for_view("attention")
    page.execute(f'view.prompt = "{CLEAN}"')
    expect(view.get_by_role("textbox", name="Prompt")).to_have_value(CLEAN)
    view.get_by_role("button", name="Compare…").click()
    second = view.get_by_role("textbox", name="Second")
    second.fill("Too short")
    second.press("Enter")
    expect(view.get_by_role("alert")).to_contain_text("different numbers of tokens")
    second.fill(CLEAN.replace("John gave", "Mary gave"))
    second.press("Enter")
    expect(view).to_contain_text("first less second prompt")
    wait_ready(view)
    assert page.execute("print(view.diverging, view.alternatives[9])") == "True [' Mary']\n"
    for name, kind in (("× |v|", "value-weighted"), ("scores", "pre-softmax"), ("attention", "standard")):
        view.get_by_role("button", name=name, exact=True).click()
        expect(view.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
        wait_ready(view)
        assert page.execute("print(view.attention_type)") == f"{kind}\n"
    view.get_by_role("button", name="Don't compare").click()
    expect(view).not_to_contain_text("first less second")
    wait_ready(view)


def test_a_prompt_of_512_tokens_is_drawn_and_a_head_of_it_computed_again(page):
    view = page.wait_for_view("attention")
    page.execute('view.prompt = " ".join(["one two three four"] * 128)')
    expect(view.get_by_role("grid", name=re.compile("^Attention of"))).to_have_attribute("aria-rowcount", "103")
    view.and_(page.page.locator("[data-state='ready']")).wait_for(timeout=60_000)
    view.get_by_role("grid", name="Attention heads").focus()
    for key in ("Control+Home", "ArrowRight", "Enter"):
        page.page.keyboard.press(key)
    expect(head(view, "L0H1")).to_be_visible()
    view.and_(page.page.locator("[data-state='ready']")).wait_for(timeout=60_000)
    view.get_by_role("button", name="every token").click()
    view.get_by_role("grid", name="Attention of L0H1", exact=True).focus()
    page.page.keyboard.press("Control+End")
    expect(view.locator(".mw-status")).to_have_text(re.compile(r"^' four' → ' four': \d"))
    page.check()


def test_the_heads_of_a_long_prompt_come_layer_by_layer_and_can_be_stopped(page):
    view = page.wait_for_view("attention")
    page.execute('view.prompt = " ".join(["one two three four"] * 300)')
    assert page.execute("print(view.complete, len(view.tokens))") == "False 1200\n"
    bar = view.get_by_role("progressbar", name="Layers computed")
    expect(bar).not_to_have_attribute("aria-valuenow", re.compile("^[01]$"), timeout=30_000)
    view.get_by_role("button", name="Stop").click()
    wait_ready(view)
    # a cell can run the model meanwhile, and what is stopped can be asked again
    assert page.execute("print(view.complete, model('Mary').shape[1])") == "False 1\n"
    view.locator(".mw-heads").get_by_role("button", name="Run").click()
    expect(bar).to_have_count(0, timeout=120_000)
    wait_ready(view)
    drawn = "from mechwidgets.share.arrays import from_wire\nprint(view.complete, (from_wire(view.thumbnails).max((2, 3)) > 1).all())"
    assert page.execute(drawn) == "True True\n"
    page.check()
