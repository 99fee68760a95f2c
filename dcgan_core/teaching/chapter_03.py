"""Chapter 03, the minimax game: pictures of a game in the plane, and checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from torch import Tensor, nn

from dcgan_core.teaching.animation import animation, picture
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import FAKE, NEUTRAL, REAL

Moment = tuple[int, Tensor, Tensor, Tensor]  # step, fakes (N, 2), forces (N, 2), D on the grid (R, R)

HALF_WIDTH = 3.2
RESOLUTION = 60
SHADES = LinearSegmentedColormap.from_list("fake to real", ["#f3b58c", "#ffffff", "#8cbfe0"])


def forces(generator: nn.Module, discriminator: nn.Module, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fakes (N, 2) of the latents, the gradient of their logits (N, 2), and D over the plane (R, R)."""
    fakes = generator(latents).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(fakes).sum(), fakes)
    line = torch.linspace(-HALF_WIDTH, HALF_WIDTH, RESOLUTION)
    plane = torch.cartesian_prod(line, line)[:, [1, 0]]  # row by row, x first
    with torch.no_grad():
        probability = discriminator(plane).sigmoid().reshape(RESOLUTION, RESOLUTION)
    return fakes.detach(), gradient, probability


def draw_moment(axes: Axes, moment: Moment, real: Tensor, *, num_arrows: int = 24) -> None:
    """Draws one moment of the game: D as shading, real points, fakes, and the direction of the force on some fakes."""
    step, fakes, gradient, probability = moment
    extent = (-HALF_WIDTH, HALF_WIDTH) * 2
    axes.imshow(probability, origin="lower", extent=extent, cmap=SHADES, vmin=0, vmax=1, interpolation="bilinear")
    axes.scatter(real[:, 0], real[:, 1], s=4, color=REAL, label="real")
    axes.scatter(fakes[:, 0], fakes[:, 1], s=6, color=FAKE, label="fake")
    arrows = 0.8 * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-12)
    axes.quiver(
        *fakes[:num_arrows].T,
        *arrows[:num_arrows].T,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.008,
        color=NEUTRAL,
    )
    axes.set(xlim=extent[:2], ylim=extent[:2], xticks=[], yticks=[], title=f"step {step:,}")
    axes.grid(False)


def show_moments(moments: Sequence[Moment], real: Tensor) -> None:
    """Four moments side by side, two by two: the film in one still picture."""
    _, panels = plt.subplots(2, 2, figsize=(5.6, 5.9))
    for axes, moment in zip(panels.flat, moments, strict=True):
        draw_moment(axes, moment, real)
    panels[0, 0].legend(loc="upper left", markerscale=3, framealpha=0.9)


def film(moments: Sequence[Moment], real: Tensor) -> HTML:
    """All moments as an animation."""
    frames = []
    for moment in moments:
        figure, axes = plt.subplots(figsize=(4.6, 4.8))
        draw_moment(axes, moment, real)
        frames.append(picture(figure))
    return animation(
        frames,
        alt="Film of a game in the plane: a clump of fake points in the middle is pulled apart by arrows towards a "
        "ring of eight clusters of real points, while the shading of the discriminator changes under them.",
        caption="The whole game as a film. Shading: D(x), orange for surely fake, blue for surely real. Arrows: the "
        "direction in which some of the fakes are pushed.",
    )


@check
def check_best_discriminator(best: Callable[[np.ndarray, np.ndarray, float], np.ndarray]) -> str:
    """Exercise 03.1: the best discriminator when real and fake points are not equally frequent."""
    p, q = np.array([0.2, 0.5, 0.0]), np.array([0.2, 0.1, 0.3])
    three = np.asarray(best(p, q, 3.0), dtype=float)
    require(
        not np.allclose(three, p / (p + q)),
        "That is the answer for equally many real and fake points; yours does not depend on the ratio.",
    )
    require(
        not np.allclose(three, p / (p + 3 * q)),
        "You have weighted the fakes with the ratio, but it is the real points that are shown more often.",
    )
    require(
        not np.allclose(three, 3 * p / (p + q)),
        "Your answer exceeds 1: the real points' weight belongs in the sum below the line, too.",
    )
    expected = 3 * p / (3 * p + q)
    require(
        np.allclose(three, expected),
        f"For p = {p.tolist()}, q = {q.tolist()} and three real points for each fake it is "
        f"{np.round(expected, 3).tolist()}; yours is {np.round(three, 3).tolist()}.",
    )
    require(np.allclose(best(p, q, 1.0), p / (p + q)), "With a ratio of 1 it must be p / (p + q).")
    return "So at the equilibrium this discriminator says 3/4 everywhere: one half is no law of nature."


@check
def check_jensen_shannon(divergence: Callable[[np.ndarray, np.ndarray], float]) -> str:
    """Exercise 03.2: the Jensen-Shannon divergence of two discrete distributions, in nats."""
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.1, 0.6, 0.3])
    expected = _jensen_shannon(p, q)
    with np.errstate(all="ignore"):
        value = float(divergence(p, q))
    require(np.isfinite(value), "An entry of 0 makes your result infinite or nan: 0 log 0 counts as 0; leave it out.")
    require(
        abs(value - expected / np.log(2)) > 1e-9,
        "Right but for the unit: you used the logarithm to base 2, so this is in bits. Use the natural one for nats.",
    )
    require(abs(value - 2 * expected) > 1e-9, "Twice too large: it is the mean of the two divergences, not their sum.")
    some = p > 0
    require(
        abs(value - (p[some] * np.log(p[some] / q[some])).sum()) > 1e-9,
        "That is the Kullback-Leibler divergence from p to q; both p and q must be compared with their middle.",
    )
    require(
        abs(value - expected) < 1e-9,
        f"For {p.tolist()} and {q.tolist()} it is {expected:.4f}, but yours is {value:.4f}.",
    )
    require(abs(divergence(q, p) - expected) < 1e-9, "It must not matter which of the two comes first.")
    apart = float(divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    require(abs(apart - np.log(2)) < 1e-9, f"Two that do not overlap are log 2 = 0.693 apart; yours says {apart:.3f}.")
    return "Finite, symmetric, and log 2 where nothing overlaps."


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q) / 2
    return float(sum((a[a > 0] * np.log(a[a > 0] / m[a > 0])).sum() for a in (p, q)) / 2)


@check
def check_turns(turns: Callable[[float, float, float], tuple[float, float]]) -> str:
    """Exercise 03.3: one iteration of the bilinear game in turns, b first."""
    a, b = turns(1.0, 0.5, 0.1)  # both coordinates differ from 0, so that every order of moves ends elsewhere
    pair = round(a, 9), round(b, 9)
    require(pair != (0.95, 0.6), "Both moved from the old position: that is 'at once'. In turns, a answers the new b.")
    require(pair != (0.95, 0.595), "a moved first, and b answered the new a. Here b moves first.")
    require(b > 0.5, "b moved down, but it is the player that raises V: add its gradient.")
    require(a < 1.0, "a moved up, but it is the player that lowers V: subtract its gradient.")
    require(
        pair == (0.94, 0.6),
        f"From (1, 0.5) with rate 0.1 the new pair is (0.94, 0.6), but yours is ({a:g}, {b:g}).",
    )
    a, b = turns(1.0, 0.0, 0.2)
    require(
        (round(a, 9), round(b, 9)) == (0.96, 0.2),
        f"From (1, 0) with rate 0.2 the new pair is (0.96, 0.2), but yours is ({a:g}, {b:g}): use the rate you are "
        "given.",
    )
    a, b = 1.0, 0.0
    for _ in range(500):
        a, b = turns(a, b, 0.1)
    radius = float(np.hypot(a, b))
    require(0.8 < radius < 1.2, f"After 500 iterations the radius is {radius:.2f}; in turns it stays near 1.")
    return f"After 500 iterations the radius is {radius:.2f}: it circles, and neither arrives nor explodes."
