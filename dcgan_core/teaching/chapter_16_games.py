"""Chapter 16, levels and textures: figures, shares with their intervals, and the checks of two exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import binomtest
from torch import Tensor

from dcgan_core.data import unscale
from dcgan_core.data.levels import CRYSTAL, EARTH, HEIGHT, LEDGE, SKY, WIDTH
from dcgan_core.laboratory.level_design import NUM_EVALUATIONS
from dcgan_core.laboratory.level_rules import explored
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.level_game import level_picture
from dcgan_core.teaching.plots import FAKE, NEUTRAL

COUNTED = {"passable": "passable", "sound": "without a fault", "both": "both"}


def share(count: int, num: int) -> str:
    """A share in per cent with its 95% interval (Wilson 1927): "62% (59 to 65)"."""
    interval = binomtest(count, num).proportion_ci(method="wilson")
    return f"{count / num:.0%} ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def shares_table(judged: Mapping[str, Mapping[str, Any]]) -> str:
    """Of each source of levels: the shares that `level_design.judged` has counted, with 95% intervals."""
    lines = ["".join(f"{title:18}" for title in ("", *COUNTED.values())).rstrip()]
    for name, found in judged.items():
        cells = [share(found[key], found["num"]) for key in COUNTED]
        lines.append("".join(f"{cell:18}" for cell in (name, *cells)).rstrip())
    return "\n".join(lines)


def show_levels(levels: np.ndarray, *, columns: int = 2, titles: Sequence[str] = ()) -> Figure:
    """Levels (N, 16, 32) as their tiles, side by side."""
    rows = -(-len(levels) // columns)
    width = 2.8 * columns
    figure, axes = plt.subplots(rows, columns, figsize=(width, (1.4 + 0.3 * bool(titles)) * rows), squeeze=False)
    for place, panel in enumerate(axes.flat):
        panel.set_axis_off()
        if place < len(levels):
            panel.imshow(level_picture(levels[place]), interpolation="nearest")
            if titles:
                panel.set_title(titles[place])
    return figure


def show_searches(histories: Mapping[str, np.ndarray], record: Sequence[Mapping[str, Any]]) -> Figure:
    """The best level so far: of the two searches that the chapter has run, and of all that are recorded.

    `histories` has the best value after each of the evaluations, by the name of the search.
    """
    figure, axes = plt.subplots(figsize=(5.6, 3.2))
    for (name, history), colour in zip(histories.items(), (FAKE, NEUTRAL), strict=True):
        axes.plot(np.arange(1, len(history) + 1), history, color=colour, label=f"{name}, here")
        runs = np.array([run["after"] for line in record for run in line["best"][name]])
        at = np.linspace(NUM_EVALUATIONS / runs.shape[1], NUM_EVALUATIONS, runs.shape[1])
        axes.fill_between(at, *np.percentile(runs, (10, 90), axis=0), color=colour, alpha=0.2, linewidth=0)
        axes.plot(at, np.median(runs, axis=0), "--", color=colour, label=f"{name}, {len(runs)} recorded (median, 80%)")
    best = median(line["training_best"] for line in record)
    axes.axhline(best, color="black", linewidth=1, linestyle=":", label="best of the training levels")
    axes.set_xlabel("levels tried")
    axes.set_ylabel("columns of pits")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=10, loc="lower right")
    return figure


def show_tilings(texture: Tensor, tiles: Mapping[str, Tensor], times: int = 2) -> Figure:
    """A cutting of the texture (3, H, W), and beside it pictures (3, S, S) laid out `times` by `times`."""
    side = times * next(iter(tiles.values())).shape[-1]
    panels = {"drawn by code": texture[:, :side, :side]}
    panels |= {name: tile.repeat(1, times, times) for name, tile in tiles.items()}
    figure, axes = plt.subplots(1, len(panels), figsize=(5.6, 0.4 + 5.6 / len(panels)))
    for panel, (name, picture) in zip(axes, panels.items(), strict=True):
        panel.imshow(unscale(picture[None])[0].permute(1, 2, 0).numpy(), interpolation="nearest")
        panel.set_axis_off()
        panel.set_title(name)
    return figure


def mean_interval(found: Mapping[str, float]) -> str:
    """A mean with its 95% interval, from "num", "mean" and "deviation"."""
    half = 1.96 * found["deviation"] / found["num"] ** 0.5
    return f"{found['mean']:.2f} ({found['mean'] - half:.2f} to {found['mean'] + half:.2f})"


def _bridge(*, crystals: int, pit: int) -> np.ndarray:
    """An even level with so many crystals and one pit of that width."""
    level = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    level[-3:] = EARTH
    level[-3:, 8 : 8 + pit] = SKY
    level[-7, 4 : 4 + crystals] = CRYSTAL
    return level


@check
def check_wanted(my_wanted: Callable[[np.ndarray], Any]) -> str:
    """Exercise 16.5: levels with many crystals that can be passed."""
    levels = np.stack(
        [_bridge(crystals=crystals, pit=pit) for crystals, pit in ((0, 2), (5, 2), (9, 2), (12, 14), (0, 14), (0, 20))]
    )
    levels[2, 1, 1:20] = LEDGE  # more tiles of another kind must not count
    passable, _ = explored(levels)
    assert passable.tolist() == [True] * 3 + [False] * 3
    values = np.asarray(my_wanted(levels.copy()), float)
    require(values.shape == (6,), f"For 6 levels it should give 6 values, but the shape is {values.shape}.")
    require(
        values[1] > values[0] and values[2] > values[1],
        "Among levels that can be passed, more crystals should give a larger value: three levels with 0, 5 and 9 have "
        f"{values[0]:g}, {values[1]:g} and {values[2]:g}.",
    )
    require(
        values[2] - values[1] == 4 and values[1] - values[0] == 5,
        "The value should grow by 1 with each crystal, and with nothing else: look at which tiles you count.",
    )
    require(
        values[3:].max() < values[:3].min(),
        "A level that cannot be passed should have less than every level that can: one with 12 crystals has "
        f"{values[3]:g}, and one without any has {values[4]:g}.",
    )
    return "The search would now look for crystals that one can come by."


@check
def check_wrapped(my_wrapped: Callable[[Tensor, int], Tensor]) -> str:
    """Exercise 16.6: noise that is continued from the opposite edge."""
    noise = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(1, 2, 3, 4)
    answer = my_wrapped(noise.clone(), 2)
    require(
        tuple(answer.shape) == (1, 2, 7, 8),
        f"With a margin of 2, (1, 2, 3, 4) should become (1, 2, 7, 8), on all four sides; yours is "
        f"{tuple(answer.shape)}.",
    )
    require(bool((answer[:, :, 2:-2, 2:-2] == noise).all()), "The middle should be the noise as it was.")
    require(not bool((answer[:, :, :2] == 0).all()), "The margin is empty: it should repeat what is at the other edge.")
    tiled = noise.repeat(1, 1, 3, 3)[:, :, 1:8, 2:10]
    require(
        bool((answer == tiled).all()),
        "The margin should be what stands at the *opposite* edge, as if copies of the noise lay all around it.",
    )
    return "A generator that fills its edges with zeros now makes a picture whose middle tiles without a seam."
