"""What every picture's menu does, in a real JupyterLab."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from playwright.sync_api import expect

from tests.e2e.test_views import CLEAN, MODEL

PICTURE = f'one = mw.AttentionView(model, "{CLEAN}", layer=3, interventions=[mw.ablate(head=(23, 3))])\none'
PNG = b"\x89PNG\r\n\x1a\n"


def choose(view, text):
    view.get_by_role("button", name="Copy and save").click()
    view.get_by_role("menuitem", name=text, exact=True).click()


def test_the_python_of_a_picture_and_its_files(open_notebook):
    page = open_notebook([MODEL, PICTURE], dark=True)
    page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    view = page.wait_for_view("attention")
    page.execute("one.head = 5")
    choose(view, "Copy as Python")
    expect(view.get_by_text("Copied as Python")).to_be_visible()
    code = page.page.evaluate("navigator.clipboard.readText()")
    assert code == page.execute("print(one.to_code(), end='')")
    assert "layer=3" in code
    assert "head=5" in code
    assert page.execute(code + "print('ran')") == "ran\n"

    # by keyboard, and the notebook's own keys are not meant
    button = view.get_by_role("button", name="Copy and save")
    button.focus()
    page.page.keyboard.press("Enter")
    expect(view.get_by_role("menuitem", name="Copy as Python")).to_be_focused()
    page.page.keyboard.press("ArrowDown")
    with page.page.expect_download() as saved:
        page.page.keyboard.press("Enter")
    expect(button).to_be_focused()
    assert saved.value.suggested_filename == "attention-smollm2-135m.png"
    assert saved.value.path().read_bytes().startswith(PNG)

    with page.page.expect_download() as saved:
        choose(view, "Save as SVG")
    texts = [text.text for text in ElementTree.parse(saved.value.path()).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Attention", "Next token", CLEAN} <= set(texts)
    expect(view).to_have_css("color-scheme", "dark")


def test_a_picture_is_marked_while_hooks_are_on_its_model(open_notebook):
    page = open_notebook([MODEL, PICTURE.replace("mw.ablate(head=(23, 3))", "")])
    view = page.wait_for_view("attention")
    badge = view.locator(".mw-badge")
    expect(badge).to_have_count(0)
    page.execute('model.add_hook("mlp_out", lambda mlp_out, hook: mlp_out * 1)')
    expect(badge).to_have_text("modified")
    expect(badge).to_have_attribute("title", re.compile(r"model\.reset_hooks\(\)"))
    page.execute("model.reset_hooks()")
    expect(badge).to_have_count(0)


def test_the_notebooks_keys_are_not_meant_in_a_picture(open_notebook):
    page = open_notebook([MODEL, PICTURE])
    view = page.wait_for_view("attention")
    cells = page.page.locator(".jp-Notebook-cell")
    count = cells.count()
    for part in (
        view.get_by_role("textbox", name="Prompt"),
        view.get_by_role("grid", name="Attention heads"),
        view.get_by_role("button", name="Copy and save"),
    ):
        part.focus()
        # delete, insert above and below, cut, to markdown
        for key in "ddabxxm":
            page.page.keyboard.press(key)
        expect(cells).to_have_count(count)
    assert page.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCell.model.type") == "code"
