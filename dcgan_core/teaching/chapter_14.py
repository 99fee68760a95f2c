"""Chapter 14, the latent space: figures, and the checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor
from torch.nn.functional import normalize

from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, NEUTRAL, REAL, median_and_range
from dcgan_core.teaching.walks import linear, spherical

STYLE_LOOKS = {"weight": (REAL, "o"), "slant": (FAKE, "s"), "serif": (DISCRIMINATOR, "^")}


def show_steps(changes: Mapping[int, Tensor]) -> Figure:
    """How far the image moves at each step (steps,) of one walk, cut into fewer or more steps, per unit of the walk."""
    figure, axes = plt.subplots(figsize=(5.4, 2.9))
    for (steps, moved), colour, style in zip(changes.items(), (NEUTRAL, FAKE, REAL), ("-", "--", "-"), strict=False):
        share = (np.arange(steps) + 0.5) / steps
        axes.plot(share, moved * steps, style, color=colour, label=f"{steps} steps", linewidth=1.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("share of the walk")
    axes.set_ylabel("speed of the image")
    axes.legend()
    return figure


def show_few_labels(found: Mapping[str, Mapping[int, Sequence[tuple[float, float]]]]) -> Figure:
    """Letters that change their style, and letters kept, over the number of labels: median and range of the draws."""
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 3.2), sharey=True)
    for axes, place, title in zip(panels, (0, 1), ("style changed", "letter kept"), strict=True):
        for name, by_size in found.items():
            colour, marker = STYLE_LOOKS[name]
            sizes = list(by_size)
            values = [[pair[place] for pair in by_size[size]] for size in sizes]
            median_and_range(axes, sizes, values, colour=colour, marker=marker, label=name)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_title(title)
        axes.set_xlabel("labels")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("share of letters")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def show_landscape(shares: Tensor, errors: Tensor) -> Figure:
    """The error (lines, points) on straight lines from the true latent (share 0) to found ones (share 1)."""
    figure, axes = plt.subplots(figsize=(5.4, 3.0))
    colours = (REAL, FAKE, DISCRIMINATOR, *EXTRA)
    for rank, (line, colour, style) in enumerate(zip(errors, colours, ("-", "--", "-.", ":") * 2, strict=False), 1):
        axes.plot(
            shares, line, style, color=colour, label="best start" if rank == 1 else f"no. {rank} of {len(errors)}"
        )
    for place, name in ((0, "true"), (1, "found")):
        axes.axvline(place, color=NEUTRAL, linewidth=0.8)
        axes.annotate(
            name, (place, 1), (3, -4), xycoords=("data", "axes fraction"), textcoords="offset points", va="top"
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("share of the way from the true latent to a found one")
    axes.set_ylabel("error, mean square")
    axes.legend(fontsize=10)
    return figure


def show_truncation(found: Mapping[float, Sequence[tuple[float, float]]]) -> Figure:
    """Precision and recall over the factor that latents are multiplied by: median and range of the draws."""
    figure, axes = plt.subplots(figsize=(5.4, 3.1))
    factors = list(found)
    for place, name, colour, marker in ((0, "precision", FAKE, "o"), (1, "recall", REAL, "s")):
        values = [[pair[place] for pair in found[factor]] for factor in factors]
        median_and_range(axes, factors, values, colour=colour, marker=marker, label=name)
    axes.axvline(1, color=NEUTRAL, linewidth=0.8)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("factor on the latents (1: as in training)")
    axes.set_ylabel("share")
    axes.legend(loc="lower right")
    return figure


@check
def check_spherical(way: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    """Exercise 14.1: the latent at a share of the path along the sphere, from two latents (latent_size,)."""
    first, last = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for share, end in ((0.0, first), (1.0, last)):
        require(
            torch.allclose(way(first, last, share), end, atol=1e-5),
            f"At share {share:g} the path must be at its {'last' if share else 'first'} latent; yours is elsewhere.",
        )
    middle = way(first, last, 0.5)
    length = float(middle.norm())
    hint = " That is the straight line." if torch.allclose(middle, linear(first, last, 0.5), atol=1e-5) else ""
    require(
        abs(length - 1) < 1e-4, f"Between unit vectors every point has length 1; your midpoint has {length:.2f}.{hint}"
    )
    third = way(first, last, 1 / 3)
    angle = float(torch.rad2deg(torch.atan2(third[1], third[0])))
    require(
        abs(angle - 30) < 0.1,
        f"A third of the way between perpendicular latents is at 30 degrees, yours at {angle:.1f}: the *angle* grows "
        "evenly. Stretching the straight line to the right length does not do that.",
    )
    rng = torch.Generator().manual_seed(0)
    first, last = torch.randn(2, 100, generator=rng)
    require(
        torch.allclose(way(first, last, 0.3), spherical(first, last, 0.3), atol=1e-3),
        "It is right for unit vectors and wrong for latents of other lengths: the angle comes from the dot product "
        "*divided by both lengths*, and the latents themselves are mixed.",
    )
    return "It is `dcgan_core.teaching.walks.spherical`."


@check
def check_length(length: Callable[[int, int], float]) -> str:
    """Exercise 14.2: the typical length of a - b + c, where each of the three is a mean of k latents."""
    for size, k in ((100, 1), (400, 5), (100, 3), (64, 12)):
        expected, found = (3 * size / k) ** 0.5, float(length(size, k))
        hint = "each number of the result is a sum of three independent ones; add their variances."
        if abs(found - (size / k) ** 0.5) < 1e-6:
            hint = "you have the length of *one* mean; the minus does not take variance away, so three of them add up."
        elif abs(found - 3 * (size / k) ** 0.5) < 1e-6:
            hint = "you added lengths; independent vectors add their *squared* lengths."
        elif abs(found - (3 * size) ** 0.5) < 1e-6:
            hint = "the mean of k numbers of variance 1 has variance 1/k."
        elif abs(found - expected**2) < 1e-6:
            hint = "that is the squared length."
        require(abs(found - expected) < 1e-6, f"For size {size} and k = {k}, yours is {found:.2f}: {hint}")
    return "With k = 3, as in the paper, the result is exactly as long as a latent usually is."


@check
def check_direction(direction: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Exercise 14.3: a unit direction from latents (N, latent_size) and labels (N,) of 1 and -1, unequally many."""
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(2_000, 20, generator=rng)
    true = normalize(torch.arange(20.0) - 7, dim=0)
    labels = torch.where(latents @ true > 0.8, 1.0, -1.0)
    latents = latents + 3.0  # a mean that is not zero shows whether the classes are weighed rightly
    found = direction(latents, labels)
    require(tuple(found.shape) == (20,), f"Return one vector of 20 numbers; yours has the shape {tuple(found.shape)}.")
    require(bool(found.isfinite().all()), "Your vector has numbers that are not finite: did you divide by zero?")
    cosine = float(torch.cosine_similarity(found, true, dim=0))
    expected = latents[labels > 0].mean(dim=0) - latents[labels < 0].mean(dim=0)
    hint = "take the mean of the latents of each class, and subtract."
    if cosine < -0.9:
        hint = "it points from class 1 to class -1; turn it round."
    elif torch.allclose(normalize(found, dim=0), normalize(latents[labels > 0].mean(dim=0), dim=0), atol=1e-4):
        hint = "that is the mean of one class; what matters is the difference from the other."
    elif torch.allclose(normalize(found, dim=0), normalize((labels[:, None] * latents).mean(dim=0), dim=0), atol=1e-4):
        hint = "the larger class outweighs the smaller one; take the mean *within each class* before you subtract."
    require(cosine > 0.9, f"The cosine with the true direction is {cosine:.2f}: {hint}")
    require(
        abs(float(found.norm()) - 1) < 1e-4,
        f"It points the right way, but its length is {float(found.norm()):.2f} and not 1: how far a step goes would "
        "depend on the labels.",
    )
    require(torch.allclose(found, normalize(expected, dim=0), atol=1e-2), "Close, but not the difference of the means.")
    return "For latents from a normal distribution this is nearly what a linear regression finds, without a library."


@check
def check_cut(cut: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Exercise 14.4: a unit direction (latent_size,) without its part along another, which need not have length 1."""
    rng = torch.Generator().manual_seed(0)
    direction, other = normalize(torch.randn(2, 100, generator=rng) + 0.5, dim=1)
    for scale in (1.0, 5.0):
        found = cut(direction, scale * other)
        cosine = float(torch.cosine_similarity(found, other, dim=0))
        hint = "subtract the part of `direction` along `other`: its dot product with the unit vector, times that."
        if torch.allclose(normalize(found, dim=0), normalize(direction - other, dim=0), atol=1e-4):
            hint = "you subtracted all of `other`; subtract only as much of it as there is in `direction`."
        elif scale != 1:
            hint = f"it works for a unit vector, not for one of length {scale:g}: bring `other` to length 1 first."
        require(abs(cosine) < 1e-4, f"The cosine between yours and `other` is {cosine:.2f}, and must be 0: {hint}")
        expected = normalize(direction - (direction @ other) * other, dim=0)
        require(
            float(torch.cosine_similarity(found, expected, dim=0)) > 0.999,
            "It is at right angles to `other`, but you changed more than that: stay as close to `direction` as can be.",
        )
        length = float(found.norm())
        require(abs(length - 1) < 1e-4, f"Its length is {length:.2f}: removing a part makes it shorter; scale it to 1.")
    return "At right angles to the other direction, and otherwise as close to the old one as possible."
