"""Cells that are run again and again leave nothing behind, in a real JupyterLab."""

from __future__ import annotations

IMPORT = "import mechwidgets as mw, numpy as np"
PICTURE = 'mw.PatternsView(["a", "b", "c"], np.tril(np.full((2, 3, 3), 0.5)))'
COUNT = (
    "from ipywidgets.widgets.widget import _instances; from comm import get_comm_manager\n"
    "print(len(_instances), len(get_comm_manager().comms))"
)
RUN = """() => window.jupyterapp.commands.execute("notebook:run-cell")"""

ROUNDS = 50
# A page keeps every module that it loaded, and anywidget loads one for each picture: the loader, 2 KB. The code that draws is 100 KB, and what it draws and holds
# is more; none of it may stay.
BYTES_A_PICTURE = 60_000


def heap(session) -> int:
    """Bytes that the page's scripts hold."""
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])


def test_a_cell_that_is_run_again_and_again_leaves_nothing_behind(open_notebook):
    page = open_notebook([IMPORT, PICTURE])
    page.wait_for_view("patterns")
    session = page.page.context.new_cdp_session(page.page)
    page.page.locator(".jp-CodeCell").nth(1).click()

    def run_again(rounds):
        for _ in range(rounds):
            page.page.evaluate(RUN)
        page.wait_for_view("patterns")

    run_again(5)
    counted, before = page.execute(COUNT), heap(session)
    run_again(ROUNDS)
    assert page.execute(COUNT) == counted
    assert page.view("patterns").count() == 1
    grown = (heap(session) - before) / ROUNDS
    assert grown < BYTES_A_PICTURE, f"the page's heap grew by {grown / 1000:.0f} KB a picture"
