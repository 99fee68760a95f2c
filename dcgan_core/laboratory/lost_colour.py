"""Which colours did a grey letter have? A search in latent space that sees the grey alone, beside simpler guesses.

The damage keeps the brightness of each pixel and loses its colour. Brightness is 0.299 red + 0.587 green + 0.114 blue
of the values as they are stored (ITU-R BT.601, the luma of television; Pillow's mode L weighs in the same way).

`python -m dcgan_core.laboratory.lost_colour` measures the run that ships with the package (two minutes on one core).
The record holds runs of two further seeds of training, which are made by that run's command with another `--seed`,
exported, and measured by `--runs FOLDER FOLDER`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from dcgan_core import recorded
from dcgan_core.data import glyphs, scale
from dcgan_core.laboratory.latent_search import Found, Loss, search
from dcgan_core.laboratory.outcomes import append, read
from dcgan_core.laboratory.restoration import LENGTH_WEIGHT
from dcgan_core.laboratory.searching import rounded
from dcgan_core.metrics import nearest_neighbours
from dcgan_core.models import Generator
from dcgan_core.runtime import choose_machine, provenance
from dcgan_core.train import draw_latents

RECORD = Path(__file__).with_suffix(".jsonl")
RUN = "glyphs32_colour"
SEED = 160  # of the letters that are measured
NUM_LETTERS, NUM_TRAINING, NUM_STARTS, NUM_NEAREST = 48, 20_000, 8, 50


def grey(images: Tensor) -> Tensor:
    """The brightness (..., 1, S, S) of images (..., 3, S, S), both in [-1, 1]."""
    return rgb_to_grayscale(images)


def coloured(left: Tensor, guesses: Tensor) -> Tensor:
    """Grey images (..., 1, S, S) with the colours of guesses (..., 3, S, S): what is known stays.

    Colour is what is left of an image when its brightness is subtracted from each channel.
    """
    return (left + guesses - grey(guesses)).clamp(-1, 1)


def error(answers: Tensor, images: Tensor) -> Tensor:
    """Mean square difference over pixels and channels, of (..., 3, S, S) in [-1, 1]: (...)."""
    return (answers - images).square().mean(dim=(-3, -2, -1))


def colourfulness(images: Tensor) -> Tensor:
    """How far images (..., 3, S, S) are from grey ones of the same brightness, as `error`: (...), 0 for grey."""
    return error(images, grey(images).expand_as(images))


def wanted(left: Tensor) -> Loss:
    """The loss of a search: the mean square of what differs in the grey (T, 1, S, S), and the length of the latent."""

    def loss(images: Tensor, latents: Tensor) -> Tensor:
        apart = (grey(images) - left[:, None]).square().mean(dim=(2, 3, 4))
        return apart + LENGTH_WEIGHT * latents.square().mean(dim=2)

    return loss


def recolour(generator: Generator, left: Tensor, *, num_starts: int = 4, steps: int = 100, seed: int = 0) -> Found:
    """Searches colours for grey images (T, 1, S, S) from several starts; the images found have the known brightness."""
    starts = draw_latents(len(left) * num_starts, generator.latent_size, seed=seed)
    found = search(generator, wanted(left), starts.unflatten(0, (len(left), num_starts)), steps=steps)
    return found._replace(images=coloured(left[:, None], found.images))


def simpler(left: Tensor, training: Tensor) -> dict[str, Tensor]:
    """Simpler guesses for grey images (T, 1, S, S), given training images (N, 3, S, S): (T, 3, S, S) each.

    Grey as it is; the colours of the mean training image; those of the training image that is nearest in grey, and the
    mean of the fifty that are.
    """
    nearest = nearest_neighbours(left.flatten(1), grey(training).flatten(1), k=NUM_NEAREST).indices
    guesses = {
        "grey as it is": torch.zeros(1, 3, 1, 1),
        "mean colour": training.mean(dim=0),
        "nearest training letter": training[nearest[:, 0]],
        "mean of 50 nearest": torch.stack([training[rows].mean(dim=0) for rows in nearest]),
    }
    return {name: coloured(left, guess) for name, guess in guesses.items()}


def apart(images: Tensor) -> Tensor:
    """The mean `error` between two of K different images (T, K, 3, S, S): (T,)."""
    first, second = torch.triu_indices(images.shape[1], images.shape[1], offset=1)
    return error(images[:, first], images[:, second]).mean(dim=1)


def held_out() -> tuple[Tensor, list[int]]:
    """Coloured letters (N, 3, 32, 32) that were drawn in poses and colours of their own, and which they are."""
    drawn = glyphs.render(NUM_LETTERS, channels=3, seed=SEED, split="test")
    return scale(torch.from_numpy(drawn.images)), drawn.letter.tolist()


def training_letters(num: int = NUM_TRAINING) -> Tensor:
    """The first of the letters that the recorded run was trained with, (num, 3, 32, 32)."""
    return scale(torch.from_numpy(glyphs.render(num, channels=3, seed=0).images))


def measured(generator: Generator) -> dict[str, Any]:
    """Errors and colourfulness of every guess, letter by letter; of the search, of every start."""
    images, letters = held_out()
    left = grey(images)
    found = recolour(generator, left, num_starts=NUM_STARTS, seed=SEED)
    guesses = simpler(left, training_letters()) | {"mean of 8 answers": found.images.mean(dim=1)}
    strangers = torch.stack([images.roll(shift, dims=0) for shift in range(1, NUM_STARTS + 1)], dim=1)
    return {
        "letters": letters,
        "losses": rounded(found.losses),
        "errors": {"search": rounded(error(found.images, images[:, None]))}
        | {name: rounded(error(guess, images)) for name, guess in guesses.items()},
        "colourfulness": {
            "search": rounded(colourfulness(found.images)),
            "true colours": rounded(colourfulness(images)),
        }
        | {name: rounded(colourfulness(guess)) for name, guess in guesses.items()},
        "apart": {  # with the brightness of the same letter: only colours differ
            "eight answers": rounded(apart(found.images)),
            "eight other letters' colours": rounded(apart(coloured(left[:, None], strangers))),
        },
    }


def record(runs: tuple[str, ...] = (RUN,), out: Path = RECORD) -> None:
    """Measure the runs that the file does not hold yet, one training seed each.

    Args:
        runs: Names of recorded runs of coloured letters, or folders of exported ones.
        out: File of outcomes, one JSON object a line; it may exist.
    """
    torch.set_num_threads(1)
    known = {line["seed"] for line in read(out) if line["kind"] == "colour"} if out.exists() else set()
    wanted_runs = [run for run in map(recorded.load, runs) if run.config.seed not in known]
    if not wanted_runs:
        return
    append(out, kind="session", **provenance(choose_machine("cpu", "float32")), threads=torch.get_num_threads())
    for run in wanted_runs:
        begin = time.perf_counter()
        found = measured(run.generator.requires_grad_(False))
        whose = {"seed": run.config.seed, "recognised": run.evaluation["recognised"]}
        append(out, kind="colour", **whose, **found, seconds=round(time.perf_counter() - begin, 1))


def recorded_colours() -> dict[int, dict[str, Any]]:
    """What was measured, by the seed of the training, from the record that ships with the package."""
    return {line["seed"]: line for line in read(RECORD) if line["kind"] == "colour"}


def of_the_best(line: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Errors and colourfulness of each guess, letter by letter, float64 (48,); of the search, of its lowest loss."""
    losses = torch.tensor(line["losses"])
    best = torch.arange(len(losses)), losses.argmin(dim=1)
    found: dict[str, dict[str, Tensor]] = {}
    for what in ("errors", "colourfulness"):
        each = {name: torch.tensor(values, dtype=torch.float64) for name, values in line[what].items()}
        found[what] = {name: values[best] if name == "search" else values for name, values in each.items()}
    return found


if __name__ == "__main__":
    tyro.cli(record, description=__doc__)
