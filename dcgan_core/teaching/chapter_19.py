"""Chapter 19, which rules matter: the figures of the study, its short live form, and how its p values come about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from math import comb
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from dcgan_core.laboratory.ablation import AS_IT_IS, BASES, DATA, RECORD
from dcgan_core.laboratory.effects import Effect, groups, num_ways
from dcgan_core.laboratory.standings import holm
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.teaching.chapter_19_rules import FAMILIES, TRICKS
from dcgan_core.teaching.chapter_19_words import Found, apart, of, order, shared
from dcgan_core.teaching.plots import FAKE, NEUTRAL, REAL

Lines = list[dict[str, Any]]
MARKER = {"worse": (">", FAKE), "better": ("<", REAL), "not told apart": ("o", NEUTRAL)}
DOT: dict[str, Any] = {"linestyle": "none", "markersize": 6}  # of a legend
OF_BASE = {"paper": "s", "ours": "D"}
KERNELS = {AS_IT_IS: "kernel 4", "kernel 3": "kernel 3", "kernel 5": "kernel 5", "nearest upsampling": "nearest"}
SMALL = 10.0  # points: 9 pixels or more where a page of 390 pixels shows a figure of 5 inches, 342 wide


@cache
def recorded(path: Path = RECORD) -> Lines:
    """The runs of the study that ships with the package, or of another record."""
    return [line for line in read_lines(path) if line.get("kind") is None]


def limits(found: Found) -> tuple[float, float]:
    """Of an axis that shows all finite ratios and the finite ends of their intervals, with room at both sides."""
    ends = [end for one in found for end in (one.ratio, *one.interval) if 0 < end < math.inf]
    return min(ends, default=0.8) / 1.15, max(ends, default=1.25) * 1.15


def _draw(axes: Axes, one: Effect, height: float, span: tuple[float, float]) -> None:
    """A comparison: its mark at the ratio, a line for the interval, and a cross at the edge if runs diverged."""
    low, high = one.interval
    marker, colour = MARKER[one.verdict]
    if low > 0:
        axes.plot([min(low, span[1]), min(high, span[1])], [height] * 2, color=colour, linewidth=1.1, zorder=2)
    face = colour if one.data == "letters" else "white"
    if one.ratio < math.inf:
        axes.plot(one.ratio, height, marker, color=colour, markerfacecolor=face, markersize=5.5, zorder=3)
    if one.num_diverged:
        axes.plot(span[1], height, "x", color=colour, markersize=6, markeredgewidth=1.6, clip_on=False, zorder=4)


def _rows(
    axes: Axes,
    found: Found,
    names: Sequence[str],
    base: str,
    span: tuple[float, float],
    labels: Sequence[str] | None = None,
) -> None:
    """The comparisons of one base, a row for each name from the top; letters stand above clothes."""
    for place, name in enumerate(names):
        for one in of(found, name, base):
            _draw(axes, one, place + (-0.19 if one.data == "letters" else 0.19), span)
        if place % 2:
            axes.axhspan(place - 0.5, place + 0.5, color="#eeeeee", linewidth=0, zorder=0)
    axes.axvline(1, color="black", linewidth=1, zorder=1)
    axes.set(xscale="log", xlim=span, ylim=(len(names) - 0.4, -0.6))
    _ticks(axes, span, narrow=len(axes.figure.axes) > 1)
    axes.set_yticks(range(len(names)), labels or names, fontsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _ticks(axes: Axes, span: tuple[float, float], narrow: bool = False) -> None:
    """Round ratios on a logarithmic axis, fewer where it is long or the panel is narrow."""
    choices: tuple[tuple[float, ...], ...] = ((0.7, 1, 1.4), (0.5, 1, 2, 4), (0.2, 0.5, 1, 2, 5, 10), (0.1, 1, 10, 100))
    if narrow:
        choices = ((0.8, 1, 1.25), (0.5, 1, 2), (0.25, 1, 4), (0.1, 1, 10))
    wanted = next((ticks for ticks in choices if span[1] / span[0] < (ticks[-1] / ticks[0]) ** 2), choices[-1])
    inside = [tick for tick in wanted if span[0] <= tick <= span[1]]
    axes.set_xticks(inside, [f"×{tick:g}" for tick in inside], fontsize=SMALL)
    axes.xaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, columns: int) -> None:
    """What marks and fillings mean."""
    handles = [
        Line2D([], [], marker=marker, color=colour, label=verdict, **DOT)
        for verdict, (marker, colour) in MARKER.items()
    ]
    handles += [
        Line2D([], [], marker="s", color=NEUTRAL, label="letters", **DOT),
        Line2D([], [], marker="s", color=NEUTRAL, markerfacecolor="white", label="clothes", **DOT),
        Line2D([], [], marker="x", color=NEUTRAL, markeredgewidth=1.6, label="runs diverged", **DOT),
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, fontsize=SMALL, handletextpad=0.2, columnspacing=1
    )


def show_forest(found: Found, base: str) -> Figure:
    """All rows of a base, the largest effect on top: how many times as far from the data, with intervals."""
    names = order(found, base)
    own = [one for one in found if one.base == base]
    figure, axes = plt.subplots(figsize=(5.0, 1.2 + 0.2 * len(names)))
    _rows(axes, own, names, base, limits(own))
    axes.set_xlabel(f"distance over that of {base} (log scale)", fontsize=SMALL)
    _legend(figure, 3)
    return figure


def show_family(found: Found, family: str) -> Figure:
    """The rows of a family in both recipes side by side; a row that a recipe has no place for stays empty."""
    names = [name for name in FAMILIES[family] if of(found, name)]
    own = [one for one in found if one.change in names]
    figure, panels = plt.subplots(1, 2, figsize=(5.0, 1.35 + 0.24 * len(names)), sharey=True)
    for axes, base in zip(panels, BASES, strict=True):
        _rows(axes, own, names, base, limits(own))
        axes.set_title(base, fontsize=10)
    figure.supxlabel("distance over the base's (log scale)", fontsize=SMALL)
    _legend(figure, 3)
    return figure


def show_tricks(found: Found) -> Figure:
    """The rows that measure a trick of the list, with its number; shaded: the side on which it says they will be."""
    asked = [
        (number, change, wanted) for number, trick in enumerate(TRICKS, 1) for change, wanted in trick.rows.items()
    ]
    asked = [one for one in asked if of(found, one[1])]
    names = [change for _, change, _ in asked]
    span = limits([one for one in found if one.change in names])
    figure, panels = plt.subplots(1, 2, figsize=(5.0, 1.35 + 0.22 * len(names)), sharey=True)
    for axes, base in zip(panels, BASES, strict=True):
        _rows(axes, found, names, base, span, [f"{number}: {change}" for number, change, _ in asked])
        for place, (_, change, wanted) in enumerate(asked):
            if wanted and of(found, change, base):
                ends = (1, span[1]) if wanted == "worse" else (span[0], 1)
                axes.fill_between(ends, place - 0.45, place + 0.45, color="#fde9dc", linewidth=0, zorder=0.5)
        axes.set_title(base, fontsize=10)
    figure.supxlabel("distance over the base's (log scale)", fontsize=SMALL)
    _legend(figure, 3)
    return figure


def show_bases(found: Found) -> Figure:
    """Changes that both recipes have: the effect in each, joined; thick where the two intervals do not overlap."""
    pairs = shared(found)
    span = limits([one for pair in pairs for one in pair])
    names = list(dict.fromkeys(paper.change for paper, _ in pairs))
    names.sort(key=lambda name: -max(abs(_gap(pair)) for pair in pairs if pair[0].change == name))
    figure, panels = plt.subplots(1, 2, figsize=(5.0, 1.2 + 0.2 * len(names)), sharey=True)
    for axes, data in zip(panels, DATA, strict=True):
        for pair in (one for one in pairs if one[0].data == data):
            height, differ = names.index(pair[0].change), apart(pair[0].interval, pair[1].interval)
            ends = [min(one.ratio, span[1]) for one in pair]
            axes.plot(ends, [height] * 2, color=FAKE if differ else "#cccccc", linewidth=3 if differ else 1.2, zorder=1)
            for one, end in zip(pair, ends, strict=True):
                colour = REAL if one.base == "paper" else FAKE
                axes.plot(end, height, OF_BASE[one.base], color=colour, markersize=4.5, clip_on=False, zorder=2)
        axes.axvline(1, color="black", linewidth=1, zorder=0)
        axes.set(title=data, xscale="log", xlim=span, ylim=(len(names) - 0.4, -0.6))
        _ticks(axes, span, narrow=True)
        axes.set_yticks(range(len(names)), names, fontsize=SMALL)
        axes.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], marker=OF_BASE["paper"], color=REAL, label="in paper", **DOT),
        Line2D([], [], marker=OF_BASE["ours"], color=FAKE, label="in ours", **DOT),
        Line2D([], [], color=FAKE, linewidth=3, label="intervals apart"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=SMALL, columnspacing=1)
    figure.supxlabel("distance over the base's (log scale)", fontsize=SMALL)
    return figure


def _gap(pair: tuple[Effect, Effect]) -> float:
    """Logarithm of how many times as large the effect is in one recipe as in the other."""
    if all(math.isinf(one.ratio) for one in pair):
        return 0.0
    return math.log(pair[0].ratio) - math.log(pair[1].ratio)


def checkered(lines: Lines) -> dict[tuple[str, str, str], list[float]]:
    """Share of the samples' energy in the checkerboard at the end of each run, by base, data and way of upsampling."""
    return {
        (base, data, KERNELS[change]): [run["checkered"][-1] for run in runs if run["checkered"][-1] is not None]
        for (base, change, data), runs in groups(lines).items()
        if change in KERNELS
    }


def show_checkered(lines: Lines, real: Mapping[str, float]) -> Figure:
    """A dot for each run, a bar at the median; dotted: real images of a data set, where they are given."""
    found = checkered(lines)
    rows = [(base, kernel) for base in BASES for kernel in KERNELS.values()]
    figure, panels = plt.subplots(1, 2, figsize=(5.0, 3.3), sharey=True, sharex=True)
    for axes, data in zip(panels, DATA, strict=True):
        for place, (base, kernel) in enumerate(rows):
            runs = found.get((base, data, kernel), [])
            colour = REAL if base == "paper" else FAKE
            axes.plot(runs, [place] * len(runs), OF_BASE[base], color=colour, markersize=4, alpha=0.6)
            if runs:
                axes.plot([np.median(runs)] * 2, [place - 0.35, place + 0.35], color="black", linewidth=1.6)
        if data in real:
            axes.axvline(real[data], color=NEUTRAL, linestyle=":", linewidth=1.6)
        axes.set(title=data, xscale="log")
        axes.set_yticks(range(len(rows)), [f"{base}, {kernel}" for base, kernel in rows], fontsize=SMALL)
    panels[0].invert_yaxis()
    figure.supxlabel("share of the energy that is checkerboard (log scale)", fontsize=SMALL)
    return figure


def distances(lines: Lines, base: str, change: str, data: str) -> list[float]:
    """The last distance of each run of a row, or of a base; infinite if it diverged."""
    return [run["distance"][-1] or math.inf for run in groups(lines).get((base, change, data), [])]


def null_ps(num_rows: int, num: int, num_others: int, seed: int, num_groups: int = 4) -> NDArray[np.float64]:
    """P values of rows that change nothing: all runs come from one distribution.

    As in the study, the rows of a group (a base on a data set) are compared with the same `num_others` runs.
    """
    rng, found = np.random.default_rng(seed), []
    below = np.cumsum(np.asarray(num_ways(num, num_others), dtype=float)) / comb(num + num_others, num)
    p_of = np.minimum(1.0, 2 * np.minimum(below, below[::-1]))  # of each number of pairs in which the row is larger
    for part in np.array_split(np.arange(num_rows), num_groups):
        own, others = rng.standard_normal((len(part), num, 1)), rng.standard_normal(num_others)
        found.append(p_of[(own > others).sum(axis=(1, 2))])
    return np.concatenate(found)


def false_alarms(
    num_studies: int, num_rows: int, num: int, num_others: int, level: float = 0.05
) -> tuple[float, float]:
    """In studies of rows that change nothing: mean number of p values below `level`, and share of studies in which
    Holm's correction leaves any.
    """
    ps = [null_ps(num_rows, num, num_others, seed) for seed in range(num_studies)]
    raw = float(np.mean([(each <= level).sum() for each in ps]))
    return raw, float(np.mean([min(holm(each.tolist())) <= level for each in ps]))


def show_null(ps: NDArray[np.float64], level: float = 0.05) -> Figure:
    """P values of one study of rows that change nothing, sorted, as they are and after Holm's correction."""
    figure, axes = plt.subplots(figsize=(5.0, 2.8))
    places = np.arange(1, len(ps) + 1)
    axes.plot(places, np.sort(ps), "o", color=NEUTRAL, markersize=3.5, label="as they are")
    axes.plot(places, sorted(holm(ps.tolist())), "^", color=REAL, markersize=3.5, label="after Holm's correction")
    axes.axhline(level, color=FAKE, linewidth=1.4)
    axes.annotate(f"{level:g}", (len(ps), level), color=FAKE, va="bottom", ha="right", fontsize=SMALL)
    axes.set(xlabel="rows that change nothing, sorted", ylabel="p value (log scale)", yscale="log")
    axes.legend(fontsize=SMALL, loc="lower right")
    return figure
