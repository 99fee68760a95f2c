"""Figures of the book: one style, one palette, images at whole multiples of their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from torch import Tensor

from dcgan_core.data import unscale

# Okabe and Ito's colours, which colour-blind readers can tell apart: the same thing has the same colour everywhere.
REAL = "#0072B2"  # blue: real images
FAKE = "#D55E00"  # vermilion: generated images, the generator
DISCRIMINATOR = "#009E73"  # bluish green
NEUTRAL = "#555555"
EXTRA = ("#CC79A7", "#E69F00", "#56B4E9")


def book_style() -> None:
    """Sets matplotlib's defaults for the book: small figures that stay legible at the width of a phone."""
    plt.rcParams.update(
        {
            "figure.figsize": (5.2, 3.0),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=[REAL, FAKE, DISCRIMINATOR, *EXTRA]),
            "grid.color": "#dddddd",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            "svg.hashsalt": "dcgan",  # the same figure gives the same file
        }
    )


def image_grid(images: Tensor, columns: int) -> np.ndarray:
    """Lays (N, C, S, S) images in [-1, 1] or uint8 side by side: uint8 (rows S, columns S) grey or (..., 3) colour."""
    pixels = images if images.dtype == torch.uint8 else unscale(images)
    num_images, channels, size, _ = pixels.shape
    rows = -(-num_images // columns)
    blank = pixels.new_zeros((rows * columns - num_images, channels, size, size))
    tiles = torch.cat([pixels.cpu(), blank.cpu()]).reshape(rows, columns, channels, size, size)
    grid = tiles.permute(0, 3, 1, 4, 2).reshape(rows * size, columns * size, channels)
    return grid.squeeze(-1).numpy()


def magnified(grid: np.ndarray, times: int) -> np.ndarray:
    """Every pixel of (H, W) or (H, W, 3) as a square of `times` by `times`, so that nothing is blurred."""
    return grid.repeat(times, axis=0).repeat(times, axis=1)


def median_and_range(
    axes: Axes, places: Sequence[float], draws: Sequence[Sequence[float]], *, colour: str, marker: str, label: str
) -> None:
    """Draws the median of the draws at each place as a line, and from the lowest to the highest as a band."""
    axes.plot(places, [np.median(each) for each in draws], marker + "-", color=colour, label=label)
    low, high = ([function(each) for each in draws] for function in (min, max))
    axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)


def show_dots(groups: Mapping[str, Sequence[float]], *, xlabel: str, colour: str = REAL, digits: int = 2) -> Axes:
    """One row for each group, in their order from the top: a dot for each draw, a bar at the median and its number.

    The number has `digits` places after the point.
    """
    _, axes = plt.subplots(figsize=(5.4, 0.7 + 0.5 * len(groups)))
    rows = range(len(groups))
    for row, draws in zip(rows, groups.values(), strict=True):
        axes.plot(draws, [row] * len(draws), "o", color=colour, markersize=6, alpha=0.6)
        middle = float(np.median(draws))
        axes.plot([middle, middle], [row - 0.25, row + 0.25], color=NEUTRAL)
        axes.annotate(f"{middle:.{digits}f}", (middle, row - 0.28), ha="center", va="bottom", fontsize=10)
    axes.set_yticks(rows, list(groups))
    axes.set(xlabel=xlabel, ylim=(len(groups) - 0.6, -0.75))
    axes.margins(x=0.08)
    return axes


def show_images(
    images: Tensor,
    *,
    columns: int = 10,
    title: str | None = None,
    row_labels: Sequence[str] = (),
    axes: Axes | None = None,
) -> Axes:
    """Shows (N, C, S, S) images as one grid without axes; `row_labels` name the rows at the left."""
    grid = image_grid(images, columns)
    magnify = max(1, 640 // grid.shape[1])
    grid = magnified(grid, magnify)
    if axes is None:
        width = 5.6
        _, axes = plt.subplots(figsize=(width, width * grid.shape[0] / grid.shape[1] + (0.3 if title else 0)))
    axes.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.grid(False)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    tile = images.shape[-1] * magnify
    axes.set_yticks([tile * (row + 0.5) for row in range(len(row_labels))], row_labels)
    axes.tick_params(left=False)
    if title:
        axes.set_title(title)
    return axes
