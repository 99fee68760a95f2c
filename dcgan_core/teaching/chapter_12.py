"""Chapter 12, unrolled GANs: the race on the ring and its record, pictures, and checks of the exercises.

`python -m dcgan_core.teaching.chapter_12` runs the race and writes the record that ships with the package.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from dcgan_core.laboratory.ensemble import COLLAPSES, Ensemble, PointConfig, advance, sample, start
from dcgan_core.laboratory.mixtures import PointDiscriminator, mode_statistics, ring
from dcgan_core.losses import discriminator_loss, minimax_generator_loss
from dcgan_core.runtime import choose_machine, provenance
from dcgan_core.steps import update_discriminator, update_generator
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, NEUTRAL, REAL
from dcgan_core.unrolled import look_ahead

RECORD = Path(__file__).with_suffix(".json")
STATISTICS = ("covered", "good", "kl")
BATCH = 5  # seeds that train together
NUM_SHOWN = 250  # points of the first seed that a record keeps

RING = dataclasses.replace(COLLAPSES, loss="minimax", latent_size=256, total_steps=2000, snapshot_every_steps=100)
"""The ring of 8 on which chapter 12 compares: a discriminator ten times slower than its generator."""


def advance_with_a_stepped_copy(ensemble: Ensemble, *, num_steps: int) -> None:
    """One iteration of the minimax game, as `ensemble.advance`, with what is often mistaken for unrolling.

    A copy of the discriminator takes `num_steps` steps and judges, but its steps count as constants.
    """
    num_seeds = len(ensemble.rngs)

    def summed(real_logits: Tensor, fake_logits: Tensor) -> Tensor:  # every seed gets its own gradient
        return num_seeds * discriminator_loss(real_logits, fake_logits)

    real = ensemble.draw_real()
    fake = ensemble.generator(ensemble.draw_latents(ensemble.config.batch_size))
    update_discriminator(ensemble.discriminator, ensemble.discriminator_optimizer, summed, real, fake)
    judge, its_optimizer = copy.deepcopy((ensemble.discriminator, ensemble.discriminator_optimizer))
    for _ in range(num_steps):
        update_discriminator(judge, its_optimizer, summed, real, fake)
    update_generator(
        judge, ensemble.generator_optimizer, lambda logits: num_seeds * minimax_generator_loss(logits), fake
    )
    ensemble.step += 1


TANH = dataclasses.replace(RING, activation="tanh", total_steps=1000)
"""As RING, but with the activation of the authors' notebook, and half as long."""

METHODS: dict[str, tuple[PointConfig, Callable[[Ensemble], object]]] = {
    **{f"k = {k}": (dataclasses.replace(RING, unrolled_steps=k), advance) for k in (0, 1, 5, 10)},
    "k = 0, longer": (dataclasses.replace(RING, total_steps=20_000, snapshot_every_steps=1000), advance),
    "copy, 10 steps": (RING, lambda ensemble: advance_with_a_stepped_copy(ensemble, num_steps=10)),
    "11 updates": (dataclasses.replace(RING, discriminator_steps=11), advance),
    **{f"tanh, k = {k}": (dataclasses.replace(TANH, unrolled_steps=k), advance) for k in (0, 5)},
}
"""Name, setting and iteration of what is compared: unrolling, two things it is mistaken for, and another activation."""


def race(name: str, seeds: Sequence[int], *, total_steps: int | None = None) -> dict[str, Any]:
    """Trains one method for all seeds at once; what its samples were like on the way, and after how many seconds.

    The seconds are those of the processor while it trained, for all seeds together, without the looks at the samples.
    """
    config, iterate = METHODS[name]
    total_steps = total_steps or config.total_steps
    ensemble = start(config, seeds)
    watched = ensemble.draw_latents(config.snapshot_samples)
    result: dict[str, Any] = {"steps": [], "seconds": [], **{statistic: [] for statistic in STATISTICS}}
    seconds = 0.0
    for step in range(total_steps + 1):
        if step % config.snapshot_every_steps == 0 or step == total_steps:
            points = sample(ensemble, watched)
            statistics = mode_statistics(ensemble.mixture, points)
            result["steps"].append(step)
            result["seconds"].append(round(seconds, 2))
            for statistic in STATISTICS:
                result[statistic].append([round(value, 4) for value in getattr(statistics, statistic).tolist()])
        if step < total_steps:
            before = time.process_time()
            iterate(ensemble)
            seconds += time.process_time() - before
    result["points"] = [[round(x, 2) for x in point] for point in points[0, :NUM_SHOWN].tolist()]
    return result


def num_seeds(name: str) -> int:
    """Ten where the race is close, else five."""
    return 2 * BATCH if name in ("k = 10", "copy, 10 steps") else BATCH


def together(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The results of several batches of seeds as one; the seconds are those of a batch, on average."""
    whole = dict(runs[0])
    whole["seconds"] = np.mean([run["seconds"] for run in runs], axis=0).round(2).tolist()
    for statistic in STATISTICS:
        whole[statistic] = np.concatenate([run[statistic] for run in runs], axis=1).tolist()  # (T, seeds)
    return whole


def record(path: Path = RECORD) -> None:
    """Runs the whole race on one thread and writes down the results, with who made them."""
    torch.set_num_threads(1)
    facts = provenance(choose_machine("cpu", "float32"))  # says when it started
    results = {}
    for name in METHODS:
        batches = [range(first, first + BATCH) for first in range(0, num_seeds(name), BATCH)]
        results[name] = together([race(name, seeds) for seeds in batches])
        print(name, results[name]["seconds"][-1], "s, modes", results[name]["covered"][-1], flush=True)
    facts |= {
        "command": "python -m dcgan_core.teaching.chapter_12",
        "note": "in one process; processor time",
        "seeds": {name: num_seeds(name) for name in METHODS},
        "config": dataclasses.asdict(RING),
    }
    path.write_text(json.dumps({"provenance": facts, "results": results}, separators=(",", ":")) + "\n")


def recorded_race() -> tuple[dict[str, Any], dict[str, Any]]:
    """The recorded results by method, and where they come from."""
    content = json.loads(RECORD.read_text(encoding="utf-8"))
    return content["results"], content["provenance"]


class SavedMemory:
    """Bytes of tensors that autograd keeps for a backward pass: now, and at most so far."""

    def __init__(self) -> None:
        self.now = self.peak = 0


class _Saved:
    """One kept tensor; counted until autograd lets go of it."""

    def __init__(self, tensor: Tensor, memory: SavedMemory) -> None:
        self.tensor = tensor.detach()  # with its graph it would keep itself alive
        self.memory, self.size = memory, tensor.numel() * tensor.element_size()
        memory.now += self.size
        memory.peak = max(memory.peak, memory.now)

    def __del__(self) -> None:
        self.memory.now -= self.size


@contextmanager
def count_saved_memory() -> Iterator[SavedMemory]:
    """Inside, counts what autograd saves; a tensor saved twice counts twice. The same number on every machine."""
    memory = SavedMemory()
    with saved_tensors_hooks(lambda tensor: _Saved(tensor, memory), lambda saved: saved.tensor):
        yield memory


COLOURS = {
    "k = 0": NEUTRAL,
    "k = 1": EXTRA[2],
    "k = 5": REAL,
    "k = 10": DISCRIMINATOR,
    "k = 0, longer": NEUTRAL,
    "copy, 10 steps": EXTRA[1],
    "11 updates": FAKE,
}
MARKERS = {name: marker for name, marker in zip(COLOURS, "osDXP^v", strict=True)}


def show_orbits(paths: Mapping[int, np.ndarray]) -> None:
    """Paths (turns, 2) of the game of two numbers in the plane, one panel for each number of steps ahead."""
    _, panels = plt.subplots(2, 2, figsize=(5.2, 5.2), sharex=True, sharey=True)
    for axes, (num_steps, path) in zip(panels.flat, paths.items(), strict=True):
        axes.plot(*path.T, color=COLOURS[f"k = {num_steps}"], linewidth=1.2)
        axes.plot(*path[0], "o", color=NEUTRAL)
        axes.plot(0, 0, "*", markersize=11, color=NEUTRAL)
        axes.set(title=f"k = {num_steps}", aspect="equal")
    for axes in panels[-1]:
        axes.set_xlabel("a, lowers a b")
    for axes in panels[:, 0]:
        axes.set_ylabel("b, raises a b")


def show_terms(counts: Sequence[int], first: Sequence[float], second: Sequence[float]) -> None:
    """The two terms of the gradient against the number of steps ahead."""
    _, axes = plt.subplots()
    axes.plot(counts, first, marker="o", markersize=4, color=EXTRA[1], label="first: against the discriminator ahead")
    axes.plot(counts, second, marker="s", markersize=4, color=REAL, label="second: how it replies")
    axes.set(xlabel="steps ahead, k", ylabel="gradient for a", ylim=(0, None))
    axes.legend()


def show_cost(
    counts: Sequence[int], flops: Mapping[str, Sequence[float]], memory: Mapping[str, Sequence[float]]
) -> None:
    """Arithmetic and memory of a generator update against the number of steps ahead, as ratios to none."""
    _, panels = plt.subplots(2, 1, figsize=(5.2, 4.6), sharex=True)
    for axes, what, values in zip(panels, ("FLOPs", "saved memory"), (flops, memory), strict=True):
        for (name, line), colour, marker in zip(values.items(), (REAL, EXTRA[1]), "os", strict=True):
            axes.plot(counts, np.array(line) / line[0], marker=marker, color=colour, label=name)
        axes.set(ylabel=f"{what}, ratio to k = 0", ylim=(0, None))
    panels[0].legend()
    panels[1].set_xlabel("steps ahead, k")


def show_race(results: Mapping[str, Mapping[str, Any]], *, over: str) -> None:
    """Modes covered, share of good samples and divergence over "steps" or "seconds": median and range of the seeds."""
    labels = ("modes covered", "good samples (%)", "KL (nats)")
    _, panels = plt.subplots(3, 1, figsize=(5.4, 7.0), sharex=True)
    for name, result in results.items():
        place = np.array(result[over], dtype=float)
        if over == "seconds":
            place = place / results["k = 0"]["seconds"][-1]
        for axes, statistic in zip(panels, STATISTICS, strict=True):
            values = np.array(result[statistic]) * (100 if statistic == "good" else 1)  # (T, S)
            axes.plot(
                place,
                np.median(values, axis=1),
                **{"color": COLOURS[name], "marker": MARKERS[name], "markevery": 4, "markersize": 5},
                label=f"{name} (n = {values.shape[1]})",
                linestyle=":" if name == "k = 0, longer" else "-",
            )
            alpha = 0.12 if over == "steps" else 0.07
            axes.fill_between(place, values.min(axis=1), values.max(axis=1), color=COLOURS[name], alpha=alpha)
    for axes, label in zip(panels, labels, strict=True):
        axes.set_ylabel(label)
    panels[0].legend(ncols=2, fontsize=10, loc="lower center", bbox_to_anchor=(0.5, 1))
    units = {"steps": "generator updates", "seconds": "time, in units of the whole run with k = 0"}
    panels[-1].set_xlabel(units[over])
    if over == "seconds":
        panels[-1].set(xscale="log", xlim=(0.2, None))


def show_last_points(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Where the samples of the first seed lie at the end, one panel for each method, with the median of all seeds."""
    centres = ring().centres
    _, panels = plt.subplots(2, 3, figsize=(5.6, 4.6), sharex=True, sharey=True)
    for axes, (name, result) in zip(panels.flat, results.items(), strict=True):
        axes.scatter(*np.array(result["points"]).T, s=4, color=FAKE)
        axes.scatter(*centres.T, s=60, facecolors="none", edgecolors=REAL)
        covered = result["covered"][-1]
        axes.set_title(f"{name}\nhere {covered[0]}, median {np.median(covered):g}", fontsize=10)
        axes.set(aspect="equal", xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[])


@check
def check_gradient(gradient: Callable[[float, float, int, float], float]) -> str:
    """Exercise 12.1: the derivative of V(a, b_k) by a, after k steps of b, in the game V(a, b) = a b - b^2 / 2."""
    for a, b, num_steps, rate in ((1.0, 0.2, 0, 0.1), (1.0, 0.2, 1, 0.1), (0.3, -0.5, 4, 0.2)):
        start_a = torch.tensor(a, dtype=torch.float64, requires_grad=True)
        moving = torch.tensor(b, dtype=torch.float64)
        for _ in range(num_steps):
            moving = moving + rate * (start_a - moving)
        value = start_a * moving - moving**2 / 2
        expected = float(torch.autograd.grad(value, start_a)[0])
        first, found = float(moving.detach()), float(gradient(a, b, num_steps, rate))
        case = f"my_gradient({a}, {b}, {num_steps}, {rate})"
        require(
            num_steps == 0 or abs(found - b) > 1e-9,
            f"{case} is {b}, the derivative without looking ahead: let b take its {num_steps} steps first.",
        )
        require(
            num_steps == 0 or abs(found - first) > 1e-9,
            f"{case} is {found:.4f}: that is b after its steps, the first term alone. The steps themselves depend on "
            "a, so a second term is missing: the slope of V along b, times how far b moves when a does.",
        )
        require(
            abs(found - expected) < 1e-6,
            f"{case} should be {expected:.4f}, but is {found:.4f}. b climbs: each step adds rate * (a - b) to it. "
            "Keep track of how fast b changes with a; that number starts at 0.",
        )
    return "Both terms are there; for k = 0 the second is zero."


@check
def check_step_ahead(step_ahead: Callable[[nn.Module, Tensor, Tensor, float], dict[str, Tensor]]) -> str:
    """Exercise 12.2: the discriminator's weights after one gradient step, with the graph back to the fakes."""
    rng = torch.Generator().manual_seed(0)
    judge = PointDiscriminator(depth=1, width=8, activation="tanh", rng=rng).double()
    real = ring().sample(16, rng=rng, dtype=torch.float64)
    fake = torch.randn(16, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    before = {name: parameter.detach().clone() for name, parameter in judge.named_parameters()}
    sgd = torch.optim.SGD(judge.parameters(), 0.1)
    expected = look_ahead(judge, sgd, discriminator_loss, real, fake, num_steps=1)
    found = step_ahead(judge, real, fake, 0.1)
    require(
        all(torch.equal(parameter, before[name]) for name, parameter in judge.named_parameters()),
        "The real discriminator has moved. Compute new tensors, weight - rate * gradient; leave the old ones alone.",
    )
    require(
        isinstance(found, dict) and found.keys() == before.keys(),
        "Return a dictionary with the new weights under the names of discriminator.named_parameters().",
    )
    require(
        all(bool(torch.isfinite(value).all()) for value in found.values())
        and any(not torch.allclose(found[name], before[name]) for name in before),
        "The weights ahead equal the present weights: take a step.",
    )
    require(
        not all(torch.allclose(found[name], 2 * before[name] - expected[name]) for name in before),
        "Your step goes up the discriminator's loss: subtract the gradient.",
    )
    require(
        all(torch.allclose(found[name], expected[name]) for name in before),
        "The weights ahead are not those after one step of the given rate down discriminator_loss(real, fake logits).",
    )
    reaches = [value.sum() for value in found.values() if value.requires_grad]
    slope = None
    if reaches:
        (slope,) = torch.autograd.grad(torch.stack(reaches).sum(), fake, allow_unused=True)
    require(
        slope is not None and bool(slope.any()),
        "The values are right, but no graph leads back to the fakes, so the generator could not see how the "
        "discriminator replies. Do not detach the fakes, and call autograd.grad with create_graph=True.",
    )
    return "The right weights, with a graph back to the fakes, and the real discriminator has not moved."


@check
def check_detector(detector: Callable[[Callable[[float], float], Callable[[float], float]], bool]) -> str:
    """Exercise 12.3: tells whether a loss and a claimed gradient, two functions of one number, belong together."""

    def make(num_steps: int, second: float, b: float = 0.5, rate: float = 0.1) -> tuple[Any, Any]:
        kept = (1 - rate) ** num_steps

        def answer(a: float) -> float:
            return a + (b - a) * kept

        def loss(a: float) -> float:
            return a * answer(a) - answer(a) ** 2 / 2

        def gradient(a: float) -> float:
            return answer(a) + second * (a - answer(a)) * (1 - kept)

        return loss, gradient

    for num_steps in (0, 1, 5):
        require(
            bool(detector(*make(num_steps, 1.0))),
            f"You reject the right gradient of k = {num_steps}. Allow for rounding: finite differences are not exact, "
            "and a step that is too small makes them worse.",
        )
    for num_steps in (1, 5):
        require(
            not detector(*make(num_steps, 0.0)),
            f"You accept the gradient of a stepped copy, k = {num_steps}. It happens to be right at a = 0.5, where "
            "both players agree, and is wrong elsewhere: try several places, and compare closely.",
        )
    require(not detector(*make(5, -1.0)), "You accept a gradient whose second term has the wrong sign.")
    return "You accept the right gradient for every k, and catch the copy and a wrong sign."


if __name__ == "__main__":
    record()
