"""Plays what `protocol` lists, and writes each outcome down as soon as it is known.

Outcomes are written line by line, so a comparison that was stopped goes on where it was.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from dcgan_core.config import InvalidInput
from dcgan_core.data import load_for, scale
from dcgan_core.laboratory.games import CPU, Game, Updates, game_of_images, game_of_points, play, ratios_in_turns
from dcgan_core.laboratory.outcomes import append, best_rate, describe_images, describe_points, outcomes, read
from dcgan_core.laboratory.protocol import (
    DATA,
    METHODS,
    NUM_SAMPLES,
    NUM_STACKED_SAMPLES,
    NUM_UPDATES,
    PILOTS,
    PLAIN,
    RATES,
    SEEDS,
    image_config,
    kind,
    marks,
    point_config,
)
from dcgan_core.metrics import Judge, judge_for
from dcgan_core.runtime import Machine, choose_machine, provenance

COST_ROUNDS = 7  # in which every method makes `COST_UPDATES` updates, in turns
COST_UPDATES = 5


def point_game(data: str, method: str, rate: float, seeds: Sequence[int]) -> Game:
    """Point GANs of all seeds, side by side."""
    return game_of_points(point_config(data, method, rate), seeds, NUM_SAMPLES["points"], describe_points)


def image_game(data: str, method: str, rate: float, seed: int, machine: Machine, root: str) -> Game:
    """A pair of image networks; its data and its judge are made at the first use."""
    num_samples = NUM_SAMPLES.get(data, NUM_STACKED_SAMPLES)

    def describe(images: Tensor) -> dict[str, Any]:
        return describe_images(_judge(data, root), images)

    return game_of_images(
        image_config(data, method, rate, seed, root), machine, _images(data, root), num_samples, describe
    )


@cache  # takes seconds, and is the same for every seed and method
def _images(data: str, root: str, split: Literal["train", "test"] = "train") -> Tensor:
    return load_for(image_config(data, PLAIN, 1e-3, 0, root), split).images


@cache
def _judge(data: str, root: str) -> Judge:
    return judge_for(image_config(data, PLAIN, 1e-3, 0, root))


def real_images(data: str, root: str = "data") -> dict[str, Any]:
    """`describe_images` of held-out real images: what a perfect generator would get, and a measure of the judge."""
    return describe_images(_judge(data, root), scale(_images(data, root, "test")))


def relative_costs(data: str, machine: Machine, root: str) -> dict[str, float]:
    """Time of one generator update, with what belongs to it, as a multiple of the plain game's: medians of turns."""
    games = {method: _game(data, method, RATES[kind(data)][0], SEEDS[kind(data)], machine, root) for method in METHODS}
    return in_turns({method: game.update for method, game in games.items()}, PLAIN, machine.device)


def in_turns(updates: Updates, baseline: str, device: torch.device = CPU) -> dict[str, float]:
    """Time of each update as a multiple of the baseline's, whatever else slows the machine: medians of turns."""
    ratios = ratios_in_turns(updates, baseline, COST_ROUNDS, COST_UPDATES, device)
    return {name: statistics.median(found) for name, found in ratios.items()}


def _game(data: str, method: str, rate: float, seeds: Sequence[int], machine: Machine, root: str) -> Game:
    if kind(data) == "points":
        return point_game(data, method, rate, seeds)
    return image_game(data, method, rate, seeds[0], machine, root)


def compare(
    out: str | Path,
    *,
    data: Sequence[str] = DATA[:4],
    methods: Sequence[str] = tuple(METHODS),
    num_seeds: int | None = None,
    num_updates: int | None = None,
    root: str = "data",
    machine: Machine | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Plays every method on every data set, with the seeds and rates of `protocol`; returns all outcomes.

    Outcomes are lines of the file `out`; what it already holds is not played again. `num_seeds` and `num_updates` make
    it smaller. Image methods choose their rate by the Fréchet distance of a pilot seed on letters; points are played at
    every rate, and `best_rate` chooses by the pilots. Raises `InvalidInput` for unknown
    names, more seeds than there are, and a file that was played with another number of updates.
    """
    for field, asked, allowed in (("data", data, DATA), ("methods", methods, tuple(METHODS))):
        if unknown := [one for one in asked if one not in allowed]:
            raise InvalidInput(f"{field} has {unknown[0]!r}, but knows only {', '.join(allowed)}.")
    out, machine = Path(out), machine or choose_machine("cpu", "float32")
    lines = read(out) if out.exists() else []
    num_played = {name: num_updates or NUM_UPDATES[name] for name in data}
    for name in data:
        if num_seeds and num_seeds > len(SEEDS[kind(name)]):
            raise InvalidInput(f"num_seeds is {num_seeds}, but {name} has {len(SEEDS[kind(name)])}: ask for no more.")
        before = {line["updates"] for line in outcomes(lines) if line["data"] == name and "updates" in line["budgets"]}
        if before - {num_played[name]}:
            raise InvalidInput(
                f"{str(out)!r} holds games on {name} of {before.pop()} updates, and these would have "
                f"{num_played[name]}: choose another file."
            )

    def note(**line: Any) -> None:
        lines.append(line)
        append(out, **line)

    note(kind="session", **provenance(machine), threads=torch.get_num_threads())
    for name in data:
        measured = [line["costs"] for line in lines if line["kind"] == "costs" and line["data"] == name]
        costs: dict[str, float] = measured[-1] if measured else relative_costs(name, machine, root)
        if not measured:
            note(kind="costs", data=name, costs=costs)
        if kind(name) == "images" and not any(line["kind"] == "real" and line["data"] == name for line in lines):
            note(kind="real", data=name, **real_images(name, root))
        for method, rate, seeds in tqdm(list(_plays(name, methods, num_seeds)), desc=name, disable=not progress):
            rate = rate or best_rate(lines, "letters", method)
            at = marks(method, num_played[name], costs)
            if set(seeds) <= set(PILOTS[kind(name)]):
                at.pop("longer", None)
            facts = {"data": name, "method": method, "rate": rate}
            done = {line["seed"]: line["updates"] for line in outcomes(lines) if facts.items() <= line.items()}
            if all(done.get(seed) == max(at.values()) for seed in seeds):
                continue
            game = _game(name, method, rate, seeds, machine, root)
            for mark, seconds, seen in play(game, at.values()):
                budgets = [budget for budget, where in at.items() if where == mark]
                for seed, found in zip(seeds, seen, strict=True):
                    line = {"seed": seed, "budgets": budgets, "updates": mark, "seconds": seconds}
                    note(kind="outcome", **facts, **line, **found, **game.facts)
    return outcomes(lines)


def _plays(
    data: str, methods: Sequence[str], num_seeds: int | None
) -> Iterator[tuple[str, float | None, tuple[int, ...]]]:
    """Method, rate (None: the pilot's choice) and seeds of everything to be played on one data set, in order."""
    own, pilots = SEEDS[kind(data)][:num_seeds], PILOTS[kind(data)]
    if kind(data) == "points":
        yield from ((method, rate, own + pilots) for method in methods for rate in RATES["points"])
        return
    if data == "letters":
        yield from ((method, rate, pilots) for method in methods for rate in RATES["images"])
    yield from ((method, None, (seed,)) for seed in own for method in methods)
