"""Chapter 08, is it working?: games with a deliberate fault, the log of a run, the tree that names the fault.

`python -m dcgan_core.teaching.chapter_08` plays every game with several seeds, asks the tree, and writes the record
that ships with the package.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn
from torch.nn.functional import softplus

from dcgan_core.config import Config
from dcgan_core.data import Batches, Dataset, load
from dcgan_core.iteration import advance
from dcgan_core.laboratory.protocol import IMAGES
from dcgan_core.losses import GAMES, Game, discriminator_loss
from dcgan_core.metrics import Judge, judge_for
from dcgan_core.report.diagnosis import TREE as TREE
from dcgan_core.report.diagnosis import Log, diagnose, look, signs
from dcgan_core.report.diagnosis import gradient_norm as gradient_norm
from dcgan_core.runtime import Machine, choose_machine, provenance
from dcgan_core.state import State, draw_latents, sample, start
from dcgan_core.steps import update_discriminator
from dcgan_core.teaching.exercises import check, require
from dcgan_core.teaching.plots import DISCRIMINATOR, FAKE, NEUTRAL, REAL, image_grid, magnified

RECORD = Path(__file__).with_suffix(".json")
SEEDS = range(8)
NUM_UPDATES = 250
EVERY = 10  # updates between two checks
NUM_WATCHED = 64
NUM_JUDGED = 500
BASE = replace(IMAGES, generator_learning_rate=5e-3, discriminator_learning_rate=5e-3, total_images=10**6)


@dataclass(frozen=True)
class Case:
    """One way to play: what is changed in the config, and the mistakes that no config allows."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    naive: bool = False  # losses as the paper prints them, log of sigmoid
    half_range: bool = False  # real images in 0..1
    stuck_in_eval: bool = False  # the generator, since before the first update
    detached: bool = False  # fakes detached in the generator's turn too

    def in_words(self) -> str:
        """What is changed, in one line."""
        mistakes = [name.replace("_", " ") for name in ("naive", "half_range", "stuck_in_eval", "detached")]
        made = (self.naive, self.half_range, self.stuck_in_eval, self.detached)
        changed = [f"{name} = {value}" for name, value in self.changes.items()]
        return ", ".join(changed + [name for name, is_made in zip(mistakes, made, strict=True) if is_made]) or "nothing"


GALLERY = {
    "healthy": Case(),
    "discriminator too strong": Case({"generator_learning_rate": 1e-4}),
    "collapsed": Case({"generator_learning_rate": 1e-1, "beta1": 0.9}),
    "circling": Case(
        {"generator_learning_rate": 2e-2, "discriminator_learning_rate": 3e-4, "discriminator_norm": "none"}
    ),
    "overflow": Case({"discriminator_learning_rate": 0.5}, naive=True),
    "wrong range": Case(half_range=True),
    "wrong mode": Case(stuck_in_eval=True),
    "dead generator": Case(detached=True),
}
OTHERS = {  # the same faults in settings that the thresholds were not chosen for
    "healthy": Case({"generator_learning_rate": 2e-3, "discriminator_learning_rate": 2e-3}),
    "discriminator too strong": Case({"generator_learning_rate": 2e-4, "discriminator_steps": 3}),
    "collapsed": Case({"generator_learning_rate": 3e-1}),
    "circling": Case(
        {"generator_learning_rate": 1e-2, "discriminator_learning_rate": 1e-3, "discriminator_norm": "none"}
    ),
    "wrong mode": Case({"generator_learning_rate": 2e-3, "discriminator_learning_rate": 2e-3}, stuck_in_eval=True),
}
NAIVE = Game(
    lambda real, fake: -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean(),
    lambda fake: -fake.sigmoid().log().mean(),
)


@dataclass
class Run:
    """A game that was played: its log, and where it ended."""

    log: Log
    state: State
    samples: Tensor  # (NUM_WATCHED, 1, 16, 16), drawn in eval mode


def play(case: Case, data: Dataset, *, seed: int, num_updates: int = NUM_UPDATES) -> Run:
    """Plays one game on the CPU and checks it every `EVERY` updates; stops when a loss is not finite."""
    config = replace(BASE, seed=seed, **case.changes)
    machine = choose_machine("cpu", "float32")
    state = start(config, machine)
    state.generator.train(not case.stuck_in_eval)
    batches = Batches(data.images, batch_size=config.images_per_step, seed=seed)
    watched = draw_latents(NUM_WATCHED, config.latent_size, seed=seed + 1)
    log: Log = {}
    before: Tensor | None = None
    with patch.dict(GAMES, {config.loss: NAIVE}) if case.naive else nullcontext():
        for step in range(num_updates):
            real = batches(step)
            real = (real + 1) / 2 if case.half_range else real
            losses = [float(loss) for loss in _turns(case, state, real, machine)]
            finite = all(map(math.isfinite, losses))
            if state.step % EVERY == 0 or not finite:
                line, before = look(state, real[: config.batch_size], watched, before)
                line |= {"updates": state.step, "loss D": losses[0], "loss G": losses[1]}
                for name, value in line.items():
                    log.setdefault(name, []).append(value)
            if not finite:
                break
    return Run(log, state, sample(state.generator, watched))


def _turns(case: Case, state: State, real: Tensor, machine: Machine) -> tuple[Tensor, Tensor]:
    """One iteration; where the case asks for it, the fakes are wrongly detached for both players."""
    if not case.detached:
        return advance(state, real, machine)
    fake = state.generator(torch.randn(len(real), state.config.latent_size, generator=state.latent_rng))
    first = update_discriminator(state.discriminator, state.discriminator_optimizer, discriminator_loss, real, fake)
    second = softplus(-state.discriminator(fake.detach())).mean()
    state.generator_optimizer.zero_grad(set_to_none=True)
    second.backward()
    state.generator_optimizer.step()
    state.step += 1
    return first, second.detach()


def until(log: Log, updates: int) -> Log:
    """The log as it was after so many updates."""
    kept = sum(at <= updates for at in log["updates"])
    return {name: values[: max(1, kept)] for name, values in log.items()}


def first_named(log: Log, illness: str) -> float:
    """The update at which the tree settles on this diagnosis; infinite if the last check says something else."""
    found = math.inf
    for at in reversed(log["updates"]):
        if diagnose(until(log, int(at))) != illness:
            break
        found = at
    return found


def letters_16() -> Dataset:
    """The letters of the book at 16 pixels."""
    return load("glyphs", image_size=BASE.image_size)


def judge_16() -> Judge:
    """The classifier that counts the letters covered by the samples."""
    return judge_for(Config(image_size=BASE.image_size))


def outcome(run: Run, judge: Judge, illness: str) -> dict[str, Any]:
    """What the record keeps of a run: its diagnosis, since when, its signs, and the judge's report on its samples."""
    images = sample(run.state.generator, draw_latents(NUM_JUDGED, BASE.latent_size, seed=7))
    report = judge.report(images) if bool(images.isfinite().all()) else {}
    numbers = {name: float(f"{value:.4g}") for name, value in signs(run.log).items() if math.isfinite(value)}
    named_at = first_named(run.log, illness)
    return {
        "diagnosis": diagnose(run.log),
        "named_at": int(named_at) if math.isfinite(named_at) else None,
        "signs": numbers,
        "letters": report.get("classes_covered"),
        "recognised": report.get("recognised"),
        "frechet_distance": round(report["frechet_distance"], 1) if report else None,
    }


def record(path: Path = RECORD, seeds: Sequence[int] = SEEDS, num_updates: int = NUM_UPDATES) -> None:
    """Plays every game with every seed on one thread, and records the outcomes and their provenance."""
    torch.set_num_threads(1)
    facts = provenance(choose_machine("cpu", "float32"))
    facts |= {"command": "python -m dcgan_core.teaching.chapter_08", "seeds": len(seeds), "updates": num_updates}
    data, judge = letters_16(), judge_16()
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    begin = time.process_time()
    for group, cases in (("gallery", GALLERY), ("others", OTHERS)):
        for name, case in cases.items():
            played = [outcome(play(case, data, seed=seed, num_updates=num_updates), judge, name) for seed in seeds]
            results.setdefault(group, {})[name] = played
            print(group, name, Counter(one["diagnosis"] for one in played), flush=True)
    facts["processor_seconds"] = round(time.process_time() - begin)
    path.write_text(json.dumps({"provenance": facts, "results": results}, separators=(",", ":")) + "\n")


@cache
def recorded_diagnoses() -> tuple[dict[str, dict[str, list[dict[str, Any]]]], dict[str, Any]]:
    """The recorded outcomes by group and fault, one per seed, and where they come from."""
    content = json.loads(RECORD.read_text(encoding="utf-8"))
    return content["results"], content["provenance"]


def confusion(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[list[int]]:
    """Numbers of seeds: a row for each game that was played, a column for what the tree said, as in `GALLERY`."""
    said = [Counter(one["diagnosis"] for one in played) for played in results.values()]
    return [[count[name] for name in GALLERY] for count in said]


def show_confusion(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """`confusion` as a table of tinted cells; those with the right diagnosis are framed."""
    names, counts = list(GALLERY), confusion(results)
    figure, axes = plt.subplots(figsize=(5.6, 0.32 * len(results) + 1.2))
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=1.6 * max(map(max, counts)), aspect="auto")
    for row, (played, line) in enumerate(zip(results, counts, strict=True)):
        for column, count in enumerate(line):
            axes.text(column, row, str(count) if count else "\u00b7", ha="center", va="center", fontsize=10)
        corner = (names.index(played) - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=1.2))
    axes.set_yticks(range(len(results)), [name.replace("r too", "r\ntoo") for name in results], fontsize=10)
    labels = ["none", *(name.replace("discriminator ", "") for name in names[1:])]
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(names)), labels, fontsize=10, rotation=40, ha="left", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


def show_run(run: Run) -> Figure:
    """Four panels of curves, and ten samples below them."""
    log = run.log
    figure = plt.figure(figsize=(5.6, 5.0))
    panels = figure.subplot_mosaic([["a", "b"], ["c", "d"], ["e", "e"]], height_ratios=[1, 1, 0.42])
    curves = {
        "a": [("loss D", DISCRIMINATOR, "-"), ("loss G", FAKE, "--")],
        "b": [("D(x)", REAL, "-"), ("D(G(z))", FAKE, "--")],
        "c": [("gradient D", DISCRIMINATOR, "-"), ("gradient G", FAKE, "--")],
        "d": [("diversity", REAL, "-"), ("motion", FAKE, "--"), ("gap", NEUTRAL, ":")],
    }
    titles = {"a": "losses (nats)", "b": "mean verdict", "c": "gradient norms", "d": "samples"}
    for key, lines in curves.items():
        axes = panels[key]
        for name, colour, style in lines:
            axes.plot(log["updates"], log[name], style, color=colour, label=name)
        axes.tick_params(labelsize=10)
        axes.legend(
            **{"fontsize": 10, "ncols": len(lines), "loc": "lower center", "bbox_to_anchor": (0.45, 0.97)},
            **{"columnspacing": 0.8, "handlelength": 1.5, "handletextpad": 0.4},
        )
        axes.set_ylabel(titles[key], fontsize=10)
    panels["a"].axhline(2 * math.log(2), color="black", linewidth=0.8, zorder=1)
    panels["a"].set_ylim(0, None)
    panels["b"].set_ylim(-0.03, 1.03)
    panels["c"].set_yscale("symlog", linthresh=1e-2)
    panels["c"].set_ylim(0, 300)
    panels["d"].set_ylim(-0.08, 3.08)
    for key in "cd":
        panels[key].set_xlabel("updates", fontsize=10)
    grid = magnified(image_grid(run.samples[:10], 10), 4)
    panels["e"].imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    panels["e"].set_axis_off()
    return figure


TELLING = {  # two curves to watch in each game; the second one gives it away
    "discriminator too strong": ("D(G(z))", "gradient G"),
    "collapsed": ("diversity", "gradient G"),
    "circling": ("loss D", "motion"),
    "wrong range": ("loss D", "darkest"),
    "wrong mode": ("diversity", "gap"),
    "dead generator": ("loss G", "gradient G"),
}


def show_beside(runs: Mapping[str, Run], name: str) -> Figure:
    """The two telling curves of a game beside those of the healthy one, and ten samples below them."""
    run, healthy = runs[name], runs["healthy"]
    figure = plt.figure(figsize=(5.6, 3.0))
    panels = figure.subplot_mosaic([["left", "right"], ["samples", "samples"]], height_ratios=[1, 0.42])
    for key, curve in zip(("left", "right"), TELLING[name], strict=True):
        axes = panels[key]
        axes.plot(healthy.log["updates"], healthy.log[curve], "--", color=NEUTRAL, linewidth=1.2, label="healthy")
        axes.plot(run.log["updates"], run.log[curve], color=FAKE, label="this game")
        axes.set(title=curve, xlabel="updates")
        if curve.startswith("gradient"):
            axes.set_yscale("symlog", linthresh=1e-2)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=10, ncols=2, loc="outside upper center")
    panels["samples"].imshow(
        magnified(image_grid(run.samples[:10], 10), 4), cmap="gray", vmin=0, vmax=255, interpolation="nearest"
    )
    panels["samples"].set_axis_off()
    return figure


def show_side_by_side(runs: Mapping[str, Run]) -> Figure:
    """Small multiples: one row per game that has curves, one column per quantity; the telling panel is tinted."""
    columns = {"loss D": 4.0, "D(G(z))": 1.0, "gradient G": 300.0, "diversity": 1.6, "motion": 3.0, "gap": 0.6}
    limits = {name: (-0.07 * top, top) for name, top in columns.items()}
    limits |= {"gradient G": (-3e-3, 300), "darkest": (-1.1, 0.2)}
    games = {name: run for name, run in runs.items() if name != "overflow"}  # which ends at once
    figure, rows = plt.subplots(len(games), len(limits), figsize=(5.6, 0.68 * len(games) + 0.7), sharex=True)
    for line, (name, run) in zip(rows, games.items(), strict=True):
        for axes, (curve, limit) in zip(line, limits.items(), strict=True):
            if curve in TELLING.get(name, ())[1:]:
                axes.set_facecolor("#fde9dc")
            axes.plot(run.log["updates"], run.log[curve], color=FAKE if name in TELLING else REAL, linewidth=1)
            if curve == "gradient G":
                axes.set_yscale("symlog", linthresh=1e-2)
            axes.set(ylim=limit, xticks=[], yticks=[])
            axes.minorticks_off()
            axes.grid(False)
        line[0].set_ylabel(name.replace(" ", "\n"), rotation=0, ha="right", va="center", fontsize=10)
    for axes, curve in zip(rows[0], limits, strict=True):
        axes.set_title(curve, fontsize=10, rotation=40, ha="left", rotation_mode="anchor", x=0.3)
    return figure


@check
def check_gradient_norm(norm: Callable[[nn.Module], float]) -> str:
    """Exercise 08.1: the length of all gradients of a network."""
    network = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    require(float(norm(network)) == 0, "Before any backward pass there are no gradients: the norm should be 0.")
    first, second = list(network[0].parameters()), list(network[1].parameters())
    first[0].grad, first[1].grad = torch.tensor([[2.0, -3.0]]), torch.tensor([6.0])
    second[0].grad, second[1].grad = torch.tensor([[24.0]]), None
    found = float(norm(network))
    weights = math.sqrt(sum(float(weight.detach().square().sum()) for weight in network.parameters()))
    require(abs(found - weights) > 1e-4, "You measure the weights and not their gradients: use weight.grad.")
    for wrong, named in ((35, "absolute values"), (29, "gradients"), (30 + math.sqrt(13), "norms of the weights")):
        require(
            abs(found - wrong) > 1e-4,
            f"You add the {named}. As one vector, (2, -3, 6, 24) has the length 25: add the *squares*, then take the "
            "root.",
        )
    require(abs(found - 31) > 1e-4, "You add the norms of the layers: add the *squares* of all numbers, then the root.")
    require(abs(found - 625) > 1e-2, "That is the square of the norm: take the root.")
    require(abs(found - 25) < 1e-4, f"Together, the gradients 2, -3, 6 and 24 have the norm 25; yours is {found:.4g}.")
    return "One number per network, whatever its layers."


@check
def check_motion(motion: Callable[[Tensor, Tensor], float]) -> str:
    """Exercise 08.2: how much the watched images move, compared with how much they differ from one another."""
    torch.manual_seed(0)
    levels = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)  # pixels differ in level and in spread
    now = levels + (1.5 + levels) * torch.randn(64, 1, 4, 4)
    require(float(motion(now, now)) == 0, "Nothing has moved, so the motion is 0.")
    moved = (now - now.mean(dim=0)) * 0.4 + 0.3  # other images than now: less spread, and of both signs
    before = now - moved
    distance, spread = float(moved.abs().mean()), float(now.std(dim=0).mean())
    found = float(motion(now, before))
    for wrong, why in (
        (
            distance,
            "That is how far the pixels moved. Divide by how much the images differ from one another, or a change of "
            "contrast looks like a change of speed.",
        ),
        (
            float(moved.mean()) / spread,
            "Movements of both signs cancel in yours: take the absolute value of each difference, then the mean.",
        ),
        (
            float(moved.square().mean().sqrt()) / spread,
            "That is the root of the mean square. Take the mean of the absolute differences, which a single pixel that "
            "jumps does not dominate.",
        ),
        (
            distance / float(now.std()),
            "You divide by the standard deviation of all numbers, which also counts how pixels differ within an image. "
            "Take it over the images, pixel by pixel, then the mean.",
        ),
        (distance / float(before.std(dim=0).mean()), "You divide by the spread of `before`: divide by that of `now`."),
    ):
        require(abs(found - wrong) > 1e-4, why)
    require(abs(found) > 1e-3, "Images that moved must not cancel: take the absolute value of each difference.")
    require(
        abs(found - distance / spread) < 1e-3,
        f"Images that moved by {distance:.3f} on average and differ by {spread:.3f} have moved by "
        f"{distance / spread:.3f}; yours is {found:.3f}. The spread is the standard deviation over the images, pixel "
        "by pixel, then the mean.",
    )
    mirrored = float(motion(now, now.flip(0)))
    require(
        mirrored > 0.5,
        "If every latent gets another image, the motion is large, though the set is the same.",
    )
    return f"Shuffling all images has a motion of {mirrored:.2f}: the set is the same, but no latent keeps its image."


@check
def check_healthy_loss(loss: float) -> str:
    """Exercise 08.3: the discriminator's loss at D(x) = D(G(z)) = 1/2."""
    require(
        abs(loss - math.log(2)) > 1e-3, "That is one half of it: there is a term for real images and one for fakes."
    )
    require(abs(loss - 2) > 1e-3, "That is in bits. Use the natural logarithm.")
    require(loss > 0, "The loss is minus a logarithm of a number below 1, so it is positive.")
    require(abs(loss - 2 * math.log(2)) < 1e-3, f"With D = 1/2 everywhere it is {2 * math.log(2):.3f}, not {loss:.3f}.")
    return "Circling games have the same loss, so it is not a sign of health."


@check
def check_diagnosis(diagnosis: Callable[[dict[str, float]], str]) -> str:
    """Exercise 08.4: names three faults from the medians of three signs."""
    cases = [
        ({"right": 0.72, "gradient": 3.1, "diversity": 0.96}, "healthy", "nothing is wrong here"),
        (
            {"right": 1.0, "gradient": 95.0, "diversity": 0.23},
            "strong",
            "a confident discriminator, a steep gradient",
        ),
        (
            {"right": 1.0, "gradient": 1e-4, "diversity": 0.01},
            "collapsed",
            "a confident discriminator, almost no gradient",
        ),
        ({"right": 1.0, "gradient": 0.0, "diversity": 0.31}, "dead", "no gradient at all: ask for that first"),
        (
            {"right": 0.5, "gradient": 0.3, "diversity": 0.2},
            "collapsed",
            "samples alike, a discriminator at chance",
        ),
    ]
    for now, expected, why in cases:
        found = diagnosis(dict(now))
        require(found == expected, f"For {now} yours is {found!r} and not {expected!r}: {why}.")
    return "The order of the questions matters as much as the thresholds."


if __name__ == "__main__":
    record()
