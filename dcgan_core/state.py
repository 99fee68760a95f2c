"""What changes while a run goes on, and how a step of it is taken on this machine; nothing that writes or prints."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from dcgan_core import models, parallel
from dcgan_core.config import Config
from dcgan_core.runtime import Machine, refuse_too_large, seed_everything

COMPILER = "inductor"
Build = Callable[[Config], tuple[models.Generator, models.Discriminator]]


@dataclass
class State:
    """Everything that changes while a run goes on. `tensors` is what a checkpoint holds."""

    config: Config
    generator: models.Generator
    discriminator: models.Discriminator
    average: models.Generator  # moving average of the generator, from which samples are drawn
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    latent_rng: torch.Generator
    scaler: torch.amp.GradScaler | None = None  # of the losses, in float16
    compiled: dict[str, nn.Module] = field(default_factory=dict)  # the same networks, as the iteration calls them
    sharing: dict[str, nn.Module] = field(default_factory=dict)  # the same again, sharing gradients among processes
    step: int = 0

    @property
    def images(self) -> int:
        """Real images shown so far."""
        return self.step * self.config.images_per_step

    @property
    def sampler(self) -> models.Generator:
        """The generator to sample from: the moving average, where there is one."""
        return self.average if self.config.ema_halflife_images else self.generator

    def learner(self, name: str) -> nn.Module:
        """The network as its own turn calls it. As a judge in its opponent's turn, it has no gradients to share."""
        return self.sharing.get(name, self.judge(name))

    def judge(self, name: str) -> nn.Module:
        """The network as its opponent's turn calls it."""
        return self.compiled.get(name, getattr(self, name))

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, not copied; `runs.restoring` puts it back."""
        named = {"latent_rng": self.latent_rng.get_state(), **random_states()}
        for name in ("generator", "discriminator", "average"):
            named |= {f"{name}.{key}": value for key, value in getattr(self, name).state_dict().items()}
            if name != "average":
                named |= _optimizer_tensors(f"{name}_optimizer", getattr(self, f"{name}_optimizer"))
        if self.scaler:
            values = self.scaler.state_dict()
            named |= {f"scaler.{key}": torch.tensor(values[key]) for key in ("scale", "_growth_tracker")}
        return named


def random_states() -> dict[str, Tensor]:
    """States of the random numbers of this process: dropout, and the penalty's points."""
    named = {"torch_rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        named["cuda_rng"] = torch.cuda.get_rng_state()
    return named


def start(config: Config, machine: Machine, build: Build = models.build) -> State:
    """Freshly initialised networks, optimizers and random numbers on the machine's device.

    A study may `build` the two in a way of its own. Raises `InvalidInput`, before memory is taken, for networks that
    cannot fit into it.
    """
    what = f"the widths are {config.generator_width} and {config.discriminator_width}"
    refuse_too_large(what, models.least_bytes(config), machine.device)
    seed_everything(config.seed)
    generator, discriminator = build(config)
    # On a CPU, the compiler mistakes the layout that convolutions give their channels-last results (torch 2.14).
    compiled_on_cpu = machine.compiled and machine.device.type == "cpu"
    layout = torch.contiguous_format if compiled_on_cpu else torch.channels_last
    generator = generator.to(machine.device).to(memory_format=layout)
    discriminator = discriminator.to(machine.device).to(memory_format=layout)
    average = copy.deepcopy(generator).requires_grad_(False)
    for network in (generator, discriminator):
        parallel.share_statistics(network, machine)

    def adam(network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam(
            network.parameters(),
            lr=learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
            capturable=machine.device.type == "cuda",
        )
        if config.rate_schedule != "constant":  # then it is a tensor, which a captured iteration can read
            optimizer.param_groups[0]["lr"] = torch.full((), learning_rate, device=machine.device)
        return optimizer

    if machine.rank:  # the same weights, but other dropout than process 0
        seed_process(config, machine.rank, 0)
    return State(
        config=config,
        generator=generator,
        discriminator=discriminator,
        average=average,
        generator_optimizer=adam(generator, config.generator_learning_rate),
        discriminator_optimizer=adam(discriminator, config.discriminator_learning_rate),
        latent_rng=torch.Generator().manual_seed(config.seed),
        scaler=machine.scaler(),
        compiled=_compile(config, generator, discriminator) if machine.compiled else {},
    )


def _compile(config: Config, generator: nn.Module, discriminator: nn.Module) -> dict[str, nn.Module]:
    """The networks compiled one by one; sampling and checkpoints keep using the uncompiled ones."""
    networks = {"generator": generator, "discriminator": discriminator}
    if config.slope_penalties:
        warnings.warn("the gradient penalty cannot go through a compiled critic: only the generator is.", stacklevel=3)
        del networks["discriminator"]
    compiled = {name: torch.compile(network, dynamic=False, backend=COMPILER) for name, network in networks.items()}
    return cast(dict[str, nn.Module], compiled)


def seed_process(config: Config, rank: int, step: int) -> None:
    """Other random numbers for each process, and for each step at which it joins."""
    seed_everything(mixed_seed(config.seed, rank, step))


def mixed_seed(*numbers: int) -> int:
    """One seed from several numbers, another one for all others that occur."""
    mixed = 0
    for number in numbers:
        mixed = mixed * 1_000_003 + number
    return mixed % 2**63


def descent(state: State) -> Callable[[Tensor, torch.optim.Optimizer], None]:
    """One optimizer step, as `steps.descend`, with all that the machine needs for it.

    In float16 the loss is scaled up for the backward pass and the gradients down again, and a step whose gradients
    overflow is left out, on the device. With several processes, `backward` has averaged the gradients before that, so
    that what overflows in one of them does so in all.
    """

    def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        (state.scaler.scale(loss) if state.scaler else loss).backward()
        if state.scaler:
            state.scaler.step(optimizer)
            state.scaler.update()
        else:
            optimizer.step()

    return descend


@torch.no_grad()
def sample(
    generator: models.Generator, latents: Tensor, *, chunk: int = 250, device: torch.device | str = "cpu"
) -> Tensor:
    """Images (N, C, S, S) in [-1, 1], float32 on `device`, from latents (N, latent_size).

    In eval mode: with the statistics of single batches, an image would depend on which others are made beside it.
    """
    was_training = generator.training
    generator.eval()
    here = next(generator.parameters()).device
    try:
        first, *others = latents.split(chunk)
        made = generator(first.to(here)).float().to(device)
        if not others:
            return made
        images = made.new_empty((len(latents), *made.shape[1:]))  # to join parts in the end would take twice as much
        images[: len(made)] = made
        for number, part in enumerate(others, 1):
            images[number * chunk : number * chunk + len(part)] = generator(part.to(here)).float()
        return images
    finally:
        generator.train(was_training)


def draw_latents(num_latents: int, latent_size: int, *, seed: int) -> Tensor:
    """Latents (num_latents, latent_size) from N(0, 1) that depend on the seed alone, on the CPU."""
    return torch.randn(num_latents, latent_size, generator=torch.Generator().manual_seed(seed))


def _optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}
