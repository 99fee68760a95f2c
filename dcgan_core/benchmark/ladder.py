"""The speed ladder: the same training, from a plain tutorial loop to the fastest, one change per row.

Every row starts from the same weights and sees the same real images and the same latents, so its losses must be those
of the first row. `prepare` checks that before anything is timed: a loop that computes something else is no faster.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dcgan_core import models
from dcgan_core.capture import Unavailable, ready
from dcgan_core.config import Config
from dcgan_core.data import Batches, scale
from dcgan_core.data.latents import draw_rows
from dcgan_core.runtime import Machine, Switch, seed_everything
from dcgan_core.state import start
from dcgan_core.steps import frozen

NUM_COMPARED = 5  # iterations; many more, and rounding has grown so much that any two runs of a GAN differ
LEARNING_RATE = 5e-5  # a quarter of the paper's, at which rounding grows to 0.1 in wide networks within six iterations
TOLERANCE = {torch.float32: 0.01, torch.bfloat16: 0.02, torch.float16: 0.02}  # of a loss
SETTLED_SCALE = 1024.0  # of float16 losses; from the usual 65536, the first steps would overflow and be left out
Step = Callable[[], Tensor]  # one iteration; returns the two losses (2,)


class LossesDiffer(RuntimeError):
    """A row does not train as the first one does, so that its speed means nothing."""


@dataclass
class Row:
    """One rung of the ladder: what changed, how to build it, on what; and what was found."""

    change: str
    build: Callable[[Config, Tensor, Machine], Step]
    machine: Machine
    skipped: str | None = None  # why
    largest_deviation: float | None = None  # of a loss from the first row's

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.machine.precision]


def tutorial_loop(
    config: Config,
    images: Tensor,
    machine: Machine,
    *,
    num_workers: int = 2,
    on_device: bool = False,
    waits: bool = True,
    fused: bool = False,
    freeze: bool = False,
) -> Step:
    """A DCGAN loop as tutorials write it; each of the last four keywords mends one of its habits."""
    seed_everything(config.seed)
    generator, discriminator = (network.to(machine.device) for network in models.build(config))
    betas, rng = (config.beta1, config.beta2), torch.Generator().manual_seed(config.seed)
    generator_optimizer, discriminator_optimizer = (
        torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=fused or None)
        for network, rate in (
            (generator, config.generator_learning_rate),
            (discriminator, config.discriminator_learning_rate),
        )
    )
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = (torch.full((config.batch_size,), value, device=machine.device) for value in (1.0, 0.0))
    images = images.to(machine.device) if on_device else images
    batches = Batches(images, batch_size=config.batch_size, seed=config.seed)
    reals: Iterator[Tensor] = map(batches, itertools.count())
    if not on_device:  # the same batches, made image by image in other processes
        rows = (batches.rows(step).tolist() for step in range(1_000_000))
        source = cast(Dataset[Tensor], images)
        reals = iter(DataLoader(source, batch_sampler=rows, collate_fn=_collate, num_workers=num_workers))

    def step() -> Tensor:
        real = next(reals).to(machine.device)
        fake = generator(draw_rows(rng, [slice(0, len(real))], config.latent_size, machine.device))

        discriminator_optimizer.zero_grad()
        real_logits, fake_logits = discriminator(real), discriminator(fake.detach())
        discriminator_loss = criterion(real_logits, ones) + criterion(fake_logits, zeros)
        discriminator_loss.backward()
        discriminator_optimizer.step()

        generator_optimizer.zero_grad()
        with frozen(discriminator) if freeze else nullcontext():
            logits = discriminator(fake)
            generator_loss = criterion(logits, ones)
            generator_loss.backward()
        generator_optimizer.step()

        if waits:  # what such loops print and keep: both losses, and how sure the discriminator was
            for value in (discriminator_loss, generator_loss, real_logits.mean(), fake_logits.mean(), logits.mean()):
                value.item()
        return torch.stack([discriminator_loss.detach(), generator_loss.detach()])

    return step


def _collate(images: list[Tensor]) -> Tensor:
    return torch.stack([scale(image) for image in images])


def core_loop(config: Config, images: Tensor, machine: Machine) -> Step:
    """The iteration of `train`, by the same functions."""
    state = start(config, machine)
    if state.scaler:
        state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": SETTLED_SCALE})
    batches = Batches(images.to(machine.device), batch_size=config.images_per_step, seed=config.seed)
    step, _ = ready(state, machine)
    return lambda: torch.stack(step(state, batches(state.step), machine))


def ladder(config: Config, machine: Machine, *, compile: Switch = "auto", num_workers: int = 2) -> list[Row]:
    """The rows, each with one change more than the row above; `machine` says what is fastest here.

    On a GPU, `train` computes as one of the rows "captured" and "captured, low precision" do, whichever is faster.
    """
    plain = replace(machine, precision=torch.float32, compiled=False, capture="off")
    low = replace(plain, precision=machine.precision)
    recorded, recorded_low = replace(plain, capture="on"), replace(low, capture="on")

    def tutorial(**habits: bool) -> Callable[[Config, Tensor, Machine], Step]:
        return lambda config, images, machine: tutorial_loop(config, images, machine, num_workers=num_workers, **habits)

    def without_average(config: Config, images: Tensor, machine: Machine) -> Step:
        return core_loop(replace(config, ema_halflife_images=0), images, machine)

    not_low = None if low != plain else machine.convolutions
    no_graph = recorded.no_graph
    no_compiler = "switched off" if compile == "off" else None
    if compile == "auto" and machine.device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        no_compiler = "no C++ compiler was found"
    return [
        Row("tutorial loop", tutorial(), plain),
        Row("data on the device", tutorial(on_device=True), plain),
        Row("no waits", tutorial(on_device=True, waits=False), plain),
        Row("fused Adam", tutorial(on_device=True, waits=False, fused=True), plain),
        Row("frozen discriminator", tutorial(on_device=True, waits=False, fused=True, freeze=True), plain),
        Row("channels-last", without_average, plain),
        Row("moving average", core_loop, plain),
        Row("low precision", core_loop, low, not_low),
        Row("compiled", core_loop, replace(low, compiled=True), no_compiler),
        Row("captured", core_loop, recorded, no_graph),
        Row("captured, low precision", core_loop, recorded_low, no_graph or not_low),
        Row("compiled and captured", core_loop, replace(recorded_low, compiled=True), no_graph or no_compiler),
    ]


def prepare(rows: list[Row], config: Config, images: Tensor) -> list[tuple[Row, Step]]:
    """The rows that can run, warmed up by the iterations whose losses are compared with those of the first row.

    After a recording that failed, PyTorch begins no other one in the same process: the rows below need not try. Raises
    `LossesDiffer` if a row is further away than its tolerance, or at a loss that is not a number.
    """
    running: list[tuple[Row, Step]] = []
    first = failure = None
    for row in rows:
        if row.machine.no_graph is None:
            row.skipped = row.skipped or failure
        if row.skipped:
            continue
        try:
            step = row.build(config, images, row.machine)
        except Unavailable as error:
            row.skipped = error.cause
            if row.machine.no_graph is None:
                failure = error.cause
            continue
        losses = torch.stack([step() for _ in range(NUM_COMPARED)]).cpu()  # (NUM_COMPARED, 2)
        first = losses if first is None else first
        row.largest_deviation = float((losses - first).abs().max())
        if not row.largest_deviation <= row.tolerance:  # so that not-a-number fails, too
            raise LossesDiffer(
                f"the row {row.change!r} has other losses than the first row: they differ by up to "
                f"{row.largest_deviation:.2g} in {NUM_COMPARED} iterations, and {row.tolerance} is allowed."
            )
        running.append((row, step))
    return running
