"""Does a longer run make it better? The figure of chapter 07 on the record of `laboratory.longer`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dcgan_core.laboratory.lengths import Evaluation, evaluations, nearest
from dcgan_core.laboratory.longer import AS_IT_IS, RECORD
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.teaching.plots import EXTRA, FAKE, NEUTRAL, REAL

SHOWN: dict[str, tuple[str, str]] = {  # settings of the study: colour and dashes
    AS_IT_IS: (NEUTRAL, "-"),
    "R1, gamma 0.02": (EXTRA[2], ":"),
    "R1": (REAL, "--"),
    "R1, gamma 0.5": (REAL, "-"),
    "recipe": (FAKE, "-"),
}
NAMES = {"mnist": "MNIST"}
LABELS = {AS_IT_IS: "as in this chapter", "R1": "R1, gamma 0.1", "recipe": "the recipe"}


def recorded_lengths() -> list[dict[str, Any]]:
    """The lines of the record that ships with the package."""
    return read_lines(RECORD)


def curve(lines: Sequence[dict[str, Any]], data: str, change: str, seed: int = 0) -> list[Evaluation]:
    """(images seen, Fréchet distance, share recognised) at every evaluation of one run; empty if it was not played.

    Of several runs with these settings, the one that was recorded first.
    """
    runs = [evaluations(line) for line in lines if (line["data"], line["change"], line["seed"]) == (data, change, seed)]
    return runs[0] if runs else []


def show_lengths(lines: Sequence[dict[str, Any]], data: Sequence[str] = ("letters", "mnist"), seed: int = 0) -> Figure:
    """Fréchet distance over the images seen, a panel for each data set, of the settings in `SHOWN` that were played."""
    figure, panels = plt.subplots(1, len(data), figsize=(5.6, 3.4), sharey=True)
    for axes, name in zip(panels, data, strict=True):
        for change, (colour, dashes) in SHOWN.items():
            if found := curve(lines, name, change, seed):
                images, distances, _ = zip(*found, strict=True)
                label = LABELS.get(change, change)
                axes.plot([one / 1000 for one in images], distances, dashes, color=colour, label=label)
        axes.set_title(NAMES.get(name, name))
        axes.set_xlabel("thousand images seen")
    _finish(figure, (10, 20, 50, 100, 200))
    return figure


def curves(lines: Sequence[dict[str, Any]], data: str, change: str, kind: str = "cpu") -> list[list[Evaluation]]:
    """(images seen, Fréchet distance, share recognised) of every run on that kind of device, by seed."""
    runs = [
        line
        for line in lines
        if (line["data"], line["change"], line["provenance"][0]["device_kind"]) == (data, change, kind)
    ]
    return [evaluations(line) for line in sorted(runs, key=lambda line: line["seed"])]


def show_recipe(lines: Sequence[dict[str, Any]], data: Sequence[str] = ("letters", "mnist", "clothes")) -> Figure:
    """Fréchet distance over the images seen, a panel for each data set and a line for each seed of the recipe.

    Where the game without it was played on a CPU, too, it is drawn in grey.
    """
    figure, panels = plt.subplots(1, len(data), figsize=(5.6, 2.9), sharey=True)
    for axes, name in zip(panels, data, strict=True):
        for change, colour in ((AS_IT_IS, NEUTRAL), ("recipe", FAKE)):
            for number, found in enumerate(curves(lines, name, change)):
                images, distances, _ = zip(*found, strict=True)
                label = LABELS.get(change, change) if number == 0 else None
                axes.plot([one / 1000 for one in images], distances, color=colour, linewidth=1.2, label=label)
        axes.set_title(NAMES.get(name, name))
        axes.set_xticks([0, 400, 800])
    panels[len(data) // 2].set_xlabel("thousand images seen")
    _finish(figure, (5, 10, 20, 50, 100, 200))
    return figure


def _finish(figure: Figure, ticks: Sequence[int]) -> None:
    """The panels' common scale of distances, and one legend for all of them."""
    first = figure.axes[0]
    first.set_ylabel("Fréchet distance (log)")
    first.set_yscale("log")
    first.set_yticks(ticks, [str(tick) for tick in ticks])
    first.minorticks_off()
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)


def typical(
    lines: Sequence[dict[str, Any]], data: str, images: int, change: str = "recipe"
) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
    """How many runs came so far, and what they had there: (lowest, median, highest) distance, and share recognised."""
    found = [nearest(run, images) for run in curves(lines, data, change) if run[-1][0] >= images]
    distances, shares = ([one[which] for one in found] for which in (1, 2))
    return (
        len(found),
        (min(distances), median(distances), max(distances)),
        (min(shares), median(shares), max(shares)),
    )
