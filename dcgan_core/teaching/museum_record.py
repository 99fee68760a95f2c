"""Plays the script of the bug museum with every mistake and several seeds, and records what there was to see.

`python -m dcgan_core.teaching.museum_record` writes the record that ships with the package, a seed of every exhibit
after the other (half an hour on one core); stopped, it goes on where it was. Every run is interrupted once, halfway,
and goes on from what was saved, as long runs are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dcgan_core.data import load
from dcgan_core.laboratory.outcomes import append, read
from dcgan_core.metrics import coverage, letter_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.runtime import choose_machine, provenance
from dcgan_core.teaching import museum, museum_script
from dcgan_core.teaching.packed import packed

RECORD = Path(__file__).with_suffix(".jsonl")
NUM_UPDATES, EVERY, EVALUATE_EVERY = 400, 20, 100
NUM_IMAGES, NUM_HELD_OUT, NUM_SHOWN = 6_400, 500, 10
SEEDS = range(5)  # of each exhibit
HEALTHY_SEEDS = range(10)  # what a healthy run may look like
OTHER_SEEDS = range(10, 15)  # healthy, too, and treated as an exhibit: does anybody cry wolf?
CURVES = ("loss D", "loss G", "D(x)", "D(G(z))", "distance")


@cache
def letters() -> tuple[Tensor, Tensor]:
    """Letters to learn from, and held-out ones, uint8 (N, 1, 16, 16)."""
    learnt, held_out = (load("glyphs", image_size=16, split=split).images for split in ("train", "test"))
    return learnt[:NUM_IMAGES], held_out[:NUM_HELD_OUT]


def play(script: ModuleType, seed: int, num_updates: int = NUM_UPDATES) -> dict[str, Any]:
    """One run: its curves, the picture that its script makes of ten samples, and what is left at the end."""
    training = script.Training(*letters(), seed)
    training.prepare()
    lines: list[dict[str, float]] = []
    distances: list[float] = []
    for done in range(EVERY, num_updates + 1, EVERY):
        lines.append(_mean(training.train(EVERY)))
        if done * 2 // num_updates != (done - EVERY) * 2 // num_updates < 1:
            saved = training.state()
            training = script.Training(*letters(), seed)
            training.prepare()
            training.restore(saved)
        if done // EVALUATE_EVERY != (done - EVERY) // EVALUATE_EVERY:
            distances.append(training.evaluate())
            training.keep_best(distances[-1])
    latents = torch.randn(museum_script.NUM_JUDGED, script.LATENT_SIZE, generator=torch.Generator().manual_seed(2))
    samples = training.sample(latents)
    _, probabilities = measure(letter_classifier(), samples)
    return {
        **{name: [_short(line[name]) for line in lines] for name in lines[0]},
        "distance": [_short(distance) for distance in distances],
        "picture": packed(script.picture(training.sample(latents[:NUM_SHOWN])).numpy()),
        "made": training.made,
        "best": _short(training.best_distance) if training.best else None,
        "true_distance": _short(museum_script.distance(samples, museum_script.scale(letters()[1]))),
        "recognised": _short(coverage(probabilities).recognised),
    }


def _mean(lines: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(line[name] for line in lines) / len(lines) for name in lines[0]}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def runs() -> Iterator[tuple[int, int]]:
    """The healthy script, then all exhibits, seed by seed: a record that is stopped has all of them."""
    yield from ((museum.HEALTHY, seed) for seed in HEALTHY_SEEDS)
    yield from ((number, seed) for seed in SEEDS for number in museum.EXHIBITS)
    yield from ((museum.HEALTHY, seed) for seed in OTHER_SEEDS)


def record(path: Path = RECORD) -> None:
    """Adds the runs that the file does not hold yet. Pictures are kept of the first seed only."""
    torch.set_num_threads(1)
    done = (
        {(line["exhibit"], line["seed"]) for line in read(path) if line["kind"] == "outcome"}
        if path.exists()
        else set()
    )
    facts = provenance(choose_machine("cpu", "float32"))
    facts |= {"command": "python -m dcgan_core.teaching.museum_record", "updates": NUM_UPDATES}
    append(path, kind="session", **facts)
    for number, seed in runs():
        if (number, seed) not in done:
            begin = time.process_time()
            found = play(museum.script(number), seed)
            if seed:
                del found["picture"]
            append(
                path, kind="outcome", exhibit=number, seed=seed, **found, seconds=_short(time.process_time() - begin)
            )
            print(number, seed, found["distance"][-1], found["true_distance"], flush=True)


@cache
def recorded() -> list[dict[str, Any]]:
    """The runs of the record that ships with the package."""
    return [line for line in read(RECORD) if line["kind"] == "outcome"]


if __name__ == "__main__":
    record()
