"""Games in play: of points, the same one for many seeds at once, or of images; and what an update of them costs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dcgan_core.capture import ready
from dcgan_core.config import Config
from dcgan_core.data import Batches
from dcgan_core.laboratory import ensemble
from dcgan_core.laboratory.ensemble import PointConfig
from dcgan_core.laboratory.mixtures import Mixture
from dcgan_core.runtime import Machine
from dcgan_core.state import State, draw_latents, sample, start

CPU = torch.device("cpu")
Updates = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Game:
    """A method in play: `update` makes one generator update, with the discriminator's before it; `look` describes the
    samples of every seed."""

    update: Callable[[], object]
    look: Callable[[], list[dict[str, Any]]]
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)  # that the iterations are recorded, say


def game_of_points(
    config: PointConfig,
    seeds: Sequence[int],
    num_samples: int,
    describe: Callable[[Mixture, Tensor], dict[str, Any]],
) -> Game:
    """Point GANs of all seeds, side by side; `describe` says something of the samples (N, 2) of each."""
    state = ensemble.start(config, seeds)
    latents = state.draw_latents(num_samples)

    def look() -> list[dict[str, Any]]:
        return [describe(state.mixture, points) for points in ensemble.sample(state, latents)]

    return Game(lambda: ensemble.advance(state), look)


def game_of_images(
    config: Config, machine: Machine, images: Tensor, num_samples: int, describe: Callable[[Tensor], dict[str, Any]]
) -> Game:
    """A pair of image networks that learns from `images`, uint8 (N, C, S, S); `describe` says something of its samples.

    Where iterations can be recorded they must be, or some methods would be faster for a reason of their own.
    """
    machine = replace(machine, capture="off" if machine.no_graph else "on")
    batches = Batches(images.to(machine.device), batch_size=config.images_per_step, seed=config.seed)
    state: State = start(config, machine)
    step, made = ready(state, machine)
    latents = draw_latents(num_samples, config.latent_size, seed=config.seed + 1_000_000)

    def look() -> list[dict[str, Any]]:
        return [describe(sample(state.sampler, latents))]

    return Game(lambda: step(state, batches(state.step), machine), look, made)


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
