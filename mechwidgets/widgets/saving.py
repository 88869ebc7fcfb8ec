"""Saving pictures: as documents, and as pages that answer without a kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mechwidgets.analysis.document import checked_suffix, write_whole
from mechwidgets.share import document as documents
from mechwidgets.share import html
from mechwidgets.share.document import Document
from mechwidgets.widgets import bundles
from mechwidgets.widgets.capture import capture

if TYPE_CHECKING:
    from mechwidgets.widgets.view import View

# What a page or a document may have, where nobody says otherwise; a course page of this size loads at once.
MAX_BYTES = 1_500_000


@dataclass(frozen=True)
class Saved:
    """A file that was written, and what it can answer.

    Attributes:
        path: where it is.
        size: in bytes.
        answers: what a reader can do without a kernel.
        left_out: what he cannot; `bake=[...]` or `bake="all"` records it too.
    """

    path: Path
    size: int
    answers: tuple[str, ...]
    left_out: tuple[str, ...]

    def __repr__(self) -> str:
        lines = [f"{self.path} ({self.size / 1e6:.2f} MB)"]
        if self.answers:
            lines += ["answers without a kernel:", *(f"  {one}" for one in self.answers)]
        if self.left_out:
            lines += ["left out, and greyed in the picture:", *(f"  {one}" for one in self.left_out)]
        return "\n".join(lines)


def save(
    views: Any, path: str | Path, *, bake: str | bool | Sequence[str] = "auto", max_bytes: int = MAX_BYTES
) -> Saved:
    """Write pictures to a document, which `mw.load` and JupyterLab open without the model.

    Args:
        views: a picture, or several; those that share a Selection or Interventions are linked in the document too. Results of sweeps are saved by their own `save`.
        path: the name of a file that ends in .mw.json.
        bake: which questions of a reader are answered beforehand: "auto" (those for which there is room), "all", their names, or False.
        max_bytes: how large the file may become with "auto".

    Raises:
        OSError: the file cannot be written.
        ValueError: another ending than .mw.json, a name that there is not to bake, or more than a document may hold.
        TypeError: something else than pictures.
    """
    checked_suffix(path)
    shown = _views(views)
    made, answers, left_out = _captured(shown, bake, max_bytes)
    documents.write(made, path)
    return Saved(Path(path), Path(path).expanduser().stat().st_size, answers, left_out)


def to_html(
    views: Any,
    path: str | Path | None = None,
    *,
    bake: str | bool | Sequence[str] = "auto",
    max_bytes: int = MAX_BYTES,
    fragment: bool = False,
    iframe: bool = False,
    title: str | None = None,
) -> Saved | str:
    """Pictures as one HTML file that works offline, and answers without a kernel what was baked.

    Several pictures have one copy of the code, and those that share a Selection or Interventions are linked. The page asks no network for anything.

    Args:
        views: a picture or a result, or several.
        path: where to write it; without it, the text is returned.
        bake: which questions of a reader are answered beforehand: "auto" (those for which there is room), "all", their names, or False.
        max_bytes: how large the file may become with "auto".
        fragment: no whole page, but what can stand in one.
        iframe: an `<iframe>` with the page in it, to stand in another page, whose style it does not meet.
        title: of the page; by itself the first picture's.

    Returns:
        What was written, and what it answers; or the text, without a path.

    Raises:
        OSError: the file cannot be written.
        ValueError: a name that there is not to bake, both fragment and iframe, or more than a document may hold.
        TypeError: something else than pictures.
    """
    if fragment and iframe:
        raise ValueError("A fragment stands in a page, an iframe has one in it: choose fragment=True or iframe=True.")
    shown = _views(views)
    made, answers, left_out = _captured(shown, bake, max_bytes - code_size(view.kind for view in shown))
    text = document_html(made, title or shown[0]._page_title(), fragment=fragment, iframe=iframe)
    if path is None:
        return text
    write_whole(path, text)
    return Saved(Path(path), len(text.encode("utf-8")), answers, left_out)


def document_html(made: Document, title: str, *, fragment: bool = False, iframe: bool = False) -> str:
    """A document as HTML; the arguments are `to_html`'s."""
    text, scripts = documents.to_text(made), bundles.page_scripts(view.kind for view in made.views)
    if fragment:
        return html.fragment(text, scripts)
    page = html.page(title, text, scripts)
    return html.iframe(page, title) if iframe else page


def code_size(kinds: Iterable[str]) -> int:
    """How much of a page draws these kinds of pictures, in bytes."""
    return sum(map(len, bundles.page_scripts(kinds)))


def _captured(
    shown: Sequence[View], bake: str | bool | Sequence[str], max_bytes: int
) -> tuple[Document, tuple[str, ...], tuple[str, ...]]:
    bare, _ = capture(shown, False, 0)
    room = max_bytes - len(documents.to_text(bare))
    made, baked = capture(shown, bake, room)
    told = [
        (f"{type_name}: " if len(baked) > 1 else "", one) for type_name, one in zip(_names(made), baked, strict=True)
    ]
    answers = tuple(f"{name}{what}" for name, one in told for what in one.kept)
    left_out = tuple(f"{name}{what}" for name, one in told for what in one.left_out)
    return made, answers, left_out


def _names(made: Document) -> list[str]:
    return [view.kind for view in made.views]


def _views(given: Any) -> list[View]:
    from mechwidgets.widgets.patching_result import PatchingResultView
    from mechwidgets.widgets.patching_tables import Result
    from mechwidgets.widgets.view import View

    several = list(given) if isinstance(given, (list, tuple)) else [given]
    views = [PatchingResultView(one) if isinstance(one, Result) else one for one in several]
    if any(view.kind == "document" for view in views if isinstance(view, View)):
        raise TypeError(
            "A saved document is saved again by itself: loaded.save(path), loaded.to_html(path). Make its pictures anew to put others beside them."
        )
    if not views or not all(isinstance(one, View) for one in views):
        raise TypeError(f"Give a picture, or a list of pictures, such as [mw.AttentionView(...), ...]; got {given!r}.")
    return views


class Savable:
    """What can be saved as a document and as a page."""

    kind: ClassVar[str]
    title: Any
    model_name: Any

    def _document(self, bake: str | bool | Sequence[str], max_bytes: int) -> Document:
        """What an output of a notebook has of the picture."""
        return _captured(_views(self), bake, max_bytes)[0]

    def _page_title(self) -> str:
        return self.title or f"{type(self).__name__} of {self.model_name or 'given data'}"

    def save(self, path: str | Path, *, bake: str | bool | Sequence[str] = "auto", max_bytes: int = MAX_BYTES) -> Saved:
        """`mw.save` of this picture."""
        return save(self, path, bake=bake, max_bytes=max_bytes)

    def to_html(self, path: str | Path | None = None, **options: Any) -> Saved | str:
        """`mw.to_html` of this picture; the options are the same."""
        return to_html(self, path, **options)
