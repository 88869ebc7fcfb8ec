"""Pages: a document of pictures with the code that draws it, in one file that asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence

# js/hosts/page.ts looks for it.
TYPE = "application/vnd.mechwidgets.views+json"

# How pictures stand in a page, on a screen and on paper.
STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
[data-document] { display: grid; gap: 16px; }
[data-document] > * { min-width: 0; }
@media print {
  :root { color-scheme: light; }
  [data-document] > * { break-inside: avoid; }
  .mechwidgets :is(.mw-menu, .mw-footer, .mw-prompt button) { display: none !important; }
}
"""
_MARGIN = "body { margin: 0; padding: 12px; }"
_NO_SCRIPT = (
    "<noscript>These pictures are drawn by the script in this page, which your browser does not run.</noscript>"
)
# An iframe has no height of its own: the page inside tells it.
_FOLLOW_HEIGHT = """
(() => {
  const frame = document.currentScript.previousElementSibling;
  addEventListener("message", ({ source, data }) => {
    if (source === frame.contentWindow && Number.isFinite(data?.mechwidgetsHeight)) {
      frame.style.height = `${Math.min(20000, Math.max(100, data.mechwidgetsHeight))}px`;
    }
  });
})();
"""
_TELL_HEIGHT = """
if (parent !== window) {
  new ResizeObserver(() => {
    parent.postMessage({ mechwidgetsHeight: document.documentElement.scrollHeight }, "*");
  }).observe(document.body);
}
"""


def fragment(text: str, scripts: Sequence[str]) -> str:
    """A part of a page.

    Args:
        text: of the document.
        scripts: that draw it, in their order.
    """
    return "\n".join([data(text), script_elements(scripts), ""])


def page(title: str, text: str, scripts: Sequence[str]) -> str:
    """A whole page. Its policy forbids it any request, eval, and every script but its own.

    Args:
        title: of the page.
        text: of the document.
        scripts: that draw it, in their order.
    """
    own = [*scripts, _TELL_HEIGHT]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy(own)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}{_MARGIN}</style>",
            "<body>",
            _NO_SCRIPT,
            data(text),
            script_elements(own),
            "</body>",
            "</html>",
            "",
        ]
    )


def iframe(whole: str, title: str, height: int = 640) -> str:
    """A page in a frame of another, where its style and scripts meet nothing of that page's; as high as its content, where scripts may run around it.

    Args:
        whole: the page.
        title: what the frame is called for readers who do not see it.
        height: until the page has told its own, in CSS pixels.
    """
    frame = (
        f'<iframe title="{html.escape(title)}" srcdoc="{html.escape(whole)}" sandbox="allow-scripts allow-downloads" '
        f'style="width: 100%; height: {height}px; border: 0; resize: vertical"></iframe>'
    )
    return f"{frame}<script>{_FOLLOW_HEIGHT}</script>\n"


def policy(scripts: Sequence[str]) -> str:
    """What a page may do whose only scripts are these: no request, no eval, no other script."""
    own = " ".join(f"'sha256-{_digest(_inline(script))}'" for script in scripts) or "'none'"
    embedded = "img-src data: blob:; media-src data: blob:; font-src data:"
    return f"default-src 'none'; script-src {own}; style-src 'unsafe-inline'; {embedded}; base-uri 'none'; form-action 'none'"


def script_elements(scripts: Sequence[str]) -> str:
    """Scripts in a page, in their order."""
    return "\n".join(f"<script>{_inline(script)}</script>" for script in scripts)


def data(text: str) -> str:
    """A document in a page; a `<` would let a token's text end the element."""
    return f'<script type="{TYPE}">{text.replace("<", chr(92) + "u003c")}</script>'


def _inline(script: str) -> str:
    """A script in a page; in JavaScript these are the same."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
