"""Cells that are run again and again leave nothing behind, in a real JupyterLab."""

from __future__ import annotations

IMPORT = "import mechwidgets as mw, numpy as np"
PICTURE = 'mw.PatternsView(["a", "b", "c"], np.tril(np.full((2, 3, 3), 0.5)))'
COUNT = (
    "from ipywidgets.widgets.widget import _instances; from comm import get_comm_manager\n"
    "print(len(_instances), len(get_comm_manager().comms))"
)
RUN = """() => window.jupyterapp.commands.execute("notebook:run-cell")"""


def test_a_cell_that_is_run_again_and_again_has_one_picture(open_notebook):
    page = open_notebook([IMPORT, PICTURE])
    page.wait_for_view("patterns")
    page.page.locator(".jp-CodeCell").nth(1).click()

    def run_again(rounds):
        for _ in range(rounds):
            page.page.evaluate(RUN)
        page.wait_for_view("patterns")

    run_again(2)
    counted = page.execute(COUNT)
    run_again(20)
    assert page.execute(COUNT) == counted
    assert page.view("patterns").count() == 1
