"""What changes while a run goes on, and one iteration of it; no wait for the device, nothing that writes or prints."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from dcgan_core import models, parallel
from dcgan_core.config import Config
from dcgan_core.losses import GAMES, gradient_penalty
from dcgan_core.runtime import Machine, refuse_too_large, seed_everything
from dcgan_core.steps import clip_weights, update_discriminator, update_generator
from dcgan_core.unrolled import update_generator_unrolled

AVERAGE_WARMUP = 0.1  # the half-life is at most this share of the images seen: the untrained weights fade early
COMPILER = "inductor"


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
    step: int = 0

    @property
    def images(self) -> int:
        """Real images shown so far."""
        return self.step * self.config.images_per_step

    @property
    def sampler(self) -> models.Generator:
        """The generator to sample from: the moving average, where there is one."""
        return self.average if self.config.ema_halflife_images else self.generator

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


def start(config: Config, machine: Machine) -> State:
    """Freshly initialised networks, optimizers and random numbers on the machine's device.

    Raises `InvalidInput`, before memory is taken, for networks that cannot fit into it.
    """
    what = f"the widths are {config.generator_width} and {config.discriminator_width}"
    refuse_too_large(what, models.least_bytes(config), machine.device)
    seed_everything(config.seed)
    generator, discriminator = models.build(config)
    # On a CPU, the compiler mistakes the layout that convolutions give their channels-last results (torch 2.14).
    compiled_on_cpu = machine.compiled and machine.device.type == "cpu"
    layout = torch.contiguous_format if compiled_on_cpu else torch.channels_last
    generator = generator.to(machine.device).to(memory_format=layout)
    discriminator = discriminator.to(machine.device).to(memory_format=layout)

    def adam(network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            network.parameters(),
            lr=learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
            capturable=machine.device.type == "cuda",
        )

    if machine.rank:  # the same weights, but other dropout than process 0
        seed_process(config, machine.rank, 0)
    return State(
        config=config,
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).requires_grad_(False),
        generator_optimizer=adam(generator, config.generator_learning_rate),
        discriminator_optimizer=adam(discriminator, config.discriminator_learning_rate),
        latent_rng=torch.Generator(machine.device).manual_seed(config.seed),
        scaler=machine.scaler(),
        compiled=_compile(config, generator, discriminator) if machine.compiled else {},
    )


def _compile(config: Config, generator: nn.Module, discriminator: nn.Module) -> dict[str, nn.Module]:
    """The networks compiled one by one; sampling and checkpoints keep using the uncompiled ones."""
    networks = {"generator": generator, "discriminator": discriminator}
    if config.loss == "wasserstein-penalty":
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


def advance(state: State, real: Tensor, machine: Machine) -> tuple[Tensor, Tensor]:
    """One iteration: the discriminator's updates, then the generator's against it, then the average.

    `real` is (discriminator_steps * B, C, S, S) in [-1, 1], the same in all processes. Returns the two losses (the
    discriminator's is the mean of its updates, without the penalty) of this process's share, still on the device.
    """
    real, latents, decay = prepare(state, real, machine)
    return iterate(state, real, latents, decay, machine)


def prepare(state: State, real: Tensor, machine: Machine) -> tuple[Tensor, Tensor, Tensor]:
    """What differs from one iteration to the next: this process's real images and latents, and the average's decay.

    Everything that Python has to decide or count is done here, so that `iterate` can be captured.
    """
    config = state.config
    latents = torch.randn(len(real), config.latent_size, generator=state.latent_rng, device=real.device)
    state.step += 1
    halflife = min(config.ema_halflife_images, AVERAGE_WARMUP * state.images)
    decay = 0.5 ** (len(real) / halflife) if halflife else 0.0
    real, latents = (parallel.share(rows, machine, config.discriminator_steps) for rows in (real, latents))
    return real, latents, torch.full((), decay, device=real.device)


def iterate(state: State, real: Tensor, latents: Tensor, decay: Tensor, machine: Machine) -> tuple[Tensor, Tensor]:
    """The work of one iteration: the same operations on the same tensors each time, whatever the values are.

    `real` is (discriminator_steps * B, C, S, S), `latents` is (discriminator_steps * B, latent_size), `decay` is ().
    """
    config = state.config
    generator = state.compiled.get("generator", state.generator)
    losses = []
    for batch, noise in zip(
        real.chunk(config.discriminator_steps), latents.chunk(config.discriminator_steps), strict=True
    ):
        with machine.autocast():
            fake = generator(noise)  # made once; the last one is used by both players
        losses.append(_discriminator_turn(state, batch, fake, machine))
    generator_loss = _generator_turn(state, batch, fake, machine)
    if config.ema_halflife_images:
        update_average(state.average, state.generator, decay)
    return torch.stack(losses).mean(), generator_loss


def _discriminator_turn(state: State, real: Tensor, fake: Tensor, machine: Machine) -> Tensor:
    """One update of the discriminator by the rules of its game, which may clip its weights afterwards."""
    config = state.config

    def penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return config.penalty_weight * gradient_penalty(critic, real, fake)

    loss = update_discriminator(
        state.compiled.get("discriminator", state.discriminator),
        state.discriminator_optimizer,
        GAMES[config.loss].discriminator,
        real,
        fake,
        penalty=penalty if config.loss == "wasserstein-penalty" else None,
        autocast=machine.autocast(),
        descend=_descent(state, machine),
    )
    if config.loss == "wasserstein-clipping":
        clip_weights(state.discriminator, config.clip_limit)
    return loss


def _generator_turn(state: State, real: Tensor, fake: Tensor, machine: Machine) -> Tensor:
    """One update of the generator, against the discriminator as it is now or as it will be some steps later."""
    config = state.config
    optimizer, game = state.generator_optimizer, GAMES[config.loss]
    descend = _descent(state, machine)
    if config.unrolled_steps == 0:
        discriminator = state.compiled.get("discriminator", state.discriminator)
        return update_generator(
            discriminator, optimizer, game.generator, fake, autocast=machine.autocast(), descend=descend
        )
    in_full = state.scaler is not None  # the gradients inside the steps ahead are not scaled up
    return update_generator_unrolled(
        state.discriminator,
        optimizer,
        game.generator,
        real,
        fake.float() if in_full else fake,
        num_steps=config.unrolled_steps,
        discriminator_optimizer=state.discriminator_optimizer,
        discriminator_loss_function=game.discriminator,
        zero_sum=config.loss == "minimax",
        autocast=nullcontext() if in_full else machine.autocast(),
        descend=descend,
    )


def _descent(state: State, machine: Machine) -> Callable[[Tensor, torch.optim.Optimizer], None]:
    """One optimizer step, as `steps.descend`, with all that the machine needs for it.

    In float16 the loss is scaled up for the backward pass and the gradients down again, and a step whose gradients
    overflow is left out, on the device. With several processes, gradients are averaged before that.
    """

    def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        (state.scaler.scale(loss) if state.scaler else loss).backward()
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        parallel.average([weight.grad for weight in weights if weight.grad is not None], machine)
        if state.scaler:
            state.scaler.step(optimizer)
            state.scaler.update()
        else:
            optimizer.step()

    return descend


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: Tensor | float) -> None:
    """Moves the weights and batch-norm statistics of `average` towards `network`: a <- decay a + (1 - decay) n."""
    towards = dict(network.state_dict())
    pairs = [(value, towards[name]) for name, value in average.state_dict().items()]
    floating = [pair for pair in pairs if pair[0].is_floating_point()]
    old = [pair[0] for pair in floating]
    distances = torch._foreach_sub([pair[1] for pair in floating], old)
    torch._foreach_mul_(distances, 1 - decay)
    torch._foreach_add_(old, distances)
    for before, now in pairs:
        if not before.is_floating_point():  # the count of batches
            before.copy_(now)


@torch.no_grad()
def sample(generator: models.Generator, latents: Tensor, *, chunk: int = 250) -> Tensor:
    """Images (N, C, S, S) in [-1, 1], float32 on the CPU, from latents (N, latent_size).

    In eval mode: with the statistics of single batches, an image would depend on which others are made beside it.
    """
    was_training = generator.training
    generator.eval()
    device = next(generator.parameters()).device
    try:
        return torch.cat([generator(part.to(device)).float().cpu() for part in latents.split(chunk)])
    finally:
        generator.train(was_training)


def draw_latents(num_latents: int, latent_size: int, *, seed: int) -> Tensor:
    """Latents (num_latents, latent_size) from N(0, 1) that depend on the seed alone, on the CPU."""
    return torch.randn(num_latents, latent_size, generator=torch.Generator().manual_seed(seed))


def _optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}
