"""Which rules of the recipe matter? Short runs of two recipes on two data sets, each with one rule removed or changed.

The base `paper` is the DCGAN by the paper's rules, in a size and at a rate that a CPU can train; the base `ours` is
what the command line starts from. Every row differs from its base in one entry of `CHANGES`: in fields of `Config`, or
in its networks (`laboratory.altered`). A run whose loss is no longer finite is recorded as diverged, and counts as
worse than all that did not.

`python -m dcgan_core.laboratory.ablation --out ablation.jsonl` plays it, run by run: what the file holds is not played
again. A run that is stopped in the middle begins anew and has the same numbers, as its seed decides all of it. The
bases are played with three times as many seeds as the rows: every row is compared with them. What the record says:
`laboratory.effects`.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan_core.config import RECIPES, Config, InvalidInput
from dcgan_core.data import Batches, Dataset, load_for
from dcgan_core.iteration import advance
from dcgan_core.laboratory import altered
from dcgan_core.laboratory.altered import Alteration
from dcgan_core.laboratory.outcomes import append, describe_images
from dcgan_core.laboratory.studies import HOW, LINE, Playing, command_line, read_lines, run_jobs
from dcgan_core.metrics import Judge, judge_for
from dcgan_core.runs.files import write_json
from dcgan_core.runtime import Machine, choose_machine, provenance
from dcgan_core.state import draw_latents, sample, start


@dataclass(frozen=True)
class Change:
    """What a row of the table changes: fields of `Config`, or the networks; and in which recipes it is played."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    networks: Alteration | None = None
    bases: tuple[str, ...] = ("paper", "ours")


AS_IT_IS = "as it is"
BASES: dict[str, dict[str, Any]] = {"paper": {"ema_halflife_images": 0}, "ours": RECIPES["default"]}
DATA: dict[str, dict[str, Any]] = {"letters": {"data": "glyphs"}, "clothes": {"data": "fashion-mnist"}}
SIZE: dict[str, Any] = {
    "image_size": 32,
    "generator_width": 16,
    "discriminator_width": 16,
    "batch_size": 32,
    "total_images": 16_000,
}
PAPER, OURS = ("paper",), ("ours",)
NO_NORM = {"discriminator_norm": "none"}
HE = {"discriminator_initialisation": "he"}
R1 = {**NO_NORM, **HE, "r1_gamma": RECIPES["default"]["r1_gamma"]}
RATES = ("generator_learning_rate", "discriminator_learning_rate")
CHANGES: dict[str, Change] = {
    AS_IT_IS: Change(),
    # batch normalisation
    "G without batch norm": Change(networks=altered.without_generator_norm),
    "G without batch norm, He's weights": Change(
        {"generator_initialisation": "he"}, networks=altered.without_generator_norm
    ),
    "D without batch norm": Change(NO_NORM, bases=PAPER),
    "D without batch norm, He's weights": Change({**NO_NORM, **HE}, bases=PAPER),
    "D with layer norm": Change({"discriminator_norm": "layer"}),
    "batch norm on G's output": Change(networks=altered.norm_on_output),
    "batch norm on D's input layer": Change(networks=altered.norm_on_input, bases=PAPER),
    "batch norm on all layers": Change(networks=altered.norm_everywhere, bases=PAPER),
    "D with batch norm instead of R1": Change({"discriminator_norm": "batch", "r1_gamma": 0.0}, bases=OURS),
    # first weights
    "framework's first weights": Change(
        {"generator_initialisation": "framework", "discriminator_initialisation": "framework"}
    ),
    "N(0, 0.02) in D, too": Change({"discriminator_initialisation": "paper"}, bases=OURS),
    # Adam
    "beta1 0.9": Change({"beta1": 0.9}),
    "beta1 0": Change({"beta1": 0.0}),
    "rates of 0.0002": Change(dict.fromkeys(RATES, 2e-4)),
    "rates of 0.006": Change(dict.fromkeys(RATES, 6e-3)),
    "batches of 8": Change({"batch_size": 8}),
    "batches of 128": Change({"batch_size": 128}),
    "two updates of D": Change({"discriminator_steps": 2}, bases=PAPER),
    # the ends of the networks
    "images from 0 to 1, sigmoid": Change(networks=altered.from_0_to_1),
    "no tanh": Change(networks=altered.without_tanh),
    "uniform latents": Change(networks=altered.uniform_latents),
    # layers
    "LeakyReLU in G": Change(networks=altered.leaky_generator),
    "ReLU in D": Change(networks=altered.relu_discriminator),
    "average pooling in D": Change(networks=altered.average_pooling),
    "max pooling in D": Change(networks=altered.max_pooling),
    "hidden fully-connected layers": Change(networks=altered.hidden_layers),
    "G of linear layers only": Change(networks=altered.linear_generator, bases=PAPER),
    "kernel 3": Change(networks=altered.kernel_3),
    "kernel 5": Change(networks=altered.kernel_5),
    "nearest upsampling": Change({"upsampling": "nearest"}),
    "dropout of 0.25 in D": Change({"dropout": 0.25}),
    "dropout of 0.5 in G": Change(networks=altered.dropout_in_generator, bases=PAPER),
    # what came later
    "moving average of G": Change({"ema_halflife_images": Config().ema_halflife_images}, bases=PAPER),
    "no moving average of G": Change({"ema_halflife_images": 0}, bases=OURS),
    "R1 instead of D's batch norm": Change(R1, bases=PAPER),
    "no R1": Change({"r1_gamma": 0.0}, bases=OURS),
    "minibatch std": Change({"minibatch_std": True}, bases=PAPER),
    "no minibatch std": Change({"minibatch_std": False}, bases=OURS),
    "shifts and cutouts": Change({"augment": ("translation", "cutout")}),
    "labels of 0.9": Change({"real_label": 0.9}, bases=PAPER),
    "noise of 0.1, fading": Change({"instance_noise": 0.1, "instance_noise_until": 1.0}, bases=PAPER),
    "minimax loss": Change({"loss": "minimax"}, bases=PAPER),
}
NAMES = ("base", "change", "data", "seed")  # of what tells a run from the others
ROUNDS = 5  # seeds of each row
BASE_SEEDS = 3  # of each base, in a round
LOOKS = 5  # at a run, at equal distances
NUM_SAMPLES = 1_000  # at a look
OTHER_LATENTS = 1_000_000  # added to the seed: samples are not made from latents of the training
NOTHING: dict[str, float | None] = {"distance": None, "recognised": 0.0, "checkered": None}  # to be seen
RECORD = Path(__file__).with_suffix(".jsonl")
Job = tuple[str, str, str, int]


def run_config(base: str, change: str, data: str, seed: int, data_root: str = "data") -> Config:
    """The run of one row; what `laboratory.altered` changes is not in it."""
    settings = {**SIZE, **BASES[base], **DATA[data], **CHANGES[change].fields, "data_root": data_root, "seed": seed}
    return replace(Config(), **settings)


def rows(base: str) -> list[str]:
    """The changes that are played of a base, without the base itself."""
    return [name for name, change in CHANGES.items() if base in change.bases and name != AS_IT_IS]


def jobs(bases: Iterable[str], data: Iterable[str], rounds: Iterable[int]) -> Iterator[Job]:
    """Everything to be played, round by round, so that a study that is stopped has all rows with fewer seeds."""
    for number in rounds:
        for name in data:
            for base in bases:
                yield from ((base, AS_IT_IS, name, BASE_SEEDS * number + one) for one in range(BASE_SEEDS))
                yield from ((base, change, name, number) for change in rows(base))


@cache
def _dataset(data: str, root: str) -> Dataset:
    return load_for(run_config("paper", AS_IT_IS, data, 0, root), say=False)


@cache
def _judge(data: str, root: str) -> Judge:
    return judge_for(run_config("paper", AS_IT_IS, data, 0, root))


def seen(judge: Judge, images: Tensor) -> dict[str, float | None]:
    """Distance, recognised share and checkerboard of images as they would be saved, cut off at black and white.

    Those that are no longer finite have no distance.
    """
    if not images.isfinite().all():
        return NOTHING
    images = images.clamp(-1, 1)
    found = describe_images(judge, images)
    return {
        "distance": float(f"{found['frechet_distance']:.5g}"),
        "recognised": round(found["good"], 4),
        "checkered": round(checkered(images), 5),
    }


def checkered(images: Tensor) -> float:
    """Share of the energy of images (N, C, S, S) that has period two across, or down, or both; without their means."""
    power = torch.fft.rfft2(images - images.mean(dim=(-1, -2), keepdim=True)).abs() ** 2  # (N, C, S, S / 2 + 1)
    weight = torch.full_like(power[0, 0], 2.0)  # the other half of the spectrum is this one's mirror image
    weight[:, 0] = weight[:, -1] = 1.0
    energy = power.sum(dim=(0, 1)) * weight
    half = images.shape[-1] // 2
    fast = energy[half].sum() + energy[:, half].sum() - energy[half, half]
    return float(fast / energy.sum().clamp(min=1e-12))


def played(config: Config, alteration: Alteration | None, machine: Machine, images: Tensor, judge: Judge) -> Any:
    """One run: its looks, whether it diverged, its sizes, and its cost.

    The cost is processor time of the training alone, so that other processes on the machine count as little as they
    can. A run ends as soon as a loss is not finite; all looks from there on have no distance.
    """
    state = start(config, machine, altered.altered(alteration))
    batches = Batches(images, batch_size=config.images_per_step, seed=config.seed)
    latents = draw_latents(NUM_SAMPLES, config.latent_size, seed=config.seed + OTHER_LATENTS)
    looks: list[dict[str, Any]] = []
    seconds, diverged_at = 0.0, None
    for mark in (round(config.total_steps * one / LOOKS) for one in range(1, LOOKS + 1)):
        begin = time.process_time()
        while state.step < mark and diverged_at is None:
            losses = advance(state, batches(state.step), machine)
            if not all(math.isfinite(float(loss)) for loss in losses):
                diverged_at = state.images
        seconds += time.process_time() - begin
        found = seen(judge, sample(state.sampler, latents)) if diverged_at is None else NOTHING
        looks.append({"images": mark * config.images_per_step, **found})
    return {
        "diverged_at": diverged_at,
        **{name: [look[name] for look in looks] for name in looks[0]},
        "parameters": [sum(map(torch.numel, one.parameters())) for one in (state.generator, state.discriminator)],
        "milliseconds_per_image": round(1000 * seconds / state.images, 4),
    }


def play(folder: Path, base: str, change: str, data: str, seed: int, data_root: str) -> None:
    """Plays one run on the CPU, and leaves its line in `folder`; one that lies there already is left as it is."""
    if (folder / LINE).exists():
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    config = run_config(base, change, data, seed, data_root)
    machine = choose_machine("cpu", "float32")
    found = played(config, CHANGES[change].networks, machine, _dataset(data, data_root).images, _judge(data, data_root))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / LINE, {**found, "threads": torch.get_num_threads(), "total_images": config.total_images})


def study(
    out: Path = RECORD,
    bases: tuple[str, ...] = tuple(BASES),
    data: tuple[str, ...] = tuple(DATA),
    rounds: int = ROUNDS,
    data_root: str = "data",
    playing: Playing = HOW,
) -> None:
    """Plays what `out` does not hold yet, for so many minutes, and adds a line for each run: about 3 hours on one core.

    Args:
        out: File of runs, one JSON object a line; it may exist.
        bases: Some of paper and ours.
        data: Some of letters and clothes.
        rounds: Seeds of each row.
        data_root: Folder that downloaded data sets are kept in.
        playing: How the study is played.
    """
    for name, asked, known in (("bases", bases, BASES), ("data", data, DATA)):
        if unknown := [one for one in asked if one not in known]:
            raise InvalidInput(f"{name} has {unknown[0]!r}, but knows only {', '.join(known)}.")
    planned = list(jobs(bases, data, range(rounds)))
    if not set(planned) <= {tuple(line.get(name) for name in NAMES) for line in read_lines(out)}:
        append(out, kind="session", size=SIZE, **provenance(choose_machine("cpu", "float32")))
        run_jobs(out, NAMES, planned, partial(play, data_root=data_root), playing)


if __name__ == "__main__":
    command_line(study, "python -m dcgan_core.laboratory.ablation")
