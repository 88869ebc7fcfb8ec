"""Cells that are run again and again leave nothing behind, in a real JupyterLab."""

from __future__ import annotations

from tests.e2e.test_views import CLEAN, MODEL

IMPORT = "import mechwidgets as mw, numpy as np"
PICTURE = 'mw.PatternsView(["a", "b", "c"], np.tril(np.full((2, 3, 3), 0.5)))'
WORKBENCH = f'mw.Workbench(model, "{CLEAN}")'
# Widgets, their connections, and pictures that Python still knows of, whoever holds them.
COUNT = """import gc; gc.collect()
from ipywidgets.widgets.widget import _instances; from comm import get_comm_manager; from mechwidgets.widgets.view import View
print(len(_instances), len(get_comm_manager().comms), sum(issubclass(type(one), View) for one in gc.get_objects()))"""
RUN = """() => window.jupyterapp.commands.execute("notebook:run-cell")"""

ROUNDS = 30
# A page keeps every module that it loaded, and anywidget loads one for each picture: the loader, 2 KB. The code that draws is 100 KB, and what it draws and holds
# is more; none of it may stay.
BYTES_A_PICTURE = 60_000


def heap(session) -> int:
    """Bytes that the page's scripts hold."""
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])


def run_again(page, kinds, rounds) -> None:
    """Run the second cell so many times more."""
    page.page.locator(".jp-CodeCell").nth(1).click()
    for _ in range(rounds):
        page.page.evaluate(RUN)
    for kind in kinds:
        page.wait_for_view(kind)


def test_a_cell_that_is_run_again_and_again_leaves_nothing_behind(open_notebook):
    page = open_notebook([IMPORT, PICTURE])
    page.wait_for_view("patterns")
    session = page.page.context.new_cdp_session(page.page)
    run_again(page, ["patterns"], 5)
    counted, before = page.execute(COUNT), heap(session)
    run_again(page, ["patterns"], ROUNDS)
    assert page.execute(COUNT) == counted
    assert page.view("patterns").count() == 1
    grown = (heap(session) - before) / ROUNDS
    assert grown < BYTES_A_PICTURE, f"the page's heap grew by {grown / 1000:.0f} KB a picture"


def test_so_do_pictures_that_hold_each_other(open_notebook):
    page = open_notebook([MODEL, WORKBENCH])
    kinds = ["workbench", "attention"]
    run_again(page, kinds, 1)
    session = page.page.context.new_cdp_session(page.page)
    counted, before = page.execute(COUNT), heap(session)
    run_again(page, kinds, 4)
    assert page.execute(COUNT) == counted
    assert [page.page.locator(f".mechwidgets[data-view='{kind}']").count() for kind in kinds] == [1, 1]
    grown = (heap(session) - before) / 4 / page.page.locator(".mechwidgets").count()
    # In so few rounds, what browsers keep of the first still counts.
    assert grown < 2 * BYTES_A_PICTURE, f"the page's heap grew by {grown / 1000:.0f} KB a picture"
