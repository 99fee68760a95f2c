"""Chapter 10, mode collapse: what it depends on, and its record; films, pictures, and checks of the exercises.

`python -m dcgan_core.teaching.chapter_10` plays the games that the chapter compares and writes the record that ships
with the package.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dcgan_core.laboratory import Mixture, ModeStatistics, median_interval, mode_statistics, ring
from dcgan_core.laboratory.ensemble import COLLAPSES, COVERS, MIXTURES, Ensemble, History, PointConfig, train
from dcgan_core.runtime import choose_machine, provenance
from dcgan_core.teaching.chapter_03 import SHADES
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, REAL
from dcgan_core.teaching.replay import replay

RECORD = Path(__file__).with_suffix(".json")
SEEDS = range(8)
PRESETS = {"COVERS": COVERS, "COLLAPSES": COLLAPSES}
FACTORS: dict[str, dict[str, dict[str, Any]]] = {
    "activation": {"tanh": {"activation": "tanh"}, "ReLU": {"activation": "relu"}},
    "discriminator's rate": {f"{rate:g}": {"discriminator_learning_rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3)},
    "generator's rate": {f"{rate:g}": {"generator_learning_rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3)},
    "discriminator updates": {f"{steps}": {"discriminator_steps": steps} for steps in (1, 5)},
    "hidden layers": {f"{depth}": {"generator_depth": depth, "discriminator_depth": depth} for depth in (1, 2, 3)},
    "latent size": {f"{size}": {"latent_size": size} for size in (2, 16, 256)},
    "updates": {f"{steps:,}": {"total_steps": steps} for steps in (1_000, 4_000)},
}
"""What is changed, one thing at a time: a factor, and the settings of each of its values."""


def favourites(mixture: Mixture, samples: Tensor) -> tuple[Tensor, Tensor]:
    """The mode that most of the samples (..., N, 2) are nearest to, and their share: int64 and float64 (...).

    All samples count, good or not, so a cluster between two modes has a favourite too.
    """
    mode, _ = mixture.nearest(samples)
    shares = torch.nn.functional.one_hot(mode, mixture.num_modes).double().mean(dim=-2)
    share, favourite = shares.max(dim=-1)
    return favourite, share


def outcome(config: PointConfig, seeds: Sequence[int]) -> dict[str, list[float]]:
    """What became of each seed: lists over the seeds, of the last look except for `favourites`.

    covered, good, kl: as in `mixtures.mode_statistics`. crowd: share of the samples that are nearest to the favourite
    mode. favourites: how many different modes were the favourite, over ten looks after the start. The two losses are
    means over the last tenth of the updates.
    """
    return describe(train(replace(config, snapshot_every_steps=max(1, config.total_steps // 10)), seeds))


def describe(history: History, mixture: Mixture | None = None) -> dict[str, list[float]]:
    """What `outcome` says of games that have been played already, by default on the ring."""
    favourite, share = favourites(mixture or ring(), history.samples)
    found = {name: getattr(history.statistics, name)[-1].tolist() for name in ("covered", "good", "kl")}
    for player, losses in zip(("discriminator_loss", "generator_loss"), history.losses, strict=True):
        found[player] = losses[-max(1, len(losses) // 10) :].mean(dim=0).tolist()
    found |= {"crowd": share[-1].tolist(), "favourites": [len(set(modes)) for modes in favourite[1:].T.tolist()]}
    return {name: [round(value, 4) for value in values] for name, values in found.items()}


def games() -> dict[tuple[str, str, str], PointConfig]:
    """Every game of the study, by preset, factor and value."""
    return {
        (preset, factor, value): replace(config, **changes)
        for preset, config in PRESETS.items()
        for factor, values in FACTORS.items()
        for value, changes in values.items()
    }


def record(path: Path = RECORD, seeds: Sequence[int] = SEEDS) -> None:
    """Plays every game once on one thread, and records the outcomes and their provenance."""
    torch.set_num_threads(1)
    facts = provenance(choose_machine("cpu", "float32"))
    facts |= {"command": "python -m dcgan_core.teaching.chapter_10", "seeds": len(seeds)}
    facts |= {"presets": {name: dataclasses.asdict(preset) for name, preset in PRESETS.items()}}
    played: dict[PointConfig, dict[str, Any]] = {}
    results: dict[str, dict[str, dict[str, Any]]] = {}
    begin = time.process_time()
    for (preset, factor, value), config in games().items():
        if config not in played:
            played[config] = outcome(config, seeds)
            print(preset, factor, value, played[config]["covered"], f"{time.process_time() - begin:.0f} s", flush=True)
        results.setdefault(preset, {}).setdefault(factor, {})[value] = played[config]
    facts["processor_seconds"] = round(time.process_time() - begin)
    path.write_text(json.dumps({"provenance": facts, "results": results}, separators=(",", ":")) + "\n")


@cache
def recorded_study() -> tuple[dict[str, dict[str, dict[str, dict[str, Any]]]], dict[str, Any]]:
    """The recorded outcomes by preset, factor and value, and where they come from."""
    content = json.loads(RECORD.read_text(encoding="utf-8"))
    return content["results"], content["provenance"]


def interval(values: Sequence[float], percent: bool = False) -> str:
    """The median, and an interval that holds the true median with at least 90% confidence, in a few characters."""
    return "{} ({} to {})".format(
        *(f"{number:.0%}" if percent else f"{number:.3g}" for number in median_interval(values))
    )


@dataclass(frozen=True)
class Watched:
    """One seed's game, looked at T times: P points of each look are kept to be drawn."""

    mixture: Mixture
    steps: list[int]
    points: Tensor  # (T, P, 2)
    surface: Tensor  # (T, R, R): D(x) on a lattice over the plane, row by row
    losses: Tensor  # (2, total_steps): discriminator's, generator's
    statistics: ModeStatistics  # of all samples: its tensors are (T, ...)


def half_width(mixture: Mixture) -> float:
    """Half the width of the square that is drawn, with room for samples that overshoot."""
    return 1.45 * float(mixture.centres.max()) + 0.7


def watch(config: PointConfig, seed: int, *, num_looks: int = 40, num_points: int = 200, lattice: int = 40) -> Watched:
    """Plays the game of one seed and keeps samples and discriminator at several moments.

    They are closer together at the beginning, where most happens.
    """
    mixture = MIXTURES[config.mixture]()
    moments = {round(config.total_steps * (place / num_looks) ** 1.5) for place in range(num_looks + 1)}
    half = half_width(mixture)
    line = torch.linspace(-half, half, lattice)
    plane = torch.cartesian_prod(line, line)[:, [1, 0]]  # row by row, x first
    surface = []

    @torch.no_grad()
    def look(ensemble: Ensemble) -> None:
        surface.append(ensemble.discriminator(plane[None])[0].sigmoid().reshape(lattice, lattice))

    history = train(config, [seed], at=moments, look=look)
    samples = history.samples[:, 0]
    return Watched(
        mixture=mixture,
        steps=history.steps.tolist(),
        points=samples[:, :num_points],
        surface=torch.stack(surface),
        losses=history.losses[..., 0],
        statistics=mode_statistics(mixture, samples),
    )


def film(watched: Watched, *, alt: str, caption: str) -> HTML:
    """The game as a replay: samples over D(x), and what is counted, moved together by one slider."""
    steps, statistics = watched.steps, watched.statistics
    modes = f"modes covered (of {watched.mixture.num_modes})"
    window = max(1, watched.losses.shape[1] // 100)
    means = watched.losses.unfold(1, window, window).mean(dim=2)  # (2, about 100)
    at = [window * (place + 1) for place in range(means.shape[1])]
    return replay(
        _frames(watched),
        at=steps,
        series=[
            {modes: (steps, statistics.covered.tolist()), "KL (nats)": (steps, statistics.kl.tolist())},
            {"good samples (%)": (steps, (100 * statistics.good).tolist())},
            {
                "discriminator loss (nats)": (at, means[0].tolist()),
                "generator loss (nats)": (at, means[1].tolist()),
            },
        ],
        unit="updates",
        colours={
            **dict.fromkeys((modes, "good samples (%)", "generator loss (nats)"), FAKE),
            **{"discriminator loss (nats)": DISCRIMINATOR, "KL (nats)": REAL},
        },
        alt=alt,
        caption=caption,
    )


def _frames(watched: Watched) -> list[Image.Image]:
    """One picture for each look, 288 pixels wide; the same artists are moved, which is quicker than drawing anew."""
    figure = Figure(figsize=(4, 4), dpi=72)
    figure.set_layout_engine("none")
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes((0, 0, 1, 1))
    shading, dots = draw_game(axes, watched, 0)
    frames = []
    for surface, points in zip(watched.surface, watched.points, strict=True):
        shading.set_data(surface)
        dots.set_offsets(points)
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba()).copy()).convert("RGB"))
    return frames


def draw_game(axes: Any, watched: Watched, look: int, scale: float = 1) -> tuple[Any, Any]:
    """Draws one look: D(x) as shading, modes as rings, samples as dots; returns the shading and the dots.

    `scale` multiplies the areas of rings and dots, for small pictures.
    """
    half = half_width(watched.mixture)
    extent, surface = (-half, half, -half, half), watched.surface[look]
    shading = axes.imshow(
        surface, origin="lower", extent=extent, cmap=SHADES, vmin=0.2, vmax=0.8, interpolation="bilinear"
    )
    size = 110 if watched.mixture.num_modes < 10 else 45
    axes.scatter(
        *watched.mixture.centres.T, s=scale * size, facecolors="none", edgecolors=REAL, linewidths=1.6 * scale**0.5
    )
    dots = axes.scatter(*watched.points[look].T, s=7 * scale, color=FAKE, rasterized=True)
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return shading, dots


def show_moments(watched: Mapping[str, Watched], num_moments: int = 5) -> Figure:
    """A row for each game and a column for each of some moments, evenly spaced over its looks."""
    size = (5.6, 1.25 * len(watched) + 0.2)
    figure, rows = plt.subplots(len(watched), num_moments, figsize=size, squeeze=False)
    for panels, (name, game) in zip(rows, watched.items(), strict=True):
        for place, axes in enumerate(panels, start=1):
            look = place * (len(game.steps) - 1) // num_moments
            draw_game(axes, game, look, scale=0.25)
            axes.set_title(f"{game.steps[look]:,}", fontsize=10)
        panels[0].set_ylabel(name, fontsize=10)
    return figure


def show_losses(histories: Mapping[str, History]) -> Figure:
    """The discriminator's loss, a panel for each game: median and range of the seeds, over windows of updates."""
    figure, panels = plt.subplots(2, -(-len(histories) // 2), figsize=(5.6, 4.2), sharex=True, sharey=True)
    for axes, (name, history) in zip(panels.flat, histories.items(), strict=False):
        losses = history.losses[0]  # (updates, S)
        window = max(1, len(losses) // 50)
        means = losses.unfold(0, window, window).mean(dim=-1)  # (windows, S)
        at = window * np.arange(1, len(means) + 1)
        axes.axhline(2 * math.log(2), color="black", linewidth=0.8)
        axes.fill_between(at, means.amin(dim=1), means.amax(dim=1), color=DISCRIMINATOR, alpha=0.25, linewidth=0)
        axes.plot(at, means.quantile(0.5, dim=1), color=DISCRIMINATOR)
        axes.set_title(name)
    figure.supxlabel("generator updates", fontsize=11)
    figure.supylabel("discriminator's loss (nats)", fontsize=11)
    return figure


def show_dependence(results: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> None:
    """Modes covered of eight when one thing is changed: a column for each preset, seeds, median and interval."""
    _, panels = plt.subplots(1, len(results), figsize=(4.8, 8.2), sharey=True)
    for axes, (preset, factors), colour in zip(panels, results.items(), (REAL, FAKE), strict=True):
        row, labels = 0.0, []
        for factor, values in factors.items():
            axes.axhline(row - 0.85, color="#dddddd", linewidth=0.8)
            labels.append((row, factor, True))
            for value, found in values.items():
                row += 1
                seeds = found["covered"]
                median, low, high = median_interval(seeds)
                own = all(getattr(PRESETS[preset], key) == one for key, one in FACTORS[factor][value].items())
                shift = np.linspace(-0.22, 0.22, len(seeds))
                axes.plot(seeds, row + shift, "o", color=colour, markersize=2.6, alpha=0.4)
                axes.plot([low, high], [row, row], color=colour, linewidth=1.6)
                axes.plot(median, row, "D" if own else "o", color=colour, markersize=6, markeredgecolor="black")
                labels.append((row, value, False))
            row += 1.6
        axes.set(title=f"from {preset}", xlabel="modes covered", xlim=(-0.5, 8.5), xticks=range(0, 9, 2))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks([place for place, _, _ in labels], [text for _, text, _ in labels], fontsize=10)
    for tick, (_, _, heading) in zip(panels[0].get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if heading else "normal")
    panels[0].set_ylim(row - 0.6, -1)


def show_letter_shares(shares: Mapping[str, tuple[Sequence[int], Tensor]], letters: Sequence[str]) -> None:
    """Which letters the recognised samples are, over time: shares (T, 26) at updates (T,) for each game.

    A letter that ever has a fifth of them gets a colour and its name, as long as there are colours; the rest is grey.
    """
    _, panels = plt.subplots(len(shares), 1, figsize=(5.6, 2.3 * len(shares)), sharex=True, squeeze=False)
    colours = (REAL, FAKE, DISCRIMINATOR, *EXTRA)
    for axes, (name, (steps, share)) in zip(panels.flat, shares.items(), strict=True):
        peaks = share.amax(dim=0)
        named = [int(letter) for letter in peaks.argsort(descending=True)[: len(colours)] if peaks[letter] >= 0.2]
        rest = share.sum(dim=1) - share[:, named].sum(dim=1)
        axes.stackplot(
            list(steps),
            [*share[:, named].T.tolist(), rest.tolist()],
            labels=[*(letters[letter] for letter in named), "others"],
            colors=[*colours[: len(named)], "#cccccc"],
        )
        axes.set(title=name, ylabel="share of\nrecognised", ylim=(0, 1), xlim=(min(steps), max(steps)))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
        axes.grid(False)
    panels[-1, 0].set_xlabel("updates")


@check
def check_statistics(statistics: Callable[[Tensor, Tensor, int], tuple[int, float, float]]) -> str:
    """Exercise 10.1: modes covered, share of good samples, and divergence in nats, from the nearest modes."""
    mode = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])
    sigmas = torch.tensor([0.5, 1.0, 2.9, 2.0, 0.1, 9.0, 3.5, 40.0])
    covered, good, kl = (float(number) for number in statistics(mode, sigmas, 4))
    require(
        covered != 4,
        "You count 4 modes, but the only samples near modes 2 and 3 lie more than 3 sigma away: a sample that is not "
        "good covers nothing.",
    )
    require(covered == 2, f"Two modes have good samples, and you count {covered:g}.")
    require(abs(good - 5 / 8) < 1e-6, f"Five of the eight samples are good, and your share is {good:.3f}.")
    require(
        math.isfinite(kl),
        "Your divergence is not finite: an empty mode adds 0, since x log x goes to 0 with x. Leave it out.",
    )
    expected = math.log(4) + 0.6 * math.log(0.6) + 0.4 * math.log(0.4)
    require(
        abs(kl - expected / math.log(2)) > 1e-6,
        "Right except for the unit: that is in bits; use the natural logarithm.",
    )
    require(
        abs(kl - expected) < 1e-5,
        f"Your divergence is {kl:.3f}, but should be {expected:.3f}: the shares of the *good* samples (3 and 2 of 5), "
        "against one quarter each.",
    )
    return "Each of the three numbers can look fine while another one is bad."


@check
def check_expected(expected: Callable[[int, int], float]) -> str:
    """Exercise 10.2: how many of M equally frequent modes N samples of the data itself hit, on average."""
    for num_modes, num_samples in ((26, 100), (8, 8), (8, 1), (1000, 1000), (1000, 2_500)):
        found = float(expected(num_modes, num_samples))
        missed = (1 - 1 / num_modes) ** num_samples
        case = f"{num_samples:,} samples of {num_modes:,} modes"
        require(
            num_samples == 1 or abs(found - min(num_modes, num_samples)) > 1e-4,
            f"For {case} you expect {found:g}: that would need luck, since some samples hit the same mode.",
        )
        require(
            abs(found - num_modes * missed) > 1e-6 * num_modes or abs(missed - 0.5) < 1e-3,
            f"For {case} you return {found:.3f}: that many modes are *missed*, on average.",
        )
        require(
            abs(found - num_modes * (1 - missed)) < 1e-6 * num_modes,
            f"For {case} it is {num_modes * (1 - missed):.2f}, and yours is {found:.2f}. With what probability does "
            "one given mode get no sample at all?",
        )
    return "Only a count below this is evidence of missing modes."


@check
def check_cure(config: PointConfig) -> str:
    """Exercise 10.3: one setting of COLLAPSES changed so that the plain game covers most of the ring."""
    changed = [
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(COLLAPSES, field.name)
    ]
    require(bool(changed), "Nothing is changed yet: replace(COLLAPSES, name=value) changes one setting.")
    require(
        len(changed) == 1,
        f"You changed {' and '.join(changed)}: with two changes you do not learn which one did it.",
    )
    require(
        changed[0] in ("activation", "latent_size", "batch_size", "discriminator_steps", "beta1", "beta2")
        or changed[0].endswith(("_rate", "_width", "_depth")),
        f"{changed[0]} changes the question, the game or the time rather than the players: choose another setting.",
    )
    covered = train(replace(config, snapshot_every_steps=config.total_steps), range(5)).statistics.covered[-1]
    seeds = " ".join(str(int(number)) for number in covered.sort().values)
    value = getattr(config, changed[0])
    require(
        int(covered.median()) >= 4,
        f"With {changed[0]} = {value!r}, five seeds cover {seeds} of 8 modes: the median is not yet 4. Look at the "
        "figure for what moves the right column.",
    )
    return f"With {changed[0]} = {value!r} and nothing else changed, five seeds cover {seeds} of 8 modes."


@check
def check_support(support: Callable[[int, float], float]) -> str:
    """Exercise 10.4: how many equally likely images there are, from how often a batch holds a pair of equals."""
    for size, true in ((23, 365), (50, 2_000), (100, 5_000)):
        share = 1 - math.prod(1 - place / true for place in range(size))
        found = float(support(size, share))
        case = f"{share:.0%} of batches of {size} hold a pair"
        require(
            abs(found / size**2 - 1) > 1e-6,
            f"{case}: {size} squared is a rule of thumb for a share near one half, and here it is off. How many pairs "
            "are there in a batch?",
        )
        pairs_with_itself = size**2 / 2 / -math.log(1 - share)
        require(
            abs(found / pairs_with_itself - 1) > 1e-3,
            f"{case}: you count size squared / 2 pairs, which pairs each sample with itself, too; n (n - 1) / 2 are "
            "left.",
        )
        require(abs(found / true - 2) > 0.1, f"{case}: yours is twice too large. A batch of n has n (n - 1) / 2 pairs.")
        require(
            abs(found / true - 1) < 0.05,
            f"{case}: there are {true:,} different ones, and yours is {found:,.0f}. If each of the pairs is equal with "
            "probability 1 / support, what is the probability that none is?",
        )
    return "This count needs neither labels nor a classifier, only an eye for duplicates."


if __name__ == "__main__":
    record()
