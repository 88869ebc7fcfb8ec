"""Arrays as the wire carries them; the twin of js/core/arrays.ts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

WireArray = dict[str, Any]

# What JavaScript has typed arrays for and the pictures need. Wider numbers are narrowed here, knowingly, and nowhere else.
_NARROWED = {"float64": "float32", "float16": "float32", "int64": "int32", "bool": "uint8"}
DTYPES = ("uint8", "int32", "float32")


def to_wire(array: Any) -> WireArray:
    """An array or tensor as `{dtype, shape, data}`: C order, little endian; float64 becomes float32 and int64 becomes int32.

    Raises:
        ValueError: a dtype that the wire does not carry, or an integer that does not fit in 32 bits.
    """
    given = np.asarray(array)
    dtype = _NARROWED.get(given.dtype.name, given.dtype.name)
    if dtype not in DTYPES:
        raise ValueError(f"The wire carries {', '.join(DTYPES)}; got {given.dtype.name}.")
    if dtype == "int32" and given.size and not -(2**31) <= int(given.min()) <= int(given.max()) < 2**31:
        raise ValueError("An integer does not fit in the 32 bits that the wire carries.")
    data = np.ascontiguousarray(given, dtype=np.dtype(dtype).newbyteorder("<"))
    return {"dtype": dtype, "shape": list(given.shape), "data": data.tobytes()}


def to_numpy(values: Any) -> np.ndarray:
    """What people hold numbers in, as numpy: an array, a tensor (on any device, with a gradient, bfloat16), nested lists of numbers or of tensors.

    Memory is shared where that is possible.

    Raises:
        ValueError: lists of different lengths, or what is not numbers.
    """
    if hasattr(values, "detach"):
        values = values.detach()
        # numpy has no bfloat16
        return np.asarray((values.float() if values.is_floating_point() else values).cpu())
    if isinstance(values, (list, tuple)) and any(
        hasattr(one, "detach") or isinstance(one, (list, tuple)) for one in values
    ):
        values = [to_numpy(one) for one in values]
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"Expected an array, a tensor or nested lists of one shape: {error}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Expected numbers, got an array of {array.dtype}.")
    return array


def to_float32(values: Any) -> np.ndarray:
    """`to_numpy` in the precision of pictures."""
    return to_numpy(values).astype(np.float32, copy=False)


def sliceable(values: Any) -> Any:
    """An array or tensor to take slices of: a tensor where it is, in its precision and without its gradient; anything else as numpy.

    Raises:
        ValueError: as `to_numpy`.
    """
    return values.detach() if hasattr(values, "detach") else to_numpy(values)


def from_wire(wire: WireArray) -> np.ndarray:
    """The array of a `{dtype, shape, data}`.

    Raises:
        ValueError: an unknown dtype, or data that is not as long as the shape says.
    """
    if wire["dtype"] not in DTYPES:
        raise ValueError(f"The wire carries {', '.join(DTYPES)}; got {wire['dtype']!r}.")
    dtype = np.dtype(wire["dtype"]).newbyteorder("<")
    expected = math.prod(wire["shape"]) * dtype.itemsize
    if len(wire["data"]) != expected:
        raise ValueError(f"An array of {wire['dtype']} {wire['shape']} has {expected} bytes; got {len(wire['data'])}.")
    array: np.ndarray = np.frombuffer(wire["data"], dtype=dtype).reshape(wire["shape"])
    return array


def pack(value: Any) -> tuple[Any, list[bytes]]:
    """A message's value with its arrays taken out: `{dtype, shape, buffer}` where each stood, and the buffers.

    Numbers that JSON has no word for (NaN, infinity) become null.
    """
    buffers: list[bytes] = []

    def keep(data: bytes) -> int:
        buffers.append(data)
        return len(buffers) - 1

    return pack_into(value, keep), buffers


def pack_into(value: Any, keep: Callable[[bytes], int]) -> Any:
    """As `pack`, with the bytes of each array, of numpy or as `to_wire` makes them, given to `keep`, which says their index."""
    if isinstance(value, np.ndarray):
        value = to_wire(value)
    if isinstance(value, dict):
        if "dtype" in value and "shape" in value and isinstance(value.get("data"), (bytes, memoryview)):
            return {"dtype": value["dtype"], "shape": list(value["shape"]), "buffer": keep(bytes(value["data"]))}
        return {key: pack_into(part, keep) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack_into(part, keep) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def unpack(value: Any, buffers: Sequence[bytes]) -> Any:
    """What `pack` took apart, its arrays as numpy has them.

    Raises:
        ValueError: an array that is not described as one, of a buffer that there is not, or of another size.
    """
    if isinstance(value, list):
        return [unpack(part, buffers) for part in value]
    if not isinstance(value, dict):
        return value
    if not {"dtype", "shape"} <= set(value):
        return {key: unpack(part, buffers) for key, part in value.items()}
    shape, index = value["shape"], value.get("buffer")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"An array's shape is a list of whole numbers from 0 on; got {str(shape)[:40]}.")
    if type(index) is not int or not 0 <= index < len(buffers):
        raise ValueError(f"An array is in buffer {str(index)[:40]}, of {len(buffers)}.")
    return from_wire({"dtype": value["dtype"], "shape": shape, "data": buffers[index]})
