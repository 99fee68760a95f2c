"""Chapter 21, further figures: creeping inwards, conventions of R1, arrangements of fakes, costs, long runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, NEUTRAL, REAL

Arrangement = tuple[int | None, ...]  # of n fakes, the real point on which each lies, or None


def show_creeping(path: Tensor, rate: float) -> Figure:
    """One over the squared distance of a path (T, 2) over time, beside a line that rises by 1/8 per unit of time."""
    time, inverse = rate * np.arange(len(path)), 1 / path.square().sum(dim=1).numpy()
    figure, axes = plt.subplots(figsize=(5.4, 2.6))
    axes.plot(time, inverse, color=REAL, linewidth=1.2, label="the players, in turns")
    axes.plot(time, inverse[0] + time / 8, "--", color=NEUTRAL, label="rises by 1/8 per unit of time")
    axes.set(xlabel="time (updates times the learning rate)", ylabel=r"$1 / r^2$")
    axes.legend(loc="upper left")
    return figure


def show_derivatives(measured: Tensor, by_autograd: Tensor) -> Figure:
    """Derivatives of a penalty by each weight, measured and by autograd, and those without a graph: zero."""
    figure, axes = plt.subplots(figsize=(5.2, 3.0))
    across, up = measured.flatten().numpy(), by_autograd.flatten().numpy()
    axes.plot(across, up, ".", color=REAL, label="with create_graph")
    axes.plot(across, np.zeros_like(across), "o", color="white", markeredgecolor="#bbbbbb", zorder=0, label="without")
    axes.set(xlabel="measured, by moving the weight", ylabel="by autograd")
    axes.legend(loc="upper left")
    return figure


def show_conventions(
    factor: Mapping[str, float], quoted: Mapping[tuple[str, str], float], names: Mapping[str, str]
) -> Figure:
    """Above, what a weight of 1 means here in each convention; below, quoted weights and what they are here.

    `quoted` has the number by convention and place; `names` has a shorter name for each convention.
    """
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(5.6, 1.6 + 0.3 * (len(factor) + len(quoted))), height_ratios=(len(factor), len(quoted))
    )
    for row, value in enumerate(factor.values()):
        above.plot(value, row, "o", color=DISCRIMINATOR)
        above.annotate(f"{value:.3g}", (value, row), (7, 0), textcoords="offset points", va="center", fontsize=10)
    above.axvline(1, color=NEUTRAL, linestyle=":", linewidth=1.2)
    above.set_yticks(range(len(factor)), [names[name] for name in factor])
    above.set(title="a weight of 1 there, here", xlim=(2e-4, 8))
    for row, ((convention, _), number) in enumerate(quoted.items()):
        here = number * factor[convention]
        below.plot([number, here], [row, row], color=NEUTRAL, linewidth=1)
        below.plot(
            number, row, "o", color="white", markeredgecolor=FAKE, markersize=9, label="as quoted" if row == 0 else None
        )
        below.plot(here, row, "o", color=FAKE, markersize=4, label="here" if row == 0 else None)
    below.set_yticks(range(len(quoted)), [place for _, place in quoted])
    below.set_xlabel(r"$\gamma$ (log scale)")
    below.legend(loc="upper left")
    for axes, rows in ((above, factor), (below, quoted)):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=20))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(len(rows) - 0.5, -0.5)
    return figure


def on_loops(where: Arrangement) -> list[bool]:
    """Whether the arrow from each point to the real point on which its fake lies is part of a closed loop."""
    found = []
    for first in range(len(where)):
        place = where[first]
        for _ in where:
            if place is None or place == first:
                break
            place = where[place]
        found.append(place == first)
    return found


def show_arrangements(cases: Mapping[str, Arrangement], values: Mapping[str, Callable[[Arrangement], float]]) -> Figure:
    """Arrows from each real point i to the one on which fake i lies, those on closed loops in colour, and the values.

    `cases` has where the fakes lie, `values` what an arrangement is worth, both by name.
    """
    figure, grid = plt.subplots(2, -(-len(cases) // 2), figsize=(5.6, 6.0))
    for axes, (name, where) in zip(grid.flat, cases.items(), strict=True):
        angles = [math.pi / 2 - 2 * math.pi * i / len(where) for i in range(len(where))]
        spots = [(math.cos(angle), math.sin(angle)) for angle in angles]
        for start, (goal, closed) in enumerate(zip(where, on_loops(where), strict=True)):
            colour, width = (DISCRIMINATOR, 2.2) if closed else ("#bbbbbb", 1.4)
            arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 11, "shrinkB": 11}
            if goal is None:
                axes.text(*(1.4 * np.array(spots[start])), "nowhere", ha="center", va="center", color=NEUTRAL)
            elif goal == start:
                x, y = 1.32 * np.array(spots[start])
                axes.add_patch(Circle((x, y), 0.2, fill=False, color=colour, linewidth=width))
            else:
                axes.annotate("", spots[goal], spots[start], arrowprops=arrow | {"connectionstyle": "arc3,rad=0.18"})
        for number, spot in enumerate(spots):
            axes.plot(*spot, "o", color="white", markeredgecolor=REAL, markeredgewidth=2, markersize=18)
            axes.text(*spot, str(number + 1), ha="center", va="center_baseline")
        worth = "\n".join(f"{kind} {value(where):.2f}" for kind, value in values.items())
        axes.set_title(f"{name}\n{worth}")
        axes.set(xlim=(-1.5, 1.5), ylim=(-1.6, 1.7), aspect="equal")
        axes.set_axis_off()
    return figure


def show_costs(counts: Mapping[str, int], timed: Mapping[str, Sequence[float]]) -> Figure:
    """Operations of an iteration on each rung as multiples of the first (bars), and times (middle, low, high)."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(5.6, 1.7 + 0.26 * len(counts) + 0.3 * len(timed)), height_ratios=(len(counts), 1.2 * len(timed))
    )
    base = next(iter(counts.values()))
    above.barh(range(len(counts)), [count / base for count in counts.values()], color=EXTRA[2], height=0.6)
    for row, count in enumerate(counts.values()):
        above.text(count / base, row, f" {count / base:.2f}", va="center", fontsize=10)
    above.set_yticks(range(len(counts)), list(counts))
    above.set_xlabel("operations, as multiples of the paper's")
    for row, (middle, low, high) in enumerate(timed.values()):
        below.plot([low, high], [row, row], color=FAKE)
        below.plot(middle, row, "o", color=FAKE)
        below.annotate(f"{middle:.2f}", (middle, row), (0, 7), textcoords="offset points", ha="center", fontsize=10)
    below.set_yticks(range(len(timed)), list(timed))
    below.set_xlabel("time, as multiples of that with batch norm in D")
    for axes, rows in ((above, counts), (below, timed)):
        axes.set_axisbelow(True)
        axes.set_xlim(0, max(2.0, 1.15 * max(count / base for count in counts.values())))
        axes.set_ylim(len(rows) - 0.5, -0.7)
    return figure


def show_long_runs(rows: Mapping[str, Mapping[int, Sequence[float]]]) -> Figure:
    """The Fréchet distance of each run of each row after so many images; the latest in the strongest colour."""
    figure, axes = plt.subplots(figsize=(5.6, 0.9 + 0.4 * len(rows)))
    moments = sorted({images for row in rows.values() for images in row})
    for images, colour, shift in zip(moments, (EXTRA[2], REAL), (-0.12, 0.12), strict=True):
        points = [(found, place + shift) for place, row in enumerate(rows.values()) for found in row[images]]
        alone = [(row[images][0], place + shift) for place, row in enumerate(rows.values()) if len(row[images]) == 1]
        axes.plot(*zip(*points, strict=True), "o", color=colour, label=f"{images:,} images")
        for found, place in alone:
            axes.annotate(f"{found:.0f}", (found, place), (7, 0), textcoords="offset points", va="center", fontsize=10)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("Fréchet distance, letters")
    axes.legend(loc="lower right")
    return figure
