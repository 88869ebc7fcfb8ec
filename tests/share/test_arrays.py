from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mechwidgets.share.arrays import DTYPES, from_wire, pack, to_wire


@given(hnp.arrays(st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, min_side=0)))
def test_an_array_comes_back_as_it_was(array):
    wire = to_wire(array)
    assert wire["dtype"] == array.dtype.name
    np.testing.assert_array_equal(from_wire(wire), array)


@given(hnp.arrays(np.float32, (2, 3)))
def test_memory_order_does_not_matter(array):
    np.testing.assert_array_equal(from_wire(to_wire(array.T)), array.T)
    np.testing.assert_array_equal(from_wire(to_wire(array.astype(">f4"))), array)


@pytest.mark.parametrize(
    ("given_dtype", "dtype"), [("float64", "float32"), ("float16", "float32"), ("int64", "int32"), ("bool", "uint8")]
)
def test_wider_numbers_are_narrowed(given_dtype, dtype):
    assert to_wire(np.ones(2, dtype=given_dtype))["dtype"] == dtype


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit in the 32 bits"):
        to_wire(np.array([2**31]))
    with pytest.raises(ValueError, match="carries uint8, int32, float32; got complex128"):
        to_wire(np.ones(1, dtype=complex))
    with pytest.raises(ValueError, match="got 'object'"):
        from_wire({"dtype": "object", "shape": [1], "data": b"12345678"})
    with pytest.raises(ValueError, match=r"float32 \[2\] has 8 bytes; got 7"):
        from_wire({"dtype": "float32", "shape": [2], "data": b"1234567"})


def test_a_message_is_json_and_buffers():
    value = {"a": np.float32([1, 2]), "b": [np.uint8([[3]]), math.nan, math.inf, 1.5], "c": None}
    content, buffers = pack(value)
    assert json.loads(json.dumps(content, allow_nan=False)) == {
        "a": {"dtype": "float32", "shape": [2], "buffer": 0},
        "b": [{"dtype": "uint8", "shape": [1, 1], "buffer": 1}, None, None, 1.5],
        "c": None,
    }
    assert buffers == [np.float32([1, 2]).tobytes(), b"\x03"]
