"""One iteration of a run: both players' turns by the rules of its config; no wait for the device.

What differs from one iteration to the next, and whatever Python has to decide for it, is prepared first (`Inputs`). The
rest is always the same operations on the same tensors, so that it can be captured as a CUDA graph.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn

from dcgan_core import parallel
from dcgan_core.config import Augmentation, Config, Schedule
from dcgan_core.data.augmentation import augmented
from dcgan_core.data.latents import draw_rows
from dcgan_core.losses import GAMES, PAIRED, Game, gradient_penalty, smoothed_discriminator_loss
from dcgan_core.runtime import Machine
from dcgan_core.state import State, descent
from dcgan_core.steps import against, clip_weights, update_discriminator, update_generator
from dcgan_core.unrolled import update_generator_unrolled

AVERAGE_WARMUP = 0.1  # the half-life is at most this share of the images seen: the untrained weights fade early


@dataclass(frozen=True)
class Inputs:
    """What differs from one iteration to the next, on the device. The numbers are tensors of shape ()."""

    real: Tensor  # (discriminator_steps * B, C, S, S) in [-1, 1]
    latents: Tensor  # (discriminator_steps * B, latent_size)
    decay: Tensor  # of the moving average
    gamma_share: Tensor  # of r1_gamma and r2_gamma that is left
    rate_share: Tensor  # of both learning rates that is left
    noise: Tensor  # standard deviation of what is added to all that the discriminator sees

    def become(self, other: Inputs) -> None:
        """Copies the values of `other` into these tensors, which stay where they are."""
        for field in fields(self):
            getattr(self, field.name).copy_(getattr(other, field.name))


def advance(state: State, real: Tensor, machine: Machine) -> tuple[Tensor, Tensor]:
    """One iteration: the discriminator's updates, then the generator's against it, then the average.

    `real` is (discriminator_steps * B, C, S, S) in [-1, 1]; with N processes it is this one's share of that, with B / N
    for B, and `state.sharing` must be set. Returns the two losses (the discriminator's is the mean of its updates,
    without the penalty) of this process's share, still on the device.
    """
    return iterate(state, prepare(state, real, machine), machine)


def prepare(state: State, real: Tensor, machine: Machine) -> Inputs:
    """What differs this time: this process's real images and latents, and the numbers that follow from the progress.

    Everything that Python has to decide or count is done here, so that `iterate` can be captured.
    """
    config = state.config
    assert machine.num_processes == 1 or state.sharing, "each process would train by itself"
    num_images = len(real) * machine.num_processes
    rows = parallel.own_rows(num_images, config.discriminator_steps, machine)
    latents = draw_rows(state.latent_rng, rows, config.latent_size, real.device)
    progress = min(1.0, state.step / config.total_steps)  # 0 in the first iteration, nearly 1 in the last
    state.step += 1
    halflife = min(config.ema_halflife_images, AVERAGE_WARMUP * state.images)
    decay = 0.5 ** (num_images / halflife) if halflife else 0.0

    def number(value: float) -> Tensor:
        return torch.full((), value, device=real.device)

    return Inputs(
        real=real,
        latents=latents,
        decay=number(decay),
        gamma_share=number(share_left("cosine", progress, config.gamma_final_share)),
        rate_share=number(share_left(config.rate_schedule, progress, config.rate_final_share)),
        noise=number(config.instance_noise * max(0.0, 1 - progress / config.instance_noise_until)),
    )


def share_left(schedule: Schedule, progress: float, final: float) -> float:
    """What is left, from 1 to `final`, while `progress` goes from 0 to 1.

    Along half a cosine it falls slowly at both ends. Source: Loshchilov, Hutter 2017 (arXiv:1608.03983), equation 5,
    without restarts.
    """
    if schedule == "constant":
        return 1.0
    fallen = progress if schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return 1 - (1 - final) * fallen


def iterate(state: State, inputs: Inputs, machine: Machine) -> tuple[Tensor, Tensor]:
    """The work of one iteration: the same operations on the same tensors each time, whatever the values are."""
    config = state.config
    generator = state.learner("generator")
    if config.rate_schedule != "constant":
        _set_rates(state, inputs.rate_share)
    losses = []
    parts = (rows.chunk(config.discriminator_steps) for rows in (inputs.real, inputs.latents))
    for real, latents in zip(*parts, strict=True):
        with machine.autocast():
            fake = generator(latents)  # made once; the last one is used by both players
        losses.append(_discriminator_turn(state, inputs, real, fake, machine))
    generator_loss = _generator_turn(state, inputs, real, fake, machine)
    if config.ema_halflife_images:
        update_average(state.average, state.generator, inputs.decay)
    return torch.stack(losses).mean(), generator_loss


def _set_rates(state: State, share: Tensor) -> None:
    """Fills the tensors from which the optimizers read their learning rates."""
    rates = (state.config.generator_learning_rate, state.config.discriminator_learning_rate)
    for optimizer, rate in zip((state.generator_optimizer, state.discriminator_optimizer), rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"].copy_(rate * share)


class Seeing(nn.Module):
    """The discriminator together with what it sees of images: something changed, and noise on top.

    The slope at an image, for a penalty, is then that of the whole way from the image to the logit, as in StyleGAN2-ADA
    (Karras et al. 2020, arXiv:2006.06676). Source of the noise: Sønderby et al. 2017 (arXiv:1610.04490); Arjovsky,
    Bottou 2017 (arXiv:1701.04862), section 3.
    """

    def __init__(self, discriminator: nn.Module, augment: tuple[Augmentation, ...], noise: Tensor | None) -> None:
        super().__init__()
        self.discriminator, self.augment, self.noise = discriminator, augment, noise

    def forward(self, images: Tensor) -> Tensor:
        images = augmented(images.float(), self.augment)  # float32: real and fake are rounded alike, and only once
        if self.noise is not None:
            images = images + self.noise * torch.randn_like(images)
        return self.discriminator(images)


def _judge(state: State, inputs: Inputs, discriminator: nn.Module) -> nn.Module:
    """The discriminator as both players meet it."""
    config = state.config
    if not (config.augment or config.instance_noise):
        return discriminator
    return Seeing(discriminator, config.augment, inputs.noise if config.instance_noise else None)


def _game(config: Config) -> Game:
    """The two losses, that of the discriminator with smoothed labels where the config asks for it."""
    game = GAMES[config.loss]
    if config.real_label == 1:
        return game
    return game._replace(discriminator=partial(smoothed_discriminator_loss, real_label=config.real_label))


def _discriminator_turn(state: State, inputs: Inputs, real: Tensor, fake: Tensor, machine: Machine) -> Tensor:
    """One update of the discriminator by the rules of its game, which may clip its weights afterwards."""
    config = state.config

    def penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return config.penalty_weight * gradient_penalty(critic, real, fake)

    loss = update_discriminator(
        _judge(state, inputs, state.learner("discriminator")),
        state.discriminator_optimizer,
        _game(config).discriminator,
        real,
        fake,
        penalty=penalty if config.loss == "wasserstein-penalty" else None,
        r1=inputs.gamma_share * config.r1_gamma if config.r1_gamma else None,
        r2=inputs.gamma_share * config.r2_gamma if config.r2_gamma else None,
        autocast=machine.autocast(),
        descend=descent(state),
    )
    if config.loss == "wasserstein-clipping":
        clip_weights(state.discriminator, config.clip_limit)
    return loss


def _generator_turn(state: State, inputs: Inputs, real: Tensor, fake: Tensor, machine: Machine) -> Tensor:
    """One update of the generator, against the discriminator as it is now or as it will be some steps later."""
    config = state.config
    optimizer, game = state.generator_optimizer, _game(config)
    descend = descent(state)
    if config.unrolled_steps == 0:
        discriminator = _judge(state, inputs, state.judge("discriminator"))
        loss = game.generator
        if config.loss in PAIRED:
            loss = against(real, discriminator, loss, autocast=machine.autocast())
        return update_generator(discriminator, optimizer, loss, fake, autocast=machine.autocast(), descend=descend)
    in_full = state.scaler is not None  # the gradients inside the steps ahead are not scaled up
    return update_generator_unrolled(
        _judge(state, inputs, state.discriminator),
        optimizer,
        game.generator,
        real,
        fake.float() if in_full else fake,
        num_steps=config.unrolled_steps,
        discriminator_optimizer=state.discriminator_optimizer,
        discriminator_loss_function=game.discriminator,
        zero_sum=config.loss == "minimax",
        paired=config.loss in PAIRED,
        autocast=nullcontext() if in_full else machine.autocast(),
        descend=descend,
    )


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
