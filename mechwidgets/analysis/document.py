"""Documents: what is saved to be opened again, as JSON that is checked from end to end when it is read.

A file is `{"mechwidgets": {"kind", "version", "made_with", "sha256"}, "content": {...}}`. The checksum is that of the content in its one canonical form, so it holds
however the file is laid out, and browsers can check it too. Arrays are `{"dtype", "shape", "data"}`, with their bytes (C order, little endian) in base64. There is no NaN among the numbers of
the JSON, only in arrays. Nothing that is read is run or unpickled.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import mechwidgets
from mechwidgets.analysis.canonical import canonical

T = TypeVar("T")

SUFFIX = ".mw.json"
MOST_BYTES = 512 * 1024**2
MOST_DIMENSIONS = 8
DTYPES = {"bool": "u1", "int32": "<i4", "float32": "<f4"}


def write(path: str | Path, kind: str, version: int, content: dict[str, Any]) -> None:
    """Write a document, whole or not at all.

    Raises:
        OSError: the file cannot be written.
        ValueError: another ending than .mw.json, or NaN or infinity in the content.
    """
    checked_suffix(path)
    write_whole(path, to_text(kind, version, content))


def write_whole(path: str | Path, text: str) -> None:
    """Write a file; another one of that name is replaced in one step, so that there is always a whole one.

    Raises:
        OSError: the file cannot be written.
    """
    # what a link points to, not the link
    target = Path(path).expanduser().resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def to_text(kind: str, version: int, content: dict[str, Any]) -> str:
    """A document as the text of its file, in ASCII.

    Raises:
        ValueError: NaN or infinity in the content.
    """
    head = {"kind": kind, "version": version, "made_with": mechwidgets.__version__, "sha256": _checksum(content)}
    return json.dumps({"mechwidgets": head, "content": content}, allow_nan=False, separators=(",", ":"))


def checked_suffix(path: str | Path) -> None:
    """Raises ValueError unless a path ends in .mw.json, by which JupyterLab and people know what it is."""
    if not Path(path).name.endswith(SUFFIX) or Path(path).name == SUFFIX:
        raise ValueError(f"The name of the file ends in {SUFFIX}, such as 'ioi{SUFFIX}'; got {str(path)!r}.")


def read(path: str | Path) -> tuple[str, int, Content]:
    """The kind, the version and the content of a document.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no document, or not as it was written.
    """
    file = Path(path).expanduser()
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; a document has at most {MOST_BYTES:,}.")
    return from_text(file.read_bytes(), str(path))


def from_text(text: bytes, where: str) -> tuple[str, int, Content]:
    """The kind, the version and the content of a document's text, in UTF-8; `where` is what messages call it.

    Raises:
        ValueError: it is no document, or not as it was written.
    """
    whole = Content(parsed(text, where), where)
    head = whole.part("mechwidgets")
    kind, version, checksum = head.take("kind", str), head.take("version", int), head.take("sha256", str)
    content = whole.part("content")
    # Older ones do not say.
    content.made_with = str(head.fields.get("made_with", ""))
    try:
        changed = _checksum(content.fields) != checksum
    except (ValueError, RecursionError) as error:
        raise content.error(str(error)) from None
    if changed:
        raise ValueError(f"{where} is damaged: its content does not have its checksum, so a part of it was changed.")
    return kind, version, content


def parsed(text: bytes, where: str) -> Any:
    """JSON without NaN, infinity or names that stand twice.

    Raises:
        ValueError: it is not that.
    """
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{where} is not a whole JSON file ({error}): cut off, changed, or no document of mechwidgets."
        ) from None


def encode(array: np.ndarray) -> dict[str, Any]:
    """An array of bool, int32 or float32 for a document."""
    data = array.astype(DTYPES[array.dtype.name]).tobytes()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(data).decode("ascii")}


class Content:
    """A mapping that was read from a file, of which nothing is taken unchecked.

    Args:
        given: what was read.
        where: what it is called in messages.

    Attributes:
        fields: the mapping.
        made_with: of a whole document, the version of mechwidgets that wrote it; "" where it does not say.
    """

    def __init__(self, given: Any, where: str) -> None:
        self.where = where
        self.made_with = ""
        if not isinstance(given, dict):
            raise self.error(f"expected a mapping, found a {type(given).__name__}")
        self.fields: dict[str, Any] = given

    def error(self, what: str) -> ValueError:
        """What is wrong with it."""
        return ValueError(f"{self.where} is not a document that this version of mechwidgets can read: {what}.")

    def newer(self, version: int, known: int) -> ValueError:
        """That it is of a version that this mechwidgets does not know, and which one does."""
        by = f", written by mechwidgets {self.made_with[:40]}" if self.made_with else ""
        return self.error(
            f"it is of version {version}{by}; mechwidgets {mechwidgets.__version__} reads version {known}. "
            "Update mechwidgets to open it"
        )

    def _get(self, name: str) -> Any:
        if name not in self.fields:
            raise self.error(f"it has no {name!r}")
        return self.fields[name]

    def part(self, name: str) -> Content:
        """A mapping in it."""
        return Content(self._get(name), f"{name!r} in {self.where}")

    def take(self, name: str, kind: type[T]) -> T:
        """A text, a whole number or a list."""
        value = self._get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"{name!r} is {_short(value)}, expected {kind.__name__}")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self._get(name)
        # a whole number may be larger than any float
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise self.error(f"{name!r} is {_short(value)}, expected a number")
        return float(value)

    def several(self, name: str, kind: type[T]) -> list[T]:
        """A list of texts, of whole numbers or of mappings."""
        values = self.take(name, list)
        for value in values:
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise self.error(f"{name!r} holds {_short(value)}, expected {kind.__name__}")
        return values

    def array(self, name: str, dtype: str) -> np.ndarray:
        """An array of a dtype, which can be written to."""
        part = self.part(name)
        shape, data = part.several("shape", int), part.take("data", str)
        if part.take("dtype", str) != dtype:
            raise part.error(f"its dtype is {part.fields['dtype']!r}, expected {dtype!r}")
        if len(shape) > MOST_DIMENSIONS or any(size < 0 for size in shape):
            raise part.error(f"its shape is {_short(shape)}")
        expected = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
        # Whatever the shape says, no more is made than there are characters for.
        if len(data) != 4 * -(-expected // 3):
            raise part.error(f"an array {_short(shape)} of {dtype} has {expected} bytes, found {len(data) * 3 // 4}")
        try:
            decoded = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise part.error(f"its data is not base64 ({error})") from None
        if len(decoded) != expected:
            raise part.error(f"an array {_short(shape)} of {dtype} has {expected} bytes, found {len(decoded)}")
        flat = np.frombuffer(decoded, dtype=DTYPES[dtype]).astype(dtype)
        return flat.reshape(shape)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(content).encode("ascii")).hexdigest()


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name stands twice in it")
    return fields


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
