"""Chapter 09, evaluation: figures, and the checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from dcgan_core.metrics import Moments, frechet_distance, precision_recall, squared_discrepancy
from dcgan_core.metrics.neighbours import distances_to_others
from dcgan_core.recorded import Recorded
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import FAKE, NEUTRAL, REAL, median_and_range

NAMES_ON_THE_LEFT = {"real", "24 letters", "6 fonts", "3 letters", "8 copies"}


def show_clouds(clouds: Mapping[str, Tensor]) -> Figure:
    """Sets of points (N, 2) side by side, on the same axes."""
    figure, panels = plt.subplots(1, len(clouds), figsize=(5.6, 2.4), sharex=True, sharey=True)
    for axes, (name, points), colour in zip(panels, clouds.items(), (REAL, FAKE, FAKE), strict=False):
        axes.plot(points[:, 0], points[:, 1], ".", color=colour, markersize=2, alpha=0.6)
        axes.set_title(name)
        axes.set_aspect("equal")
        axes.set_xlabel("feature 1")
    panels[0].set_ylabel("feature 2")
    return figure


def show_sizes(found: Mapping[str, Mapping[int, Sequence[float]]], score: str = "Fréchet distance") -> Figure:
    """A score over the number of samples: the median of the draws as a line, their range as a band."""
    figure, axes = plt.subplots(figsize=(5.4, 3.2))
    for (name, scores), colour, marker in zip(found.items(), (REAL, FAKE), "os", strict=True):
        sizes = list(scores)
        median_and_range(axes, sizes, list(scores.values()), colour=colour, marker=marker, label=name)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    if axes.dataLim.y0 >= 0:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("number of samples")
    axes.set_ylabel(score)
    axes.legend()
    return figure


def show_balls(real: Tensor, fake: Tensor, *, k: int = 3) -> Figure:
    """Points (N, 2) and the balls that reach to the k-th nearest: of the real points left, of the fake ones right."""
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 3.1), sharex=True, sharey=True)
    titles = ("precision: fakes inside", "recall: real points inside")
    for axes, title, centres, colour in zip(panels, titles, (real, fake), (REAL, FAKE), strict=True):
        for (x, y), radius in zip(centres.tolist(), distances_to_others(centres, k=k).tolist(), strict=True):
            axes.add_patch(Circle((x, y), radius, color=colour, alpha=0.16, linewidth=0))
        axes.plot(real[:, 0], real[:, 1], "o", color=REAL, markersize=4, label="real")
        axes.plot(fake[:, 0], fake[:, 1], "^", color=FAKE, markersize=4, label="fake")
        axes.set_title(title)
        axes.set_aspect("equal")
        axes.set_xlabel("feature 1")
        axes.grid(False)
    panels[0].set_ylabel("feature 2")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def show_precision_recall(found: Mapping[str, tuple[float, float]]) -> Figure:
    """Named points in the plane of precision and recall; the one named "real" is a square."""
    figure, axes = plt.subplots(figsize=(5.2, 3.9))
    for name, (precision, recall) in found.items():
        colour = REAL if name == "real" else FAKE
        axes.plot(precision, recall, "s" if name == "real" else "o", color=colour, markersize=7, clip_on=False)
        on_the_left = name in NAMES_ON_THE_LEFT
        offset = (-8 if on_the_left else 8, 0)
        side = "right" if on_the_left else "left"
        axes.annotate(name, (precision, recall), offset, textcoords="offset points", ha=side, va="center")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.06, 1.02)
    axes.set_xlabel("precision")
    axes.set_ylabel("recall")
    return figure


def show_judging(rows: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Figure:
    """A panel for each column, a row for each sort of features: the mean of shares, the lowest and the highest."""
    columns = list(next(iter(rows.values())))
    figure, grid = plt.subplots(2, -(-len(columns) // 2), figsize=(5.6, 5.6), sharex=True, sharey=True, squeeze=False)
    for axes, column in zip(grid.flat, columns, strict=True):
        for place, found in enumerate(rows.values()):
            middle, low, high = found[column]
            axes.plot([low, high], [place, place], color=NEUTRAL, linewidth=1.2)
            axes.plot(middle, place, "o", color=REAL, markersize=5)
        axes.set_title(column)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    grid[0, 0].set_yticks(range(len(rows)), list(rows))
    grid[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    grid[0, 0].set_xlim(0, 1.05)
    return figure


def show_checkpoints(runs: Sequence[Recorded]) -> Figure:
    """Fréchet distance over each recorded run, with its best evaluation marked."""
    figure, panels = plt.subplots(1, len(runs), figsize=(5.6, 3.0), sharey=True, squeeze=False)
    for axes, run in zip(panels[0], runs, strict=True):
        evaluated = [line for line in run.metrics if "frechet_distance" in line]
        images = [line["images"] / 1000 for line in evaluated]
        distances = [line["frechet_distance"] for line in evaluated]
        best = int(np.argmin(distances))
        axes.plot(images, distances, ".-", color=FAKE, markersize=4, linewidth=1.2)
        axes.plot(images[best], distances[best], "*", color=NEUTRAL, markersize=12, label="best")
        axes.plot(images[-1], distances[-1], "s", color=REAL, markersize=6, label="last")
        axes.set_yscale("log")
        axes.set_yticks([20, 30, 50, 100], ["20", "30", "50", "100"])
        axes.minorticks_off()
        axes.set_title(run.name)
        axes.set_xlabel("thousand images shown")
        axes.legend()
    panels[0][0].set_ylabel("Fréchet distance")
    return figure


@check
def check_frechet(distance: Callable[[Tensor, Tensor, Tensor, Tensor], float]) -> str:
    """Exercise 09.1: the distance of two normal distributions with independent features."""
    zero, one = torch.zeros(3), torch.ones(3)
    require(
        abs(float(distance(zero, one, zero, one))) < 1e-6,
        f"Two equal distributions have distance 0, but yours is {float(distance(zero, one, zero, one)):.3g}.",
    )
    far = float(distance(zero, one, 2 * one, one))
    require(
        abs(far - 12) < 1e-4,
        f"Three means that differ by 2, equal deviations: the distance is 3 times 2 squared, 12, but yours is "
        f"{far:.3g}. Square the differences, and add them up over the features.",
    )
    wide = float(distance(zero, one, zero, 3 * one))
    hint = " You compared variances; the formula compares standard deviations." if abs(wide - 192) < 1e-3 else ""
    require(
        abs(wide - 12) < 1e-4,
        f"Equal means, deviations 1 and 3 in three features: the distance is 12, but yours is {wide:.3g}.{hint}",
    )
    rng = torch.Generator().manual_seed(0)
    means, deviations = torch.randn(2, 5, generator=rng).double(), torch.rand(2, 5, generator=rng).double()
    known = [Moments(mean, deviation.square().diag()) for mean, deviation in zip(means, deviations, strict=True)]
    found, expected = float(distance(means[0], deviations[0], means[1], deviations[1])), frechet_distance(*known)
    require(
        abs(found - expected) < 1e-4,
        f"For random means and deviations yours is {found:.4f} and not {expected:.4f}: every feature adds the squared "
        "difference of its means and the squared difference of its standard deviations.",
    )
    return "It is `dcgan_core.metrics.frechet_distance` for covariances that are diagonal."


@check
def check_kid(kid: Callable[[Tensor, Tensor, Tensor], float]) -> str:
    """Exercise 09.2: the unbiased estimate from three matrices of kernel values."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(7, 2, generator=rng).double()
    y = torch.randn(5, 2, generator=rng).double() + 1
    kernels = [(a @ b.T / 2 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    expected, found = squared_discrepancy(x, y), float(kid(*kernels))
    with_diagonal = float(kernels[0].mean() + kernels[1].mean() - 2 * kernels[2].mean())
    means = [(k.sum() - k.trace()) for k in kernels[:2]]
    divided = float(means[0] / 49 + means[1] / 25 - 2 * kernels[2].mean())
    once = float(means[0] / 42 + means[1] / 20 - kernels[2].mean())
    hint = "add the means over pairs of different samples within x and within y, and take away twice that between them."
    if abs(found - with_diagonal) < 1e-6:
        hint = "you kept the pairs of a sample with itself, on the diagonal, which make equal sets seem to differ."
    elif abs(found - divided) < 1e-6:
        hint = "you left the diagonal out of the sums, but still divide by the number of all pairs; n (n - 1) remain."
    elif abs(found - once) < 1e-6:
        hint = "the pairs between the sets count twice, once from each side."
    require(abs(found - expected) < 1e-6, f"Yours is {found:.4f} and not {expected:.4f}: {hint}")
    return "Unbiased, even for sets of different sizes."


def good_and_bad() -> tuple[Tensor, Tensor]:
    """Exercise 09.3: 60 real points around the origin, and 40 fakes in a cluster far away."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(60, 2, generator=rng), torch.randn(40, 2, generator=rng) * 0.3 + torch.tensor([6.0, 6.0])


@check
def check_outlier(outlier: Sequence[float]) -> str:
    """Exercise 09.3: one more real point that lifts the precision of hopeless fakes to one."""
    require(len(outlier) == 2, "Give one point with two coordinates, x and y.")
    real, fake = good_and_bad()
    point = torch.tensor([[float(value) for value in outlier]])
    nearest = float((fake - point).norm(dim=1).min())
    found = precision_recall(torch.cat([real, point]), fake).precision
    hint = "its ball reaches to its third nearest real point: where must it lie so that all fakes are closer than that?"
    if float(point.norm()) < 3:
        hint = "this point lies among the other real ones, so its ball is as small as theirs."
    elif nearest < 1 and found > 0:
        hint = "nearly: a little further out its ball holds all of the fakes."
    require(found == 1, f"The precision is {found:.0%}: {hint}")
    return (
        f"One outlier among {len(real) + 1} real points has lifted the precision from 0 to {found:.0%}: its ball holds "
        "every fake. A high precision is weaker evidence than a low one."
    )


@check
def check_limit(limit: Callable[[Sequence[int], Sequence[float]], float]) -> str:
    """Exercise 09.4: from scores at several sample sizes to the score of infinitely many samples."""
    sizes = [500, 1000, 2000, 5000]
    for true, slope in ((15.0, 6000.0), (0.0, 4000.0)):
        scores = [true + slope / size for size in sizes]
        found = float(limit(sizes, scores))
        hint = "fit a straight line to the scores over 1/n. Where is n infinite on that axis?"
        if abs(found - scores[-1]) < 1e-6:
            hint = "that is the score of the largest sample, which is still too high."
        elif abs(found - float(np.mean(scores))) < 1e-6:
            hint = "the mean of biased scores is biased as well."
        elif abs(found - float(np.polyfit(sizes, scores, 1)[1])) < 1e-3:
            hint = "you fitted a line over n, and gave its value at n = 0; the scores are a line over 1/n."
        elif abs(found - slope) < 1e-3 * slope:
            hint = "that is the slope of the line; the answer is its height at 1/n = 0."
        require(
            abs(found - true) < 1e-3 * max(true, 1),
            f"For the scores {', '.join(f'{score:.1f}' for score in scores)} at n = 500 to 5,000, yours is {found:.2f} "
            f"and not {true:.2f}: {hint}",
        )
    noisy = [15.0 + 6000 / size + noise for size, noise in zip(sizes, (1.0, -1.5, 0.5, 0.8), strict=True)]
    expected, found = float(np.polyfit([1 / size for size in sizes], noisy, 1)[1]), float(limit(sizes, noisy))
    require(
        abs(found - expected) < 1e-3,
        f"Scores with noise do not lie on one line. The line of least squares ends at {expected:.2f}, and yours at "
        f"{found:.2f}: use all of the scores.",
    )
    return "The line over 1/n meets the axis at the score of infinitely many samples."
