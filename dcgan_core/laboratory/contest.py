"""Plays the contest by `laboratory.rules`: every method with equally many settings, then with the one that did best.

`python -m dcgan_core.laboratory.contest --data ring grid --out contest.jsonl` plays it, run by run: what the file
holds is not played again. A run that is stopped in the middle begins anew and has the same numbers, as its seeds decide
all of it. `python -m dcgan_core.laboratory.standings contest.jsonl` says how it stands.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import load_for
from dcgan_core.laboratory.contenders import CONTENDERS, PLAIN, settings
from dcgan_core.laboratory.ensemble import PointConfig
from dcgan_core.laboratory.games import Game, game_of_images, game_of_points, play, ratios_in_turns
from dcgan_core.laboratory.mixtures import Mixture
from dcgan_core.laboratory.outcomes import append, describe, describe_images, describe_points
from dcgan_core.laboratory.protocol import IMAGES
from dcgan_core.laboratory.rules import (
    CHOSEN_BY,
    COURSES,
    MEASURES,
    NAMES,
    REPORTED,
    Job,
    choose,
    groups,
    on_points,
    pilots,
    refuse_other_rules,
    reports,
    run_config,
)
from dcgan_core.laboratory.studies import HOW, LINE, Playing, command_line, read_lines, run_jobs
from dcgan_core.metrics import Judge, judge_for
from dcgan_core.runs.card import publishable
from dcgan_core.runs.files import write_json
from dcgan_core.runtime import Device, Machine, choose_machine, provenance

COST_ROUNDS, COST_UPDATES = 12, 25  # of each method, in turns


def described(samples: Tensor, describe_half: Callable[[Tensor], dict[str, Any]]) -> dict[str, Any]:
    """What is recorded of the samples of one look: of the first half only what chooses, of the second half the rest."""
    first, second = samples.chunk(2)
    found = describe_half(second)
    return {CHOSEN_BY: describe_half(first)["overlap"]} | {name: found[name] for name in MEASURES if name in found}


def describe_pictures(judge: Judge, images: Tensor) -> dict[str, Any]:
    """`outcomes.describe_images`, also of images that are no longer finite: none is good, and they have no distance."""
    if images.isfinite().all():
        return describe_images(judge, images)
    nothing = torch.zeros(judge.num_classes, dtype=torch.int64)
    return describe(nothing, nothing, len(images)) | {"frechet_distance": None}


def begin(data: str, config: PointConfig | Config, seeds: Sequence[int], machine: Machine) -> Game:
    """The game of these seeds, side by side on points; on images there is one."""
    num_samples = COURSES[data].num_samples
    if isinstance(config, PointConfig):

        def of_points(mixture: Mixture, points: Tensor) -> dict[str, Any]:
            return described(points, partial(describe_points, mixture))

        return game_of_points(config, seeds, num_samples, of_points)
    (seed,) = seeds

    def of_images(images: Tensor) -> dict[str, Any]:
        return described(images, partial(describe_pictures, _judge(data, config.data_root, machine.device)))

    images = training_images(data, seed, config.data_root)
    return game_of_images(replace(config, seed=seed), machine, images, num_samples, of_images)


@cache
def _images(data: str, root: str) -> Tensor:
    return load_for(replace(IMAGES, **COURSES[data].config, data_root=root)).images


@cache
def _judge(data: str, root: str, device: torch.device) -> Judge:
    return judge_for(replace(IMAGES, **COURSES[data].config, data_root=root), device=device)


def training_images(data: str, seed: int, root: str) -> Tensor:
    """What the run of a seed learns from, uint8 (N, C, S, S): everything, or as few as the course says."""
    images = _images(data, root)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images if COURSES[data].num_images is None else images[order[: COURSES[data].num_images]]


def _marks(data: str, updates: int) -> list[int]:
    """After how many updates a run is looked at."""
    looks = COURSES[data].looks
    return sorted({round(updates * one / looks) for one in range(looks + 1)})


def history(game: Game, marks: Iterable[int]) -> dict[str, list[Any]]:
    """What was seen at each mark: name to a list over the marks; measures have a list over the seeds there."""
    found: dict[str, list[Any]] = {}
    for mark, seconds, seen in play(game, marks):
        row = {"updates": mark, "seconds": round(seconds, 3)}
        measures = {name: [_short(of_seed[name]) for of_seed in seen] for name in seen[0]}
        for name, value in (row | measures).items():
            found.setdefault(name, []).append(value)
    return found


def _short(value: float | None) -> float | None:
    """Five digits are enough, and a record is read by people too; JSON knows no infinity."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.5g}")


def play_job(
    folder: Path, data: str, method: str, part: str, draw: int, seed: int, updates: int, data_root: str, device: Device
) -> None:
    """Plays one run, or those of all seeds of a part side by side, and leaves its line in `folder`."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if (folder / LINE).exists():
        return
    (seeds,) = (group for group in groups(data, part) if group[0] == seed)
    knobs = settings(method, COURSES[data].draws)[draw]
    config = run_config(data, method, knobs, updates)
    machine = choose_machine("cpu" if on_points(data) else device, "float32")
    if isinstance(config, Config):
        config = replace(config, data_root=data_root)
    seen = history(begin(data, config, seeds, machine), _marks(data, updates))
    facts = {"config": {"data": data, "data_root": data_root} | dataclasses.asdict(config)}
    facts["provenance"] = provenance(machine) | {"threads": torch.get_num_threads()}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / LINE, {"seeds": seeds, "knobs": knobs, "history": seen} | publishable(facts))


def costs(
    data: str, chosen: Mapping[str, int], updates: int, data_root: str, machine: Machine
) -> dict[str, tuple[float, float, float]]:
    """Time of an update of each method, with its chosen setting, over the plain game's: median, least, greatest."""
    games = {}
    for method, draw in chosen.items():
        config = run_config(data, method, settings(method, COURSES[data].draws)[draw], updates)
        config = replace(config, data_root=data_root) if isinstance(config, Config) else config
        games[method] = begin(data, config, groups(data, REPORTED)[0], machine).update
    ratios = ratios_in_turns(games, PLAIN, COST_ROUNDS, COST_UPDATES, machine.device)
    return {method: (statistics.median(each), min(each), max(each)) for method, each in ratios.items()}


def note_costs(out: Path, data: str, chosen: Mapping[str, int], updates: int, data_root: str, device: Device) -> None:
    """Adds a line with the costs of these settings, if there is none yet."""
    facts = {"kind": "costs", "data": data, "updates": updates, "draws": dict(chosen)}
    if any(facts.items() <= line.items() for line in read_lines(out)):
        return
    torch.set_num_threads(1)
    machine = choose_machine("cpu" if on_points(data) else device, "float32")
    found = costs(data, chosen, updates, data_root, machine)
    places = {"config": {"data": data, "data_root": data_root}, "provenance": provenance(machine)}
    append(out, **facts, costs=found, provenance=publishable(places)["provenance"])


def study(
    out: Path,
    data: tuple[str, ...] = ("ring", "grid"),
    methods: tuple[str, ...] = tuple(CONTENDERS),
    updates: int | None = None,
    data_root: str = "data",
    playing: Playing = HOW,
) -> None:
    """Plays what `out` does not hold yet, for so many minutes: pilots, then the reported runs, then costs.

    Args:
        out: File of runs, one JSON object a line; it may exist.
        data: Some of ring, grid, letters, few letters, stacked digits, stacked MNIST.
        methods: Some of those that play there; the plain game always does.
        updates: Generator updates of each run, instead of those of the course: for a trial.
        data_root: Folder that downloaded data sets are kept in.
        playing: How the study is played.
    """
    for name, asked, known in (("data", data, COURSES), ("methods", methods, CONTENDERS)):
        if unknown := [one for one in asked if one not in known]:
            raise InvalidInput(f"{name} has {unknown[0]!r}, but knows only {', '.join(known)}.")
    deadline = time.monotonic() + 60 * playing.minutes
    refuse_other_rules(read_lines(out))

    def run(jobs: Iterator[Job]) -> None:
        left = (deadline - time.monotonic()) / 60
        if left > 0:
            how = partial(play_job, data_root=data_root, device=playing.device)
            run_jobs(out, NAMES, jobs, how, replace(playing, minutes=left))

    for name in data:
        length = updates or COURSES[name].updates
        who = [method for method in COURSES[name].methods if method in (*methods, PLAIN)]
        run(pilots(name, who, length))
        lines = read_lines(out)
        found = {method: choose(lines, name, method, length) for method in who}
        chosen = {method: draw for method, draw in found.items() if draw is not None}
        run(reports(name, chosen, length))
        if PLAIN in chosen and time.monotonic() < deadline:
            note_costs(out, name, chosen, length, data_root, playing.device)


if __name__ == "__main__":
    command_line(study, "python -m dcgan_core.laboratory.contest")
