"""Saved pages in a real browser that has no network: from a file, in a sandboxed frame, and under policies that forbid blobs and eval."""

from __future__ import annotations

import re

import pytest

import mechwidgets as mw
from mechwidgets.analysis.prediction import prediction_change
from tests.models import tiny_model

PROMPT = "When Mary gave John a drink"
OFF = mw.ablate(head=(1, 2))
HOSTILE = "</script><img src=x onerror=document.title='run'><script>document.title='run'</script><!--"
STRICT = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; sandbox allow-scripts"
)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def choose_head(page, layer, head):
    """Walk to a head's thumbnail, and open it."""
    grid = page.locator('[role=grid][aria-label="Attention heads"]').first
    grid.focus()
    page.keyboard.press("Control+Home")
    for _ in range(layer):
        page.keyboard.press("ArrowDown")
    for _ in range(head):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")


def test_a_page_from_a_file_answers_clicks_and_asks_for_nothing(model, open_page, tmp_path):
    selection, changes = mw.Selection(), mw.Interventions()
    views = [
        mw.AttentionView(model, PROMPT, selection=selection, interventions=changes),
        mw.PredictionView(model, PROMPT, changes),
        mw.LogitLensView(model, PROMPT, selection=selection),
    ]
    path = tmp_path / "lesson.html"
    mw.to_html(views, path)
    with open_page() as opened:
        page = opened.page
        page.goto(path.as_uri())
        opened.ready()
        assert [root.get_attribute("data-state") for root in page.locator(".mechwidgets").all()] == ["ready"] * 3
        choose_head(page, 1, 2)
        page.get_by_text("Head L1H2").wait_for()
        attention, prediction, _ = page.locator(".mechwidgets").all()
        attention.get_by_role("button", name="Switch head off").click()
        kl = prediction_change(model, PROMPT, [OFF]).kl
        for root in (attention, prediction):
            text = root.get_by_text(re.compile(r"KL [\d.e-]+ nats")).inner_text()
            assert float(text.split()[1]) == pytest.approx(kl, rel=0.01)
        # The lens has the head switched off too, as it was recorded, or says that it has not.
        assert page.locator(".mechwidgets").nth(2).get_attribute("data-state") == "ready"
        attention.get_by_role("button", name="Reset").click()
        prediction.get_by_text(re.compile("KL")).wait_for(state="detached")
        prompt = attention.locator("textarea")
        assert prompt.get_attribute("readonly") is not None
        assert attention.get_by_role("button", name="Run").is_disabled()
        assert attention.get_by_role("button", name="Run").get_attribute("title") == "Needs a running kernel"
        assert opened.requests == [path.as_uri()]
        assert opened.complaints == []


def test_what_was_not_baked_is_greyed(model, open_page, tmp_path):
    path = tmp_path / "a.html"
    changes = mw.Interventions()
    mw.to_html(
        [
            mw.AttentionView(model, PROMPT, interventions=changes),
            mw.LogitLensView(model, PROMPT, interventions=changes),
        ],
        path,
        bake=["patterns", "prediction"],
    )
    with open_page() as opened:
        opened.page.goto(path.as_uri())
        opened.ready()
        button = opened.page.get_by_role("button", name="Switch head off")
        assert button.is_disabled()
        assert button.get_attribute("title") == "Needs a running kernel"
        assert opened.complaints == []


def test_a_baked_sweep_shows_its_cells(model, open_page, tmp_path):
    path = tmp_path / "a.html"
    mw.PatchingView(model, PROMPT, "When Mary gave Mary a drink", " drink", " gave").to_html(path)
    with open_page() as opened:
        opened.page.goto(path.as_uri())
        opened.ready()
        opened.page.get_by_text(re.compile("all 18 cells computed")).wait_for()
        assert opened.complaints == []


def test_a_workbench_is_saved_with_its_panels(model, open_page, tmp_path):
    path = tmp_path / "a.html"
    mw.Workbench(model, PROMPT, panels=["attention", "prediction"]).to_html(path)
    with open_page() as opened:
        opened.page.goto(path.as_uri())
        opened.ready()
        kinds = [root.get_attribute("data-view") for root in opened.page.locator(".mechwidgets").all()]
        assert kinds[0] == "workbench"
        assert sorted(kinds[1:]) == ["attention", "prediction"]
        prediction = opened.page.locator("[data-view=prediction]")
        choose_head(opened.page, 1, 2)
        opened.page.locator("[data-view=attention]").get_by_role("button", name="Switch head off").click()
        prediction.get_by_text(re.compile(r"KL [\d.e-]+ nats")).wait_for()
        opened.page.get_by_role("button", name="Drop L1H2 off").click()
        prediction.get_by_text(re.compile("KL")).wait_for(state="detached")
        # The workbench's own switches do what the pictures' do: another head takes the place of the first.
        bar = opened.page.get_by_role("group", name="Chosen place")
        bar.get_by_role("button", name="Switch L1H2 off").click()
        changes = opened.page.get_by_role("group", name="Interventions")
        changes.get_by_text("One head at a time: another takes its place.").wait_for()
        choose_head(opened.page, 2, 1)
        bar.get_by_role("button", name="Switch L2H1 off").click()
        bar.get_by_role("button", name="Switch L2H1 on").wait_for()
        kl = prediction_change(model, PROMPT, [mw.ablate(head=(2, 1))]).kl
        text = prediction.get_by_text(re.compile(r"KL [\d.e-]+ nats")).inner_text()
        assert float(text.split()[1]) == pytest.approx(kl, rel=0.01)
        assert changes.get_by_role("checkbox").count() == 1
        layer = bar.get_by_role("button", name="Switch attention 2 off")
        assert (layer.is_disabled(), layer.get_attribute("title")) == (True, "Needs a running kernel")
        bar.get_by_role("button", name="Switch L2H1 on").click()
        prediction.get_by_text(re.compile("KL")).wait_for(state="detached")
        assert opened.complaints == []


def test_a_sandboxed_frame_draws_and_is_as_high_as_its_page(model, open_page, tmp_path):
    frame = mw.AttentionView(model, PROMPT).to_html(iframe=True)
    (tmp_path / "course.html").write_text(f"<!doctype html><title>course</title><p>before</p>{frame}<p>behind</p>")
    with open_page() as opened:
        page = opened.page
        page.goto((tmp_path / "course.html").as_uri())
        inside = page.frames[1]
        opened.ready(inside)
        assert inside.locator(".mechwidgets").get_attribute("data-state") == "ready"
        inside.get_by_role("button", name="Switch head off").click()
        inside.get_by_text(re.compile(r"KL [\d.e-]+ nats")).wait_for()
        height = inside.evaluate("document.documentElement.scrollHeight")
        page.wait_for_function("(height) => document.querySelector('iframe').offsetHeight >= height - 2", arg=height)
        assert [url for url in opened.requests if not url.startswith(("file:", "about:"))] == []
        assert opened.complaints == []


def test_a_page_works_under_a_server_s_strict_policy(model, open_page):
    text = mw.AttentionView(model, PROMPT).to_html()
    with open_page() as opened:
        opened.page.context.set_offline(False)
        headers = {"Content-Security-Policy": STRICT, "Content-Type": "text/html"}
        opened.page.context.route("**/*", lambda route: route.fulfill(body=text, headers=headers))
        opened.page.goto("http://127.0.0.1:9/lesson")
        opened.ready()
        opened.page.get_by_role("button", name="Switch head off").click()
        opened.page.get_by_text(re.compile(r"KL [\d.e-]+ nats")).wait_for()
        assert opened.requests == ["http://127.0.0.1:9/lesson"]
        assert opened.complaints == []


def test_fragments_stand_in_one_page(model, open_page, tmp_path):
    one = mw.AttentionView(model, PROMPT).to_html(fragment=True)
    other = mw.TokensView(["a", "b"], [1.0, 2.0]).to_html(fragment=True)
    (tmp_path / "a.html").write_text(f"<!doctype html><h1>course</h1>{one}<p>between</p>{other}")
    with open_page() as opened:
        opened.page.goto((tmp_path / "a.html").as_uri())
        opened.page.wait_for_function("document.querySelectorAll('[data-document=ready]').length === 2")
        assert [root.get_attribute("data-view") for root in opened.page.locator(".mechwidgets").all()] == [
            "attention",
            "tokens",
        ]
        assert opened.page.locator(".mechwidgets").first.evaluate("(root) => root.closest('[data-document]') !== null")
        names = opened.page.evaluate("Object.keys(globalThis).filter((name) => name.startsWith('mechwidgets'))")
        assert len(names) == 1
        assert opened.complaints == []


def test_a_page_is_printed_light_and_without_what_is_for_clicking(model, open_page, tmp_path):
    path = tmp_path / "a.html"
    mw.AttentionView(model, PROMPT).to_html(path, bake=False)
    with open_page() as opened:
        page = opened.page
        page.emulate_media(color_scheme="dark")
        page.goto(path.as_uri())
        opened.ready()
        menu = page.get_by_role("button", name="Copy and save")
        text = "getComputedStyle(document.querySelector('.mechwidgets')).color"
        assert menu.is_visible()
        on_screen = page.evaluate(text)
        page.emulate_media(color_scheme="dark", media="print")
        assert not menu.is_visible()
        assert page.evaluate(text) != on_screen
        assert opened.complaints == []


def test_markup_stays_text(open_page, tmp_path):
    path = tmp_path / "a.html"
    mw.TokensView([HOSTILE, "b"], [1.0, 2.0], title=HOSTILE).to_html(path, title="text")
    with open_page() as opened:
        opened.page.goto(path.as_uri())
        opened.ready()
        assert HOSTILE in opened.page.locator(".mw-header").inner_text()
        assert opened.page.title() == "text"
        assert opened.page.locator("img").count() == 0
        assert opened.requests == [path.as_uri()]
        assert opened.complaints == []


@pytest.mark.parametrize(
    ("put", "instead", "said"),
    [
        ('"title":""', '"title":"x"', "does not have its checksum"),
        ('"version":1', '"version":2', "reads version 1"),
        ('"kind":"views"', '"kind":"other"', "of the kind other"),
        ('{"mechwidgets"', '["mechwidgets"', "not a whole JSON file"),
    ],
)
def test_a_changed_document_says_what_is_wrong(put, instead, said, open_page, tmp_path):
    path = tmp_path / "a.html"
    text = mw.TokensView(["a", "b"], [1.0, 2.0]).to_html()
    assert put in text
    path.write_text(text.replace(put, instead, 1))
    with open_page() as opened:
        opened.page.goto(path.as_uri())
        opened.ready()
        assert said in opened.page.locator('[role="alert"]').inner_text()
        assert opened.complaints == []


def test_a_notebook_shows_a_document_without_its_model(model, lab):
    name = "lesson.mw.json"
    selection, changes = mw.Selection(), mw.Interventions()
    views = [
        mw.AttentionView(model, PROMPT, selection=selection, interventions=changes),
        mw.PredictionView(model, PROMPT, changes),
    ]
    mw.save(views, lab.server.root / name)
    cells = [f'import mechwidgets as mw\nloaded = mw.load("{name}")\nloaded']
    with lab.open_notebook(cells) as page:
        attention = page.wait_for_view("attention")
        prediction = page.wait_for_view("prediction")
        attention.get_by_role("button", name="Switch head off").click()
        for root in (attention, prediction):
            root.get_by_text(re.compile(r"KL [\d.e-]+ nats")).wait_for()
        assert page.execute("print(loaded)").strip() == f"DocumentView(attention, prediction of {model.cfg.model_name})"
        assert page.external_requests() == []
        assert page.page_errors == []


def test_nbconvert_keeps_static_outputs_that_answer(model, open_page, tmp_path):
    import nbformat
    from nbconvert import HTMLExporter

    mw.display_mode("static")
    try:
        outputs = [
            nbformat.v4.new_output("display_data", view._repr_mimebundle_())
            for view in (mw.AttentionView(model, PROMPT), mw.TokensView([HOSTILE, "b"], [1.0, 2.0]))
        ]
    finally:
        mw.display_mode("live")
    cells = [nbformat.v4.new_code_cell("view", outputs=[output]) for output in outputs]
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    (tmp_path / "lesson.html").write_text(page, encoding="utf-8")
    with open_page() as opened:
        opened.page.goto((tmp_path / "lesson.html").as_uri(), wait_until="domcontentloaded")
        frames = [frame for frame in opened.page.frames if frame != opened.page.main_frame]
        assert len(frames) == 2
        for frame in frames:
            opened.ready(frame)
            assert frame.locator(".mechwidgets").get_attribute("data-state") == "ready"
        frames[0].get_by_role("button", name="Switch head off").click()
        frames[0].get_by_text(re.compile(r"KL [\d.e-]+ nats")).wait_for()


def test_an_exercise_is_solved_without_a_kernel(model, open_page, tmp_path):
    path = tmp_path / "exercise.html"
    heads = mw.AttentionView(model, PROMPT)
    mw.Exercise(heads, lambda layer, head: (head == 2, f"Its layer is {layer}."), "Find a third head.").to_html(path)
    with open_page(width=400) as opened:
        page = opened.page
        page.goto(path.as_uri())
        opened.ready()
        choose_head(page, 1, 1)
        page.get_by_role("button", name="Answer L1H1").click()
        page.get_by_text("L1H1 is not it. Its layer is 1.").wait_for()
        choose_head(page, 1, 2)
        page.get_by_role("button", name="Answer L1H2").click()
        page.get_by_text("Solved.").wait_for()
        assert opened.requests == [path.as_uri()]
        assert opened.complaints == []
