"""The end-to-end tests' own ground: a notebook runs, a widget talks both ways, and no request can get away unseen."""

from __future__ import annotations

import pytest

COUNTER = '''
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    _esm = """
    function render({ model, el }) {
      el.innerHTML = "<div class='mechwidgets' data-view='counter' data-state='ready'><button></button></div>";
      const button = el.querySelector("button");
      const draw = () => { button.textContent = model.get("count"); };
      button.addEventListener("click", () => { model.set("count", model.get("count") + 1); model.save_changes(); });
      model.on("change:count", draw);
      draw();
    }
    export default { render };
    """
    count = traitlets.Int(41).tag(sync=True)

counter = Counter()
counter
'''


def test_a_widget_talks_both_ways(open_notebook):
    page = open_notebook([COUNTER])
    button = page.wait_for_view("counter").locator("button")
    assert button.inner_text() == "41"
    button.click()
    page.page.wait_for_function("document.querySelector('.mechwidgets button').textContent === '42'")
    assert page.execute("print(counter.count)") == "42\n"
    page.execute("counter.count = 7")
    page.page.wait_for_function("document.querySelector('.mechwidgets button').textContent === '7'")
    assert len(page.requests) > 10
    assert page.external_requests() == []


def test_the_page_is_dark_and_sharp_where_asked(open_notebook, tmp_path):
    page = open_notebook(["1 + 1"], dark=True, scale=2, width=900)
    assert page.page.evaluate("document.body.dataset.jpThemeLight") == "false"
    assert page.page.evaluate("[devicePixelRatio, innerWidth]") == [2, 900]
    page.screenshot(tmp_path / "dark.png")
    assert (tmp_path / "dark.png").stat().st_size > 10_000


def test_the_next_page_is_light_again(open_notebook):
    assert open_notebook(["1"], run=False).page.evaluate("document.body.dataset.jpThemeLight") == "true"


def test_a_cell_that_raises_fails_the_test(open_notebook):
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        open_notebook(["1 / 0"])


def test_a_request_to_another_machine_is_blocked_and_seen(lab):
    with lab.open_page() as page:
        answer = page.page.evaluate("fetch('http://example.com/', {mode: 'no-cors'}).catch(String)")
        assert "TypeError" in answer
        with pytest.raises(AssertionError, match=r"requests left this machine: \['http://example\.com/'\]"):
            page.check()
        page.requests.clear()


def test_neither_can_the_kernel_reach_another_machine(open_notebook):
    page = open_notebook(["0"], run=False)
    code = "import urllib.request\ntry: urllib.request.urlopen('http://example.com/')\nexcept OSError as e: print(e)"
    assert "Connection refused" in page.execute(code)
