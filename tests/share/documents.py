"""Documents that are as they should be, and documents with one thing wrong: what Python and the browser must both take, and both refuse.

`python -m tests.share.documents` writes tests/fixtures/documents.json, which the front end's tests read.
"""

from __future__ import annotations

import base64
import copy
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mechwidgets.analysis import document as files
from mechwidgets.share.document import KIND, VERSION, Document, Reply, SavedView, Shared, State, to_content

FILE = Path(__file__).parent.parent / "fixtures" / "documents.json"
HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!--", "\u2028", "\ud83d\ude00", "é"]


def pictures() -> Document:
    """Two linked pictures with numbers of every kind, and a recorded answer."""
    off = {"site": "z", "layer": 0, "head": 1, "position": None, "op": "zero", "value": None}
    first = SavedView(
        id="view-1",
        kind="tokens",
        code="import mechwidgets as mw\n",
        model={"name": "tiny", "revision": None, "loading": None},
        traits={
            "title": HOSTILE[0],
            "tokens": HOSTILE,
            "numbers": [0.0, -0.0, 1.0, -1.5, 1e-7, 1.2345678901234568e20, 1e21, 5e-324, 0.1, 123456.789, 2**53],
            "array": np.arange(6, dtype=np.float32).reshape(2, 3),
            "bytes": np.array([], dtype=np.uint8),
            "selection": "IPY_MODEL_shared-1",
            "interventions": [],
        },
        inputs=["interventions"],
        lists={"patterns": "heads"},
        answers=[Reply("patterns", {"heads": [[0, 1]]}, {"patterns": [np.array([np.nan, 0.5], np.float32)]})],
        states=[State({"interventions": [off]}, {"array": np.ones((2, 3), np.float32)})],
        left_out=["the lens with each head switched off, about 4.1 MB"],
    )
    second = SavedView("view-2", "tokens", "", None, {"array": np.arange(6, dtype=np.float32).reshape(2, 3)})
    shared = [Shared("shared-1", "selection", {"layer": 3, "head": None, "position": None, "token": " Mary"})]
    return Document([first, second], ["view-1", "view-2"], shared)


def text_of(content: Any, *, kind: str = KIND, version: int = VERSION) -> str:
    """A document with a right checksum, whatever it holds."""
    return files.to_text(kind, version, content)


def changed(*path: Any, to: Any) -> str:
    """The good document with one part of its content replaced (or, with `...`, taken out), and a checksum that is right."""
    content = copy.deepcopy(to_content(pictures()))
    part: Any = content
    for name in path[:-1]:
        part = part[name]
    if to is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = to
    return text_of(content)


def _deflated(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def cases() -> list[dict[str, str | None]]:
    """Texts, and what of the reason Python and the browser both say; None where nothing is wrong."""
    good = text_of(to_content(pictures()))
    buffers = to_content(pictures())["buffers"]
    array = ("views", 0, "traits", "array")
    bad_recorded = to_content(pictures())
    whole = zlib.decompress(base64.b64decode(buffers["deflated"]))
    at = bad_recorded["views"][0]["recorded"]
    start = sum(buffers["sizes"][:at])
    broken = whole[:start] + b'{"answers":7,"states":[]}' + whole[start + buffers["sizes"][at] :]
    bad_recorded["buffers"]["sizes"][at] = 25
    bad_recorded["buffers"]["deflated"] = _deflated(broken)
    found: dict[str, tuple[str, str | None]] = {
        "good": (good, None),
        "good, laid out otherwise": (json.dumps(json.loads(good), indent=2, ensure_ascii=False, sort_keys=True), None),
        "good, with what a newer version may add to the head": (
            good.replace('"kind":"views"', '"kind":"views","more":[1]', 1),
            None,
        ),
        "empty": ("", "JSON"),
        "cut off": (good[: len(good) // 2], "JSON"),
        "markup": ("<html></html>", "JSON"),
        "a list": ("[1, 2]", "document"),
        "of another library": (json.dumps({"nbformat": 4, "cells": []}), "mechwidgets"),
        "no head": (json.dumps({"mechwidgets": 1, "content": {}}), "document"),
        "edited": (good.replace(" Mary", " John", 1), "checksum"),
        "of another kind": (text_of({}, kind="weights"), "kind"),
        "newer": (text_of({"whatever": 1}, version=VERSION + 1), f"version {VERSION + 1}"),
        "version 0": (text_of({}, version=0), "version 0"),
        "no views": (changed("views", to=[]), "views"),
        "an unknown field": (text_of({**to_content(pictures()), "script": "alert(1)"}), "script"),
        "a view without traits": (changed("views", 0, "traits", to=...), "traits"),
        "a kind that is a path": (changed("views", 0, "kind", to="../../etc"), "kind"),
        "an id that is none": (changed("views", 0, "id", to="A B"), "id"),
        "an id twice": (changed("views", 1, "id", to="view-1"), "id"),
        "shows what is not there": (changed("shown", 0, to="view-7"), "view-7"),
        "shared of an unknown kind": (changed("shared", 0, "kind", to="prompt"), "kind"),
        "another shape": (changed(*array, "shape", to=[2, 4]), "bytes"),
        "a shape below 0": (changed(*array, "shape", to=[-2, -3]), "shape"),
        "a shape of halves": (changed(*array, "shape", to=[1.5, 4]), "shape"),
        "a huge shape": (changed(*array, "shape", to=[2**30, 2**20]), "bytes"),
        "another dtype": (changed(*array, "dtype", to="object"), "uint8"),
        "a buffer that is not there": (changed(*array, "buffer", to=99), "buffer|bytes"),
        "recorded in a buffer that is not there": (changed("views", 0, "recorded", to=99), "buffer"),
        "recorded is something else": (text_of(bad_recorded), "answers"),
        "recorded is no JSON": (changed("views", 0, "recorded", to=0), "JSON"),
        "no base64": (changed("buffers", "deflated", to="*not base64*"), "base64"),
        "not deflated": (changed("buffers", "deflated", to=base64.b64encode(b"x" * 500).decode()), "damaged"),
        "claims 1 GB": (changed("buffers", "sizes", 0, to=2**30), "claim"),
        "claims a little more": (changed("buffers", "sizes", 0, to=buffers["sizes"][0] + 1), "as it says"),
        "claims a little less": (changed("buffers", "sizes", 0, to=buffers["sizes"][0] - 1), "as it says"),
        "a bomb": (
            changed("buffers", to={"sizes": [2**28 - 1], "deflated": _deflated(bytes(10**6))}),
            "claim",
        ),
        "inflates to more": (changed("buffers", to={"sizes": [10], "deflated": _deflated(bytes(10**6))}), "as it says"),
        "deflated and cut off": (
            changed(
                "buffers",
                "deflated",
                to=base64.b64encode(base64.b64decode(buffers["deflated"])[:-5]).decode(),
            ),
            "buffers",
        ),
        "more behind the deflated": (
            changed(
                "buffers",
                "deflated",
                to=base64.b64encode(base64.b64decode(buffers["deflated"]) + b"more").decode(),
            ),
            "buffers",
        ),
    }
    return [{"name": name, "text": text, "reason": reason} for name, (text, reason) in found.items()]


if __name__ == "__main__":
    FILE.write_text(json.dumps(cases(), indent=1) + "\n", encoding="utf-8")
