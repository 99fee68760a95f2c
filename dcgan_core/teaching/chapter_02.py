"""Chapter 02, generative models: its figures on a line, and checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from scipy.stats import kstest, norm
from torch import Tensor

from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import EXTRA, FAKE, NEUTRAL, REAL


def plot_samples(points: Tensor, *, axes: Axes | None = None, colour: str = FAKE, label: str | None = None) -> Axes:
    """A histogram of numbers (N,) between -5 and 6, on the scale of a density."""
    if axes is None:
        _, axes = plt.subplots(figsize=(5.2, 2.6))
    bins = np.linspace(-5, 6, 67)
    counts = np.histogram(points.numpy(), bins)[0]
    density = counts / len(points) / (bins[1] - bins[0])  # what lies outside still counts as sampled
    axes.stairs(density, bins, fill=True, color=colour, alpha=0.45, label=label)
    axes.set(xlabel="x (no unit)", ylabel="density", xlim=(-5, 6), ylim=(0, 0.6))
    return axes


def plot_side_by_side(
    samples: Sequence[Tensor], density: Callable[[Tensor], Tensor], notes: Sequence[str] = ()
) -> None:
    """Histograms of several samples (N,), one below the other, each under the true density; `notes` are titles."""
    height = 1.35 if notes else 1.05
    _, rows = plt.subplots(len(samples), figsize=(5.2, height * len(samples) + 0.6), sharex=True, sharey=True)
    line = torch.linspace(-5, 6, 400)
    for number, (points, axes) in enumerate(zip(samples, np.atleast_1d(rows), strict=True)):
        plot_samples(points, axes=axes)
        axes.plot(line, density(line), color=REAL, linewidth=1.4)
        axes.set(ylabel="" if notes else f"pair {number}", xlabel="", yticks=[])
        if notes:
            axes.set_title(notes[number], fontsize=10)
    bars = [axes.patches[0].get_data().values for axes in np.atleast_1d(rows)]
    axes.set_ylim(0, 1.05 * np.max(bars))  # of all panels: no bar is cut off
    axes.set_xlabel("x (no unit); each height is a density")


def plot_over(
    amounts: Sequence[float],
    results: Mapping[str, np.ndarray],
    *,
    xlabel: str,
    ylabel: str,
    colours: Sequence[str] = (REAL, FAKE, *EXTRA),
) -> Axes:
    """Median and range over the seeds of results (amounts, seeds) as lines with bars."""
    _, axes = plt.subplots(figsize=(5.2, 3.0))
    for (name, values), marker, colour in zip(results.items(), "os^", colours, strict=False):
        middle = np.median(values, axis=1)
        spread = [middle - values.min(axis=1), values.max(axis=1) - middle]
        axes.errorbar(amounts, middle, yerr=spread, marker=marker, capsize=3, color=colour, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return axes


def mark_level(axes: Axes, height: float, text: str) -> None:
    """A dotted horizontal line, with its meaning in the legend."""
    axes.axhline(height, color=NEUTRAL, linestyle=":", linewidth=1.2, label=text)


@check
def check_log_likelihood(log_likelihood: Callable[[np.ndarray, float, float], float]) -> str:
    """Exercise 02.1: the mean log density of points under a normal distribution."""
    points = np.array([-1.0, 0.5, 2.0, 3.5])
    right = norm(1.0, 2.0).logpdf(points)
    value = float(log_likelihood(points, 1.0, 2.0))
    require(
        abs(value - right.sum()) > 1e-6,
        "That is the sum over the points: it grows with the size of the sample, so divide by the number of points.",
    )
    require(
        abs(value + np.mean((points - 1) ** 2) / 8) > 1e-6,
        "Your density does not integrate to 1: the normalising constant is missing, and a wider Gaussian would always "
        "win.",
    )
    require(
        abs(value - norm(1.0, np.sqrt(2.0)).logpdf(points).mean()) > 1e-6,
        "You used the third argument as a variance, but it is the standard deviation.",
    )
    require(abs(value - np.exp(right.mean())) > 1e-6, "That is a density; the log likelihood is its logarithm.")
    require(
        abs(value - right.mean()) < 1e-6,
        f"For the points {points} under N(1, 2^2) it is {right.mean():.4f} nats; yours is {value:.4f}.",
    )
    with np.errstate(divide="ignore"):
        far = float(log_likelihood(np.array([100.0]), 0.0, 1.0))
    require(
        np.isfinite(far),
        f"At 100 standard deviations yours is {far}: the density itself underflows to 0, so never leave the logarithm.",
    )
    return "It is per point and in nats, so samples of different sizes can be compared."


@check
def check_divergence(divergence: Callable[[np.ndarray, np.ndarray], float]) -> str:
    """Exercise 02.2: KL(p || q) of two lists of probabilities, with zeros."""
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5])
    with np.errstate(all="ignore"):
        value = float(divergence(p, q))
        require(
            not np.isnan(value),
            "Yours is nan, because 0 log 0 came out as nan: where p is 0 the term is 0, so leave it out.",
        )
        require(np.isfinite(value), "KL(p || q) is finite here. You have swapped p and q: weigh by p, and divide by q.")
        require(
            abs(value + np.log(2)) > 1e-9, "Yours is negative, and no divergence is. The fraction is upside down: p/q."
        )
        require(abs(value - 1) > 1e-9, "That is in bits; this book measures in nats, with the natural logarithm.")
        require(abs(value - np.log(2)) < 1e-9, f"For p = {p} and q = {q} it is log 2 = 0.693; yours is {value:.3f}.")
        reverse = float(divergence(q, p))
    require(
        np.isinf(reverse) and reverse > 0,
        f"Where q is 0 and p is not, KL(p || q) is infinite; yours is {reverse:g}. A model that rules out what "
        "happens is infinitely wrong.",
    )
    return "One direction is log 2, the other infinite: it is no distance, and the order matters."


@check
def check_distance(distance: Callable[[np.ndarray, np.ndarray], float]) -> str:
    """Exercise 02.3: the Wasserstein-1 distance of two samples of equal size on a line."""
    a, b = np.array([0.0, 10.0, 1.0]), np.array([10.0, 1.0, 0.0])
    value = float(distance(a, b))
    require(
        abs(value - 20 / 3) > 1e-9,
        "You paired the points in the order in which they were drawn, but a sample has no order: sort both first.",
    )
    require(abs(value) < 1e-9, f"The samples {a} and {b} hold the same points, so the distance is 0, not {value:g}.")
    narrow, wide = np.array([-1.0, 1.0]), np.array([-4.0, 4.0])
    value = float(distance(narrow, wide))
    require(abs(value) > 1e-9, "You compared the means only, and a narrow sample with a wide one has the same mean.")
    require(
        abs(value - 9) > 1e-9,
        "You squared the way of each point; this distance is the mean of the way, |a - b|.",
    )
    require(
        abs(value - 6) > 1e-9, "You added the ways up: take their mean, or the distance grows with the sample's size."
    )
    require(abs(value - 3) < 1e-9, f"Between {narrow} and {wide} it is 3; yours is {value:g}.")
    value = float(distance(np.array([0.0, 0.0, 0.0]), np.array([1.0, 1.0, 7.0])))
    require(abs(value - np.sqrt(17)) > 1e-9, "That is the root of the mean square; this distance is the plain mean.")
    require(abs(value - 1) > 1e-9, "That is the median of the distances; the one point that moves far counts, too.")
    require(abs(value - 3) < 1e-9, f"Three points that move by 1, 1 and 7 are 3 apart on average; yours is {value:g}.")
    return "On a line that is all; between images there is no sorting, and chapter 11 needs a network for it."


@check
def check_perfect_generator(generator: Callable[[np.ndarray], np.ndarray]) -> str:
    """Exercise 02.4: a function that turns standard normal latents into waiting times with mean 1."""
    latents = np.random.default_rng(0).standard_normal(4000)
    made = np.asarray(generator(latents), dtype=float)
    require(made.shape == latents.shape, f"4,000 latents must give 4,000 numbers, but your result is {made.shape}.")
    again = np.asarray(generator(latents), dtype=float)
    require(
        np.array_equal(made, again),
        "The same latents gave different numbers. All chance comes from the latents: the generator draws none itself.",
    )
    require(not np.isnan(made).any(), "Some results are nan: is the logarithm's argument always between 0 and 1?")
    require(
        kstest(made, "uniform").pvalue < 0.001,
        "These are uniform between 0 and 1: half of the way. Now send them through the inverse of 1 - exp(-x).",
    )
    require(made.min() >= 0, "A waiting time is never negative, but some of yours are.")
    gap = kstest(made, "expon").statistic
    require(gap < 0.03, f"The shape is not that of 1 - exp(-x): the distribution functions differ by up to {gap:.2f}.")
    with np.errstate(divide="ignore"):
        far = np.asarray(generator(np.array([-9.0, 9.0])), dtype=float)
    require(
        bool(np.isfinite(far).all()),
        "A latent of 9 in size makes an infinite time: there 1 - cdf rounds to 0. `norm.sf` is the same without the "
        "rounding.",
    )
    return "A perfect generator, without training: on a line the inverse distribution function is all it takes."
