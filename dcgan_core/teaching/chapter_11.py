"""Chapter 11, another distance: pictures of transport and of samples, and checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from dcgan_core.losses import gradient_penalty
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import FAKE, NEUTRAL, REAL

Penalty = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]


def show_plan(real: np.ndarray, fake: np.ndarray, plan: np.ndarray, scores: np.ndarray) -> None:
    """Points (N, 2) and (M, 2) with the journeys of a plan (N, M), each point labelled with its score (N + M)."""
    _, axes = plt.subplots(figsize=(5.4, 3.8))
    for start, end in zip(*np.nonzero(plan > 1e-9), strict=True):
        axes.plot(*np.stack([real[start], fake[end]]).T, color=NEUTRAL, linewidth=1)
    for points, colour, marker, label in ((real, REAL, "o", "real"), (fake, FAKE, "s", "fake")):
        axes.scatter(points[:, 0], points[:, 1], color=colour, marker=marker, s=36, zorder=3, label=label)
    for place, (point, score) in enumerate(zip(np.concatenate([real, fake]), scores, strict=True)):
        offset, side = ((-5, 0), "right") if place < len(real) else ((5, 5), "left")  # journeys leave to the right
        axes.annotate(f"{score:.1f}", point, offset, textcoords="offset points", fontsize=10, ha=side, va="center")
    axes.set(aspect="equal", xlabel="x", ylabel="y")
    axes.margins(0.12)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=2)


def show_samples(samples: Mapping[str, Tensor], centres: Tensor) -> None:
    """One panel for each name, two in a row: samples (N, 2) and the centres of the modes (M, 2)."""
    rows = -(-len(samples) // 2)
    _, panels = plt.subplots(rows, 2, figsize=(5.6, 2.9 * rows), sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(samples) :]:
        axes.set_visible(False)
    for axes, (name, points) in zip(panels.flat, samples.items(), strict=False):
        axes.scatter(*points.T, s=3, color=FAKE, label="fake", rasterized=True)
        axes.scatter(*centres.T, s=50, facecolors="none", edgecolors=REAL, linewidths=1.5, label="mode")
        axes.set(title=name, xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2])


@check
def check_earth_mover(distance: Callable[[np.ndarray, np.ndarray], float]) -> str:
    """Exercise 11.1: the earth mover's distance between two samples of equal size on a line."""
    a, b = np.array([3.0, 0.0, 1.0]), np.array([5.0, 6.0, 8.0])
    value = float(distance(a, b))
    expected = float(wasserstein_distance(a, b))
    c, d = np.array([0.0, 4.0]), np.array([3.0, 1.0])
    as_given = float(np.abs(c - d).mean())
    require(
        abs(float(distance(c, d)) - as_given) > 1e-9,
        "You pair points by their positions in the two lists. That is a plan, but not the cheapest: from (0, 4) to "
        "(3, 1) it costs 3, while the plan whose journeys do not cross costs 1.",
    )
    require(
        abs(value - np.square(np.sort(a) - np.sort(b)).mean()) > 1e-9,
        "You have squared the distances. Work grows with the distance, not with its square; the square gives a "
        "different measure (Wasserstein-2, squared).",
    )
    require(
        abs(value - 3 * expected) > 1e-9,
        "Each point weighs 1/N, because all of the earth together weighs 1: take the mean, not the sum.",
    )
    require(
        abs(value - expected) < 1e-9 and abs(float(distance(c, d)) - 1) < 1e-9,
        f"From {a.tolist()} to {b.tolist()} the least work is {expected:g}; yours is {value:g}.",
    )
    e, f = np.random.default_rng(0).normal(size=(2, 50))
    require(abs(float(distance(e, f)) - wasserstein_distance(e, f)) < 1e-9, "Two random samples come out wrong.")
    return "It agrees with scipy's on random samples too. On a line, journeys never need to cross."


@check
def check_penalty(penalty: Penalty) -> str:
    """Exercise 11.2: the gradient penalty, without its weight."""
    torch.manual_seed(0)
    seen: list[Tensor] = []

    def straight(slope: float) -> Callable[[Tensor], Tensor]:
        def critic(images: Tensor) -> Tensor:
            seen.append(images.detach())
            return slope * images.flatten(1).sum(dim=1) / images[0].numel() ** 0.5

        return critic

    real, fake = torch.ones(2000, 1, 2, 2), torch.zeros(2000, 1, 2, 2)
    steep = penalty(straight(3.0), real, fake)
    require(isinstance(steep, Tensor) and steep.ndim == 0, "Return one number (a scalar tensor): take the mean.")
    mix = seen[-1].flatten(1)
    require(
        float(mix.min()) >= 0 and float(mix.max()) <= 1,
        "Some of your points lie beyond the real or the fake image. The mix comes from U(0, 1), torch.rand, not from "
        "N(0, 1), torch.randn.",
    )
    require(
        bool((mix == mix[:, :1]).all()),
        "You mix each pixel by itself, which leaves the straight line: draw one number per image.",
    )
    require(
        len(mix[:, 0].unique()) > 1000,
        "All images of the batch share one mix, or nearly all do: draw one number per image, in the shape "
        "(B, 1, 1, 1).",
    )
    require(
        abs(steep.item() - 4) < 1e-3,
        f"A critic whose slope is 3 everywhere must pay (3 - 1)^2 = 4; yours pays {steep.item():.3f}. The slope of "
        "an image is the norm over all of its pixels together, and over no other image's.",
    )
    gentle = penalty(straight(0.5), real, fake).item()
    require(
        abs(gentle - 0.25) < 1e-3,
        f"A critic whose slope is 0.5 everywhere must pay (0.5 - 1)^2 = 0.25; yours pays {gentle:.3f}. The paper's "
        "penalty has two sides.",
    )
    weight = nn.Parameter(torch.zeros(4))
    value = penalty(lambda images: images.flatten(1) @ weight, real[:8], fake[:8])
    require(
        value.requires_grad,
        "The result carries no graph, so the critic would learn nothing from it: create_graph=True.",
    )
    value.backward()
    require(
        weight.grad is not None and bool(weight.grad.isfinite().all()),
        "At a slope of exactly 0 the gradient of your penalty is nan: the square root has no finite derivative there. "
        "Guard it, for example with clamp(min=1e-12) before the root.",
    )
    curved = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    torch.manual_seed(1)
    real, fake = torch.randn(2, 4000, 1, 2, 2)
    values = penalty(curved, real, fake).item(), gradient_penalty(curved, real, fake).item()
    require(
        abs(values[0] - values[1]) < 0.02 * values[1],
        f"For a curved critic it is about {values[1]:.4f}; yours is {values[0]:.4f}.",
    )
    return "Points, norm, both sides, guard and graph: all as in the paper."


@check
def check_lower_bound(bound: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]) -> str:
    """Exercise 11.3: a lower bound on the distance from any scores at all."""
    points = np.array([0.0, 1.0, 5.0, 6.0])
    p, q = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.0, 0.0, 0.5, 0.5])  # 5 apart
    best = float(bound(points, -3 * points, p, q))
    require(
        abs(best - 15) > 1e-9,
        "For scores that fall by 3 for each unit you get 15, three times the distance: divide by the largest slope.",
    )
    require(
        best > 0,
        "Your bound is negative for scores that are higher on the real points: take the mean of the real scores minus "
        "that of the fake ones.",
    )
    require(
        abs(best - 5) < 1e-9,
        f"For scores that fall by 3 for each unit the bound is 5, which is the distance itself; yours is {best:g}.",
    )
    scores = np.array([4.0, 0.0, 1.0, 1.0])
    slopes = np.abs(scores[:, None] - scores) / np.maximum(np.abs(points[:, None] - points), 1e-9)
    difference = float((p - q) @ scores)
    value = float(bound(points, scores, p, q))
    require(
        abs(value - difference / slopes[~np.eye(4, dtype=bool)].mean()) > 1e-9,
        "You divide by the mean slope. A single steep stretch is enough to cheat with: it must be the largest slope.",
    )
    require(abs(value - difference / 4) < 1e-9, f"For the scores {scores.tolist()} it is {difference / 4:g}.")
    shuffled = np.array([2, 0, 3, 1])
    value = float(bound(points[shuffled], scores[shuffled], p[shuffled], q[shuffled]))
    require(
        abs(value - difference / 4) < 1e-9,
        "Your bound changes with the order of the points. The largest slope is over all pairs of points, not over "
        "those that happen to stand side by side in the list.",
    )
    flat = float(bound(points, -points / 2, p, q))
    require(
        abs(flat - 5) < 1e-9,
        f"For scores that fall by 1/2 for each unit you prove only {flat:g}: scores that are flatter than allowed may "
        "be stretched, so divide by the largest slope here too.",
    )
    return "Any scores at all give a lower bound; the critic looks for those that give the largest one."


@check
def check_true_distance(distance: Callable[[float, float], float]) -> str:
    """Exercise 11.4: what a penalised critic's reading of two points says about their distance."""
    for true, weight in ((2.0, 10.0), (4.0, 10.0), (1.0, 0.1)):
        reading = true + true**2 / (2 * weight)
        value = float(distance(reading, weight))
        require(
            abs(value - reading) > 1e-9,
            f"You return the reading itself, {reading:g}, but a penalised critic exaggerates: its slope is "
            "1 + d / (2 lambda), not 1.",
        )
        require(value > 0, "You took the other solution of the quadratic equation: a distance is not negative.")
        require(
            abs(value - reading / (1 + reading / (2 * weight))) > 1e-9,
            f"Nearly: you put the reading, {reading:g}, where the distance belongs, in d / (2 lambda). Solve for d.",
        )
        require(
            abs(value - true) < 1e-6,
            f"With lambda = {weight:g} a distance of {true:g} reads {reading:g}; from that you get {value:g}.",
        )
    return "With lambda = 0.1 a distance of 1 reads as 6: do not take the critic's loss for the distance."
