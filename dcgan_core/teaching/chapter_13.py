"""Chapter 13: figures of the comparison, and the checks of its exercises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.stats import binom
from torch import Tensor

from dcgan_core.laboratory.outcomes import Summary, describe, summarise
from dcgan_core.laboratory.protocol import METHODS, RATES
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, FAKE, REAL

Lines = list[dict[str, Any]]
BUDGETS = {  # colour, marker, what it says in the legend
    "updates": (REAL, "o", "equal updates"),
    "time": (FAKE, "s", "equal time"),
    "longer": (DISCRIMINATOR, "^", "plain, with the penalty's time"),
}
LABELS = {
    "covered": "modes covered",
    "reached": "modes reached",
    "overlap": "overlap with the data's modes",
    "good": "share of good samples",
    "kl": "KL from evenly spread, nats",
    "frechet_distance": "Fréchet distance",
}


def show_standings(lines: Lines, data: str, measures: Sequence[str] = ("covered", "overlap")) -> Figure:
    """Every method on one data set, at its pilots' rate: seeds as dots, median and interval, by budget."""
    figure, panels = plt.subplots(1, len(measures), figsize=(5.6, 4.6), sharey=True, squeeze=False)
    handles: dict[str, Any] = {}
    for axes, measure in zip(panels[0], measures, strict=True):
        for row, method in enumerate(METHODS):
            for number, (budget, (colour, marker, label)) in enumerate(BUDGETS.items()):
                found = summarise(lines, data, method, measure, budget)
                if found is None:
                    continue
                height = row + 0.27 * (number - 1)
                axes.plot(found.values, [height] * found.num_seeds, marker, color=colour, markersize=3, alpha=0.35)
                axes.plot([found.low, found.high], [height] * 2, color=colour, linewidth=1.4)
                (handles[label],) = axes.plot(found.median, height, marker, color=colour, markersize=6)
        axes.set_xlabel(LABELS[measure])
        axes.set_yticks(range(len(METHODS)), list(METHODS))
        if measure in ("overlap", "good"):
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlim(left=0)
    panels[0][0].invert_yaxis()
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), fontsize=8.5)
    return figure


def show_rates(lines: Lines, datas: Sequence[str] = ("ring", "grid"), measure: str = "overlap") -> Figure:
    """Medians over the seeds for every method and every rate of the discriminator, after equal updates."""
    figure, panels = plt.subplots(1, len(datas), figsize=(5.6, 3.6), sharey=True, squeeze=False)
    for axes, data in zip(panels[0], datas, strict=True):
        found = [[_median(lines, data, method, measure, rate) for rate in RATES["points"]] for method in METHODS]
        axes.imshow(np.array(found, dtype=float), cmap="cividis", vmin=0, vmax=0.4, aspect="auto")
        for row, medians in enumerate(found):
            for column, median in enumerate(medians):
                colour = "white" if median < 0.2 else "black"
                axes.text(column, row, f"{median:.0%}", ha="center", va="center", color=colour, fontsize=10)
        axes.set_xticks(range(len(RATES["points"])), [f"{rate:g}" for rate in RATES["points"]])
        axes.set_yticks(range(len(METHODS)), list(METHODS))
        axes.set_title(data)
        axes.grid(False)
        axes.tick_params(length=0)
    figure.supxlabel("discriminator's learning rate", fontsize=11)
    return figure


def _median(lines: Lines, data: str, method: str, measure: str, rate: float) -> float:
    found = summarise(lines, data, method, measure, "updates", rate)
    return math.nan if found is None else found.median


def standing(found: Summary | None, percent: bool = False) -> str:
    """A median and its interval in a few characters."""
    if found is None:
        return "not played"
    numbers = (found.median, found.low, found.high)
    return "{} ({} to {})".format(*(f"{number:.0%}" if percent else f"{number:.4g}" for number in numbers))


@check
def check_overlap(overlap: Callable[[Tensor, int], float]) -> str:
    """Exercise 13.1: counts of good samples per mode, and the number of samples, to the overlap."""
    cases = [
        (torch.tensor([25, 25, 25, 25]), 100, "a perfect sampler: every mode gets its due, so the overlap is 1"),
        (torch.tensor([100, 0, 0, 0]), 100, "all samples in one of four modes: only a quarter of them is due there"),
        (torch.tensor([5, 5, 5, 5]), 100, "80 of 100 samples hit no mode: they must count against the sampler"),
        (torch.tensor([50, 10, 0, 20]), 100, "only the excess over a mode's due is lost, not the whole mode"),
    ]
    for counts, num_samples, why in cases:
        expected = describe(counts, counts, num_samples)["overlap"]
        found = float(overlap(counts, num_samples))
        require(
            abs(found - expected) < 1e-6,
            f"For good samples {counts.tolist()} of {num_samples}, yours is {found:.3g} and not {expected:.3g}: {why}.",
        )
    return "It falls short of 1 for missing modes and for missing the modes alike."


@check
def check_counterexample(histograms: tuple[Sequence[int], Sequence[int]]) -> str:
    """Exercise 13.2: two histograms of good samples over 8 modes, of 100 samples each."""
    require(len(histograms) == 2, "Give two histograms, A and B.")
    first, second = (torch.tensor(list(one)) for one in histograms)
    for name, one in (("A", first), ("B", second)):
        require(len(one) == 8, f"{name} has {len(one)} modes, but the ring has 8.")
        require(bool((one >= 0).all()), f"{name} has a negative count.")
        require(int(one.sum()) <= 100, f"{name} has {int(one.sum())} good samples, more than the 100 drawn.")
    a, b = (describe(one, one, 100) for one in (first, second))
    require(a["covered"] > b["covered"], f"A must cover more modes, but covers {a['covered']}, and B {b['covered']}.")
    require(
        b["overlap"] > a["overlap"],
        f"B must have the greater overlap, but has {b['overlap']:.2f}, and A {a['overlap']:.2f}: "
        "one good sample is enough to cover a mode, so how few good samples can A do with?",
    )
    return (
        f"A covers {a['covered']} modes with an overlap of {a['overlap']:.2f}, and B covers {b['covered']} with "
        f"{b['overlap']:.2f}: which of them you call better depends on the measure."
    )


@check
def check_num_seeds(num_seeds: Callable[[float], int]) -> str:
    """Exercise 13.3: how many seeds are needed so that the lowest and the highest hold the median."""
    for level in (0.5, 0.75, 0.9, 0.95, 0.99):
        expected = next(n for n in range(2, 100) if 1 - 2 * binom.cdf(0, n, 0.5) >= level)
        found = num_seeds(level)
        one_sided = next(n for n in range(1, 100) if 1 - 0.5**n >= level)
        hint = "count the two ways to miss: all seeds above the median, or all below it"
        if found == one_sided != expected:
            hint = "you counted one way to miss; all seeds above the median is a miss, and so is all below"
        elif found == expected + 1:
            hint = "one fewer is enough; is a level that is just reached good enough for you?"
        require(found == expected, f"For a level of {level:g}, yours is {found} and not {expected}: {hint}.")
    return "Five seeds are the fewest for 90%, and six for 95%."
