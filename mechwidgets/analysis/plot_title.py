"""Titles of figures: broken into lines that fit, as a heatmap of few columns is narrower than what it is called."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from matplotlib.font_manager import FontProperties

from mechwidgets.analysis.plot_panel import FONT, INK

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

LINE_SPACING = 1.3
POINTS = 72
# Inches that stay free at the right.
EDGE = 0.06


def set_title(figure: Figure, axes: list[Any], said: str) -> None:
    """Write a title over a figure of ours, broken where it would be cut, and make room for its lines.

    Args:
        figure: whose layout is known once it has been drawn.
        axes: of its panels; over a single one the title stands at its left edge, otherwise at the figure's.
        said: the title, with line breaks.
    """
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    alone = len(axes) == 1
    left = axes[0].get_position().x0 * width if alone else 0.02 * width
    lines = said.split("\n")
    broken = [part for line in lines for part in _broken(line, width - left - EDGE, _measure(figure))]
    figure.set_size_inches(width, height + (len(broken) - len(lines)) * FONT * LINE_SPACING / POINTS)
    style: dict[str, Any] = {"fontsize": FONT, "color": INK, "parse_math": False, "linespacing": LINE_SPACING}
    if alone:
        axes[0].set_title("\n".join(broken), loc="left", **style)
    else:
        figure.suptitle("\n".join(broken), x=0.02, ha="left", **style)


def _measure(figure: Figure) -> Callable[[str], float]:
    """How wide a text is, in inches."""
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    font = FontProperties(size=FONT)
    return lambda text: renderer.get_text_width_height_descent(text, font, False)[0] / figure.dpi


def _broken(line: str, room: float, measure: Callable[[str], float]) -> list[str]:
    """A line as several that have room, broken at spaces, or inside what has none and is too long."""
    done, current = [], ""
    for part in _parts(line, room, measure):
        if current.strip() and measure((current + part).rstrip()) > room:
            done.append(current.rstrip())
            current = part.lstrip()
        else:
            current += part
    return [*done, current]


def _parts(line: str, room: float, measure: Callable[[str], float]) -> list[str]:
    """Words and the spaces between them; what is longer than a line, character by character."""
    words = ["".join(characters) for _, characters in groupby(line, key=str.isspace)]
    return [part for word in words for part in ([word] if measure(word) <= room else list(word))]
