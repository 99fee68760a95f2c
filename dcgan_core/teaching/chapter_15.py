"""Chapter 15, what the unlabelled data bought: tables and figures of its record, checks of its exercises."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from dcgan_core.laboratory.labels import (
    AUGMENTED,
    BUDGETS,
    CLASS_GAMES,
    DATA,
    DISCRIMINATOR,
    GENERATED,
    LAYERS,
    LOOKED_CLOSER,
    METHODS,
    MOMENTS,
    NETWORKS,
    PLAIN,
    RECORD,
    TOTAL_IMAGES,
    UNLABELLED,
)
from dcgan_core.laboratory.outcomes import median_interval, read
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR as GREEN
from dcgan_core.teaching.plots import EXTRA, FAKE, NEUTRAL, REAL, show_images

Lines = Sequence[dict[str, Any]]
SUPERVISED = (PLAIN, AUGMENTED)
NAMES = {PLAIN: "network, as they are", AUGMENTED: "network, augmented"}
LOOKS: dict[str, tuple[str, str, str]] = {  # colour, marker, dashes
    "pixels": (NEUTRAL, "s", ":"),
    "principal components": (NEUTRAL, "x", "--"),
    "k-means patches": (EXTRA[0], "D", "-"),
    "untrained": (GREEN, "o", ":"),
    "autoencoder": (EXTRA[1], "^", "-"),
    DISCRIMINATOR: (GREEN, "o", "-"),
    PLAIN: (REAL, "v", ":"),
    AUGMENTED: (REAL, "v", "-"),
    GENERATED: (FAKE, "P", "-"),
    UNLABELLED: (EXTRA[2], "*", "-"),
    CLASS_GAMES: (FAKE, "X", ":"),
}
ADDED = (PLAIN, GENERATED, UNLABELLED, CLASS_GAMES)  # networks that are compared with the augmented one


def recorded_labels() -> list[dict[str, Any]]:
    """The lines of the record that ships with the package."""
    return read(RECORD)


def draws_of(lines: Lines, data: str, method: str, per_class: int, choice: str = "inside") -> list[float]:
    """The accuracies of a method with so many labels in each class, in the order of the draws; none if not measured.

    `choice` is inside or hidden: how a linear classifier got its C.
    """
    for line in lines:
        if line.get("data") == data and line.get("per_class") == per_class:
            if line["kind"] == "probe" and line["features"] == method:
                return list(line[choice])
            if method in line.get("accuracies", ()):
                return list(line["accuracies"][method])
    return []


def measured(lines: Lines, data: str, method: str) -> list[int]:
    """The budgets at which a method was measured."""
    return [per_class for per_class in BUDGETS if draws_of(lines, data, method, per_class)]


def differences(lines: Lines, data: str, one: str, other: str, per_class: int) -> list[float]:
    """How much more accurate one method is than another, draw by draw: both saw the same labelled images."""
    pairs = zip(draws_of(lines, data, one, per_class), draws_of(lines, data, other, per_class), strict=False)
    return [left - right for left, right in pairs]


def comparisons(lines: Lines, one: str, others: Sequence[str], budgets: Sequence[int]) -> str:
    """In how many draws one method was better than others that saw the same labelled images, and by how many points.

    By: median of the differences, with an interval that holds the true median with 90%.
    """
    rows = []
    for data in shown(lines):
        for other in others:
            for per_class in budgets:
                found = differences(lines, data, one, other, per_class)
                middle, low, high = (100 * each for each in median_interval(found))
                better = f"in {sum(each > 0 for each in found):2} of {len(found)} draws"
                rows.append(
                    f"{data:8}{per_class:3} a class, {other:16}{better}, by {middle:+5.1f} ({low:+.1f} to {high:+.1f})"
                )
    return "\n".join(rows)


def accuracy_table(lines: Lines, data: str, budgets: Sequence[int] = (1, 10, 100)) -> str:
    """Medians of every method, with intervals that hold the true median with 90%, or from the lowest to the highest."""
    rows = [f"{data:22}" + "".join(f"{f'{budget} a class':>19}" for budget in budgets)]
    for method in (*METHODS, *SUPERVISED):
        cells = []
        for per_class in budgets:
            found = draws_of(lines, data, method, per_class)
            text = "{:.1f} ({:.1f}-{:.1f})".format(*(100 * each for each in median_interval(found))) if found else "-"
            cells.append(f"{text:>19}")
        rows.append(f"{NAMES.get(method, method):22}" + "".join(cells))
    return "\n".join(rows)


def network_table(lines: Lines, data: str) -> str:
    """Medians of the networks at every budget, and of the shares of labels that were right, both in percent."""
    rows = [f"{data:34}" + "".join(f"{budget:>8}" for budget in BUDGETS) + "  a class"]
    rights = [f"right, {method}" for method in ADDED[1:]]
    for method in (*NETWORKS, CLASS_GAMES, *rights):
        found = [draws_of(lines, data, method, per_class) for per_class in BUDGETS]
        if any(found):
            rows.append(
                f"{method:34}" + "".join(f"{100 * statistics.median(f):8.1f}" if f else f"{'-':>8}" for f in found)
            )
    return "\n".join(rows)


def _curve(axes: Axes, lines: Lines, data: str, method: str, function: Callable[[int], list[float]]) -> None:
    """Draws the medians of what the function finds at each budget, and the intervals that hold the true median."""
    colour, marker, dashes = LOOKS[method]
    budgets = [per_class for per_class in measured(lines, data, method) if function(per_class)]
    if not budgets:
        return
    middle, low, high = zip(*(median_interval(function(per_class)) for per_class in budgets), strict=True)
    axes.plot(budgets, middle, dashes, marker=marker, color=colour, markersize=5, linewidth=1.4)
    axes.fill_between(budgets, low, high, color=colour, alpha=0.15, linewidth=0)


def shown(lines: Lines) -> list[str]:
    """The data sets on which the discriminator was measured."""
    return [data for data in DATA if measured(lines, data, DISCRIMINATOR)]


def _panels(
    lines: Lines, methods: Sequence[str], values: Callable[[str, str, int], list[float]], zero: str | None = None
) -> Figure:
    """A panel for each data set, with the `values` of each method (data, method, budget) and a legend of them.

    They are accuracies; or points beside something whose colour is `zero`.
    """
    names = shown(lines)
    rows = -(-len(names) // 2)
    most = max(budget for data in names for method in methods for budget in measured(lines, data, method))
    figure, grid = plt.subplots(rows, 2, figsize=(5.6, 2.7 * rows + 0.8 * (1 - len(names) % 2)), squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    for axes, data in zip(grid.flat, names, strict=False):
        for method in methods:
            _curve(axes, lines, data, method, partial(values, data, method))
        if zero:
            axes.axhline(0, color=zero, linewidth=2.5, zorder=0)
            axes.set_ylabel("points")
        else:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xscale("log")
        axes.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
        axes.minorticks_off()
        axes.set_xlim(0.85, 1.2 * most)
        axes.set_title(data)
        axes.set_xlabel("labels in each class")
    handles, labels = [], []
    for method in methods:
        if any(measured(lines, data, method) for data in names):
            colour, marker, dashes = LOOKS[method]
            handles += grid[0, 0].plot([], [], dashes, marker=marker, color=colour, markersize=5, linewidth=1.4)
            labels.append(NAMES.get(method, method))
    if len(names) % 2:
        grid.flat[len(names)].legend(handles, labels, loc="center", fontsize=10, frameon=False)
    else:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=10)
    return figure


def show_accuracy(lines: Lines) -> Figure:
    """Accuracy over the labels in each class, of all methods: medians, and intervals that hold the true median."""
    return _panels(lines, (*METHODS, *SUPERVISED), partial(draws_of, lines))


def show_differences(lines: Lines) -> Figure:
    """By how many points the discriminator's features are better than others, on the same labelled images."""

    def points(data: str, method: str, per_class: int) -> list[float]:
        return [100 * each for each in differences(lines, data, DISCRIMINATOR, method, per_class)]

    others = [method for method in (*METHODS, AUGMENTED) if method != DISCRIMINATOR]
    return _panels(lines, others, points, zero=GREEN)


def show_networks(lines: Lines) -> Figure:
    """What a network gains over shifted copies of its labelled images by others that it has labelled itself."""

    def points(data: str, method: str, per_class: int) -> list[float]:
        return [100 * each for each in differences(lines, data, method, AUGMENTED, per_class)]

    return _panels(lines, ADDED, points, zero=REAL)


def show_choices(lines: Lines) -> Figure:
    """What hidden labels would add: accuracy with C chosen by thousands of others, minus that with C chosen inside."""

    def points(data: str, method: str, per_class: int) -> list[float]:
        inside, hidden = (draws_of(lines, data, method, per_class, choice) for choice in ("inside", "hidden"))
        return [100 * (b - a) for a, b in zip(inside, hidden, strict=True)]

    return _panels(lines, METHODS, points, zero=NEUTRAL)


def show_closer(lines: Lines) -> Figure:
    """Above, accuracy of single layers; below, of the whole discriminator over training: one and ten labels a class."""
    figure, panels = plt.subplots(2, 1, figsize=(5.2, 5.6))
    colours = dict(zip(DATA, (REAL, FAKE, EXTRA[0]), strict=True))
    whole = [*LAYERS, DISCRIMINATOR]
    moments = ["untrained", *(f"after {images}" for images in MOMENTS), DISCRIMINATOR]
    ticks = ["0", *(f"{images:,}" for images in MOMENTS), f"{TOTAL_IMAGES:,}"]
    for axes, methods, labels in (
        (panels[0], whole, ["first", "second", "third", "all three"]),
        (panels[1], moments, ticks),
    ):
        for data, colour in colours.items():
            for per_class, dashes in zip(LOOKED_CLOSER, ("o:", "o-"), strict=True):
                found = [draws_of(lines, data, method, per_class) for method in methods]
                places = [place for place, each in enumerate(found) if each]
                if places:
                    middle, low, high = zip(*(median_interval(found[place]) for place in places), strict=True)
                    axes.plot(
                        places,
                        middle,
                        dashes,
                        color=colour,
                        markersize=5,
                        linewidth=1.4,
                        label=f"{data}, {per_class} a class",
                    )
                    axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_xticks(range(len(labels)), labels)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[0].set_xlabel("layer of the discriminator")
    panels[1].set_xlabel("real images that it has seen")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=10)
    return figure


def show_statistics(before: Tensor, after: Tensor) -> Axes:
    """Running means of a layer's channels: of real and generated images, mixed, and of the real ones alone."""
    _, axes = plt.subplots(figsize=(4.4, 3.4))
    axes.plot(before, after, "o", color=GREEN, markersize=5)
    low, high = float(torch.minimum(before, after).min()), float(torch.maximum(before, after).max())
    axes.plot([low, high], [low, high], color=NEUTRAL, linewidth=1)
    axes.set_xlabel("mean as it was trained")
    axes.set_ylabel("mean over the letters")
    return axes


def show_pooled(image: Tensor, blocks: Sequence[Tensor], maps: int = 7) -> Figure:
    """One image (1, 1, S, S), uint8, and below it some pooled maps (1, 16 C) of each layer, brightest where largest."""
    figure, panels = plt.subplots(len(blocks) + 1, 1, figsize=(4.6, 3.4), height_ratios=(1.4, 1, 1, 1))
    show_images(image, columns=1, axes=panels[0], title="one letter")
    for axes, block, name in zip(panels[1:], blocks, ("first", "second", "third"), strict=True):
        some = block.reshape(-1, 1, 4, 4)[:maps]
        low, high = some.amin((1, 2, 3), keepdim=True), some.amax((1, 2, 3), keepdim=True)
        scaled = 2 * (some - low) / (high - low).clamp(min=1e-6) - 1
        framed = torch.nn.functional.pad(scaled.repeat_interleave(4, 2).repeat_interleave(4, 3), (1, 1, 1, 1), value=1)
        show_images(framed, columns=maps, row_labels=[f"{name} layer"], axes=axes)
    return figure


def show_labelled(images: Tensor, labels: Sequence[str], columns: int = 13) -> Figure:
    """Images (N, 1, S, S), uint8, each with what it is called above it."""
    rows = -(-len(images) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(5.6, 0.68 * rows))
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
        axes.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=255)
        axes.set_title(label, fontsize=10, pad=2)
    return figure


def show_draws(found: Mapping[tuple[str, int], Sequence[float]]) -> Axes:
    """Accuracies by (layer or method, labels in each class): a dot for each draw, joined at their medians."""
    _, axes = plt.subplots(figsize=(5.2, 3.2))
    names = list(dict.fromkeys(name for name, _ in found))
    for per_class, colour in zip(sorted({number for _, number in found}), (EXTRA[1], REAL), strict=True):
        draws = [found[name, per_class] for name in names]
        places = list(range(len(names)))
        axes.plot(places, [statistics.median(each) for each in draws], color=colour, label=f"{per_class} per class")
        for place, each in zip(places, draws, strict=True):
            axes.plot([place] * len(each), each, "o", color=colour, markersize=5, alpha=0.7)
    axes.set_xticks(range(len(names)), names)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="lower right")
    return axes


@check
def check_pool(pool: Callable[[Tensor], Tensor]) -> str:
    """Exercise 15.1: maps (N, C, S, S) to the largest value in each of 4x4 places, (N, 16 C)."""
    rng = torch.Generator().manual_seed(0)
    for size in (16, 8, 4):
        maps = torch.randn(3, 5, size, size, generator=rng) - 3  # all below 0, so that a 0 that was put in shows
        expected = adaptive_max_pool2d(maps, 4).flatten(1)
        found = torch.as_tensor(pool(maps.clone()))
        require(
            found.shape == expected.shape,
            f"For maps of {size} x {size} with 5 channels yours has the shape {tuple(found.shape)} and not "
            f"{tuple(expected.shape)}: one row an image, 16 numbers a channel.",
        )
        if not torch.allclose(found, expected):
            if size > 4 and torch.allclose(found, torch.nn.functional.adaptive_avg_pool2d(maps, 4).flatten(1)):
                require(False, "That is the mean of each place: an edge that is found once in it is diluted.")
            require(
                not torch.equal(found.sort().values, expected.sort().values),
                "The values are right, but not in this order: all places of the first channel come first.",
            )
            require(False, f"For maps of {size} x {size}, that is not the largest value in each of 4 x 4 places.")
    return "Where in its place a pattern was found is forgotten, that it was found is kept."


@check
def check_intervals(intervals: Callable[[Sequence[float]], tuple[float, float]]) -> str:
    """Exercise 15.2: half the width of an interval for one more draw, and of one for the mean of all draws."""
    for values in ([0.60, 0.62, 0.55, 0.63], [0.70, 0.72, 0.69, 0.75, 0.71, 0.68, 0.74, 0.70, 0.73]):
        single, of_mean = 1.96 * statistics.stdev(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5
        found_single, found_mean = (float(each) for each in intervals(list(values)))
        require(
            abs(found_single - of_mean) > 1e-9 or abs(found_mean - single) > 1e-9,
            "You have the two the wrong way round: the mean of many draws is known better than what one more will be.",
        )
        require(
            abs(found_single - 1.96 * statistics.pstdev(values)) > 1e-9,
            "You divide by the number of values; the mean was computed from the same values, so divide by one less.",
        )
        require(
            abs(found_single - single) < 1e-9,
            f"For one more draw, 1.96 standard deviations of {values} are {single:.4f}; yours is {found_single:.4f}.",
        )
        require(
            abs(found_mean - single) > 1e-9,
            "Your interval for the mean does not get smaller with more draws: divide by the root of their number.",
        )
        require(
            abs(found_mean - single / len(values)) > 1e-9,
            "You divide by the number of draws: four times as many halve the interval, so it is its root.",
        )
        require(
            abs(found_mean - of_mean) < 1e-9,
            f"For the mean of {len(values)} draws it is {of_mean:.4f}; yours is {found_mean:.4f}.",
        )
    return "A table that says ± should say which of the two it means; with a hundred draws, they differ tenfold."


@check
def check_halves(halves: Callable[[Tensor], tuple[Tensor, Tensor]]) -> str:
    """Exercise 15.3: rows of labels (N,), two or more of each class, in two halves that hold every class."""
    rng = torch.Generator().manual_seed(0)
    for per_class, classes in ((2, 3), (3, 4), (10, 26)):
        labels = torch.arange(classes).repeat(per_class)[torch.randperm(per_class * classes, generator=rng)]
        found = [torch.as_tensor(part).flatten() for part in halves(labels.clone())]
        require(len(found) == 2, f"There should be two halves, and yours are {len(found)}.")
        require(
            all(part.dtype in (torch.int64, torch.int32) for part in found),
            "Give the rows' numbers, not labels or a mask.",
        )
        rows = torch.cat(found)
        require(
            len(rows.unique()) == len(rows),
            "Some rows are in both halves: then C is judged on images that the classifier has learnt from.",
        )
        require(
            rows.sort().values.tolist() == list(range(len(labels))),
            "Not every row is in one of the halves: with so few labels, none should be wasted.",
        )
        for part in found:
            counts = labels[part].bincount(minlength=classes)
            require(
                bool((counts > 0).all()),
                f"With {per_class} labels in each of {classes} classes, a half of yours lacks a class: who has never "
                "seen it cannot be right about it, whatever C is.",
            )
            require(
                int(counts.max() - counts.min()) <= 1, "One class has many more rows than another in one of the halves."
            )
    return "Each half is fitted once and judged once, and no other label is looked at."


PROTOCOLS = {
    "A": "C is what does best on the test images.",
    "B": "C is what does best on 10,000 other labelled images; reported as '10 labels a class'.",
    "C": "C is what does best in cross-validation of the 10 labels a class.",
    "D": "C is 10; k-means saw the test images, but not their labels.",
}


@check
def check_protocol(answer: str) -> str:
    """Exercise 15.4: which of the protocols needs no more labels than it says, and no test image."""
    if answer == "...":
        raise NotImplementedError
    require(answer in PROTOCOLS, f"{answer!r} is none of them: choose one of {', '.join(PROTOCOLS)}.")
    why = {
        "A": "the test images have chosen C, so they cannot say any more how good it is on images that nobody has seen",
        "B": "ten thousand labels were paid for, and 10 a class are reported",
        "D": "features that were fitted to the test images may suit these better than others",
    }
    require(answer == "C", f"Not {answer}: {why.get(answer, '')}.")
    return "Everything that it needed is counted. What B measures is worth knowing, too, if the 10,000 are named."
