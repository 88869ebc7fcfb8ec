"""What a user does with the picture of one head of SmolLM2, in a real JupyterLab."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.test_views import CLEAN, MODEL, REMEMBER, UNTOUCHED, wait_ready

CELL = f"""chosen, changes = mw.Selection(layer=23, head=3), mw.Interventions()
head = mw.HeadView(model, "{CLEAN}", layer=23, head=3, selection=chosen, interventions=changes)
attention = mw.AttentionView(model, "{CLEAN}", selection=chosen, interventions=changes)
display(head, attention)"""


def test_a_head_is_explained_and_clicks_lead_from_head_to_head(open_notebook):
    page = open_notebook([MODEL, CELL, REMEMBER])
    view, other = page.wait_for_view("head"), page.wait_for_view("attention")
    expect(view).to_contain_text("copying score −0.15")
    table = view.get_by_role("grid", name="What the head writes, attended token by written token")
    table.focus()
    page.page.keyboard.press("Control+Home")
    for key in ["ArrowDown", *["ArrowRight"] * 10]:
        page.page.keyboard.press(key)
    expect(view.locator(".mw-status")).to_contain_text("Attending to ' John' alone (it attends to it with 0.74)")
    expect(view.locator(".mw-status")).to_contain_text("which is what it lowers most")
    # to the head that its keys read most
    view.get_by_role("button", name="L22H1").click()
    wait_ready(view)
    expect(view).to_contain_text("Head L22H1")
    expect(other).to_contain_text("Head L22H1")
    assert page.execute("print(chosen, head.layer, head.head)") == "Selection(layer=22, head=1) 22 1\n"
    grid = view.get_by_role("grid", name="Heads, layers by heads")
    grid.focus()
    page.page.keyboard.press("ArrowUp")
    page.page.keyboard.press("Enter")
    wait_ready(view)
    expect(view).to_contain_text("Head L21H1")


def test_a_head_is_asked_about_other_tokens_places_and_runs(open_notebook):
    page = open_notebook([MODEL, CELL, REMEMBER])
    view = page.wait_for_view("head")
    view.get_by_role("textbox", name="Another token").fill(" Paris")
    view.get_by_role("textbox", name="Another token").press("Enter")
    looks = view.get_by_role("region", name="Looks for")
    expect(looks).to_contain_text("that ·Paris scores highest")
    expect(looks.locator(".mw-head-body")).to_have_attribute("data-stale", "false")
    page.page.wait_for_timeout(100)
    assert page.execute("print(chosen.token)") == " Paris\n"
    view.get_by_role("textbox", name="Another token").fill(" Mary Ann")
    view.get_by_role("textbox", name="Another token").press("Enter")
    expect(looks).to_contain_text("Not available: Token ' Mary Ann' is 2 tokens")
    view.get_by_role("button", name="Look at no other token").click()
    expect(looks).to_contain_text("that ·to scores highest")
    looks.get_by_label("key before the query by").select_option("4")
    expect(looks.locator(".mw-head-body")).to_have_attribute("data-stale", "false")
    page.execute("head.position = 9")
    writes = view.get_by_role("region", name="Writes")
    expect(writes).to_contain_text("behind ·John would rise")
    # the pattern is that of the run without an earlier head
    page.execute("changes.append(mw.ablate(head=(22, 1)))")
    expect(view).to_contain_text("modified")
    expect(view.get_by_role("button", name="Undo L22H1")).to_be_visible()
    wait_ready(view)
    view.get_by_role("button", name="Switch head off").click()
    expect(view).to_contain_text("It is switched off, so it writes nothing in this run")
    wait_ready(view)
    assert page.execute("print(len(changes), head.distance, head.position)") == "2 4 9\n"
    assert page.execute(UNTOUCHED) == "True\n"
    view.get_by_role("textbox", name="Prompt").fill("")
    view.get_by_role("textbox", name="Prompt").press("Enter")
    expect(view.get_by_role("alert")).to_contain_text("The prompt is empty")
