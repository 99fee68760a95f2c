"""Chapter 21, from DCGAN to a modern GAN: figures of the Dirac game, the landscape and the ladder; exercise checks."""

from __future__ import annotations

import base64
import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dcgan_core.data import Batches
from dcgan_core.iteration import advance
from dcgan_core.laboratory.dirac import DiracGame, velocity
from dcgan_core.laboratory.lengths import evaluations, nearest
from dcgan_core.laboratory.modern import LADDER, RECORD, judge, letters, run_config
from dcgan_core.laboratory.outcomes import describe_images, median_interval
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.losses import zero_centred_penalty
from dcgan_core.runtime import choose_machine
from dcgan_core.state import draw_latents, sample, start
from dcgan_core.teaching.budget import budget
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, NEUTRAL, REAL, magnified

Lines = Sequence[Mapping[str, Any]]


def show_phase(paths: Mapping[str, tuple[DiracGame, Sequence[Tensor]]], extent: float = 1.6) -> Figure:
    """Where both players move (arrows) and where they go: the paths (T, 2) of a game in a panel of its own each."""
    columns = 2
    rows = -(-len(paths) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(5.4, 2.75 * rows), sharex=True, sharey=True, squeeze=False)
    ticks = torch.linspace(-extent, extent, 9, dtype=torch.float64)
    theta, psi = torch.meshgrid(ticks, ticks, indexing="xy")
    for axes, (title, (game, walks)) in zip(grid.flat, paths.items(), strict=True):
        moves = velocity(game, torch.stack([theta, psi], dim=-1)).numpy()
        axes.quiver(theta, psi, moves[..., 0], moves[..., 1], color="#bbbbbb", width=0.006, scale=14)
        for walk, colour in zip(walks, (REAL, FAKE, EXTRA[0]), strict=False):
            axes.plot(*walk.T, color=colour, linewidth=1.3)
            axes.plot(*walk[0], "o", color=colour, markersize=5)
            axes.plot(*walk[-1], "s", color=colour, markersize=4)
        axes.plot(0, 0, "*", color=NEUTRAL, markersize=10, zorder=0)
        axes.set(title=title, aspect="equal", xlim=(-extent, extent), ylim=(-extent, extent))
        axes.grid(False)
    for axes in grid[-1]:
        axes.set_xlabel(r"$\theta$, the fake point")
    for axes in grid[:, 0]:
        axes.set_ylabel(r"$\psi$, the slope of D")
    return figure


def show_rates(
    gammas: Sequence[float], predicted: Mapping[str, np.ndarray], measured: Mapping[str, Sequence[Any]]
) -> Figure:
    """How fast the players come to rest (above) and turn (below), over gamma: lines by the formula, dots from turns.

    Both mappings have "rate" and "turn"; `measured` also has the "gammas" of its dots.
    """
    figure, panels = plt.subplots(2, 1, figsize=(5.2, 4.4), sharex=True)
    for axes, name, label in zip(
        panels, ("rate", "turn"), ("decay per unit of time", "radians per unit of time"), strict=True
    ):
        axes.plot(gammas, predicted[name], color=REAL, label="formula")
        axes.plot(measured["gammas"], measured[name], "o", color=FAKE, markersize=5, label="measured in turns")
        axes.axvline(1, color=NEUTRAL, linestyle=":", linewidth=1.2)
        axes.set_ylabel(label)
    panels[0].legend(loc="upper right")
    panels[1].set_xlabel(r"$\gamma$ of R1")
    return figure


def show_landscape(places: np.ndarray, values: Mapping[str, np.ndarray]) -> Figure:
    """The best discriminator's loss while one fake point wanders and the other stays on the first real point."""
    figure, panels = plt.subplots(2, 1, figsize=(5.2, 4.4), sharex=True)
    for axes, (name, curve), colour in zip(panels, values.items(), (FAKE, DISCRIMINATOR), strict=True):
        axes.plot(places, curve, color=colour)
        for real in (-1.0, 1.0):
            axes.axvline(real, color=REAL, linestyle=":", linewidth=1.4)
        axes.set(title=name, ylabel="loss of the best D")
    panels[1].set_xlabel("the second fake point (the first one stays at -1)")
    return figure


def recorded_ladder(path: Path = RECORD) -> list[dict[str, Any]]:
    """The finished runs of a record that `laboratory.modern` has written, by default of the one that ships."""
    return [line for line in read_lines(path) if line["finished"]]


def of_rung(lines: Lines, rung: str, name: str) -> dict[int, float]:
    """What was measured of the runs of a rung, by seed."""
    return {line["seed"]: line[name] for line in lines if line["rung"] == rung}


def steps_up(lines: Lines, rung: str, name: str) -> list[float]:
    """What a rung changed, seed by seed, as the ratio to the rung below; nothing for the lowest."""
    rungs = list(LADDER)
    if rung == rungs[0]:
        return []
    before, after = of_rung(lines, rungs[rungs.index(rung) - 1], name), of_rung(lines, rung, name)
    return [after[seed] / before[seed] for seed in sorted(before.keys() & after.keys())]


def ladder_table(lines: Lines) -> str:
    """A line for each rung: seeds, distance and its ratio to the rung below, recognised share, letters, time.

    Distances and ratios are medians with intervals that hold the true median with 90% or more; with five seeds they go
    from the lowest to the highest, and hold it with 94%. Time is that of an image, as a multiple of the lowest rung's.
    """
    first = statistics.median(of_rung(lines, next(iter(LADDER)), "processor_seconds_per_image").values())
    rows = [f"{'':19}{'n':>2}{'distance':>18}{'of below':>18}{'recognised':>12}{'letters':>9}{'time':>6}"]
    for rung in LADDER:
        distances = list(of_rung(lines, rung, "frechet_distance").values())
        if not distances:
            continue
        ratios = steps_up(lines, rung, "frechet_distance")
        change = "{:.2f} ({:.2f}-{:.2f})".format(*median_interval(ratios)) if ratios else ""
        good, covered, seconds = (
            statistics.median(of_rung(lines, rung, name).values())
            for name in ("good", "covered", "processor_seconds_per_image")
        )
        distance = "{:.0f} ({:.0f}-{:.0f})".format(*median_interval(distances))
        measures = f"{distance:>18}{change:>18}{good:>12.0%}{covered:>9.0f}{seconds / first:>6.2f}"
        rows.append(f"{rung:19}{len(distances):2}{measures}")
    return "\n".join(rows)


def show_ladder(lines: Lines) -> Figure:
    """The Fréchet distance on each rung, a dot for each seed, the median as a bar; each seed is joined to itself."""
    figure, axes = plt.subplots(figsize=(5.6, 4.2))
    rungs = [rung for rung in LADDER if of_rung(lines, rung, "frechet_distance")]
    places = range(len(rungs))
    for seed in sorted({line["seed"] for line in lines}):
        found = [of_rung(lines, rung, "frechet_distance").get(seed, math.nan) for rung in rungs]
        axes.plot(found, places, "o-", color=EXTRA[2], markersize=4, linewidth=0.8)
    for place, rung in zip(places, rungs, strict=True):
        middle = statistics.median(of_rung(lines, rung, "frechet_distance").values())
        axes.plot([middle] * 2, [place - 0.3, place + 0.3], color=FAKE, linewidth=3)
    axes.set_yticks(places, rungs)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="Fréchet distance after the run (log scale)")
    return figure


def show_samples(lines: Lines, seed: int) -> Figure:
    """The first ten samples of one seed on every rung."""
    found = {line["rung"]: line["picture"] for line in lines if line["seed"] == seed}
    rungs = [rung for rung in LADDER if rung in found]
    figure, grid = plt.subplots(len(rungs), 1, figsize=(5.6, 0.44 * len(rungs)), squeeze=False)
    for axes, rung in zip(grid.flat, rungs, strict=True):
        pixels = np.array(Image.open(io.BytesIO(base64.b64decode(found[rung]))))
        axes.imshow(magnified(pixels, 2), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_ylabel(rung, rotation=0, ha="right", va="center", fontsize=10)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    return figure


def long_runs(record: Path, data: str, change: str, images: int) -> list[float]:
    """The Fréchet distances of the runs of `laboratory.longer` that came as far as `images`, give or take a tenth."""
    runs = [evaluations(line) for line in read_lines(record) if (line["data"], line["change"]) == (data, change)]
    there = [nearest(run, images) for run in runs if run]
    return [distance for seen, distance, _ in there if abs(seen - images) < 0.1 * images]


class _Counter(TorchDispatchMode):
    """Adds up the floating-point operations of all operations that PyTorch knows a formula for."""

    total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if formula := flop_registry.get(function._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=found)
        return found


def count_flops(work: Callable[[], object]) -> int:
    """Floating-point operations of some work, gradients of gradients included.

    PyTorch's `FlopCounterMode` counts by the same formulae, but its hooks do not allow for gradients that are taken
    inside a loss.
    """
    with _Counter() as counter:
        work()
    return counter.total


def play_slice(rung: str, seed: int, num_images: int) -> tuple[dict[str, Any], Tensor]:
    """The beginning of a run of a rung: what 2,000 samples are like (fewer in smoke mode), and ten of them."""
    config, machine = run_config(rung, seed), choose_machine("cpu", "float32")
    state, batches = start(config, machine), Batches(letters().images, batch_size=config.batch_size, seed=seed)
    for step in range(num_images // config.batch_size):
        advance(state, batches(step), machine)
    images = sample(state.sampler, draw_latents(budget(smoke=200, cpu=2_000, gpu=2_000), config.latent_size, seed=0))
    return describe_images(judge(), images), images[:10]


@check
def check_critical_gamma(critical_gamma: Callable[[float, int], float]) -> str:
    """Exercise 21.1: the gamma at which the Dirac game stops turning, from f'(0) and the number of penalties."""
    for pull, num_penalties in ((0.5, 1), (1.0, 1), (0.5, 2), (1.0, 2), (0.3, 2)):
        expected = 2 * pull / num_penalties
        found = float(critical_gamma(pull, num_penalties))
        case = f"my_critical_gamma({pull}, {num_penalties})"
        require(
            num_penalties == 1 or abs(found - 2 * pull) > 1e-9,
            f"{case} is {found:.3g}, as with one penalty: the slope of a line is the same at both points, so two "
            "penalties of gamma weigh as much as one of 2 gamma.",
        )
        require(
            abs(found - pull / num_penalties) > 1e-9,
            f"{case} is {found:.3g}: half of what it should be. Under the root stands gamma^2 / 4.",
        )
        require(
            abs(found - 4 * pull**2 / num_penalties) > 1e-9 or abs(found - expected) < 1e-9,
            f"{case} is {found:.3g}: the root of 4 f'(0)^2 is still to be taken.",
        )
        require(
            abs(found - expected) < 1e-9,
            f"{case} should be {expected:.3g}, but is {found:.3g}. Where is the root in the eigenvalues 0?",
        )
    return "The root is 0 where gamma, of all penalties together, is twice the pull."


class _Judge(nn.Module):
    """A small smooth discriminator of images (B, 2, 3, 3)."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(18, 6, generator=rng, dtype=torch.float64))
        self.last = nn.Parameter(torch.randn(6, generator=rng, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(images.flatten(1) @ self.first) @ self.last


@check
def check_penalty(penalty: Callable[[nn.Module, Tensor], Tensor]) -> str:
    """Exercise 21.2: half the mean squared slope of the logit, summed over each image, with a graph to the weights."""
    judge = _Judge()
    real = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = zero_centred_penalty(judge, real)
    found = penalty(judge, real.clone())
    require(isinstance(found, Tensor) and found.dim() == 0, "Return one number, as a tensor without dimensions.")
    ratio = float(found.detach() / expected.detach())
    require(abs(ratio - 2) > 1e-6, "Twice what it should be: the half is missing.")
    require(
        abs(ratio - 1 / 18) > 1e-6 and abs(ratio - 1 / 9) > 1e-6,
        "Too small by the number of values in an image: sum the squares over all channels and pixels; take the mean "
        "over the batch only.",
    )
    require(abs(ratio - 4) > 1e-6, "Too large by the batch size: take the mean over the batch, not the sum.")
    require(
        abs(ratio - 1 / 16) > 1e-6,
        "Too small by the square of the batch size: differentiate the sum of the logits, so that each image gets the "
        "slope of its own logit, and not of the mean.",
    )
    require(abs(ratio - 1) < 1e-6, f"The value should be {expected.item():.4f}, but is {found.item():.4f}.")
    require(
        found.requires_grad,
        "The value is right, but no graph leads to the weights, so nothing can be learnt from it: ask autograd.grad "
        "for create_graph=True, and do not detach.",
    )
    wanted = torch.autograd.grad(expected, list(judge.parameters()))
    got = torch.autograd.grad(found, list(judge.parameters()), allow_unused=True)
    require(
        all(g is not None and torch.allclose(g, w) for g, w in zip(got, wanted, strict=True)),
        "The value is right, but its gradient by the weights is not.",
    )
    return "The right value, and its gradient reaches the weights."


@check
def check_conversion(conversion: Callable[[float, bool, bool, int], float]) -> str:
    """Exercise 21.3: another code's weight of R1 as the gamma of this book, for images of so many values."""
    for weight, has_half, mean_of_values, num_values in (
        (1.0, True, False, 1024),
        (10.0, False, False, 1024),
        (1.0, True, True, 1024),
        (10.0, False, True, 3072),
    ):
        expected = weight * (1 if has_half else 2) / (num_values if mean_of_values else 1)
        found = float(conversion(weight, has_half, mean_of_values, num_values))
        case = f"my_conversion({weight}, {has_half}, {mean_of_values}, {num_values})"
        require(
            has_half or not math.isclose(found * 4, expected),
            f"{case} is {found:.4g}: the wrong way round. Without the half, the same number weighs twice as much.",
        )
        require(
            not mean_of_values or not math.isclose(found, expected * num_values**2),
            f"{case} is {found:.4g}: the wrong way round. A mean over the values is smaller than their sum.",
        )
        require(
            not mean_of_values or not math.isclose(found, expected * num_values),
            f"{case} is {found:.4g}, as if the squares were summed: this code takes their mean over {num_values} "
            "values.",
        )
        require(math.isclose(found, expected), f"{case} should be {expected:.4g}, but is {found:.4g}.")
    return "Write the convention down beside the number, wherever you quote one."
