"""Results survive their files, and files that are not whole are refused."""

from __future__ import annotations

import base64
import json
import os

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import mechwidgets as mw
from mechwidgets.analysis import document, edge_file
from mechwidgets.analysis.result import PatchingResult, Prompt
from tests.analysis.results import a_result, a_table
from tests.models import tiny_model

TEXT = st.text(max_size=8)
NUMBER = st.floats(-1e30, 1e30)
DIMS = ("layer", "position", "head", "destination", "source", "neuron", "strength")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def prompts(draw):
    texts = draw(st.lists(TEXT, max_size=4))
    return Prompt(tuple(draw(st.integers(0, 2**31)) for _ in texts), tuple(texts))


@st.composite
def results(draw):
    dims = draw(st.lists(st.sampled_from(DIMS), min_size=1, max_size=3, unique=True))
    shape = tuple(draw(st.integers(1, 4)) for _ in dims)
    values = draw(arrays.arrays(np.float32, shape))
    cells, done = (draw(arrays.arrays(bool, shape)) for _ in range(2))
    coords = {
        dim: [float(i) for i in range(n)] if dim == "strength" else range(n) for dim, n in zip(dims, shape, strict=True)
    }
    coords["a_token"] = (dims[0], [draw(TEXT) for _ in range(shape[0])])
    return PatchingResult(
        xr.DataArray(values, dims=dims, coords=coords, name=draw(TEXT)),
        draw(NUMBER),
        draw(st.none() | NUMBER),
        draw(TEXT),
        draw(TEXT),
        draw(TEXT),
        draw(TEXT),
        cells=cells,
        done=done,
        clean=draw(st.none() | prompts()),
        corrupted=draw(st.none() | prompts()),
        model_name=draw(TEXT),
        metric_code=draw(st.none() | TEXT),
        code=draw(TEXT),
    )


def assert_same(one, other):
    np.testing.assert_array_equal(one.values.values, other.values.values)
    assert one.values.values.dtype == np.float32
    assert one.values.dims == other.values.dims
    assert set(one.values.coords) == set(other.values.coords)
    for name in one.values.coords:
        assert one.values[name].values.tolist() == other.values[name].values.tolist()
    for mask in ("cells", "done"):
        np.testing.assert_array_equal(getattr(one, mask), getattr(other, mask))
    for name in (
        "clean_metric",
        "corrupted_metric",
        "site",
        "direction",
        "metric",
        "unit",
        "clean",
        "corrupted",
        "model_name",
        "metric_code",
        "code",
    ):
        assert getattr(one, name) == getattr(other, name)


@given(result=results())
@QUICK
def test_what_is_saved_is_loaded(result, tmp_path):
    path = tmp_path / "some.mw.json"
    result.save(path)
    assert_same(mw.load(path), result)


def test_labels_come_back(tmp_path):
    result = a_result()
    result.save(tmp_path / "a.mw.json")
    loaded = mw.load(tmp_path / "a.mw.json")
    assert loaded.values.identical(result.values)
    assert repr(loaded) == repr(result)
    assert loaded.to_dataframe().equals(result.to_dataframe())


def test_an_approximation_stays_one(tmp_path):
    clean, corrupted = "When Mary gave John a drink", "When Ann gave John a drink"
    model = tiny_model()
    result = mw.patching.attribution(model, clean, corrupted, mw.LogitDiff(" Mary", " John"), steps=2)
    result.save(tmp_path / "a.mw.json")
    loaded = mw.load(tmp_path / "a.mw.json")
    assert_same(loaded, result)
    assert repr(loaded) == repr(result)
    assert loaded.values.identical(result.values)
    assert loaded.exact.identical(result.exact)
    assert loaded.top(3).equals(result.top(3))
    names = {"model": model}
    exec(result.code, names)
    assert names["result"].values.identical(result.values)


def an_edge_attribution(model=None, **options):
    clean, corrupted = "When Mary gave John a drink", "When Ann gave John a drink"
    model = tiny_model() if model is None else model
    return mw.patching.edge_attribution(model, clean, corrupted, mw.LogitDiff(" Mary", " John"), **options)


@pytest.mark.parametrize("steps", [0, 2])
def test_edges_come_back(steps, tmp_path):
    model = tiny_model()
    result = an_edge_attribution(model, top=4, steps=steps)
    result.save(tmp_path / "a.mw.json")
    loaded = mw.load(tmp_path / "a.mw.json")
    assert repr(loaded) == repr(result)
    assert loaded.scores.identical(result.scores)
    assert loaded.exact.identical(result.exact)
    assert loaded.top(5).equals(result.top(5))
    names = {"model": model}
    exec(loaded.code, names)
    assert names["result"].scores.identical(result.scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["labels"]["sender"].pop(), "the labels of its senders are not one for each"),
        (lambda c: c["labels"]["receiver"].__setitem__(1, c["labels"]["receiver"][0]), "or one stands twice"),
        (lambda c: c["labels"].update(sender_layer=["0"]), "expected"),
        (lambda c: c.update(exact=document.encode(np.zeros((2, 2), np.float32))), "the shape of 'exact' is"),
        (lambda c: c.update(n_pairs=0), "it is over 0 pairs in 0 steps"),
        (lambda c: c.pop("unit"), "it has no 'unit'"),
        (lambda c: c.update(clean_metric="1"), "expected a number"),
    ],
)
def test_edges_that_do_not_fit_are_refused(change, message, tmp_path):
    content = edge_file.to_content(an_edge_attribution(top=1))
    change(content)
    document.write(tmp_path / "a.mw.json", "edge_attribution", 1, content)
    with pytest.raises(ValueError, match=message):
        mw.load(tmp_path / "a.mw.json")


def test_a_sweep_does_not_go_on_from_edges(tmp_path):
    clean, corrupted = "When Mary gave John a drink", "When Ann gave John a drink"
    an_edge_attribution(top=1).save(tmp_path / "a.mw.json")
    with pytest.raises(ValueError, match="is of another sweep: edges there, cells asked for"):
        mw.patching.sweep(tiny_model(), clean, corrupted, mw.LogitDiff(" Mary", " John"), file=tmp_path / "a.mw.json")


@given(at=st.floats(0, 1), bit=st.integers(0, 7))
@settings(parent=QUICK, max_examples=300)
def test_a_flipped_bit_is_noticed_or_changes_nothing(at, bit, tmp_path):
    path = tmp_path / "a.mw.json"
    result = a_result()
    result.save(path)
    data = bytearray(path.read_bytes())
    data[min(len(data) - 1, int(at * len(data)))] ^= 1 << bit
    path.write_bytes(data)
    try:
        loaded = mw.load(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - some flips change nothing
    else:
        assert_same(loaded, result)


@given(at=st.floats(0, 1, exclude_max=True))
@settings(parent=QUICK, max_examples=100)
def test_a_file_that_is_cut_off_is_refused(at, tmp_path):
    path = tmp_path / "a.mw.json"
    a_result().save(path)
    path.write_bytes(path.read_bytes()[: int(at * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"a\.mw\.json is not a whole JSON file"):
        mw.load(path)


@given(data=st.binary(max_size=60))
@QUICK
def test_anything_else_is_refused(data, tmp_path):
    path = tmp_path / "a.mw.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.mw\.json"):
        mw.load(path)


def written(tmp_path, change, kind="patching_result", version=1):
    """A file with a right checksum, and content that was changed."""
    path = tmp_path / "a.mw.json"
    a_result().save(path)
    content = json.loads(path.read_text())["content"]
    change(content)
    document.write(path, kind, version, content)
    return path


def bomb(content):
    content["values"]["shape"] = [2**40, 2**40]


def deep(content):
    content["values"]["shape"] = [1] * 1000


def fewer(content):
    content["values"]["shape"] = [4, 2]


def short(content):
    content["values"]["data"] = base64.b64encode(b"\0" * 12).decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("clean_metric"), "it has no 'clean_metric'"),
        (lambda c: c.update(clean_metric="6"), "'clean_metric' is '6', expected a number"),
        (lambda c: c.update(clean_metric=True), "expected a number"),
        (lambda c: c.update(clean_metric=10**400), "expected a number"),
        (lambda c: c.update(site=None), "'site' is None, expected str"),
        (lambda c: c.update(dims=["layer"]), "it has 2 dimensions, called"),
        (lambda c: c.update(dims=["layer", "layer"]), "it has 2 dimensions, called"),
        (lambda c: c.update(coords=[]), "no labels for layer, position"),
        (lambda c: c["coords"][0].update(values=[0, 1]), "'layer' has 2 places along 'layer'"),
        (lambda c: c["coords"][0].update(values=[0, 1, 2, "3"]), "neither all numbers of a kind nor all texts"),
        (lambda c: c["coords"][0].update(values=[0, 1, 2, 2**31]), "no index"),
        (lambda c: c["coords"][0].update(dim="head"), "along 'head'"),
        (lambda c: c["values"].update(dtype="object"), "its dtype is 'object', expected 'float32'"),
        (lambda c: c["values"].update(shape=[-1, 3]), "its shape is"),
        (lambda c: c["values"].update(shape="ab"), "'shape' is 'ab', expected list"),
        (lambda c: c["values"].update(data="é" * 64), "its data is not base64"),
        (lambda c: c.update(cells=document.encode(np.ones((3, 3), dtype=bool))), "the shape of 'cells'"),
        (lambda c: c["clean"].update(tokens=[1]), "1 tokens and 3 texts"),
        (bomb, "has .* bytes, found 48"),
        (deep, "its shape is"),
        (fewer, "has 32 bytes, found 48"),
        (short, "has 48 bytes, found 12"),
    ],
)
def test_content_that_does_not_fit_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        mw.load(written(tmp_path, change))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(choice=st.randoms(use_true_random=False), put=ANYTHING | st.sampled_from(DIMS))
@settings(parent=QUICK, max_examples=200)
def test_whatever_stands_in_the_content_it_is_read_or_refused(choice, put, tmp_path):
    def change(content):
        while True:
            key = choice.choice(list(content) if isinstance(content, dict) else range(len(content)))
            if not isinstance(content[key], (dict, list)) or not content[key] or choice.random() < 0.3:
                content[key] = put
                return
            content = content[key]

    path = written(tmp_path, change)
    try:
        loaded = mw.load(path)
    except ValueError as error:
        assert "a.mw.json" in str(error)  # noqa: PT017 - some changes make another valid file
    else:
        assert repr(loaded)
        loaded.to_dataframe()
        loaded.save(path)


def test_kinds_and_versions_that_are_not_known_are_refused(tmp_path):
    with pytest.raises(ValueError, match="of the kind 'attention'"):
        mw.load(written(tmp_path, lambda c: None, kind="attention"))
    with pytest.raises(ValueError, match=r"of version 2, written by mechwidgets .* reads version 1"):
        mw.load(written(tmp_path, lambda c: None, version=2))


@pytest.mark.parametrize(
    "text", ["NaN", "[" * 100_000, '{"mechwidgets": 1, "mechwidgets": 1}', "[]", '"x"', "9" * 5000]
)
def test_json_that_is_no_document_is_refused(text, tmp_path):
    path = tmp_path / "a.mw.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"a\.mw\.json"):
        mw.load(path)


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "a.mw.json"
    with path.open("wb") as file:
        file.truncate(document.MOST_BYTES + 1)
    with pytest.raises(ValueError, match="bytes; a document has at most"):
        mw.load(path)


def test_a_name_says_what_a_file_is(tmp_path):
    for name in ("ioi.json", ".mw.json", "ioi"):
        with pytest.raises(ValueError, match=r"ends in \.mw\.json"):
            a_result().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    path = tmp_path / "a.mw.json"
    a_result().save(path)
    before = path.read_bytes()

    def fail(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        a_table(("layer",), (3,)).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mw.json"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "a.mw.json"
    link.symlink_to(tmp_path / "real" / "a.mw.json")
    a_result().save(link)
    assert link.is_symlink()
    assert_same(mw.load(link), a_result())
