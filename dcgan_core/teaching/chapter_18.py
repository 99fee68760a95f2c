"""Chapter 18, your own images: figures, the record of how many are needed, and the checks of its exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image
from torch import Tensor

from dcgan_core.laboratory.amounts import AMOUNTS, AUGMENTED, RECORD
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.metrics.neighbours import distances_to_others
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, FAKE, NEUTRAL, REAL, show_images
from dcgan_core.teaching.unknown_runs import RUNS, images_in, unknown_run

LOOKS = {"as they are": (REAL, "o", -1), "augmented": (FAKE, "s", 1)}  # colour, marker, to which side it is moved
CAUSES = {  # as a condition, and what one would see then
    "too few images": (
        "If there were too few images",
        "samples would be copies of training images, far more of them than of held-out images",
    ),
    "two kinds of pictures": (
        "If there were two kinds of pictures",
        "the training images would be of two kinds, and the samples of both, or of neither",
    ),
    "stopped too early": (
        "If it had been stopped too early",
        "each image would have been shown a few times only, and the distance would still be falling steeply at the end",
    ),
    "the rates are too high": (
        "If the rates were too high",
        "the distance would stay high or jump from line to line, and a loss with it",
    ),
    "nothing is wrong": (
        "If nothing were wrong",
        "the distance would have come down and levelled off, with many kinds of samples and few copies",
    ),
}


def show_sheet(picture: Image.Image) -> Figure:
    """A contact sheet, as wide as the page."""
    width = 5.6
    figure, axes = plt.subplots(figsize=(width, width * picture.height / picture.width))
    axes.imshow(np.asarray(picture), interpolation="nearest")
    axes.set_axis_off()
    return figure


def show_pairs(pixels: Tensor, pairs: Sequence[tuple[int, int]]) -> None:
    """Pairs of images, uint8 (N, C, S, S), one above the other."""
    rows = torch.tensor(pairs).T.flatten()
    show_images(pixels[rows], columns=len(pairs), row_labels=["one", "other"])


def show_gaps(near: Tensor, far: Tensor) -> Figure:
    """Sorted distances: to the nearest other image, smallest first; to a far neighbour, largest first."""
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 2.8))
    for axes, values, title in (
        (panels[0], near.sort().values, "nearest thumbnail"),
        (panels[1], far.sort(descending=True).values, "far neighbour in features"),
    ):
        most = max(10, len(values) // 6)
        axes.plot(range(1, most + 1), values[:most], ".", color=REAL, markersize=4)
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("place in the order")
    panels[0].set_ylabel("distance")
    return figure


def show_log(lines: Sequence[Mapping[str, Any]]) -> Figure:
    """The losses and the Fréchet distance of a run over the images that it has seen."""
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 2.8))
    _draw_log(panels, lines)
    return figure


def _draw_log(panels: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    """Losses into the first of two panels, distances into the second."""
    for name, colour in (("discriminator_loss", DISCRIMINATOR), ("generator_loss", FAKE)):
        values = [line[name] for line in lines]
        panels[0].plot([line["images"] for line in lines], values, ".-", color=colour, label=name.removesuffix("_loss"))
    panels[0].set_title("losses")
    panels[0].legend()
    measured = [line for line in lines if line.get("frechet_distance")]
    distances = [line["frechet_distance"] for line in measured]
    panels[1].plot([line["images"] for line in measured], distances, ".-", color=FAKE)
    panels[1].set_ylim(bottom=0)
    panels[1].set_title("Fréchet distance")
    for axes in panels:
        axes.set_xlabel("images seen")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")


def amounts_played() -> tuple[list[dict[str, Any]], list[float]]:
    """The finished runs of the record that ships, and the distances of real scenes from real scenes."""
    lines = read_lines(RECORD)
    (floor,) = [line["distances"] for line in lines if line.get("kind") == "floor"]
    return [line for line in lines if line.get("finished")], floor


def of_setting(runs: Sequence[dict[str, Any]], num_images: int, augmented: str) -> list[dict[str, Any]]:
    """The runs of one setting, one for each seed that was played."""
    return [line for line in runs if (line["num_images"], line["augmented"]) == (num_images, augmented)]


def amounts_table(runs: Sequence[dict[str, Any]]) -> str:
    """Distances and copies of every setting that was played: medians, and from the lowest to the highest seed."""
    rows = [f"{'images':>7} {'':12}{'distance, best':>18}{'distance, last':>18}{'copies, last':>18}  seeds"]
    for augmented in AUGMENTED:
        for number in AMOUNTS:
            if found := of_setting(runs, number, augmented):
                best, last = (
                    _spread([line[which]["frechet_distance"] for line in found], "{:.2f}") for which in ("best", "last")
                )
                copies = _spread([line["last"]["copies"] for line in found], "{:.1%}")
                rows.append(f"{number:7,} {augmented:12}{best:>18}{last:>18}{copies:>18}  {len(found)}")
    return "\n".join(rows)


def _spread(values: Sequence[float], form: str) -> str:
    middle = form.format(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({form.format(min(values))}-{form.format(max(values))})"


def show_amounts(runs: Sequence[dict[str, Any]], floor: Sequence[float]) -> Figure:
    """Distance of the best state, and copies of the last, over the number of training images: every seed is a mark."""
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 3.6))
    for augmented, (colour, marker, side) in LOOKS.items():
        for axes, which, name in ((panels[0], "best", "frechet_distance"), (panels[1], "last", "copies")):
            played = [number for number in AMOUNTS if of_setting(runs, number, augmented)]
            values = [[line[which][name] for line in of_setting(runs, number, augmented)] for number in played]
            places = [number * (1 + 0.05 * side) for number in played]
            axes.plot(places, [median(each) for each in values], color=colour, label=augmented, linewidth=1.2)
            for place, each in zip(places, values, strict=True):
                axes.plot([place] * len(each), each, marker, color=colour, markersize=5, alpha=0.8)
    knowing = [[line["by_heart"] for line in runs if line["num_images"] == number] for number in AMOUNTS]
    known = [(number, median(each)) for number, each in zip(AMOUNTS, knowing, strict=True) if each]
    panels[0].plot(*zip(*known, strict=True), "--", color=NEUTRAL, label="training images, drawn again")
    panels[0].axhspan(min(floor), max(floor), color=DISCRIMINATOR, alpha=0.5, label="other real scenes")
    panels[0].set_yscale("log")
    panels[0].set_title("distance from held-out scenes")
    panels[1].axhline(0.01, color=NEUTRAL, linestyle=":", label="of real scenes, 1%")
    panels[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    panels[1].set_ylim(bottom=0)
    panels[1].set_title("samples that are copies")
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xticks(AMOUNTS, [f"{number:,}" for number in AMOUNTS])
        axes.minorticks_off()
        axes.set_xlabel("training images")
    handles, labels = panels[0].get_legend_handles_labels()
    extra = panels[1].get_legend_handles_labels()
    handles, labels = [*handles, extra[0][-1]], [*labels, extra[1][-1]]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=10)
    return figure


def show_unknown(name: str) -> Figure:
    """What is left of a run: its log, some training images, samples, and the training image next to each of some."""
    run = unknown_run(name)
    figure = plt.figure(figsize=(5.6, 6.4))
    whole: Any = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    _draw_log(whole[0].subplots(1, 2), run["metrics"])
    samples, near = images_in(run["samples"]), images_in(run["nearest"])
    rows = torch.cat([images_in(run["training"]), samples[8:24], samples[:8], near])
    axes = whole[1].subplots()
    show_images(rows, columns=8, row_labels=["training", "samples", "samples", "a sample", "its nearest"], axes=axes)
    return figure


def unknown_facts(name: str) -> str:
    """The numbers of a recorded run, in three lines."""
    run = unknown_run(name)
    shown, (_, floor) = run["metrics"][-1]["images"], amounts_played()
    return "\n".join(
        [
            f"run {name}: {run['num_images']:,} training images, {shown:,} shown, so each "
            f"{shown / run['num_images']:,.0f} times",
            f"Fréchet distance at the end {run['frechet_distance']:.2f} (of real scenes: {median(floor):.2f})",
            f"copies: {run['copies']:.0%} of the samples, {run['real_copies']:.0%} of held-out images",
        ]
    )


@check
def check_cause(name: str, cause: str) -> str:
    """Exercises 18.4 to 18.7: what is wrong with the recorded run `name`."""
    if cause == "...":
        raise NotImplementedError
    require(cause in CAUSES, f"{cause!r} is none of the answers: choose one of {', '.join(map(repr, CAUSES))}.")
    right = RUNS[name].cause
    condition, signs = CAUSES[cause]
    require(cause == right, f"{condition}, {signs}. Compare that with run {name}.")
    return f"{condition}, {signs}: and so it is with run {name}."


@check
def check_to_delete(to_delete: Callable[[Tensor], Sequence[int]]) -> str:
    """Exercise 18.1: which rows of images, uint8 (N, C, S, S), repeat an earlier one."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(256, (6, 3, 4, 4), generator=rng, dtype=torch.uint8)
    nearly = images[0].clone()
    nearly[0, 0, 0] ^= 1
    cases = [
        (images, "all six differ, so none has to go"),
        (images[[0, 1, 0, 2, 0, 1]], "rows 0, 2 and 4 are equal, and so are 1 and 5: the first of each stays"),
        (torch.stack([images[0], nearly]), "the two differ in one pixel by one grey level: they are not equal"),
        (images[[3, 3]], "one of two equal images must stay"),
        (images[[0, 1, 2, 1, 0]].flip(1).contiguous(), "equal images need not lie side by side"),
    ]
    for case, why in cases:
        seen: set[bytes] = set()
        expected = []
        for row, image in enumerate(case):
            content = image.numpy().tobytes()
            if content in seen:
                expected.append(row)
            seen.add(content)
        found = sorted(int(row) for row in to_delete(case.clone()))
        require(found == expected, f"Of {len(case)} images, yours deletes {found} and not {expected}: {why}.")
    return "Each picture is left once. Near copies, which differ in every pixel, need the features of the chapter."


@check
def check_times_shown(times_shown: Callable[[int, float, int], float]) -> str:
    """Exercise 18.2: how often a training image is shown in a run."""
    cases = [
        (1_000, 0.0, 100_000, "all 1,000 images are trained on, so each is shown 100 times"),
        (1_000, 0.1, 90_000, "100 of the 1,000 are held out and never shown, which leaves 900"),
        (250, 0.2, 20_000, "50 of the 250 are held out, which leaves 200"),
        (50_000, 0.5, 10_000, "25,000 are left, and not even half of them is shown"),
    ]
    for num_images, held_out, total, why in cases:
        expected = total / (num_images * (1 - held_out))
        found = float(times_shown(num_images, held_out, total))
        require(
            abs(found - expected) < 1e-6 * expected,
            f"For {num_images:,} images, {held_out:.0%} held out and {total:,} shown, yours is {found:.4g} and not "
            f"{expected:.4g}: {why}.",
        )
    return (
        "With few images this number gets large soon, and a discriminator that sees an image often knows it by heart."
    )


@check
def check_strangeness(strangeness: Callable[[Tensor, int], Tensor]) -> str:
    """Exercise 18.3: the distance of each feature vector (N, F) to its k-th nearest neighbour among the others."""
    rng = torch.Generator().manual_seed(0)
    many, few = torch.randn(60, 5, generator=rng), torch.randn(6, 5, generator=rng) * 0.1 + 6
    features = torch.cat([many, few]).double()
    for k in (1, 3, 10):
        expected = distances_to_others(features, k=k)
        found = torch.as_tensor(strangeness(features.clone(), k)).double()
        require(
            found.shape == expected.shape, f"Yours has the shape {tuple(found.shape)} and not {tuple(expected.shape)}."
        )
        hint = "sort each row of the distances, and take the right column"
        if not found.any() or (k > 1 and torch.allclose(found, distances_to_others(features, k=k - 1))):
            hint = "the nearest of all is the point itself, at distance 0, and does not count"
        elif torch.allclose(found, distances_to_others(features, k=k).square()):
            hint = "that is the squared distance"
        elif torch.allclose(found, distances_to_others(features, k=k + 1)):
            hint = "you have skipped one too many: the point itself is the only one that does not count"
        require(
            bool(torch.allclose(found, expected)), f"For k = {k}, yours is not the distance to neighbour {k}: {hint}."
        )
    nearest, tenth = (distances_to_others(features, k=k) for k in (1, 10))
    assert nearest.argmax() < 60 <= tenth.argmax()
    return (
        "In this test six points lie close together, far from sixty others: by their nearest neighbour they look "
        "ordinary, by the tenth nearest they stand out."
    )
