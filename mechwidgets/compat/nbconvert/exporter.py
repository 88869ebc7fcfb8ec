"""The exporter: an executed notebook as one interactive page that asks no network for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from traitlets import default

from mechwidgets.compat.nbconvert.mathematics import formula, text_with_formulas
from mechwidgets.compat.nbconvert.outputs import OutputsPreprocessor
from mechwidgets.share import html
from mechwidgets.widgets.display_mode import kernels_begin_with

_TEMPLATES = Path(__file__).parent / "templates"
# Those of Pygments that are read well on white, and on nearly black.
_LIGHT, _DARK = "default", "monokai"


class MechwidgetsHTMLExporter(HTMLExporter):  # type: ignore[misc]
    """`jupyter nbconvert --to mechwidgets_html lesson.ipynb`: one page, whose pictures answer what was baked.

    Pictures are drawn from the documents in their outputs (`mw.display_mode("both")`; `--execute` runs the notebook so), linked as in the notebook,
    with one copy of their code. The page's own policy forbids it any request, and any script but those of the pictures.
    """

    export_from_notebook = "mechwidgets page"

    def __init__(self, config: Any = None, **options: Any) -> None:
        super().__init__(config=config, **options)
        # the last: behind the one that executes
        self.register_preprocessor(OutputsPreprocessor, enabled=True)

    @default("template_name")
    def _template_name_default(self) -> str:
        return "mechwidgets"

    @default("extra_template_basedirs")
    def _default_extra_template_basedirs(self) -> list[str]:
        return [str(_TEMPLATES)]

    @default("embed_images")
    def _embed_images_default(self) -> bool:
        return True

    def default_filters(self) -> Any:
        """nbconvert's, and ours for LaTeX."""
        yield from super().default_filters()
        yield "latex2html", text_with_formulas

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Markdown as HTML, its formulas as MathML."""
        renderer = _Renderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            embed_images=self.embed_images,
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
            anchor_link_text=self.anchor_link_text,
            exclude_anchor_links=self.exclude_anchor_links,
            **self.lexer_options,
        )
        return str(MarkdownWithMath(renderer=renderer).render(source))

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page, and nbconvert's resources."""
        with kernels_begin_with("both"):
            page, resources = super().from_notebook_node(nb, resources, **options)
        return resources.pop("mechwidgets").put_into(page), resources

    def _init_resources(self, resources: Any) -> Any:
        resources = super()._init_resources(resources)
        resources["mechwidgets_style"] = _style()
        return resources


class _Renderer(IPythonRenderer):  # type: ignore[misc]
    def inline_math(self, body: str) -> str:
        return formula(body, f"${body}$", display=False)

    def block_math(self, body: str) -> str:
        return formula(body, f"$${body}$$", display=True)

    def latex_environment(self, name: str, body: str) -> str:
        source = f"\\begin{{{name}}}{body}\\end{{{name}}}"
        return formula(source, source, display=True)


def _style() -> str:
    own = (_TEMPLATES / "mechwidgets" / "style.css").read_text(encoding="utf-8")
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in (_LIGHT, _DARK))
    return f"{html.STYLE}\n{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"
