"""Does training longer make it better? Runs of many settings on several data sets, evaluated all along.

Each run is a run of `train`, in float32, with its evaluations at many lengths; its lines of metrics are what is
recorded. Several processes share a GPU, or the cores of a CPU. A study that was stopped goes on where it was.
`python -m dcgan_core.laboratory.longer --out longer.jsonl`
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from dcgan_core.config import RECIPES, Config
from dcgan_core.data import Dataset, load_for
from dcgan_core.laboratory.studies import HOW, Playing, command_line, run_jobs, train_or_go_on
from dcgan_core.metrics import Judge, judge_for
from dcgan_core.runtime import Device, Precision, choose_machine

NO_NORM = {"discriminator_norm": "none", "discriminator_initialisation": "framework"}
R1 = {**NO_NORM, "r1_gamma": 0.1, "discriminator_learning_rate": 1e-3}
PAIRED = {**R1, "loss": "relativistic"}
SHIFTS = {"augment": ("translation", "cutout")}
RECIPE = RECIPES["default"]
AS_IT_IS = "as it is"
CHANGES: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    "R1": R1,
    "R1, pairing": PAIRED,
    "R1, R2, pairing": {**PAIRED, "r2_gamma": 0.1},
    "R1, layer norm": {**R1, "discriminator_norm": "layer"},
    "R1, gamma 0.02": {**R1, "r1_gamma": 0.02},
    "R1, gamma 0.5": {**R1, "r1_gamma": 0.5},
    "R1, minibatch std": {**R1, "minibatch_std": True},
    "R1, linear rates": {**R1, "rate_schedule": "linear"},
    "R1, wider discriminator": {**R1, "discriminator_width": 48},
    "R1, shifts and cutouts": {**R1, **SHIFTS},
    "recipe": RECIPE,
    "recipe, gamma 0.1": {**RECIPE, "r1_gamma": 0.1},
    "recipe, pairing": {**RECIPE, "loss": "relativistic"},
    "recipe, linear rates": {**RECIPE, "rate_schedule": "linear", "rate_final_share": 0.1},
    "recipe, framework's weights": {**RECIPE, "discriminator_initialisation": "framework"},
    "recipe, no minibatch std": {**RECIPE, "minibatch_std": False},
    "recipe, shifts and cutouts": {**RECIPE, **SHIFTS},
    "no norm": {**NO_NORM, "discriminator_learning_rate": 1e-3},
    "shifts and cutouts": SHIFTS,
    "linear rates": {"rate_schedule": "linear"},
    "labels of 0.9": {"real_label": 0.9},
    "noise of 0.1": {"instance_noise": 0.1, "instance_noise_until": 1.0},
    "spectral norm": {"discriminator_norm": "none", "spectral_norm": True, "loss": "hinge"},
}
DATA: dict[str, dict[str, Any]] = {
    "mnist": {"data": "mnist"},
    "letters": {"data": "glyphs"},
    "clothes": {"data": "fashion-mnist"},
    "1,000 letters": {"data": "glyphs"},
    "characters": {"data": "pixel_characters64.zip", "channels": 3},
    "letters 64": {
        "data": "glyphs",
        "image_size": 64,
        "channels": 3,
        "generator_width": 64,
        "discriminator_width": 64,
        "batch_size": 128,
        "generator_learning_rate": 5e-4,
        "discriminator_learning_rate": 5e-4,
    },
}
FIRST = {"1,000 letters": 1_000}  # images that are trained on; of the others, all
FILES = {"characters"}  # found in the folder of the downloaded data sets
RECORD = Path(__file__).with_suffix(".jsonl")
EVALUATIONS = 20  # of a run, at equal distances
SEEDS = (0, 1, 2)
NAMES = ("data", "change", "seed")  # of what tells a run from the others


def run_config(data: str, change: str, seed: int, total_images: int, data_root: str = "data") -> Config:
    """The run of one setting."""
    every = total_images // EVALUATIONS
    rare = {"log_every_images": every, "sample_every_images": total_images // 4, "checkpoint_every_images": every}
    settings = {**DATA[data], **_scaled(DATA[data], CHANGES[change]), "data_root": data_root, "seed": seed}
    settings |= {**rare, "evaluate_every_images": every, "total_images": total_images}
    if data in FILES:
        settings["data"] = str(Path(data_root, settings["data"]))
    return replace(Config(), **settings)


def _scaled(data: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The change, with the discriminator's rate in the same proportion to the data set's own as to the default."""
    rate = "discriminator_learning_rate"
    if rate not in data or rate not in change:
        return change
    return {**change, rate: data[rate] * change[rate] / getattr(Config(), rate)}


def jobs(data: Iterable[str], changes: Iterable[str], seeds: Iterable[int]) -> Iterator[tuple[str, str, int]]:
    """Everything to be played, seed by seed, so that a study that is stopped has all settings with fewer seeds."""
    yield from ((name, change, seed) for seed in seeds for change in changes for name in data)


@cache
def _dataset(data: str, data_root: str) -> Dataset:
    config = run_config(data, AS_IT_IS, 0, EVALUATIONS * 10_000, data_root)
    whole = load_for(config)
    few = slice(FIRST.get(data))
    return replace(whole, images=whole.images[few], labels=None if whole.labels is None else whole.labels[few])


@cache
def _judge(data: str, data_root: str) -> Judge:
    return judge_for(run_config(data, AS_IT_IS, 0, EVALUATIONS * 10_000, data_root))


def play(
    folder: Path,
    data: str,
    change: str,
    seed: int,
    total_images: int,
    data_root: str,
    device: Device,
    precision: Precision = "float32",
) -> None:
    """Trains one run into `folder`, or goes on with it; what it has found stands in its metrics.jsonl, also if it is
    stopped.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    config = run_config(data, change, seed, total_images, data_root)
    machine = choose_machine(device, precision)
    train_or_go_on(folder, config, machine, _dataset(data, data_root), _judge(data, data_root))


def study(
    out: Path,
    data: tuple[str, ...] = tuple(DATA),
    changes: tuple[str, ...] = tuple(CHANGES),
    seeds: tuple[int, ...] = SEEDS,
    total_images: int = 800_000,
    data_root: str = "data",
    precision: Precision = "float32",
    playing: Playing = HOW,
) -> None:
    """Plays what `out` does not hold yet, for so many minutes, and adds a line for each run.

    Args:
        out: File of runs, one JSON object a line; it may exist.
        data: Some of mnist, letters, clothes, 1,000 letters, characters, letters 64.
        changes: Settings by name; see `CHANGES`.
        seeds: Seeds of each setting.
        total_images: Length of each run.
        data_root: Folder that downloaded data sets are kept in.
        precision: Precision of the convolutions, in all runs.
        playing: How the study is played.
    """
    run_jobs(
        out,
        NAMES,
        jobs(data, changes, seeds),
        partial(play, total_images=total_images, data_root=data_root, device=playing.device, precision=precision),
        playing,
    )


if __name__ == "__main__":
    command_line(study, "python -m dcgan_core.laboratory.longer")
