"""The exporter of nbconvert: a notebook as one page, whatever is in its outputs."""

from __future__ import annotations

import html
import json
import logging
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import mechwidgets as mw
from mechwidgets.compat.nbconvert.exporter import MechwidgetsHTMLExporter
from mechwidgets.compat.nbconvert.mathematics import formula, text_with_formulas
from mechwidgets.compat.nbconvert.outputs import NEEDS_KERNEL, NO_SCRIPTS
from mechwidgets.share import document as documents
from mechwidgets.share.html import TYPE
from mechwidgets.widgets import bundles, display_mode

ROOT = Path(__file__).parents[2]
HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(1)</script><!--"
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "a" * 32, "version_major": 2, "version_minor": 0}}


@pytest.fixture
def shown():
    """Puts pictures into outputs as a notebook in the mode "both" does."""

    def outputs(*views):
        mw.display_mode("both")
        return [new_output("display_data", _data(view._repr_mimebundle_())) for view in views]

    yield outputs
    mw.display_mode("live")


def _data(bundle):
    """What an output has; ipywidgets gives its metadata too."""
    return bundle[0] if isinstance(bundle, tuple) else bundle


def tokens(*texts, title=""):
    return mw.TokensView(list(texts), [float(at) for at, _ in enumerate(texts)], title=title)


def page_of(*cells, **metadata):
    """The page of cells, or of outputs, each in a cell of its own."""
    whole = [new_code_cell("view", outputs=[one]) if "output_type" in one else one for one in cells]
    notebook = new_notebook(cells=whole, metadata=metadata)
    nbformat.validate(notebook)
    return MechwidgetsHTMLExporter().from_notebook_node(notebook, {"metadata": {"name": "lesson"}})[0]


def documents_in(page):
    found = re.findall(f'<script type="{re.escape(TYPE)}">(.*?)</script>', page, re.DOTALL)
    return [documents.from_text(text.encode()) for text in found]


def code_in(page):
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def notes_in(page):
    return [note.text for note in BeautifulSoup(page, "html.parser").select(".mw-note")]


def test_pictures_have_one_copy_of_the_code(shown):
    page = page_of(
        *shown(
            tokens("a", "b"),
            tokens("c", "d"),
            mw.PatternsView(["a", "b"], np.tril(np.full((1, 2, 2), 0.5, np.float32))),
        )
    )
    assert [view.kind for one in documents_in(page) for view in one.views] == ["tokens", "tokens", "patterns"]
    assert len(code_in(page)) == len(["core", "patterns", "tokens", "document", "page"])
    assert page.count(bundles.script("core")[:200]) == 1
    assert "<iframe" not in page


def test_the_policy_has_the_hash_of_each_script_and_nothing_else(shown):
    import base64
    import hashlib

    page = page_of(*shown(tokens("a", "b")))
    policy = re.search('Content-Security-Policy" ?content="([^"]*)"|content="([^"]*)" http-equiv', page)
    said = html.unescape(policy[1] or policy[2])
    hashes = {base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in code_in(page)}
    assert set(re.findall("'sha256-([^']+)'", said)) == hashes
    assert said.startswith("default-src 'none'; script-src 'sha256-")
    assert "script-src 'none'" in page_of(new_markdown_cell("no pictures"))


def test_nothing_is_asked_of_a_network(shown):
    cells = [new_markdown_cell("# A lesson\n\n$x^2$"), *shown(tokens("a", "b"))]
    without_scripts = re.sub("<script.*?</script>", "", page_of(*cells), flags=re.DOTALL)
    assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\(|<link|src=", without_scripts)


def test_a_notebook_without_pictures_is_a_page_without_scripts():
    cell = new_code_cell("print('hello')", outputs=[new_output("stream", name="stdout", text="hello\n")])
    page = page_of(new_markdown_cell("# Title\n\n*text*"), cell)
    assert "<script" not in page
    assert "<em>text</em>" in page
    assert "hello" in page
    assert 'class="nb">print</span>' in page  # highlighted


def test_widgets_of_others_keep_their_text(caplog):
    slider = new_output("display_data", {**WIDGET, "text/plain": "IntSlider(value=3)"})
    with caplog.at_level(logging.WARNING):
        page = page_of(slider, widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}})
    assert "IntSlider(value=3)" in page
    assert notes_in(page) == [NEEDS_KERNEL]
    assert "widget-state" not in page
    assert 'display_mode("both")' in caplog.text


def test_a_widget_with_another_form_shows_that(shown):
    page = page_of(new_output("display_data", {**WIDGET, "text/html": "<b>a table</b>", "text/plain": "a"}))
    assert "<b>a table</b>" in page
    assert notes_in(page) == [NEEDS_KERNEL]
    assert notes_in(page_of(new_output("display_data", WIDGET))) == [NEEDS_KERNEL]


def test_scripts_of_other_outputs_are_said_not_to_run():
    chart = new_output("display_data", {"text/html": "<div id=a></div><SCRIPT>draw()</SCRIPT>", "text/plain": "Chart"})
    code = new_output("display_data", {"application/javascript": "alert(1)", "text/plain": "<Javascript>"})
    page = page_of(chart, code)
    assert notes_in(page) == [NO_SCRIPTS, NO_SCRIPTS]
    assert "alert(1)" not in page


def test_errors_in_outputs_are_shown():
    trace = ["\x1b[0;31mValueError\x1b[0m: <b>wrong</b>"]
    page = page_of(new_output("error", ename="ValueError", evalue="wrong", traceback=trace))
    assert 'class="ansi-red-fg">ValueError' in page
    assert "&lt;b&gt;wrong" in page


def test_markup_in_pictures_is_data(shown):
    page = page_of(*shown(tokens(HOSTILE, "b", title=HOSTILE)))
    (read,) = documents_in(page)
    assert read.views[0].traits["title"] == HOSTILE
    soup = BeautifulSoup(page, "html.parser")
    assert soup.select("img") == []
    assert not any("alert(1)" in code for code in code_in(page))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"title":""', '"title":"x"'), "does not have its checksum"),
        (lambda text: text.replace('"version":1', '"version":2'), "reads version 1"),
        (lambda text: json.dumps({"a": HOSTILE}), "The pictures of this output cannot be drawn."),
        (lambda text: "[1, 2]", "The pictures of this output cannot be drawn."),
    ],
)
def test_a_document_that_cannot_be_read_is_said(change, said, shown):
    (output,) = shown(tokens("a", "b"))
    text = json.dumps(output.data[TYPE], separators=(",", ":"))
    assert change(text) != text
    page = page_of(new_output("display_data", {TYPE: json.loads(change(text)), "text/plain": "TokensView"}))
    assert documents_in(page) == []
    assert code_in(page) == []
    assert said in notes_in(page)[0]
    assert "TokensView" in page
    assert HOSTILE not in page


def test_a_picture_of_a_kind_that_is_not_known_is_said(shown):
    view = documents.SavedView("view-1", "hologram", "", None, {})
    given = json.loads(documents.to_text(documents.Document([view], ["view-1"])))
    page = page_of(new_output("display_data", {TYPE: given, "text/plain": "HologramView"}))
    assert "hologram" in notes_in(page)[0]
    assert "HologramView" in page


def test_pictures_that_share_are_linked_across_outputs(shown):
    chosen = mw.Selection(layer=1)
    first, second = (mw.TokensView(["a", "b"], [1.0, 2.0], selection=chosen) for _ in range(2))
    one, other = documents_in(page_of(*shown(first, second)))
    assert one.shared[0].id == other.shared[0].id
    alone = mw.TokensView(["a", "b"], [1.0, 2.0], selection=mw.Selection())
    (third,) = documents_in(page_of(*shown(alone)))
    assert third.shared[0].id != one.shared[0].id


def test_static_outputs_are_pictures_too(shown):
    mw.display_mode("static")
    bundle = tokens("a", "b")._repr_mimebundle_()
    page = page_of(new_output("display_data", bundle))
    assert len(documents_in(page)) == 1
    assert "<iframe" not in page


def test_outputs_are_bounded(shown):
    prompt = " ".join(["word"] * 40)
    for mode in ("static", "both"):
        mw.display_mode(mode, max_bytes=250_000)
        bundle = _data(tokens(*prompt.split())._repr_mimebundle_())
        assert sum(len(json.dumps(part)) for part in bundle.values()) < 250_000


@pytest.mark.parametrize(
    ("tex", "drawn"),
    [
        ("$x^2$", "<msup><mi>x</mi><mn>2</mn></msup>"),
        ("$$\\frac{a}{b}$$", "<mfrac>"),
        ("\\begin{align} a &= b \\\\ c &< d \\end{align}", "<mtable"),
        ("\\begin{equation} E \\label{one} \\end{equation}", "<mi>E</mi>"),
        ("$\\mathrm{softmax}\\left(\\frac{QK^\\top}{\\sqrt{d}}\\right)$", "<msqrt>"),
        ("$\\text{<b>}$", "<mtext>&lt;b&gt;</mtext>"),
    ],
)
def test_formulas_are_mathml(tex, drawn):
    page = page_of(new_markdown_cell(f"before\n\n{tex}\n\nbehind"))
    math = re.search("<math.*</math>", page)[0]
    assert drawn in math
    assert ('display="block"' in math) == (not tex.startswith("$") or tex.startswith("$$"))
    assert "mw-tex" not in re.sub("<style.*?</style>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize(
    "tex",
    [
        "\\unknown{x}",
        "\\frac{1",
        "\\newcommand{\\a}{b}",
        "\\href{javascript:alert(1)}{x}",
        "a } b",
        "x" * 6000,
        "a & b",
    ],
)
def test_what_is_no_formula_stays_as_its_source(tex):
    made = formula(tex, f"${tex}$", display=False)
    assert made == f'<code class="mw-tex">{html.escape(f"${tex}$")}</code>'


@given(st.text("\\{}$^_&<>ab1 '\"()[]%#~") | st.text())
@settings(max_examples=150, deadline=None)
def test_no_text_becomes_markup_but_mathml(text):
    made = text_with_formulas(text)
    allowed = re.compile(r"math|m[a-z]+|code")
    for tag in BeautifulSoup(made, "html.parser").find_all():
        assert allowed.fullmatch(tag.name)
        assert not [name for name in tag.attrs if name.startswith("on") or name in ("href", "src", "style")]


def test_latex_of_outputs_is_drawn():
    page = page_of(new_output("display_data", {"text/latex": "$\\displaystyle x^{2}$", "text/plain": "x**2"}))
    assert re.search('<math[^>]*display="block"', page)
    assert "<msup>" in page


def test_markdown_pictures_are_in_the_page(tmp_path):
    (tmp_path / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    notebook = new_notebook(cells=[new_markdown_cell("![a dot](dot.png)")])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    page, _ = MechwidgetsHTMLExporter().from_filename(str(tmp_path / "a.ipynb"))
    assert 'src="data:image/png;base64,' in page


def test_it_is_among_nbconvert_s_exporters():
    (found,) = entry_points(group="nbconvert.exporters", name="mechwidgets_html")
    assert found.load() is MechwidgetsHTMLExporter
    assert MechwidgetsHTMLExporter.export_from_notebook


def test_listing_it_imports_no_torch():
    code = "import sys, mechwidgets.compat.nbconvert.exporter; print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_the_command_runs_the_notebook_and_writes_the_page(tmp_path):
    cells = [new_code_cell('import mechwidgets as mw\nmw.TokensView(["a", "b"], [1.0, 2.0])')]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), tmp_path / "lesson.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "mechwidgets_html", "--execute", "lesson.ipynb"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (read,) = documents_in((tmp_path / "lesson.html").read_text(encoding="utf-8"))
    assert [view.kind for view in read.views] == ["tokens"]


def test_kernels_begin_in_the_mode_that_they_are_told(monkeypatch):
    monkeypatch.delenv(display_mode.VARIABLE, raising=False)
    with display_mode.kernels_begin_with("both"):
        result = subprocess.run(
            [sys.executable, "-c", "from mechwidgets.widgets import display_mode; print(display_mode._now.mode)"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
    assert result.stdout.strip() == "both"
    assert display_mode.VARIABLE not in display_mode.os.environ
