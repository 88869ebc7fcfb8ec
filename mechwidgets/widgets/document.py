"""DocumentView: pictures that were saved, drawn without the model that they are of; and `load`, which opens every file of ours."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets

from mechwidgets.analysis import document as files
from mechwidgets.analysis import result_file
from mechwidgets.share import document as documents
from mechwidgets.share.document import Document, SavedView
from mechwidgets.widgets import bundles
from mechwidgets.widgets.rpc import Handler
from mechwidgets.widgets.saving import MAX_BYTES, Saved, document_html
from mechwidgets.widgets.view import View

if TYPE_CHECKING:
    pass


class DocumentView(View, kind="document"):
    """Pictures that were saved, as they were: no model is loaded, and what was recorded with them answers clicks.

    Args:
        document: what `mw.load` read.

    Attributes:
        document: the pictures with their numbers, a `mechwidgets.share.document.Document`.
        text: the same as the text of its file.
        title, model_name: "", as each picture has its own.
        views: its pictures, each a `SavedView` with `kind`, `code` (the Python that drew it), `model` and `traits` (arrays as numpy's).
    """

    text = traitlets.Unicode("").tag(sync=True)
    _kinds = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self, document: Document) -> None:
        self.document = document
        kinds = sorted({view.kind for view in document.views})
        for kind in kinds:
            bundles.script(kind)
        text = documents.to_text(document)
        super().__init__(threading.RLock(), text=text, _kinds=kinds, _bundles=bundles.bundles("document", kinds))

    @property
    def views(self) -> Sequence[SavedView]:
        """Its pictures."""
        return self.document.views

    def to_code(self) -> str:
        """The Python that drew the pictures, where their model was."""
        return "\n".join(view.code for view in self.views)

    def save(self, path: str | Path, *, bake: str | bool | Sequence[str] = False, max_bytes: int = MAX_BYTES) -> Saved:
        """Write the document again, with what was recorded.

        Raises:
            ValueError: something is to be baked, which takes the model.
        """
        self._check_bake(bake)
        documents.write(self.document, path)
        return self._saved(path, Path(path).expanduser().stat().st_size)

    def to_html(self, path: str | Path | None = None, **options: Any) -> Saved | str:
        """As `mw.to_html`, with what was recorded; `fragment`, `iframe` and `title` are its options.

        Raises:
            ValueError: something is to be baked, which takes the model.
        """
        self._check_bake(options.pop("bake", False))
        options.pop("max_bytes", None)
        text = document_html(self.document, options.pop("title", None) or self._page_title(), **options)
        if path is None:
            return text
        Path(path).expanduser().write_text(text, encoding="utf-8")
        return self._saved(path, len(text.encode("utf-8")))

    def _document(self, bake: str | bool | Sequence[str], max_bytes: int) -> Document:
        return self.document

    def _page_title(self) -> str:
        return str(self.views[0].traits.get("title") or f"Saved {self.views[0].kind}")

    def _saved(self, path: str | Path, size: int) -> Saved:
        return Saved(Path(path), size, (), tuple(one for view in self.views for one in view.left_out))

    @staticmethod
    def _check_bake(bake: str | bool | Sequence[str]) -> None:
        if bake not in (False, "auto"):
            raise ValueError("Baking takes the model, which a saved picture has not. Make the picture, and save that.")

    def _handlers(self) -> Mapping[str, Handler]:
        return {}

    def __repr__(self) -> str:
        of = {view.model["name"] for view in self.views if view.model}
        kinds = ", ".join(view.kind for view in self.views)
        return f"DocumentView({kinds}{' of ' + ', '.join(sorted(of)) if of else ''})"


def load(path: str | Path) -> DocumentView | result_file.Result:
    """Open a file that `save` wrote: pictures show themselves in a notebook, without the model; results are results again. Nothing in the file is run.

    Args:
        path: the name of a file that ends in .mw.json.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no such document, or not as it was written, or a newer mechwidgets wrote it.
    """
    kind, version, content = files.read(path)
    if kind == documents.KIND:
        return DocumentView(documents.from_document(kind, version, content))
    return result_file.from_document(kind, version, content)
