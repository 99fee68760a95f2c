"""Plays what `protocol` lists, and writes each outcome down as soon as it is known.

Outcomes are written line by line, so a comparison that was stopped goes on where it was.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from dcgan_core.capture import ready
from dcgan_core.config import InvalidInput
from dcgan_core.data import Batches, load_for, scale
from dcgan_core.laboratory import ensemble
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
from dcgan_core.state import State, draw_latents, sample, start

COST_ROUNDS = 7  # in which every method makes `COST_UPDATES` updates, in turns
COST_UPDATES = 5
CPU = torch.device("cpu")
Updates = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Game:
    """A method in play: `update` makes one generator update, with the discriminator's before it; `look` describes the
    samples of every seed."""

    update: Callable[[], object]
    look: Callable[[], list[dict[str, Any]]]
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)  # that the iterations are recorded, say


def point_game(data: str, method: str, rate: float, seeds: Sequence[int]) -> Game:
    """Point GANs of all seeds, side by side."""
    state = ensemble.start(point_config(data, method, rate), seeds)
    latents = state.draw_latents(NUM_SAMPLES["points"])

    def look() -> list[dict[str, Any]]:
        return [describe_points(state.mixture, points) for points in ensemble.sample(state, latents)]

    return Game(lambda: ensemble.advance(state), look)


def image_game(data: str, method: str, rate: float, seed: int, machine: Machine, root: str) -> Game:
    """A pair of image networks; its data and its judge are made at the first use.

    Where iterations can be recorded they must be, or some methods would be faster for a reason of their own.
    """
    config = image_config(data, method, rate, seed, root)
    machine = replace(machine, capture="off" if machine.no_graph else "on")
    images = _images(data, root).to(machine.device)
    batches = Batches(images, batch_size=config.images_per_step, seed=seed)
    state: State = start(config, machine)
    step, made = ready(state, machine)
    latents = draw_latents(NUM_SAMPLES.get(data, NUM_STACKED_SAMPLES), config.latent_size, seed=seed + 1_000_000)

    def look() -> list[dict[str, Any]]:
        return [describe_images(_judge(data, root), sample(state.sampler, latents))]

    return Game(lambda: step(state, batches(state.step), machine), look, made)


@cache  # takes seconds, and is the same for every seed and method
def _images(data: str, root: str, split: Literal["train", "test"] = "train") -> Tensor:
    return load_for(image_config(data, PLAIN, 1e-3, 0, root), split).images


@cache
def _judge(data: str, root: str) -> Judge:
    return judge_for(image_config(data, PLAIN, 1e-3, 0, root))


def real_images(data: str, root: str = "data") -> dict[str, Any]:
    """`describe_images` of held-out real images: what a perfect generator would get, and a measure of the judge."""
    return describe_images(_judge(data, root), scale(_images(data, root, "test")))


def play(game: Game, marks: Iterable[int]) -> Iterator[tuple[int, float, list[dict[str, Any]]]]:
    """Updates up to each mark (numbers of generator updates), its training time in seconds, and what was seen there."""
    done, seconds = 0, 0.0
    for mark in sorted(set(marks)):
        begin = time.perf_counter()
        for _ in range(mark - done):
            game.update()
        seconds += time.perf_counter() - begin
        done = mark
        yield mark, seconds, game.look()


def relative_costs(data: str, machine: Machine, root: str) -> dict[str, float]:
    """Time of one generator update, with what belongs to it, as a multiple of the plain game's: medians of turns."""
    games = {method: _game(data, method, RATES[kind(data)][0], SEEDS[kind(data)], machine, root) for method in METHODS}
    return in_turns({method: game.update for method, game in games.items()}, PLAIN, machine.device)


def in_turns(updates: Updates, baseline: str, device: torch.device = CPU) -> dict[str, float]:
    """Time of each update as a multiple of the baseline's, whatever else slows the machine: medians of turns."""
    ratios = ratios_in_turns(updates, baseline, COST_ROUNDS, COST_UPDATES, device)
    return {name: statistics.median(found) for name, found in ratios.items()}


def ratios_in_turns(
    updates: Updates, baseline: str, num_rounds: int, num_updates: int, device: torch.device
) -> dict[str, list[float]]:
    """Time of each update as a multiple of the baseline's in the same round (A B C A B C ...), for every round."""

    def now() -> float:
        if device.type == "cuda":  # works behind Python's back
            torch.cuda.synchronize(device)
        return time.perf_counter()

    rounds: list[dict[str, float]] = []
    for number in range(num_rounds + 1):
        seconds = {}
        for name, update in updates.items():
            begin = now()
            for _ in range(num_updates):
                update()
            seconds[name] = now() - begin
        if number:  # the first round warms up
            rounds.append(seconds)
    return {name: [turn[name] / turn[baseline] for turn in rounds] for name in updates}


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
