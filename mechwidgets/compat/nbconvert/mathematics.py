"""LaTeX as MathML, which browsers draw by themselves; what cannot be turned into it stays as its source."""

from __future__ import annotations

import re
from html import escape, unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Longer than any formula; the time that turning one takes grows with it.
MOST_CHARACTERS = 5_000

_TAG = re.compile(
    "math|m(row|i|n|o|s|text|space|frac|sqrt|root|style|padded|phantom|enclose|sub|sup|subsup|under|over|underover|table|tr|td)"
)
# Those with a fixed number of parts: fewer mean that the source was cut off.
_PARTS = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3, "munderover": 3}
_ATTRIBUTE = re.compile(
    "xmlns|display|displaystyle|scriptlevel|mathvariant|mathcolor|mathbackground|stretchy|fence|form|separator|symmetric|accent|accentunder|"
    "movablelimits|largeop|minsize|maxsize|[lr]space|width|height|depth|voffset|linethickness|notation|(column|row)(align|lines|spacing)|"
    "equal(rows|columns)"
)
# Numbers of equations and marks to refer to them: notebooks draw neither.
_UNSEEN = re.compile(r"\\label\{[^{}]*\}|\\(?:nonumber|notag)(?![a-zA-Z])")
_WRAPPED = re.compile(r"\\(begin|end)\{(equation|displaymath|math)\*?\}")
_ALIGNED = re.compile(r"\\(begin|end)\{(?:align|aligned|split|eqnarray)\*?\}")
_FORMULA = re.compile(
    r"(?<!\\)\$\$(?P<display>.+?)(?<!\\)\$\$"
    r"|\\\[(?P<bracket>.+?)\\\]"
    r"|(?P<environment>\\begin\{(?P<name>[a-z]+\*?)\}.*?\\end\{(?P=name)\})"
    r"|(?<![\\$])\$(?P<inline>[^$]+?)(?<!\\)\$"
    r"|\\\((?P<paren>.+?)\\\)",
    re.DOTALL,
)


class _NotTurnedError(ValueError):
    pass


def formula(tex: str, source: str, display: bool) -> str:
    """A formula in HTML: MathML, or else its source.

    Args:
        tex: without its delimiters.
        source: what stays where it cannot be turned.
        display: whether it stands in a line of its own.
    """
    try:
        return _mathml(tex, display)
    except _NotTurnedError:
        kind = "mw-tex mw-display" if display else "mw-tex"
        return f'<code class="{kind}">{escape(source)}</code>'


def text_with_formulas(text: str) -> str:
    r"""Text in HTML, with what stands in it between $ or $$, \( or \[, or in an environment, as formulas."""
    parts, at = [], 0
    for found in _FORMULA.finditer(text):
        parts.append(escape(text[at : found.start()]))
        inline = found["inline"] or found["paren"]
        tex = inline or found["display"] or found["bracket"] or found["environment"]
        # as sympy and IPython.display.Math write what stands in a line of its own
        shown = r"\displaystyle" in tex[:20] and found.span() == (0, len(text.strip()))
        parts.append(formula(tex, found[0], inline is None or shown))
        at = found.end()
    return "".join([*parts, escape(text[at:])])


def _mathml(tex: str, display: bool) -> str:
    from latex2mathml.converter import convert_to_element

    cleaned = _ALIGNED.sub(r"\\\1{align*}", _WRAPPED.sub("", _UNSEEN.sub("", tex))).strip()
    if not cleaned or len(cleaned) > MOST_CHARACTERS or not _balanced(cleaned):
        raise _NotTurnedError
    try:
        element = convert_to_element(cleaned, display="block" if display else "inline")
        made = _written(element)
    except Exception as error:  # it raises all kinds on what is no LaTeX
        raise _NotTurnedError from error
    if not any(part.text for part in element.iter()):
        raise _NotTurnedError
    return made


def _balanced(tex: str) -> bool:
    depth = 0
    for brace in re.findall(r"\\.|[{}]", tex, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return False
    return depth == 0


def _written(element: Element) -> str:
    """As HTML. latex2mathml's own text has entities in it, and `<` as it is."""
    if not _TAG.fullmatch(element.tag) or not all(map(_ATTRIBUTE.fullmatch, element.attrib)):
        raise _NotTurnedError
    if len(element) != _PARTS.get(element.tag, len(element)):
        raise _NotTurnedError
    text = unescape(element.text or "")
    # a command that it does not know, and a separator of columns outside of a table
    if element.tag in ("mi", "mo") and (text == "&" or (text.startswith("\\") and len(text) > 1)):
        raise _NotTurnedError
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in element.attrib.items())
    return f"<{element.tag}{attributes}>{escape(text)}{''.join(map(_written, element))}</{element.tag}>"
