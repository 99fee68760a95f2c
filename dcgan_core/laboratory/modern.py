"""From the paper's DCGAN to a modern game, one change at a time: every rung keeps the changes of those below it.

Narrow networks on letters of 32 pixels, so that a free core plays the ladder in a quarter of an hour, and one setting
for each rung: what the paper or the default recipe has, not tuned anew. What each method can do if it is tuned, says
`laboratory.contest`. `python -m dcgan_core.laboratory.modern --out modern.jsonl --keep runs/modern`
"""

from __future__ import annotations

import base64
import statistics
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.io import encode_png

from dcgan_core.config import RECIPES, Config
from dcgan_core.data import Batches, Dataset, load_for, unscale
from dcgan_core.iteration import advance
from dcgan_core.laboratory.outcomes import describe_images
from dcgan_core.laboratory.studies import FOUND, HOW, Playing, command_line, run_jobs, train_or_go_on
from dcgan_core.metrics import Judge, judge_for
from dcgan_core.runs.files import write_json
from dcgan_core.runtime import Device, Precision, choose_machine
from dcgan_core.state import draw_latents, sample, start
from dcgan_core.train import load_state

PAPER: dict[str, Any] = {
    name: RECIPES["paper"][name] for name in ("generator_learning_rate", "discriminator_learning_rate")
}
GAMMA = RECIPES["default"]["r1_gamma"]  # what the long runs on letters and digits led to; R2 gets the same, as in R3GAN
LADDER: dict[str, dict[str, Any]] = {  # fields of Config that a rung changes
    "the paper": {**PAPER, "ema_halflife_images": 0},
    "faster rates": {name: getattr(Config, name) for name in PAPER},
    "moving average": {"ema_halflife_images": Config.ema_halflife_images},
    "no batch norm in D": {"discriminator_norm": "none"},
    "He's weights in D": {"discriminator_initialisation": "he"},
    "R1": {"r1_gamma": GAMMA},
    "R2": {"r2_gamma": GAMMA},
    "pairing": {"loss": "relativistic"},
    "no momentum": {"beta1": 0.0, "beta2": 0.99},
    "nearest upsampling": {"upsampling": "nearest"},
}
SMALL: dict[str, Any] = {"generator_width": 16, "discriminator_width": 8}
SEEDS = (0, 1, 2, 3, 4)
NAMES = ("rung", "seed")  # of what tells a run from the others
TOTAL_IMAGES = 20_000
NUM_MEASURED = 2_000  # samples of each run
OTHER_LATENTS = 3_000_000  # added to the seed
NUM_SHOWN = 10  # of them, that the record keeps
RECORD = Path(__file__).with_suffix(".jsonl")
NUM_TIMED = 15  # iterations, of which the median counts


def changes_up_to(rung: str) -> dict[str, Any]:
    """What has been changed from `Config()` by this rung and all below it."""
    names = list(LADDER)
    changes: dict[str, Any] = {}
    for name in names[: names.index(rung) + 1]:
        changes |= LADDER[name]
    return changes


def run_config(rung: str, seed: int, total_images: int = TOTAL_IMAGES) -> Config:
    """The run of one rung. It is measured at its end, and not before."""
    return replace(
        Config(),
        **SMALL,
        **changes_up_to(rung),
        seed=seed,
        total_images=total_images,
        log_every_images=total_images // 10,
        evaluate_every_images=0,
        checkpoint_every_images=total_images,
        sample_every_images=total_images,
    )


def jobs(rungs: Iterable[str] = tuple(LADDER), seeds: Iterable[int] = SEEDS) -> Iterator[tuple[str, int]]:
    """Everything to be played, seed by seed, so that a study that is stopped has all rungs with fewer seeds."""
    yield from ((rung, seed) for seed in seeds for rung in rungs)


@cache
def letters() -> Dataset:
    """What all runs learn from."""
    return load_for(run_config("the paper", 0))


@cache
def judge() -> Judge:
    """Who measures the samples of all runs."""
    return judge_for(run_config("the paper", 0))


def play(folder: Path, rung: str, seed: int, total_images: int, device: Device, precision: Precision) -> None:
    """Trains one run into `folder`, or goes on with it, and measures its samples and what an image of it costs."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    config, machine = run_config(rung, seed, total_images), choose_machine(device, precision)
    train_or_go_on(folder, config, machine, letters(), judge())
    state = load_state(folder, machine)
    latents = draw_latents(NUM_MEASURED, config.latent_size, seed=seed + OTHER_LATENTS)
    images = sample(state.sampler, latents)
    found = describe_images(judge(), images) | {"images": state.images}
    found["processor_seconds_per_image"] = processor_seconds_per_image(config, precision)
    found["picture"] = _png(images[:NUM_SHOWN])
    write_json(folder / FOUND, found)


def _png(images: Tensor) -> str:
    """Images (N, 1, S, S) in [-1, 1] side by side, as the text of a PNG file."""
    strip = torch.cat(unscale(images).unbind(), dim=2)  # (1, S, N S)
    return base64.b64encode(encode_png(strip).numpy().tobytes()).decode("ascii")


def processor_seconds_per_image(config: Config, precision: Precision) -> float:
    """Time of an image in an iteration of this run on the processor, as the median of some iterations.

    It is the processor's time, of all threads together, so that what else the machine does matters little.
    """
    machine = choose_machine("cpu", precision)
    state, batches = start(config, machine), Batches(letters().images, batch_size=config.images_per_step, seed=0)
    times = []
    for _ in range(NUM_TIMED + 2):
        real = batches(state.step)
        begin = time.process_time()
        advance(state, real, machine)
        times.append(time.process_time() - begin)
    return statistics.median(times[2:]) / config.images_per_step  # the first two warm up


def study(
    out: Path = RECORD,
    rungs: tuple[str, ...] = tuple(LADDER),
    seeds: tuple[int, ...] = SEEDS,
    total_images: int = TOTAL_IMAGES,
    precision: Precision = "bfloat16",
    playing: Playing = HOW,
) -> None:
    """Plays what `out` does not hold yet, for so many minutes, and adds a line for each run.

    Args:
        out: File of runs, one JSON object a line; it may exist.
        rungs: Rungs by name; see `LADDER`.
        seeds: Seeds of each rung.
        total_images: Length of each run, in real images shown.
        precision: Precision of the convolutions, in all runs.
        playing: How the study is played.
    """
    run_jobs(
        out,
        NAMES,
        jobs(rungs, seeds),
        partial(play, total_images=total_images, device=playing.device, precision=precision),
        playing,
        measured_after=True,
    )


if __name__ == "__main__":
    command_line(study, "python -m dcgan_core.laboratory.modern")
