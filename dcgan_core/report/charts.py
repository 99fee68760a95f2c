"""Curves over the images seen, as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup, escape

Curve = tuple[Sequence[float], Sequence[float]]  # places and values
INK, GRID, LINES = "#010203", "#010204", ("#010205", "#010206")  # stand for the page's colours, in this order
VARIABLES = {INK: "--ink", GRID: "--line", LINES[0]: "--first", LINES[1]: "--second"}
INCHES = (3.5, 2.2)


def chart(curves: Mapping[str, Curve], *, title: str, logarithmic: bool = False, level: float | None = None) -> Markup:
    """One panel with up to two curves, and a horizontal line at `level`.

    `logarithmic` is for values of more than one power of ten. Text stays text, and takes the page's font.
    """
    from matplotlib.figure import Figure  # here: only a report needs it, and its import takes half a second
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 9, "axes.linewidth": 0.6}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.subplots()
        for (name, (places, values)), colour, style in zip(curves.items(), LINES, ("-", "--"), strict=False):
            mark = "o" if len(places) < 15 else None
            axes.plot(places, values, style, color=colour, linewidth=1.6, label=name, marker=mark, markersize=3)
        if level is not None:
            axes.axhline(level, color=INK, linewidth=0.7, linestyle=":")
        positive = [value for _, values in curves.values() for value in values if value > 0]
        if logarithmic and positive and max(positive) > 10 * min(positive):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            lowest = min(value for _, values in curves.values() for value in values)
            axes.set_ylim(bottom=0 if lowest >= 0 else None)  # a critic's loss is negative
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(short))
        axes.set_xlabel("images seen", color=INK)
        axes.grid(color=GRID, linewidth=0.6)
        axes.tick_params(which="both", colors=INK, length=0)
        axes.spines[:].set_color(GRID)
        if len(curves) > 1:
            axes.legend(frameon=False, labelcolor=INK, fontsize=8)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_the_page(drawn.getvalue(), title)


def short(value: float, _: object = None) -> str:
    """A number of images as on a scale: 40k, 1.2M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _for_the_page(svg: str, title: str) -> Markup:
    """The picture without its head, in the page's colours and font, and with a name for those who hear it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)  # other charts have it, too
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    name = escape(f"Chart: {title}, over the images seen.")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{name}"', 1))
