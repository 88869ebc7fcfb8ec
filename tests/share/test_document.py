"""Documents of pictures: what is written is read back, and what is not as it was written is refused."""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechwidgets.analysis.canonical import canonical
from mechwidgets.share import document
from mechwidgets.share.document import Document, Reply, SavedView, Shared, State
from tests.share.documents import FILE, cases, changed, pictures, text_of

NAMES = st.text(min_size=1, max_size=8)
ARRAYS = st.lists(st.floats(width=32), max_size=6).map(lambda values: np.array(values, np.float32)) | st.lists(
    st.integers(-(2**31), 2**31 - 1), max_size=6
).map(lambda values: np.array(values, np.int32).reshape(-1, 1))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    # ASCII control characters, surrogates and all
    | st.text(max_size=10, alphabet=st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES.filter(lambda name: name not in ("dtype", "shape")), inner, max_size=3)
    ),
    max_leaves=6,
)
TRAITS = st.dictionaries(NAMES, JSON | ARRAYS, max_size=4)
REPLIES = st.lists(st.builds(Reply, NAMES, st.dictionaries(NAMES, JSON, max_size=2), JSON | ARRAYS), max_size=3)
VIEWS = st.builds(
    SavedView,
    id=st.just("view-1"),
    kind=st.from_regex(r"\A[a-z][a-z_]{0,9}\Z"),
    code=st.text(max_size=20),
    model=st.none() | st.just({"name": "m", "revision": None, "loading": "mw.HookedModel(...)"}),
    traits=TRAITS,
    inputs=st.lists(NAMES, max_size=2),
    lists=st.dictionaries(NAMES, NAMES, max_size=2),
    answers=REPLIES,
    states=st.lists(st.builds(State, st.dictionaries(NAMES, JSON, max_size=2), TRAITS, REPLIES), max_size=2),
    left_out=st.lists(st.text(max_size=9), max_size=2),
)


def same(one, other):
    """Equal, arrays with their dtypes, shapes and bits."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (SavedView, Reply, State, Shared, Document)):
        return same(vars(one), vars(other))
    return one == other


@settings(max_examples=60, deadline=None)
@given(VIEWS)
def test_what_is_written_is_read_back(view):
    written = Document([view], ["view-1"], [Shared("shared-1", "interventions", {"entries": []})])
    assert same(document.from_text(document.to_text(written).encode()), written)


def test_a_file_is_written_and_read_back(tmp_path):
    path = tmp_path / "a.mw.json"
    document.write(pictures(), path)
    assert same(document.read(path).views[0].traits["array"], np.arange(6, dtype=np.float32).reshape(2, 3))
    with pytest.raises(ValueError, match=r"ends in \.mw\.json"):
        document.write(pictures(), tmp_path / "a.json")


def test_arrays_that_are_the_same_are_kept_once():
    content = document.to_content(pictures())
    first, second = (view["traits"]["array"]["buffer"] for view in content["views"])
    assert first == second


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_what_is_wrong_is_refused_with_the_reason(case):
    text = case["text"].encode("utf-8", "surrogatepass")
    if case["reason"] is None:
        document.from_text(text)
        return
    with pytest.raises(ValueError, match=case["reason"]):
        document.from_text(text)


def test_the_front_end_is_tested_with_these_cases():
    written = json.loads(FILE.read_text(encoding="utf-8"))
    assert written == cases(), "python -m tests.share.documents writes them anew"


def test_a_newer_document_says_which_version_reads_it():
    newer = text_of({"anything": [1]}, version=2)
    with pytest.raises(ValueError, match=r"written by mechwidgets 9\.8\.7; .* reads version 1\. Update mechwidgets"):
        document.from_text(newer.replace('"made_with":"0.1.0"', '"made_with":"9.8.7"').encode())


@pytest.mark.parametrize("size", [2**30, 2**40])
def test_a_claim_takes_no_memory(size):
    text = changed("buffers", "sizes", 0, to=size).encode()
    tracemalloc.start()
    with pytest.raises(ValueError, match="claim"):
        document.from_text(text)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_edit_of_the_text_is_taken_for_the_document(data):
    text = bytearray(text_of(document.to_content(pictures())).encode())
    # behind the head, of which newer versions may have more
    start = text.index(b'"content"')
    at = data.draw(st.integers(start, len(text) - 1))
    text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(min_size=0, max_size=3))
    try:
        read = document.from_text(bytes(text))
    except ValueError:
        return
    assert same(read, document.from_text(document.to_text(pictures()).encode()))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_a_value_error(text):
    with pytest.raises(ValueError, match="The text"):
        document.from_text(text)


def test_deep_nesting_is_a_value_error():
    with pytest.raises(ValueError, match="JSON file"):
        document.from_text(
            ('{"mechwidgets":{"kind":"views","version":1,"sha256":""},"content":' + '{"a":' * 5000).encode()
        )
    deep: dict = {}
    for _ in range(600):
        deep = {"a": deep}
    text = json.dumps({"mechwidgets": {"kind": "views", "version": 1, "sha256": ""}, "content": deep})
    with pytest.raises(ValueError, match="The text"):
        document.from_text(text.encode())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1e21, "1e+21"),
        (1.2345678901234568e20, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (-123.456, "-123.456"),
        ({"b": 1, "a": [True, None, "é\u2028</\x7f"]}, '{"a":[true,null,"\\u00e9\\u2028</\\u007f"],"b":1}'),
        # as UTF-16 sorts them
        ({"\uff5e": 1, "\U0001f600": 2}, '{"\\ud83d\\ude00":2,"\\uff5e":1}'),
    ],
)
def test_the_canonical_form_is_javascripts(value, text):
    assert canonical(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_canonical_form_of_a_number_is_the_number(value):
    assert float(canonical(value)) == value


def test_what_json_cannot_say_has_no_canonical_form():
    with pytest.raises(ValueError, match="no word for nan"):
        canonical([math.nan])
    with pytest.raises(TypeError, match="no bytes"):
        canonical(b"")
