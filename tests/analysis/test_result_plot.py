"""Figures of results: their cells, labels, baselines and refusals."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import mechwidgets as mw
from tests.analysis.results import a_result, a_table
from tests.models import tiny_model

matplotlib.use("agg")


def mesh(ax):
    return ax.collections[0]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def colours(figure):
    """The axes of the colour bar."""
    return figure.axes[-1]


def test_cells_are_in_their_places_with_their_labels():
    result = a_result()
    figure = result.plot()
    ax = figure.axes[0]
    np.testing.assert_array_equal(mesh(ax).get_array(), result.values.values)
    assert ax.get_ylim() == (3.5, -0.5), "layer 0 is at the top"
    assert ticks(ax.yaxis) == ["0", "1", "2", "3"]
    assert ticks(ax.xaxis) == ["When 0", "Mary/John 1", "$x_1$ 2"]
    assert not any(label.get_parse_math() for label in ax.get_xticklabels()), "a token is no formula"


@pytest.mark.parametrize(
    ("scale", "direction", "middle", "unit", "clean", "corrupted"),
    [
        ("value", "denoise", -2, "logits", "6 clean", "−2 corrupted"),
        ("value", "noise", 6, "logits", "6 clean", "−2 corrupted"),
        ("effect", "denoise", 0, "change in logits", "8 clean", "0 corrupted"),
        ("normalized", "denoise", 0, "normalised", "1 clean", "0 corrupted"),
        ("normalized", "noise", 1, "normalised", "1 clean", "0 corrupted"),
    ],
)
def test_white_is_the_run_that_was_changed(scale, direction, middle, unit, clean, corrupted):
    result = a_result(direction=direction)
    figure = result.plot(scale)
    norm = mesh(figure.axes[0]).norm
    assert norm(middle) == 0.5
    assert mesh(figure.axes[0]).cmap(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.02)
    farthest = np.abs(result.scaled(scale).values - middle).max()
    assert (norm.vmin, norm.vmax) == pytest.approx((middle - farthest, middle + farthest))
    assert colours(figure).get_title(loc="left") == unit
    assert {clean, corrupted} <= set(ticks(colours(figure).yaxis))


def test_a_baseline_beyond_all_values_stands_at_the_end():
    figure = a_result([[-2, -1, -2]] * 4).plot()
    assert "↑ 6 clean" in ticks(colours(figure).yaxis)


def test_cells_without_a_value_are_told_apart():
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    cells, done = np.ones((4, 3), dtype=bool), np.ones((4, 3), dtype=bool)
    cells[0, 2], done[1, 1] = False, False
    values[0, 2] = values[1, 1] = values[2, 0] = np.nan
    figure = a_result(values, cells=cells, done=done).plot()
    ax = figure.axes[0]
    (hatched,) = [patch for patch in ax.patches if patch.get_hatch()]
    assert hatched.get_xy() == (0.5, 0.5)
    assert [text.get_position() for text in ax.texts] == [(0, 2)]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["no such cell", "not run", "× no number"]
    assert a_result().plot().legends == []


def test_three_dimensions_are_panels():
    result = a_table(("layer", "head", "position"), (4, 3, 6))
    figure = result.plot()
    panels = figure.axes[:-1]
    assert [ax.get_title() for ax in panels] == ["head 0", "head 1", "head 2"]
    np.testing.assert_array_equal(mesh(panels[1]).get_array(), result.values.sel(head=1))
    assert len({(mesh(ax).norm.vmin, mesh(ax).norm.vmax) for ax in panels}) == 1
    assert len(result.plot(facet="layer").axes) == 5
    one = result.plot(at={"position": -1}).axes[0]
    np.testing.assert_array_equal(mesh(one).get_array(), result.values.sel(position=5))


def test_one_dimension_is_a_line_between_the_baselines():
    figure = a_result().plot(at={"position": 1})
    (ax,) = figure.axes
    clean, corrupted, line = (drawn.get_ydata() for drawn in ax.lines)
    assert (clean[0], corrupted[0]) == (6, -2)
    np.testing.assert_array_equal(line, [-3, 0, 3, 6])
    assert {text.get_text() for text in ax.texts} == {"clean 6", "corrupted −2"}


@pytest.mark.parametrize(
    ("function", "given", "labels"),
    [
        ("ablation", {}, ["0", "1", "2", "3"]),
        ("ablation", {"site": "mlp_out", "op": "mean"}, ["When 0", "Mary 1", "gave 2", "John 3"]),
        ("steering", {"vector": torch.ones(32), "strengths": (-1.5, 2)}, ["-1.5", "2"]),
        ("path_patch", {"senders": ["embed", ("mlp", 1)]}, ["embed", "1_mlp_out"]),
        ("attribution", {"site": "z"}, ["0", "1", "2", "3"]),
    ],
)
def test_every_kind_of_result_is_drawn(function, given, labels, tmp_path):
    prompts = ["When Mary gave John", "When Ann gave John"][: 1 + (function in ("path_patch", "attribution"))]
    result = getattr(mw.patching, function)(tiny_model(), *prompts, mw.LogitDiff(" Mary", " John"), **given)
    result.save(tmp_path / "a.mw.json")
    for one in (result, mw.load(tmp_path / "a.mw.json")):
        figure = one.plot()
        assert ticks(figure.axes[0].xaxis) == labels
        assert one.metric in figure.axes[0].get_title(loc="left").replace("\n", " ")
        assert len(one.top(2)) == 2


def test_a_figure_fits_a_page():
    for shape in ((4, 3), (30, 64), (80, 9)):
        width, height = a_table(("layer", "position"), shape).plot().get_size_inches()
        assert width <= 7
        assert height <= 9.5


@pytest.mark.parametrize(
    ("dims", "shape", "title"),
    [
        (("layer", "head"), (30, 1), None),
        (("layer", "head"), (12, 2), None),
        (("layer", "head"), (3, 9), None),
        (("layer",), (2,), None),
        (("layer", "head", "position"), (4, 2, 2), None),
        (("layer", "head"), (12, 2), "a" * 200),
        (("layer", "head"), (12, 2), "two lines, the second of which is long enough\nto be broken into more than one"),
    ],
)
def test_a_title_is_not_cut_however_few_columns_there_are(dims, shape, title):
    figure = replace(a_table(dims, shape), metric="logit difference ' Mary' − ' John' of this very prompt").plot(
        title=title
    )
    figure.draw_without_rendering()
    shown = figure._suptitle or figure.axes[0]._left_title
    box = shown.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1 + 1
    said = title or "z, zero\nlogit difference ' Mary' − ' John' of this very prompt"
    assert shown.get_text().replace("\n", "").replace(" ", "") == said.replace("\n", "").replace(" ", "")
    assert figure.axes[0].bbox.height > 40, "the cells keep their room"


@pytest.mark.parametrize("format", ["png", "pdf", "svg"])
def test_it_can_be_saved_as(format):
    file = io.BytesIO()
    a_result().plot().savefig(file, format=format)
    assert file.tell() > 3000
    if format == "svg":
        assert b"<image" not in file.getvalue().replace(b"image/svg", b"").split(b"axes_2")[0], "cells are shapes"


def test_text_stays_text():
    pdf, svg = io.BytesIO(), io.BytesIO()
    figure = a_result().plot()
    figure.savefig(pdf, format="pdf")
    figure.savefig(svg, format="svg")
    assert b"/Type3" not in pdf.getvalue()
    assert b"Mary/John 1" in svg.getvalue()


def test_it_is_drawn_into_given_axes():
    figure = Figure()
    left, _ = figure.subplots(1, 2)
    assert a_result().plot(ax=left, title="mine") is figure
    assert left.get_title(loc="left") == "mine"


def test_a_notebook_is_given_a_picture():
    assert a_result().plot()._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scale": "share"}, "Unknown scale 'share'"),
        ({"at": {"neuron": 1}}, "no dimension 'neuron'.*It has: layer, head, position"),
        ({"at": {"head": 7}}, "There is no head 7"),
        ({"facet": "neuron"}, "facet='neuron'.*: layer, head, position"),
        ({"at": {"head": 0, "layer": 0, "position": 0}}, "One cell is no figure"),
        ({"ax": object()}, "ax holds one panel; this has 3"),
        ({"scale": "normalized"}, "no second prompt"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        a_table(("layer", "head", "position"), (4, 3, 6)).plot(**given)


def test_too_much_for_a_figure_is_refused():
    with pytest.raises(ValueError, match=r"three dimensions at most.*Cut the others with at="):
        a_table(("layer", "head", "destination", "source"), (2, 2, 2, 2)).plot()
    with pytest.raises(ValueError, match="would be 41 panels; 40 fit"):
        a_table(("layer", "head", "position"), (41, 41, 41)).plot()


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch):
    for name in [
        name
        for name in sys.modules
        if name.startswith(("matplotlib", "mechwidgets.analysis.result_plot", "mechwidgets.analysis.plot_panel"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    import mechwidgets.analysis

    monkeypatch.delattr(mechwidgets.analysis, "result_plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        a_result().plot()


def test_only_a_plot_imports_matplotlib():
    code = "import sys, mechwidgets as mw; mw.patching.sweep; mw.load; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
