"""Chapter 16, what GANs are used for: figures, and the checks of the exercises about style, film and restoration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image
from torch import Tensor

from dcgan_core.laboratory.latent_search import on_sphere
from dcgan_core.laboratory.lost_colour import of_the_best
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.film import evenly
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, NEUTRAL, REAL, image_grid, show_images
from dcgan_core.teaching.replay import replay

APPLICATIONS = ("style shift", "games", "film", "audio", "restoration")  # in the order of the chapter
MARKERS = (("o", REAL), ("s", FAKE), ("^", DISCRIMINATOR), ("D", EXTRA[0]), ("v", EXTRA[1]), ("x", NEUTRAL))


def show_applications(pictures: Mapping[str, np.ndarray]) -> Figure:
    """One strip for each application: pictures (H, W) or (H, W, 3), uint8, each as wide as the figure.

    The strips are in the order of the chapter, whatever the order of `pictures`; those that are missing are left out.
    """
    unknown = sorted(set(pictures) - set(APPLICATIONS))
    assert not unknown, f"no application of this chapter: {unknown}"
    strips = [(name, pictures[name]) for name in APPLICATIONS if name in pictures]
    width = 5.6
    heights = [width * strip.shape[0] / strip.shape[1] for _, strip in strips]
    figure, panels = plt.subplots(
        len(strips),
        figsize=(width, sum(heights) + 0.3 * len(strips)),
        height_ratios=heights,
        squeeze=False,
    )
    for axes, (name, strip) in zip(panels[:, 0], strips, strict=True):
        axes.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
        axes.set_title(name, loc="left", pad=2)
        axes.set_axis_off()
    return figure


def mean_and_margin(values: Sequence[float] | Tensor) -> tuple[float, float]:
    """The mean, and half of its 95% interval, from the standard error."""
    numbers = torch.as_tensor(values, dtype=torch.float64)
    return float(numbers.mean()), 1.96 * float(numbers.std()) / len(numbers) ** 0.5


def show_means(
    groups: Mapping[str, Mapping[str, Sequence[float] | Tensor]], label: str, *, logarithmic: bool = False
) -> Figure:
    """The mean and its 95% interval, as a dot and a line, of each method (by name) in each group."""
    methods = list(dict.fromkeys(method for group in groups.values() for method in group))
    looks = dict(zip(methods, MARKERS, strict=False))
    figure, axes = plt.subplots(figsize=(5.8, 0.7 + len(groups) * (0.25 + 0.16 * len(methods))))
    for place, group in enumerate(groups.values()):
        for row, (method, values) in enumerate(group.items()):
            marker, colour = looks[method]
            mean, margin = mean_and_margin(values)
            height = place + 0.75 * ((row + 0.5) / len(group) - 0.5)
            axes.errorbar(mean, height, xerr=margin, fmt=marker, color=colour, markersize=5, label=method)
    handles = dict(zip(reversed(axes.get_legend_handles_labels()[1]), reversed(axes.containers), strict=True))
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(left=0)
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel(label)
    figure.legend([handles[name] for name in methods], methods, loc="outside lower center", ncols=3)
    return figure


def show_columns(groups: Sequence[Mapping[str, Tensor]], titles: Sequence[str]) -> Figure:
    """Panels side by side; each has a row of images (N, 1, S, S) for each name, the same names in all."""
    columns = sum(len(next(iter(group.values()))) for group in groups)
    tile = min(0.5, 4.1 / columns)
    width = 1.3 + tile * columns + 0.1 * len(groups)  # the first panel has the names of the rows at its left
    figure, panels = plt.subplots(1, len(groups), figsize=(width, 0.4 + tile * len(groups[0])))
    for axes, group, title in zip(np.atleast_1d(panels), groups, titles, strict=True):
        first = axes is np.atleast_1d(panels)[0]
        rows = torch.cat([images.clamp(-1, 1) for images in group.values()])
        columns = len(next(iter(group.values())))
        show_images(rows, columns=columns, title=title, row_labels=list(group) if first else (), axes=axes)
    return figure


def colours_table(lines: Mapping[int, Mapping[str, Any]]) -> str:
    """Of each training seed's line of `lost_colour`: three ratios of the search's means, as lines of text."""
    rows = [
        f"{'seed':6}{'error, search / grey':>22}{'colourfulness, search / true':>30}{'apart, answers / others':>25}"
    ]
    for seed, line in lines.items():
        found = {
            what: {name: each.mean() for name, each in of_the_best(line)[what].items()}
            for what in ("errors", "colourfulness")
        }
        error = found["errors"]["search"] / found["errors"]["grey as it is"]
        colour = found["colourfulness"]["search"] / found["colourfulness"]["true colours"]
        answers, others = (np.mean(line["apart"][name]) for name in ("eight answers", "eight other letters' colours"))
        rows.append(f"{seed:<6}{error:22.2f}{colour:30.2f}{answers / others:25.2f}")
    return "\n".join(rows)


def film_of(walks: Mapping[str, Tensor], lengths: Mapping[str, Tensor], *, alt: str, caption: str) -> HTML:
    """Films (M, 1, S, S) side by side as a replay, and how far each step (M - 1,) goes, over the number of frames."""
    num_frames = len(next(iter(walks.values())))
    frames = []
    for moment in range(num_frames):
        row = torch.stack([walk[moment] for walk in walks.values()])
        frames.append(Image.fromarray(image_grid(row, len(row))))
    places = list(range(1, num_frames))
    series = {name: (places, [float(each) for each in steps]) for name, steps in lengths.items()}
    return replay(
        frames,
        at=list(range(num_frames)),
        series=series,
        unit="frames",
        magnify=4,
        frame_milliseconds=110,
        alt=alt,
        caption=caption,
    )


@check
def check_evenly(moments: Callable[[Tensor, int], Tensor]) -> str:
    """Exercise 16.1: shares (num_frames,) of the way at which frames lie equally far apart, from step lengths (M,)."""
    for lengths, num_frames in (
        (torch.tensor([1.0, 1.0, 1.0, 1.0]), 3),
        (torch.tensor([3.0, 1.0]), 5),
        (torch.tensor([0.2, 4.0, 1.0, 0.8, 2.0]), 7),
    ):
        found = torch.as_tensor(moments(lengths, num_frames)).double()
        require(tuple(found.shape) == (num_frames,), f"Give {num_frames} shares; yours has shape {tuple(found.shape)}.")
        require(
            abs(float(found[0])) < 1e-6 and abs(float(found[-1]) - 1) < 1e-6,
            f"A film begins at share 0 and ends at 1; yours goes from {float(found[0]):.2f} to {float(found[-1]):.2f}.",
        )
        expected = evenly(lengths, num_frames)
        hint = "ask where along the way its *length so far* reaches equal parts of the whole."
        if torch.allclose(found, torch.linspace(0, 1, num_frames).double(), atol=1e-4):
            hint = "these shares are evenly spaced in *time*, so fast stretches stay fast."
        elif len(lengths) == 2 and float(found[2]) > float(expected[2]):
            hint = "it is the wrong way round: where steps are long, frames must be close in time."
        require(torch.allclose(found, expected, atol=1e-4), f"For steps of {lengths.tolist()} you give {found}: {hint}")
    return "That is the whole trick: measure the way once, then place the frames along it."


@check
def check_known(error: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """Exercise 16.2: the mean square error over known pixels (N,), from images, damaged ones, and what is known."""
    rng = torch.Generator().manual_seed(0)
    images, damaged = torch.randn(2, 5, 1, 8, 8, generator=rng)
    known = (torch.rand(8, 8, generator=rng) > 0.4).float()
    damaged = damaged * known
    found = error(images, damaged, known)
    require(tuple(found.shape) == (5,), f"Give one error for each image; yours has the shape {tuple(found.shape)}.")
    square = (images - damaged).square() * known
    expected = square.sum(dim=(1, 2, 3)) / known.sum()
    hint = "multiply the squares by `known`, add them up for each image, divide by the number of known pixels."
    if torch.allclose(found, (images - damaged).square().mean(dim=(1, 2, 3)), atol=1e-5):
        hint = "you compare the hole, too, so the search would paint it black."
    elif torch.allclose(found, square.mean(dim=(1, 2, 3)), atol=1e-5):
        hint = "you divide by *all* pixels: the larger the hole, the less the error counts beside the prior."
    elif torch.allclose(found, square.sum(dim=(1, 2, 3)), atol=1e-4):
        hint = "that is the sum; a weight chosen for one hole would not fit another one."
    require(torch.allclose(found, expected, atol=1e-5), f"Not the mean over the known pixels: {hint}")
    return "What is in the hole cannot be known to the search, so it must not be in its loss."


@check
def check_sphere(project: Callable[[Tensor], Tensor]) -> str:
    """Exercise 16.3: latents (..., latent_size) brought to the length of drawn ones, each by itself."""
    rng = torch.Generator().manual_seed(0)
    for shape in ((4, 100), (2, 3, 64)):
        latents = torch.randn(shape, generator=rng) * torch.arange(1.0, shape[0] + 1).reshape(-1, *[1] * len(shape[1:]))
        found = project(latents)
        require(found.shape == latents.shape, f"The shape must stay {tuple(shape)}; yours is {tuple(found.shape)}.")
        lengths = found.norm(dim=-1)
        hint = "divide each latent by its own length, then multiply."
        if torch.allclose(lengths, torch.ones_like(lengths), atol=1e-4):
            hint = "that is the unit sphere; the generator was trained at a length near the root of the latent size."
        elif torch.allclose(found, latents / latents.norm() * shape[-1] ** 0.5, atol=1e-4):
            hint = "you took one norm of all latents together (`dim=-1` and `keepdim=True` are missing)."
        elif torch.allclose(lengths, torch.full_like(lengths, float(shape[-1])), atol=1e-2):
            hint = "the mean *squared* length is the latent size; take its root."
        require(
            torch.allclose(found, on_sphere(latents), atol=1e-4),
            f"Lengths should be {shape[-1] ** 0.5:.0f} and are {float(lengths.min()):.2f} to "
            f"{float(lengths.max()):.2f}: {hint}",
        )
    return "It is `dcgan_core.laboratory.latent_search.on_sphere`."


@check
def check_paste(paste: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """Exercise 16.4: known pixels from the damaged image, the others from the answer, all within [-1, 1]."""
    rng = torch.Generator().manual_seed(0)
    answer, damaged = 1.5 * torch.randn(2, 3, 1, 8, 8, generator=rng)
    known = (torch.rand(8, 8, generator=rng) > 0.5).float()
    before = answer.clone()
    found = paste(answer, damaged, known)
    require(found.shape == answer.shape, f"The shape must stay {tuple(answer.shape)}; yours is {tuple(found.shape)}.")
    mixed = known * damaged + (1 - known) * answer
    hint = "where `known` is 1 take `damaged`, elsewhere the answer."
    if torch.allclose(found, mixed, atol=1e-6):
        hint = f"values go up to {float(found.abs().max()):.1f}. If you called `clamp`, did you use its *result*?"
    elif torch.allclose(found.clamp(-1, 1), (known * answer + (1 - known) * damaged).clamp(-1, 1), atol=1e-6):
        hint = "it is the wrong way round: you keep the hole and replace what was known."
    elif torch.allclose(found, answer.clamp(-1, 1), atol=1e-6):
        hint = "you show the whole answer, so pixels change that nobody asked to change."
    require(torch.allclose(found, mixed.clamp(-1, 1), atol=1e-6), f"Not yet the repaired image: {hint}")
    require(torch.equal(answer, before), "The result is right, but you changed `answer` itself on the way.")
    return "Known pixels stay as they are: a restoration should not touch what was not damaged."
