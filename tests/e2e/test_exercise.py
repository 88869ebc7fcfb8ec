"""An exercise in a real JupyterLab: the student clicks, the kernel judges."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.test_views import CLEAN, MODEL


def test_a_head_that_is_clicked_is_the_answer(open_notebook):
    page = open_notebook(
        [
            MODEL,
            f'heads = mw.AttentionView(model, "{CLEAN}")\n'
            "task = mw.Exercise(heads, lambda layer, head: (head == 2, f'Layer {layer} it is.'), 'Which head?')\ntask",
        ]
    )
    exercise = page.wait_for_view("exercise")
    attention = page.wait_for_view("attention")
    expect(exercise.get_by_role("button", name="Answer", exact=True)).to_be_disabled()
    attention.get_by_role("grid", name="Attention heads").focus()
    for key in ("Control+Home", "ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.page.keyboard.press(key)
    exercise.get_by_role("button", name="Answer L1H2").click()
    expect(exercise.get_by_text("L1H2 is right. Layer 1 it is.")).to_be_visible()
    expect(exercise.get_by_text("Solved.")).to_be_visible()
    assert page.execute("print(task.solved, task.answers[0]['right'])") == "True True\n"
