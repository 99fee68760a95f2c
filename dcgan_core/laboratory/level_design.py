"""Levels for a game from a DCGAN: training, two baselines without networks, and a search in latent space.

After Volz et al. 2018 (arXiv:1805.00728), who trained a GAN on windows of one level of a well-known game, one channel
for each kind of tile, and searched its latent space by CMA-ES for levels with a wanted property.

`python -m dcgan_core.laboratory.level_design` trains and measures what the record that ships with the package
holds (five minutes on one core).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from cmaes import CMA
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from dcgan_core.data.levels import HEIGHT, TILES, WIDTH, render
from dcgan_core.laboratory.latent_search import on_sphere
from dcgan_core.laboratory.level_rules import explored, num_faults, num_pits
from dcgan_core.laboratory.short_run import GENERATORS, kept, normal, play, record_seeds
from dcgan_core.models import FIRST_SIZE, LEAK, Discriminator, Generator, redraw
from dcgan_core.state import draw_latents

LATENT_SIZE = 32
NUM_TRAINING = 2_000
TOTAL_IMAGES = 300_000
NUM_EVALUATIONS = 1_000  # levels that a search may try
POPULATION = 20
RECORD = Path(__file__).with_suffix(".jsonl")
Wanted = Callable[[np.ndarray], np.ndarray]  # from levels (N, 16, 32) to what is to be as large as possible, (N,)


def encoded(levels: np.ndarray) -> Tensor:
    """Levels (N, 16, 32) as pictures (N, 8, 16, 32): one channel per kind of tile, 1 where it is and -1 elsewhere."""
    kinds = torch.from_numpy(levels).long()
    return 2 * nn.functional.one_hot(kinds, len(TILES)).permute(0, 3, 1, 2).float() - 1


def decoded(pictures: Tensor) -> np.ndarray:
    """Pictures (N, 8, 16, 32) as levels, uint8 (N, 16, 32): in each place the tile whose channel is the largest."""
    return pictures.argmax(dim=1).to(torch.uint8).numpy()


def networks(seed: int, width: int = 16) -> tuple[Generator, Discriminator]:
    """The package's DCGAN for pictures of 32 pixels with eight channels, cut down to half the height.

    A level is twice as wide as high, so the generator begins, and the discriminator ends, with maps of 2x4 instead of
    4x4. The discriminator has no batch normalisation: R1 punishes its slope at each picture by itself.
    """
    torch.manual_seed(seed)
    generator = Generator(image_size=WIDTH, channels=len(TILES), width=width, latent_size=LATENT_SIZE)
    discriminator = Discriminator(image_size=WIDTH, channels=len(TILES), width=width, norm="none", minibatch_std=True)
    first, last = generator.layers[0], discriminator.layers[-2]
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    generator.layers[0] = nn.Linear(LATENT_SIZE, first.out_features // 2, bias=False)
    generator.layers[1] = nn.Unflatten(1, (first.out_features // FIRST_SIZE**2, FIRST_SIZE // 2, FIRST_SIZE))
    discriminator.layers[-2] = nn.Linear(last.in_features // 2, 1, bias=False)
    redraw(generator, "he", slope=0.0)
    redraw(discriminator, "he", slope=LEAK)
    return generator, discriminator


def train_designer(levels: np.ndarray, *, total_images: int, seed: int = 0, **options: Any) -> nn.Module:
    """Trains a generator of levels on levels (N, 16, 32)."""
    generator, discriminator = networks(seed)
    pictures = encoded(levels)

    def draw_real(num: int, rng: torch.Generator) -> Tensor:
        return pictures[torch.randint(len(pictures), (num,), generator=rng)]

    return play(
        generator,
        discriminator,
        draw_real,
        normal(LATENT_SIZE),
        total_images=total_images,
        seed=seed,
        **options,
    )


@torch.no_grad()
def designed(generator: nn.Module, latents: Tensor) -> np.ndarray:
    """The levels (N, 16, 32) that a generator makes of latents (N, 32)."""
    return decoded(generator(latents))


def shuffled(levels: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Baseline: each tile by itself, as often in each row as in the row of the training levels. (num, 16, 32)"""
    rows = [rng.choice(levels[:, row].ravel(), (num, WIDTH)) for row in range(HEIGHT)]
    return np.stack(rows, axis=1)


def chained(levels: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Baseline: a Markov chain of whole columns. (num, 16, 32)

    Each column is followed by one that follows it somewhere in the training levels, as often as there.
    """
    texts = [[column.tobytes() for column in level.T] for level in levels]
    following: dict[bytes, list[bytes]] = {}
    for columns in texts:
        for one, next_one in itertools.pairwise(columns):
            following.setdefault(one, []).append(next_one)
    found: list[np.ndarray] = []
    while len(found) < num:
        columns = [texts[rng.integers(len(texts))][0]]
        while len(columns) < WIDTH and columns[-1] in following:
            columns.append(following[columns[-1]][rng.integers(len(following[columns[-1]]))])
        if len(columns) == WIDTH:
            found.append(np.stack([np.frombuffer(column, np.uint8) for column in columns], axis=1))
    return np.stack(found)


def judged(levels: np.ndarray, training: np.ndarray) -> dict[str, float]:
    """What can be counted in levels (N, 16, 32): shares of them that are passable and without a fault, and more."""
    passable, _ = explored(levels)
    sound = num_faults(levels) == 0
    half = len(levels) // 2
    return {
        "num": len(levels),
        "passable": int(passable.sum()),
        "sound": int(sound.sum()),
        "both": int((passable & sound).sum()),
        "faults": float(num_faults(levels).mean()),
        "pits": float(num_pits(levels).mean()),
        "different": len(np.unique(levels.reshape(len(levels), -1), axis=0)),
        "apart": float(differences(levels[:half], levels[half:]).mean()),
        "to_training": float(np.median(differences(levels, training).min(axis=1))),
    }


def differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """In how many tiles each of the levels (N, 16, 32) differs from each of (M, 16, 32): (N, M)."""
    return cdist(one.reshape(len(one), -1), other.reshape(len(other), -1), "hamming") * one[0].size


def pits_if_passable(levels: np.ndarray) -> np.ndarray:
    """What the searches look for: columns without ground in levels (N, 16, 32) that can be passed, (N,).

    A level that cannot be passed has less than 0, the less the earlier the way ends, as in Volz et al. 2018.
    """
    passable, furthest = explored(levels)
    return np.where(passable, num_pits(levels), furthest / WIDTH - 1)


def searched(generator: nn.Module, wanted: Wanted, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Searches the latent space by CMA-ES: the best value after each of 1,000 levels, and the best level (16, 32)."""
    search = CMA(mean=np.zeros(LATENT_SIZE), sigma=1.0, population_size=POPULATION, seed=seed)

    def next_latents(values: np.ndarray | None, latents: np.ndarray | None) -> np.ndarray:
        if values is not None and latents is not None:
            search.tell([(one, -value) for one, value in zip(latents, values, strict=True)])  # it minimises
        return np.stack([search.ask() for _ in range(POPULATION)])

    return _best(generator, wanted, next_latents)


def drawn(generator: nn.Module, wanted: Wanted, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same number of levels from latents drawn at random, as a baseline for `searched`."""
    rng = np.random.default_rng(seed)
    return _best(generator, wanted, lambda values, latents: rng.standard_normal((POPULATION, LATENT_SIZE)))


def _best(
    generator: nn.Module,
    wanted: Wanted,
    next_latents: Callable[[np.ndarray | None, np.ndarray | None], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    values, latents, history = None, None, np.empty(0)
    best, level = -np.inf, np.empty(0)
    while len(history) < NUM_EVALUATIONS:
        latents = next_latents(values, latents)
        levels = designed(generator, on_sphere(torch.from_numpy(latents)).float())  # elsewhere it has learnt nothing
        values = wanted(levels)
        if values.max() > best:
            best, level = values.max(), levels[values.argmax()]
        history = np.append(history, values)
    return np.maximum.accumulate(history), level


def training_levels() -> np.ndarray:
    """What the recorded generators have learnt from, (2000, 16, 32)."""
    return render(NUM_TRAINING, seed=0)


def recorded_designer(seed: int = 0) -> nn.Module:
    """The generator of levels of that seed that ships with the package."""
    return kept(networks(0)[0], GENERATORS / f"levels-{seed}.safetensors")


def record(seeds: tuple[int, ...] = (0,), out: Path = RECORD, num_levels: int = 1_000, searches: int = 10) -> None:
    """Train and measure the seeds that the file does not hold yet.

    Args:
        seeds: Of the generators.
        out: File of outcomes, one JSON object a line; it may exist.
        num_levels: Levels that are judged of each generator and of each baseline.
        searches: Searches of each kind in the latent space of each generator.
    """
    training = training_levels()

    def found(seed: int) -> tuple[nn.Module, dict[str, Any]]:
        generator = train_designer(training, total_images=TOTAL_IMAGES, seed=seed)
        rng = np.random.default_rng(seed)
        latents = draw_latents(num_levels, LATENT_SIZE, seed=1_000 + seed)
        sources = {
            "drawn by code": render(num_levels, seed=1_000 + seed),
            "single tiles": shuffled(training, num_levels, rng),
            "chain of columns": chained(training, num_levels, rng),
            "generator": designed(generator, latents),
        }
        best = {}
        for name, search in (("CMA-ES", searched), ("random", drawn)):
            runs = [search(generator, pits_if_passable, seed=number) for number in range(searches)]
            best[name] = [
                {"after": history[99::100].tolist(), "faults": int(num_faults(level[None])[0])}
                for history, level in runs
            ]
        training_best = float(pits_if_passable(training).max())
        judgements = {name: judged(levels, training) for name, levels in sources.items()}
        return generator, {"judged": judgements, "best": best, "training_best": training_best}

    record_seeds(out, "levels", seeds, found, total_images=TOTAL_IMAGES)


if __name__ == "__main__":
    tyro.cli(record, description=__doc__)
