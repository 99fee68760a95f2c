"""Many small point GANs, one for each seed, trained as one batched computation.

The networks of all seeds are stacked into one module, whose batches have one dimension more: (seeds, B, 2). What is
minimised is the sum of the seeds' losses, so every seed gets exactly its own gradient; Adam and clipping work on each
weight alone. So `steps` and `torch.optim.Adam` do here what they do to one network. Every seed has its own random
numbers, so its run does not depend on which others it shares the batch with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import vmap
from tqdm import tqdm

from dcgan_core.config import Loss, check, check_choice, check_game, check_types
from dcgan_core.laboratory.mixtures import (
    Activation,
    Mixture,
    ModeStatistics,
    PointDiscriminator,
    PointGenerator,
    grid,
    mode_statistics,
    ring,
)
from dcgan_core.laboratory.stacked import stack
from dcgan_core.losses import GAMES, PAIRED, gradient_penalty
from dcgan_core.steps import clip_weights, update_discriminator
from dcgan_core.unrolled import update_generator_unrolled

MIXTURES: dict[str, Callable[[], Mixture]] = {"ring": ring, "grid": grid}


@dataclass(frozen=True, kw_only=True)
class PointConfig:
    """Everything that decides the outcome of one point GAN, except its seed."""

    mixture: Literal["ring", "grid"] = "ring"
    """Data: the ring of 8 modes or the grid of 25."""

    latent_size: int = 256
    """Length of a latent vector, drawn from N(0, 1)."""

    generator_depth: int = 2
    """Hidden layers of the generator."""

    discriminator_depth: int = 2
    """Hidden layers of the discriminator."""

    generator_width: int = 128
    """Units in each hidden layer of the generator."""

    discriminator_width: int = 128
    """Units in each hidden layer of the discriminator."""

    activation: Activation = "relu"
    """Between the layers of both networks: relu or tanh."""

    loss: Loss = "non-saturating"
    """What is played for: one of the seven games."""

    penalty_weight: float = 10.0
    """Weight of the gradient penalty; for the loss wasserstein-penalty only."""

    clip_limit: float = 0.01
    """Largest absolute weight of the critic; for the loss wasserstein-clipping only."""

    r1_gamma: float = 0.0
    """Weight of R1: half of it times the discriminator's squared slope at real points; 0 is off."""

    r2_gamma: float = 0.0
    """Weight of R2: the same at fake points; 0 is off."""

    spectral_norm: bool = False
    """Divide every weight of the discriminator by its largest singular value."""

    minibatch_std: bool = False
    """Show the discriminator how much the points of its batch differ: one more unit before its last layer."""

    unrolled_steps: int = 0
    """Discriminator steps that the generator's update looks ahead, differentiably (unrolled GAN); 0 is ordinary."""

    discriminator_steps: int = 1
    """Discriminator updates per generator update, each on a new batch."""

    batch_size: int = 256
    """Real points per discriminator update, and as many fake ones."""

    total_steps: int = 4000
    """Generator updates in the whole run."""

    generator_learning_rate: float = 1e-3
    """Adam's step size for the generator."""

    discriminator_learning_rate: float = 1e-3
    """Adam's step size for the discriminator."""

    beta1: float = 0.5
    """Adam's decay rate of the mean gradient."""

    beta2: float = 0.999
    """Adam's decay rate of the mean squared gradient."""

    snapshot_every_steps: int = 500
    """Generator updates between two snapshots of samples; there is one before the first and one after the last."""

    snapshot_samples: int = 2500
    """Samples in a snapshot, always from the same latents. The literature counts modes in 2,500."""

    def __post_init__(self) -> None:
        check_types(self)
        check_game(self)
        check_choice(self, "mixture", MIXTURES)
        check_choice(self, "activation", get_args(Activation))
        for name in ("generator_depth", "discriminator_depth", "total_steps"):
            check(self, name, getattr(self, name) >= 1, "1 or more")
        for name in ("snapshot_every_steps", "snapshot_samples"):
            check(self, name, getattr(self, name) >= 1, "1 or more")


# A plain GAN on the ring of 8, so small that on one thread of a CPU 16 seeds take two to three times as long as one.
# The presets differ in two settings; `tests/claims/test_presets.py` holds what they do, over several seeds.
COVERS = PointConfig(
    latent_size=16,
    generator_width=64,
    discriminator_width=64,
    batch_size=64,
    activation="tanh",
    total_steps=1000,
    snapshot_every_steps=250,
)
"""Every mode has samples after 1,000 steps, though nine in ten still lie off the modes."""

COLLAPSES = dataclasses.replace(COVERS, activation="relu", discriminator_learning_rate=1e-4)
"""A discriminator too slow for its generator: all samples crowd around one place, which moves from mode to mode."""


def build(config: PointConfig, rng: torch.Generator) -> tuple[PointGenerator, PointDiscriminator]:
    """The two freshly initialised networks of one seed."""
    generator = PointGenerator(
        latent_size=config.latent_size,
        depth=config.generator_depth,
        width=config.generator_width,
        activation=config.activation,
        rng=rng,
    )
    discriminator = PointDiscriminator(
        depth=config.discriminator_depth,
        width=config.discriminator_width,
        activation=config.activation,
        spectral_norm=config.spectral_norm,
        minibatch_std=config.minibatch_std,
        rng=rng,
    )
    return generator, discriminator


@dataclass
class Ensemble:
    """Everything that changes while the seeds train together."""

    config: PointConfig
    mixture: Mixture
    rngs: list[torch.Generator]  # one for each seed, on the CPU
    generator: nn.Sequential  # (S, B, latent_size) to (S, B, 2)
    discriminator: nn.Sequential  # (S, B, 2) to (S, B)
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    step: int = 0

    def draw(self, one: Callable[..., Tensor], *size: int) -> Tensor:
        """What `one` (`torch.randn` or `torch.rand`) draws from each seed's random numbers, stacked to (S, *size)."""
        weight = next(self.generator.parameters())
        return torch.stack([one(size, generator=rng, dtype=weight.dtype) for rng in self.rngs]).to(weight.device)

    def draw_real(self) -> Tensor:
        """Real points (S, B, 2): those that `Mixture.sample` draws from each seed's random numbers."""
        size = (self.config.batch_size,)
        modes = torch.stack([torch.randint(self.mixture.num_modes, size, generator=rng) for rng in self.rngs])
        noise = self.draw(torch.randn, *size, 2)
        return self.mixture.points(modes.to(noise.device), noise)

    def draw_latents(self, num_samples: int) -> Tensor:
        """Latents (S, N, latent_size)."""
        return self.draw(torch.randn, num_samples, self.config.latent_size)


def start(
    config: PointConfig,
    seeds: Sequence[int],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Ensemble:
    """Freshly initialised networks of all seeds, stacked, with their optimizers and random numbers."""
    rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
    pairs = [build(config, rng) for rng in rngs]
    generator = stack([generator for generator, _ in pairs]).to(device, dtype)
    discriminator = stack([discriminator for _, discriminator in pairs]).append(nn.Flatten(1)).to(device, dtype)

    def adam(network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(config.beta1, config.beta2), fused=True)

    return Ensemble(
        config=config,
        mixture=MIXTURES[config.mixture](),
        rngs=rngs,
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=adam(generator, config.generator_learning_rate),
        discriminator_optimizer=adam(discriminator, config.discriminator_learning_rate),
    )


def advance(ensemble: Ensemble) -> tuple[Tensor, Tensor]:
    """One iteration of every seed: the discriminators' updates, then the generators' against them.

    For each discriminator update a seed draws real points, latents and, for the penalty, mixes, in this order. Returns
    the losses of the (last) discriminator update and of the generator update before they were made, each (S,).
    """
    config, game = ensemble.config, GAMES[ensemble.config.loss]
    losses: dict[str, Tensor] = {}

    def of_all(player: str, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def summed(*logits: Tensor) -> Tensor:  # each (S, B)
            of_each = vmap(loss)(*logits)  # (S,)
            losses[player] = of_each.detach()
            return of_each.sum()

        return summed

    def penalty(critics: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        num_seeds, num_points, _ = real.shape
        mix = ensemble.draw(torch.rand, num_points, 1)  # as `gradient_penalty` would draw it from each seed's numbers

        def critic(points: Tensor) -> Tensor:  # (S * B, 2)
            return critics(points.unflatten(0, (num_seeds, -1))).flatten()

        mean = gradient_penalty(critic, real.flatten(0, 1), fake.flatten(0, 1), mix=mix.flatten(0, 1))
        return config.penalty_weight * num_seeds * mean

    def gamma(of_each: float) -> Tensor | None:
        """What makes the mean over all points the sum over the seeds of each one's mean."""
        return torch.tensor(of_each * len(ensemble.rngs) / config.batch_size) if of_each else None

    for _ in range(config.discriminator_steps):
        real = ensemble.draw_real()
        fake = ensemble.generator(ensemble.draw_latents(config.batch_size))
        update_discriminator(
            discriminator=ensemble.discriminator,
            optimizer=ensemble.discriminator_optimizer,
            loss_function=of_all("discriminator", game.discriminator),
            real=real,
            fake=fake,
            penalty=penalty if config.loss == "wasserstein-penalty" else None,
            r1=gamma(config.r1_gamma),
            r2=gamma(config.r2_gamma),
        )
        if config.loss == "wasserstein-clipping":
            clip_weights(ensemble.discriminator, config.clip_limit)
    update_generator_unrolled(
        discriminator=ensemble.discriminator,
        optimizer=ensemble.generator_optimizer,
        loss_function=of_all("generator", game.generator),
        real=real,
        fake=fake,
        num_steps=config.unrolled_steps,
        discriminator_optimizer=ensemble.discriminator_optimizer,
        discriminator_loss_function=of_all("discriminator ahead", game.discriminator),
        zero_sum=config.loss == "minimax",
        paired=config.loss in PAIRED,
    )
    ensemble.step += 1
    return losses["discriminator"], losses["generator"]


@dataclass(frozen=True)
class History:
    """What the seeds made while they trained; T snapshots, S seeds, N samples in each."""

    steps: Tensor  # int64 (T,): generator updates before the snapshot
    samples: Tensor  # (T, S, N, 2), always from the same latents
    losses: Tensor  # (2, total_steps, S): discriminators', generators', before each update
    statistics: ModeStatistics  # its tensors are (T, S, ...)


def train(
    config: PointConfig,
    seeds: Sequence[int],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    at: Collection[int] | None = None,
    look: Callable[[Ensemble], object] = lambda ensemble: None,
    progress: bool = False,
) -> History:
    """Trains one point GAN for each seed, all at once, and looks at their samples on the way.

    Snapshots are taken after the numbers of updates in `at`, by default every `snapshot_every_steps`, at the start and
    at the end; with each, `look` sees the players. A seed whose losses are no longer finite goes on without result (no
    good samples) and disturbs no other.
    """
    ensemble = start(config, seeds, device=device, dtype=dtype)
    watched = ensemble.draw_latents(config.snapshot_samples)
    moments = {*range(0, config.total_steps, config.snapshot_every_steps), config.total_steps} if at is None else at
    steps, samples, losses = [], [], []

    def take_snapshot() -> None:
        if ensemble.step in moments:
            steps.append(ensemble.step)
            samples.append(sample(ensemble, watched))
            look(ensemble)

    take_snapshot()
    for _ in tqdm(range(config.total_steps), unit="step", disable=not progress):
        losses.append(torch.stack(advance(ensemble)))
        take_snapshot()
    shown = torch.stack(samples)
    return History(
        steps=torch.tensor(steps),
        samples=shown,
        losses=torch.stack(losses, dim=1).cpu(),
        statistics=mode_statistics(ensemble.mixture, shown),
    )


@torch.no_grad()
def sample(ensemble: Ensemble, latents: Tensor) -> Tensor:
    """Points (S, N, 2) on the CPU, from each seed's latents (S, N, latent_size). Waits for the device."""
    return ensemble.generator(latents).cpu()
