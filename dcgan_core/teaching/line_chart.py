"""Line charts as SVG text, for pages that move a mark along them; light and dark follow the page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # name -> (places, values)
Point = tuple[float, float]

WIDTH, HEIGHT = 280, 150  # of the whole chart, in units that are about a pixel
LEFT, RIGHT, TOP, BOTTOM = 46, 270, 8, 116  # of the plot


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` onto `start` to `end`; values must be positive where it is logarithmic."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self, at_most: int) -> list[float]:
        """Round values within the axis."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            if len(powers) > 1:
                return [10.0**power for power in powers][:: -(-len(powers) // at_most)]
        values = MaxNLocator(at_most, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        margin = 1e-9 * (self.high - self.low)
        return [float(value) for value in values if self.low - margin <= value <= self.high + margin]


@dataclass(frozen=True)
class Chart:
    """A drawn panel, and where its marks belong."""

    svg: str
    across: Axis
    up: Axis
    curves: dict[str, list[Point]]

    def marks(self, name: str, moments: Iterable[float]) -> list[tuple[str] | tuple[str, float, float]]:
        """For each moment the curve's last value at or before it, as text, and where the mark stands, if anywhere."""
        found = (_last_before(self.curves[name], moment) for moment in moments)
        return [
            (short(mark[1]), self.across(mark[0]), self.up(mark[1])) if mark else (short(math.nan),) for mark in found
        ]


def line_chart(
    curves: Curves, *, between: Point, moment: float, unit: str, colours: Sequence[str], logarithmic: bool
) -> Chart:
    """Draws the curves over the places `between`, marked at `moment`.

    Values that are not finite (or, on a logarithmic axis, not positive) are gaps. A linear axis includes 0.
    """
    points = {
        name: [(float(x), float(y) if not logarithmic or y > 0 else math.nan) for x, y in zip(*curve, strict=True)]
        for name, curve in curves.items()
    }
    across = Axis(*between, LEFT, RIGHT)
    up = _upward([y for curve in points.values() for _, y in curve if math.isfinite(y)], logarithmic)
    names = " and ".join(curves)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(f"Chart: {names} over {unit}.")}">'
    ]
    for value in up.ticks(4):
        y = up(value)
        parts.append(f'<path class="replay-grid" d="M{LEFT} {y}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:g}" text-anchor="end">{value:,.10g}</text>')
    for value in across.ticks(3):
        parts.append(f'<text x="{across(value)}" y="{BOTTOM + 15}" text-anchor="middle">{value:,.10g}</text>')
    parts.append(
        f'<text x="{(LEFT + RIGHT) / 2:g}" y="{BOTTOM + 29}" text-anchor="middle">{html.escape(unit)}</text>'
        f'<path class="replay-cursor" d="M0 {TOP}V{BOTTOM}" transform="translate({across(moment)} 0)"/>'
    )
    for curve, colour in zip(points.values(), colours, strict=True):
        mark = _last_before(curve, moment)
        place = f'transform="translate({across(mark[0])} {up(mark[1])})"' if mark else 'visibility="hidden"'
        parts.append(f'<g style="--line:{colour}"><path d="{_path(curve, across, up)}"/><circle r="3.5" {place}/></g>')
    return Chart("".join([*parts, "</svg>"]), across, up, points)


def _last_before(points: Sequence[Point], moment: float) -> Point | None:
    """The last measurement at or before the moment; None if there is none, or a gap."""
    before = [point for point in points if point[0] <= moment]
    return before[-1] if before and math.isfinite(before[-1][1]) else None


def _upward(values: Iterable[float], logarithmic: bool) -> Axis:
    """The axis from the bottom of the plot to its top that holds all values."""
    low, high = (float(limit) for limit in (np.min([*values]), np.max([*values]))) if [*values] else (0.1, 1.0)
    if logarithmic:
        return Axis(low / 1.2, high * 1.2, BOTTOM, TOP, logarithmic=True)
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return Axis(0.0, 1.0, BOTTOM, TOP)
    margin = 0.04 * (high - low)
    return Axis(low and low - margin, high and high + margin, BOTTOM, TOP)


def _path(points: Iterable[Point], across: Axis, up: Axis) -> str:
    """The curve in SVG's letters: M begins anew after each gap; a point alone is a line of no length, seen as a dot."""
    pieces, begins = [], True
    for x, y in points:
        if not math.isfinite(y):
            begins = True
            continue
        pieces.append(f"{'M' if begins else 'L'}{across(x)} {up(y)}{'h0' if begins else ''}")
        begins = False
    return "".join(pieces)


def short(value: float) -> str:
    """The value for a reader: whole numbers whole, others to three digits; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    if value == round(value) or abs(value) < 1e-4:
        text = f"{value:,.3g}" if value != round(value) else f"{round(value):,}"
    else:
        text = f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return text.replace("-", "−")
