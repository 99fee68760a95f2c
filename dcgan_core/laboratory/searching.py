"""What a search in latent space is worth: frames that are missing, and damaged letters, beside simpler means.

`python -m dcgan_core.laboratory.searching` measures what the record that ships with the package does not hold yet (half
an hour on one core). The generator is the recorded run of letters; all images are held out, which here means: drawn in
poses that it has not seen, from fonts that it has.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from dcgan_core import recorded
from dcgan_core.data import glyphs, scale
from dcgan_core.data.moving import MOTIONS, films
from dcgan_core.laboratory.missing_frames import between
from dcgan_core.laboratory.outcomes import append, read
from dcgan_core.laboratory.restoration import DAMAGES, Damage, restore, simpler
from dcgan_core.metrics import letter_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.models import Discriminator, Generator
from dcgan_core.runtime import choose_machine, provenance

RECORD = Path(__file__).with_suffix(".jsonl")
RUN = "glyphs32"
SEED = 160  # of films and of letters; weights were chosen with another one
NUM_FILMS, NUM_LETTERS = 32, 48
NUM_TRAINING = 20_000
SEARCHES = {  # damage and prior: number of starts
    ("hole", "length"): 4,
    ("low resolution", "length"): 4,
    ("noise", "length"): 4,
    ("lower half", "length"): 8,
    ("hole", "none"): 4,
    ("hole", "sphere"): 4,
    ("hole", "discriminator"): 4,
}


def rounded(numbers: Tensor) -> Any:
    """Numbers of any shape as lists, with five digits after the point."""
    return torch.round(numbers.double(), decimals=5).tolist()


def letters_in(images: Tensor) -> Tensor:
    """Which letters the classifier takes images (..., 1, 32, 32) for, (...)."""
    return measure(letter_classifier(), images.flatten(0, -4))[1].argmax(dim=1).unflatten(0, images.shape[:-3])


def missing_frame(generator: Generator, motion: str) -> dict[str, Any]:
    """Errors of every guess of the middle frame, and which letter each guess shows."""
    frames, letters = films(NUM_FILMS, motion, seed=SEED)
    first, middle, last = scale(torch.from_numpy(frames)).unbind(1)
    guesses = between(generator, first, last, num_starts=3, steps=60, seed=SEED)
    return {
        "letters": letters.tolist(),
        "seen": letters_in(middle).tolist(),
        "errors": {name: rounded((each - middle).square().mean(dim=(1, 2, 3))) for name, each in guesses.items()},
        "answers": {name: letters_in(each).tolist() for name, each in guesses.items()},
    }


def held_out() -> tuple[Tensor, list[int]]:
    """Letters (N, 1, 32, 32) that were drawn in poses of their own, and which they are."""
    drawn = glyphs.render(NUM_LETTERS, seed=SEED, split="test")
    return scale(torch.from_numpy(drawn.images)), drawn.letter.tolist()


def by_search(
    generator: Generator, discriminator: Discriminator, damage: Damage, prior: str, num_starts: int
) -> dict[str, Any]:
    """Of each letter and each start: the loss at the end, the error, and which letter the answer shows."""
    images, letters = held_out()
    found = restore(
        generator,
        damage,
        damage.apply(images, seed=SEED),
        prior=prior,
        discriminator=discriminator,
        num_starts=num_starts,
        steps=100,
        seed=SEED,
    )
    return {
        "letters": letters,
        "losses": rounded(found.losses),
        "errors": rounded(damage.error(found.images, images[:, None])),
        "answers": letters_in(found.images).tolist(),
    }


def by_simpler_means(damage: Damage) -> dict[str, Any]:
    """Of each letter and each of the simpler means: the error, and which letter the answer shows."""
    images, letters = held_out()
    training = scale(torch.from_numpy(glyphs.render(NUM_TRAINING, seed=0).images))  # as the run was trained with
    answers = simpler(damage, damage.apply(images, seed=SEED), training)
    return {
        "letters": letters,
        "seen": letters_in(images).tolist(),
        "errors": {name: rounded(damage.error(each, images)) for name, each in answers.items()},
        "answers": {name: letters_in(each).tolist() for name, each in answers.items()},
    }


def record(out: Path = RECORD) -> None:
    """Measure what the file does not hold yet.

    Args:
        out: File of outcomes, one JSON object a line; it may exist.
    """
    torch.set_num_threads(1)
    lines = read(out) if out.exists() else []
    append(out, kind="session", **provenance(choose_machine("cpu", "float32")), threads=torch.get_num_threads())
    run = recorded.load(RUN)
    generator, discriminator = run.generator.requires_grad_(False), run.discriminator.requires_grad_(False).eval()

    def add(kind: str, what: dict[str, str], measured: Any) -> None:
        if not any(line["kind"] == kind and what.items() <= line.items() for line in lines):
            begin = time.perf_counter()
            found = measured()
            append(out, kind=kind, **what, **found, seconds=round(time.perf_counter() - begin, 1))
            print(kind, *what.values(), flush=True)

    for name, damage in DAMAGES.items():
        add("simpler", {"damage": name}, lambda damage=damage: by_simpler_means(damage))
    for motion in MOTIONS:
        add("film", {"motion": motion}, lambda motion=motion: missing_frame(generator, motion))
    for (name, prior), starts in SEARCHES.items():
        what = {"damage": name, "prior": prior}
        add(
            "search",
            what,
            lambda name=name, prior=prior, starts=starts: by_search(
                generator, discriminator, DAMAGES[name], prior, starts
            ),
        )


def recorded_searching(kind: str) -> list[dict[str, Any]]:
    """The lines of one kind ("film", "simpler" or "search") of the record that ships with the package."""
    return [line for line in read(RECORD) if line["kind"] == kind]


if __name__ == "__main__":
    tyro.cli(record, description=__doc__)
