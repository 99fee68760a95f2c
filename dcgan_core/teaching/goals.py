"""Goals of the latent explorer: from one letter to another in few moves, and a search for the fewest.

A move goes to one of the letters of a map: `CELLS` by `CELLS` latents around the present one, up to `REACH` along each
of two directions at right angles, which are drawn anew for each move. Where a goal starts and all its directions follow
from its seed, in this module as in the page (book/_static/latent_explorer/latents.js), so both play the same game.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dcgan_core.metrics import RECOGNISED_AT, letter_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.models import Generator
from dcgan_core.train import sample

CELLS = 9  # of the map, a side
REACH = 3.0
Cell = tuple[int, int]  # column from the left and row from the top, 0 to CELLS - 1


@dataclass(frozen=True)
class Goal:
    """A letter to begin with, one to reach, and a way there that no shorter one matches."""

    seed: int
    start: str
    target: str
    way: tuple[Cell, ...]  # the cell of each move

    @property
    def fewest(self) -> int:
        """Moves."""
        return len(self.way)


# Found by `reachable`; tests/test_goals.py goes each way, and tries all shorter ones.
GOALS = (
    Goal(1, "S", "H", ((1, 7), (8, 1))),
    Goal(3, "R", "T", ((8, 2), (0, 0))),
    Goal(2, "V", "C", ((7, 3), (4, 8))),
    Goal(3, "R", "Z", ((8, 6), (8, 0))),
    Goal(26, "O", "Q", ((0, 1), (8, 0), (0, 0))),
    Goal(29, "H", "K", ((3, 1), (8, 7), (8, 8))),
)


def random_numbers(seed: int) -> Callable[[], float]:
    """Numbers in [0, 1) that depend on the seed alone: mulberry32, with the 32-bit integers of JavaScript."""
    state, mask = seed & 0xFFFFFFFF, 0xFFFFFFFF

    def draw() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) & mask
        mixed = ((state ^ (state >> 15)) * (1 | state)) & mask
        mixed = ((mixed + (((mixed ^ (mixed >> 7)) * (61 | mixed)) & mask)) & mask) ^ mixed
        return (mixed ^ (mixed >> 14)) / 2**32

    return draw


def _normal(size: int, uniform: Callable[[], float]) -> Tensor:
    """A vector (size,) from N(0, 1), after Box and Muller; float64, as JavaScript has it."""
    pairs = [(uniform(), uniform()) for _ in range(size)]
    return torch.tensor(
        [math.sqrt(-2 * math.log(1 - a)) * math.cos(2 * math.pi * b) for a, b in pairs], dtype=torch.float64
    )


def opening(seed: int, latent_size: int) -> tuple[Tensor, Iterator[Tensor]]:
    """Where a goal starts, (latent_size,), and for each move its two unit vectors (2, latent_size), without an end."""
    uniform = random_numbers(seed)
    start = _normal(latent_size, uniform)

    def directions() -> Iterator[Tensor]:
        while True:
            first = normalize(_normal(latent_size, uniform), dim=0)
            second = _normal(latent_size, uniform)
            yield torch.stack([first, normalize(second - (second @ first) * first, dim=0)])

    return start, directions()


def around(latents: Tensor, directions: Tensor) -> Tensor:
    """The map of each latent (N, latent_size): (N, CELLS * CELLS, latent_size), row by row from the top left."""
    steps = torch.linspace(-REACH, REACH, CELLS, dtype=torch.float64)
    rows, columns = torch.meshgrid(steps.flip(0), steps, indexing="ij")
    moves = torch.stack([columns.flatten(), rows.flatten()], dim=1) @ directions  # (CELLS * CELLS, latent_size)
    return latents[:, None] + moves


def judged(generator: Generator, latents: Tensor, chunk: int = 1_000) -> Tensor:
    """What the letter classifier says of the letters of these latents (N, latent_size): probabilities (N, 26)."""
    classifier = letter_classifier()
    parts = (measure(classifier, sample(generator, part.float()))[1] for part in latents.split(chunk))
    return torch.cat(list(parts))


def reachable(generator: Generator, seed: int, moves: int) -> list[Tensor]:
    """What is said of every letter that 0, 1, ... `moves` moves can reach: (CELLS ** (2 * k), 26) for each number k."""
    latents, directions = opening(seed, generator.latent_size)
    latents = latents[None]
    found = [judged(generator, latents)]
    for _ in range(moves):
        latents = around(latents, next(directions)).flatten(0, 1)
        found.append(judged(generator, latents))
    return found


def follow(generator: Generator, goal: Goal) -> Tensor:
    """What is said of the letter at the start and after each move of the goal's way, (1 + moves, 26)."""
    latent, directions = opening(goal.seed, generator.latent_size)
    visited = [latent]
    for column, row in goal.way:
        visited.append(around(visited[-1][None], next(directions))[0, row * CELLS + column])
    return judged(generator, torch.stack(visited))


def is_reached(probabilities: Tensor, target: str) -> Tensor:
    """Whether the classifier takes each letter for the target, and is certain of it: bool (N,)."""
    best, letter = probabilities.max(dim=-1)
    return (letter == ord(target) - ord("A")) & (best >= RECOGNISED_AT)
