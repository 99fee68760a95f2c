"""How many images are needed? Runs that differ in how many scenes they learn from, with and without augmentation.

All are shown equally many images, few of them often or many of them seldom, and all are measured against the same
scenes, which none of them has seen. `python -m dcgan_core.laboratory.amounts --keep runs/amounts`
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan_core.config import RECIPES, Augmentation, Config
from dcgan_core.data import Dataset
from dcgan_core.data.scenes import render
from dcgan_core.laboratory.outcomes import append
from dcgan_core.laboratory.studies import FOUND, HOW, Playing, command_line, read_lines, run_jobs, train_or_go_on
from dcgan_core.metrics import Judge, frechet_distance, moments
from dcgan_core.metrics.copies import thumbnails_of_pixels
from dcgan_core.metrics.features import GENERAL_NAME, measure_pixels
from dcgan_core.metrics.general import general
from dcgan_core.runs.files import write_json
from dcgan_core.runtime import Device, Precision, choose_machine, provenance
from dcgan_core.train import BEST, draw_latents, load_state, sample

AMOUNTS = (250, 1_000, 4_000, 16_000)
AUGMENTED: dict[str, tuple[Augmentation, ...]] = {
    "as they are": (),
    "augmented": ("translation", "colour", "flip"),  # a scene that is moved, tinted or mirrored is still a scene
}
SEEDS = (0, 1, 2)
NAMES = ("num_images", "augmented", "seed")  # of what tells a run from the others
TOTAL_IMAGES = 48_000
EVALUATIONS = 6  # of a run, at equal distances
IMAGE_SIZE = 32
NUM_REFERENCE, REFERENCE_SEED = 4_000, 1_000_000  # scenes that all are measured against, of a seed of their own
NUM_MEASURED = 2_000  # samples, or scenes, that are compared with the reference
FLOOR_SEEDS = (2_000_000, 2_000_001, 2_000_002)
OTHER_LATENTS = 3_000_000  # added to the seed: no state is chosen by the latents that it is measured with at last
RECORD = Path(__file__).with_suffix(".jsonl")


def run_config(augmented: str, seed: int, total_images: int = TOTAL_IMAGES) -> Config:
    """The run of one setting, for any number of scenes: the default recipe, in colour."""
    every = total_images // EVALUATIONS
    return replace(
        Config(),
        **RECIPES["default"],
        data="scenes",
        image_size=IMAGE_SIZE,
        channels=3,
        held_out=0.0,
        augment=AUGMENTED[augmented],
        seed=seed,
        total_images=total_images,
        log_every_images=every,
        evaluate_every_images=every,
        checkpoint_every_images=every,
        sample_every_images=total_images,
    )


def jobs(
    amounts: Iterable[int] = AMOUNTS, augmented: Iterable[str] = tuple(AUGMENTED), seeds: Iterable[int] = SEEDS
) -> Iterator[tuple[int, str, int]]:
    """Everything to be played, seed by seed, so that a study that is stopped has all settings with fewer seeds.

    Of a seed, the fewest images and the most come first: between them the difference should be largest.
    """
    ordered = sorted(amounts)
    ends_first = [number for pair in zip(ordered, reversed(ordered), strict=True) for number in pair]
    numbers = list(dict.fromkeys(ends_first))
    yield from ((number, name, seed) for seed in seeds for number in numbers for name in augmented)


@cache
def drawn(num_images: int, seed: int) -> Tensor:
    """The first scenes of a seed, uint8 (N, 3, 32, 32)."""
    return torch.from_numpy(render(num_images, image_size=IMAGE_SIZE, seed=seed).images)


def training_images(num_images: int, seed: int) -> Tensor:
    """The first scenes of a seed: a larger number has those of a smaller one among them."""
    return drawn(max(num_images, *AMOUNTS), seed)[:num_images]


def reference() -> Tensor:
    """The scenes that all are measured against, uint8 (4000, 3, 32, 32)."""
    return drawn(NUM_REFERENCE, REFERENCE_SEED)


@cache
def reference_features() -> Tensor:
    """Their features (4000, 248)."""
    return _features(reference())


def judge_of(training: Tensor, held_out: Tensor | None = None) -> Judge:
    """Measures samples against held-out images, by default the reference, and searches copies of the training images.

    All are uint8 (N, 3, 32, 32).
    """
    features = reference_features() if held_out is None else _features(held_out)
    return Judge(
        classifier=general(),
        features_name=GENERAL_NAME,
        reference=moments(features),
        reference_features=features,
        num_classes=0,
        training=thumbnails_of_pixels(training),
        held_out=thumbnails_of_pixels(reference() if held_out is None else held_out),
    )


def _features(pixels: Tensor) -> Tensor:
    return measure_pixels(general(), pixels)[0]


def by_heart(judge: Judge, training: Tensor) -> float:
    """The distance of 2,000 images drawn from the training images, with repetition: of who knows these alone."""
    rows = torch.randint(len(training), (NUM_MEASURED,), generator=torch.Generator().manual_seed(0))
    return frechet_distance(moments(_features(training)[rows]), judge.reference)


def floor(seed: int) -> float:
    """The distance of 2,000 other scenes from the reference: nothing can be expected to come nearer."""
    return frechet_distance(moments(_features(drawn(NUM_MEASURED, seed))), moments(reference_features()))


def play(
    folder: Path,
    num_images: int,
    augmented: str,
    seed: int,
    total_images: int,
    device: Device,
    precision: Precision,
) -> None:
    """Trains one run into `folder`, or goes on with it, and measures its best and its last state."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    pixels = training_images(num_images, seed)
    judge, dataset = judge_of(pixels), Dataset("scenes", pixels, None, ())
    config = run_config(augmented, seed, total_images)
    train_or_go_on(folder, config, choose_machine(device, precision), dataset, judge)
    write_json(folder / FOUND, {"by_heart": by_heart(judge, pixels), **_measured(folder, judge, device)})


def _measured(folder: Path, judge: Judge, device: Device) -> dict[str, Any]:
    """Full reports on 2,000 samples of the best and of the last state."""
    found: dict[str, Any] = {}
    machine = choose_machine(device)
    for which, is_there in (("best", (folder / BEST).exists()), ("last", True)):
        if not is_there:
            continue
        state = load_state(folder, machine, checkpoint="best" if which == "best" else "last")
        if "best" in found and found["best"]["images"] == state.images:
            found["last"] = found["best"]
            continue
        latents = draw_latents(NUM_MEASURED, state.config.latent_size, seed=state.config.seed + OTHER_LATENTS)
        report = judge.full_report(sample(state.sampler, latents).cpu())
        numbers = {name: value for name, value in report.items() if isinstance(value, (int, float, str))}
        found[which] = {"images": state.images, **numbers}
    return found


def study(
    out: Path = RECORD,
    amounts: tuple[int, ...] = AMOUNTS,
    augmented: tuple[str, ...] = tuple(AUGMENTED),
    seeds: tuple[int, ...] = SEEDS,
    total_images: int = TOTAL_IMAGES,
    precision: Precision = "bfloat16",
    playing: Playing = HOW,
) -> None:
    """Plays what `out` does not hold yet, for so many minutes, and adds a line for each run, and one for the floor.

    Args:
        out: File of runs, one JSON object a line; it may exist.
        amounts: How many scenes to learn from.
        augmented: Some of "as they are" and "augmented".
        seeds: Seeds of each setting: of the training scenes, and of everything random in the run.
        total_images: Length of each run, in real images shown.
        precision: Of the convolutions, in all runs.
        playing: How the study is played.
    """
    if not any(line.get("kind") == "floor" for line in read_lines(out)):
        facts = provenance(choose_machine("cpu", "float32"))
        append(out, kind="floor", distances=[floor(seed) for seed in FLOOR_SEEDS], provenance=facts)
    run_jobs(
        out,
        NAMES,
        jobs(amounts, augmented, seeds),
        partial(play, total_images=total_images, device=playing.device, precision=precision),
        playing,
        measured_after=True,
    )


if __name__ == "__main__":
    command_line(study, "python -m dcgan_core.laboratory.amounts")
