"""Documents of pictures: their traits and recorded answers in one file, which is drawn without a kernel; the twin of js/document/read.ts.

The file is a document as `mechwidgets.analysis.document` has them, of the kind "views"; document.schema.json says what its content is. Nothing that is read is run or
unpickled, and no more memory is taken than what the file's own length makes possible.
"""

from __future__ import annotations

import base64
import binascii
import functools
import itertools
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mechwidgets.analysis import document
from mechwidgets.analysis.document import Content
from mechwidgets.share.arrays import pack_into, unpack

KIND, VERSION = "views", 1
MOST_INFLATED = 256 * 1024**2
# Deflate makes at most so many bytes of one.
MOST_RATIO = 1032
_SCHEMA = Path(__file__).with_name("document.schema.json")


@dataclass(frozen=True)
class Reply:
    """What the kernel answers to a request.

    Attributes:
        name, args: the request.
        value: the answer; its arrays as numpy's.
    """

    name: str
    args: Mapping[str, Any]
    value: Any


@dataclass(frozen=True)
class State:
    """What a picture shows with other inputs.

    Attributes:
        inputs: those that differ.
        traits: those that differ.
        answers: what the kernel answers then.
    """

    inputs: Mapping[str, Any]
    traits: Mapping[str, Any]
    answers: Sequence[Reply] = ()


@dataclass(frozen=True)
class SavedView:
    """One picture.

    Attributes:
        id: what others in the document call it.
        kind: which front end draws it.
        code: the Python that draws it.
        model: `name`, `revision` and `loading` of its model, or None.
        traits: all of them, by name; arrays as numpy's or as the wire has them.
        inputs: the traits that its numbers are computed from.
        lists: requests whose answer about a list is that about each member, put together; and the argument that is the list.
        answers: what the kernel answers with the inputs as they are.
        states: what it shows with others.
        left_out: what was not recorded, in words.
    """

    id: str
    kind: str
    code: str
    model: Mapping[str, Any] | None
    traits: Mapping[str, Any]
    inputs: Sequence[str] = ()
    lists: Mapping[str, str] = field(default_factory=dict)
    answers: Sequence[Reply] = ()
    states: Sequence[State] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class Shared:
    """What several pictures share: a "selection" or "interventions".

    Attributes:
        id: what views call it, behind "IPY_MODEL_".
        kind: which of the two.
        traits: of the shared object.
    """

    id: str
    kind: str
    traits: Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """Pictures that are saved together.

    Attributes:
        views: all of them.
        shown: the ids of those that stand one below the other.
        shared: what they share.
    """

    views: Sequence[SavedView]
    shown: Sequence[str]
    shared: Sequence[Shared] = ()


class Buffers:
    """The bytes of a document's arrays; what is the same is kept once."""

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {}

    def keep(self, data: bytes) -> int:
        """The index of these bytes."""
        return self._index.setdefault(data, len(self._index))

    def deflated(self) -> dict[str, Any]:
        """As the document has them."""
        whole = zlib.compress(b"".join(self._index), 9)
        return {"sizes": [len(data) for data in self._index], "deflated": base64.b64encode(whole).decode("ascii")}


def write(pictures: Document, path: str | Path) -> None:
    """Write pictures to a file.

    Raises:
        OSError: the file cannot be written.
        ValueError: a name that does not end in .mw.json, or more than a document may hold.
    """
    document.write(path, KIND, VERSION, to_content(pictures))


def to_text(pictures: Document) -> str:
    """What `write` writes.

    Raises:
        ValueError: more than a document may hold.
    """
    return document.to_text(KIND, VERSION, to_content(pictures))


def to_content(pictures: Document) -> dict[str, Any]:
    """Pictures as what JSON can say."""
    buffers = Buffers()
    views = [_view_content(view, buffers) for view in pictures.views]
    shared = [{"id": one.id, "kind": one.kind, "traits": dict(one.traits)} for one in pictures.shared]
    content: dict[str, Any] = {
        "shown": list(pictures.shown),
        "views": views,
        "shared": shared,
        "buffers": buffers.deflated(),
    }
    total = sum(content["buffers"]["sizes"])
    if total > MOST_INFLATED:
        raise ValueError(
            f"The arrays have {total:,} bytes; a document holds at most {MOST_INFLATED:,}. Record less with bake=."
        )
    return content


def _view_content(view: SavedView, buffers: Buffers) -> dict[str, Any]:
    recorded = None
    if view.answers or view.states:
        said = {
            "answers": [_reply_content(one) for one in view.answers],
            "states": [
                {"inputs": one.inputs, "traits": one.traits, "answers": [_reply_content(it) for it in one.answers]}
                for one in view.states
            ],
        }
        text = json.dumps(pack_into(said, buffers.keep), allow_nan=False, separators=(",", ":"))
        recorded = buffers.keep(text.encode("ascii"))
    return {
        "id": view.id,
        "kind": view.kind,
        "code": view.code,
        "model": None if view.model is None else dict(view.model),
        "inputs": list(view.inputs),
        "lists": dict(view.lists),
        "traits": pack_into(dict(view.traits), buffers.keep),
        "recorded": recorded,
        "left_out": list(view.left_out),
    }


def _reply_content(reply: Reply) -> dict[str, Any]:
    return {"name": reply.name, "args": dict(reply.args), "value": reply.value}


def read(path: str | Path) -> Document:
    """Read what `write` wrote.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no document of pictures, or not as it was written.
    """
    return from_document(*document.read(path))


def from_text(text: bytes, where: str = "The text") -> Document:
    """Read what `to_text` gave.

    Raises:
        ValueError: it is no document of pictures, or not as it was written.
    """
    return from_document(*document.from_text(text, where))


def from_document(kind: str, version: int, content: Content) -> Document:
    """The pictures of a document that was read.

    Raises:
        ValueError: a document of another kind or a newer version, or one whose parts do not fit together.
    """
    if kind != KIND:
        raise content.error(f"it is of the kind {kind[:40]!r}, expected {KIND!r}")
    if version != VERSION:
        raise content.newer(version, VERSION)
    try:
        return _read(content.fields, content.where)
    except (ValueError, RecursionError) as error:
        raise content.error(str(error).removesuffix(".")) from None


def _read(fields: dict[str, Any], where: str) -> Document:
    _check(fields)
    buffers = _inflated(fields["buffers"])
    views = [_read_view(view, buffers, where) for view in fields["views"]]
    shared = [Shared(**one) for one in fields["shared"]]
    ids = [*(view.id for view in views), *(one.id for one in shared)]
    if len(set(ids)) < len(ids):
        raise ValueError("two of its views or shared objects have one id")
    missing = set(fields["shown"]) - {view.id for view in views}
    if missing:
        raise ValueError(f"it shows views that are not in it: {', '.join(sorted(missing))}")
    return Document(views, fields["shown"], shared)


def _check(value: Any, part: str | None = None) -> None:
    """Raises ValueError unless a value is as the schema, or a part of it, says."""
    from jsonschema.exceptions import best_match

    error = best_match(_validator(part).iter_errors(value))
    if error is not None:
        raise ValueError(f"at {error.json_path}: {error.message[:200]}")


@functools.cache
def _validator(part: str | None) -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    return Draft202012Validator(schema if part is None else {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]})


def _inflated(buffers: dict[str, Any]) -> list[bytes]:
    """The buffers, unless they claim to be more than can be."""
    # JSON Schema takes 1.0 for a whole number.
    sizes = list(map(int, buffers["sizes"]))
    try:
        deflated = base64.b64decode(buffers["deflated"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"its buffers are not base64 ({error})") from None
    total = sum(sizes)
    if total > min(MOST_INFLATED, MOST_RATIO * len(deflated)):
        raise ValueError(f"its buffers claim {total:,} bytes, which {len(deflated):,} deflated ones cannot hold")
    inflater = zlib.decompressobj()
    try:
        whole = inflater.decompress(deflated, total + 1)
    except zlib.error as error:
        raise ValueError(f"its buffers are damaged ({error})") from None
    if not inflater.eof or inflater.unused_data or len(whole) != total:
        raise ValueError(f"its buffers are not {total:,} bytes, as it says")
    ends = list(itertools.accumulate(sizes))
    return [whole[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _read_view(fields: dict[str, Any], buffers: Sequence[bytes], where: str) -> SavedView:
    recorded: dict[str, Any] = {"answers": [], "states": []}
    index = fields["recorded"]
    if index is not None:
        if index >= len(buffers):
            raise ValueError(f"what was recorded is in buffer {index}, of {len(buffers)}")
        recorded = document.parsed(buffers[int(index)], f"what was recorded in {where}")
        _check(recorded, "recorded")
        recorded = unpack(recorded, buffers)
    states = [
        State(one["inputs"], one["traits"], [Reply(**reply) for reply in one["answers"]]) for one in recorded["states"]
    ]
    given = {**fields, "traits": unpack(fields["traits"], buffers)}
    del given["recorded"]
    return SavedView(**given, answers=[Reply(**reply) for reply in recorded["answers"]], states=states)
