"""The outputs of a notebook as a page without a kernel has them: documents are drawn, and what cannot be is said."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_output

from mechwidgets.share import document as documents
from mechwidgets.share import html
from mechwidgets.widgets import bundles

WIDGET = "application/vnd.jupyter.widget-view+json"
JAVASCRIPT = "application/javascript"
NEEDS_KERNEL = "This is a widget that needs a running kernel."
NO_SCRIPTS = "The scripts of this output do not run in this page."
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)


@dataclass
class Pictures:
    """The documents of a page.

    Attributes:
        kinds: of the pictures in them, for which the page has the code.
        elements: what stands for each in the page, by the mark that stands there while the page is made.
        widgets: how many there are that no document stands for.
    """

    kinds: set[str] = field(default_factory=set)
    elements: dict[str, str] = field(default_factory=dict)
    widgets: int = 0
    # nobody who writes a notebook knows it
    _secret: str = field(default_factory=lambda: secrets.token_hex(16))

    def keep(self, given: Any, text: str) -> str:
        """The mark of a document.

        Args:
            given: what the output has.
            text: what it says to those who see no pictures.

        Raises:
            ValueError: it is no document that can be drawn.
        """
        whole = given if isinstance(given, str) else json.dumps(given, separators=(",", ":"))
        kinds = {view.kind for view in documents.from_text(whole.encode("utf-8"), "The document").views}
        if unknown := kinds - set(bundles.kinds()):
            raise ValueError(
                f"It has pictures of a kind that this mechwidgets does not draw: {', '.join(sorted(unknown))}."
            )
        self.kinds |= kinds
        mark = f"{self._secret}-{len(self.elements)}-"
        self.elements[mark] = f"<noscript><pre>{escape(text)}</pre></noscript>{html.data(whole)}"
        return mark

    @property
    def scripts_mark(self) -> str:
        """What stands for the code of the page."""
        return f"{self._secret}-scripts-"

    def policy(self) -> str:
        """Of the page: its code may run, nothing else."""
        return html.policy(self._scripts())

    def put_into(self, page: str) -> str:
        """The page with the documents and the code where their marks are: byte for byte, as the policy has a hash of the code."""
        elements = {**self.elements, self.scripts_mark: html.script_elements(self._scripts())}
        return re.sub(f"{self._secret}-[a-z0-9]+-", lambda found: elements[found[0]], page)

    def _scripts(self) -> list[str]:
        return bundles.page_scripts(self.kinds) if self.elements else []


class OutputsPreprocessor(Preprocessor):  # type: ignore[misc]
    """Leaves in each output what a page without a kernel can show, and puts the Pictures into `resources["mechwidgets"]`."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Change the notebook, which is the exporter's own copy."""
        pictures = resources["mechwidgets"] = Pictures()
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = [one for output in cell.outputs for one in _outputs(output, pictures)]
        # the states of widgets, with the code of each
        nb.metadata.pop("widgets", None)
        if pictures.widgets:
            self.log.warning(
                "%d widgets need a kernel, so the page has their text. For pictures of mechwidgets, run the notebook again with "
                '--execute, or with mw.display_mode("both") in its first cell.',
                pictures.widgets,
            )
        return nb, resources


def _outputs(output: NotebookNode, pictures: Pictures) -> Iterator[NotebookNode]:
    if "data" not in output:
        yield output
        return
    data = dict(output.data)
    note = _make_static(data, pictures)
    if data:
        output.data = from_dict(data)
        yield output
    if note:
        yield new_output("display_data", {"text/html": f'<p class="mw-note">{escape(note)}</p>'})


def _make_static(data: dict[str, Any], pictures: Pictures) -> str | None:
    """Leave what the page shows of an output; returns what is to be said of the rest."""
    given, widget, script = (data.pop(name, None) for name in (html.TYPE, WIDGET, JAVASCRIPT))
    if given is not None:
        # the same pictures, each with a page around it
        data.pop("text/html", None)
        try:
            data["text/html"] = pictures.keep(given, _joined(data.get("text/plain", "")))
        except ValueError as error:
            return f"The pictures of this output cannot be drawn. {error}"
        return None
    if widget is not None:
        pictures.widgets += 1
        return NEEDS_KERNEL
    if script is not None or _SCRIPT.search(_joined(data.get("text/html", ""))):
        return NO_SCRIPTS
    return None


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
