"""Networks that learn from images alone: a discriminator against its generator, and the encoder of an autoencoder.

Both see as many images, in batches of the same size, with the same optimiser; the encoder has the discriminator's
layers, and the decoder those of the generator. What differs is the task.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dcgan_core import models
from dcgan_core.config import Config
from dcgan_core.data import Batches, scale, unscale
from dcgan_core.iteration import advance
from dcgan_core.runtime import Machine, seed_everything
from dcgan_core.state import draw_latents, sample, start

Weights = dict[str, Tensor]
CLASS_GAME: dict[str, Any] = {  # what differs from the game on all images
    "batch_size": 32,
    "total_images": 6_400,
    "ema_halflife_images": 1_000,
    "augment": ("translation",),
    "generator_learning_rate": 1e-3,
    "discriminator_learning_rate": 1e-3,
}


class Pair(NamedTuple):
    """What a game leaves behind."""

    generator: models.Generator  # the averaged one
    over_time: dict[int, Weights]  # the discriminator's, by the number of real images that it had seen


def untrained(config: Config) -> models.Discriminator:
    """The discriminator that a run with this config starts from."""
    seed_everything(config.seed)
    return models.build(config)[1]


def play_game(images: Tensor, config: Config, machine: Machine, moments: Sequence[int] = ()) -> Pair:
    """Plays the game that `config` describes on uint8 images (N, C, S, S).

    The discriminator is kept at each of the `moments`, which are numbers of real images, at the start, and at the end.
    """
    state = start(config, machine)
    batches = Batches(images, batch_size=config.images_per_step, seed=config.seed, device=machine.device)
    over_time = {0: _weights(state.discriminator)}
    wanted = sorted(moments)
    while state.step < config.total_steps:
        losses = advance(state, batches(state.step), machine)
        while wanted and state.images >= wanted[0]:
            over_time[state.images] = _weights(state.discriminator)
            del wanted[0]
    assert all(bool(loss.isfinite()) for loss in losses), "the game has diverged"
    over_time[state.images] = _weights(state.discriminator)
    return Pair(state.sampler.cpu().eval(), over_time)


def play_class_games(given: tuple[Tensor, Tensor], config: Config, machine: Machine, num_made: int) -> Tensor:
    """Plays the game of `config` once for every class, on its few images alone, and draws so many images of each.

    Images are uint8 (N, C, S, S), with labels (N,); those that are made come back class by class, uint8.
    """
    images, labels = given
    made = []
    for label in range(int(labels.max()) + 1):
        few = images[labels == label]
        batch = few.repeat(-(-config.images_per_step // len(few)), 1, 1, 1)  # the same ones again fill a batch
        generator = play_game(batch, replace(config, seed=config.seed + label), machine).generator
        made.append(unscale(sample(generator, draw_latents(num_made, config.latent_size, seed=config.seed))))
    return torch.cat(made)


def _weights(network: nn.Module) -> Weights:
    """A copy of all that the network consists of, on the CPU."""
    return {name: copy.deepcopy(value).cpu() for name, value in network.state_dict().items()}


def with_weights(config: Config, weights: Weights) -> models.Discriminator:
    """The discriminator of a config with these weights."""
    network = models.build(config)[1]
    network.load_state_dict(weights)
    return network


def without_verdict(network: models.Discriminator) -> tuple[nn.Sequential, int]:
    """All layers before the last linear one, images (B, C, S, S) to maps, flattened, (B, F); and F."""
    last = network.layers[-2]
    assert isinstance(last, nn.Linear)
    return network.layers[:-2], last.in_features


def train_autoencoder(images: Tensor, config: Config, machine: Machine) -> models.Discriminator:
    """The discriminator of `config`, trained as an encoder: from its code, the generator's layers make the image.

    Between the two is a code of `config.latent_size` numbers. The loss is the squared error of the pixels. Images are
    uint8 (N, C, S, S).
    """
    seed_everything(config.seed)
    decoder, encoder = models.build(config)
    layers, width = without_verdict(encoder)  # the last linear layer is left as it is
    code = nn.Linear(width, config.latent_size, bias=False)
    models.initialise(code)
    whole = nn.Sequential(layers, code, decoder).to(machine.device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(
        whole.parameters(), lr=config.discriminator_learning_rate, betas=(config.beta1, config.beta2), fused=True
    )
    batches = Batches(images, batch_size=config.images_per_step, seed=config.seed, device=machine.device)
    for step in range(config.total_steps):
        real = batches(step)
        with machine.autocast():
            rebuilt = whole(real)
        loss = mse_loss(rebuilt.float(), real)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert bool(loss.isfinite()), "the autoencoder has diverged"
    return encoder.cpu()


def with_statistics_of(network: nn.Module, images: Tensor, batch_size: int = 500) -> nn.Module:
    """A copy of the network in eval mode, with the batch statistics of these images and of no others.

    While a discriminator is trained, they are those of real and of fake images, mixed. Images are uint8 (N, C, S, S).
    Source: the code that Radford, Metz, Chintala 2016 released, which computes them anew for section 5.2.
    """
    own = copy.deepcopy(network)
    torch.optim.swa_utils.update_bn((scale(part) for part in images.split(batch_size)), own)
    return own.eval()


def game_config(data: str, seed: int, total_images: int) -> Config:
    """The DCGAN of the chapters, on a data set with this name."""
    return replace(Config(), data=data, seed=seed, total_images=total_images)


def class_game(config: Config) -> Config:
    """The game on the few images of one class: smaller batches, shorter, with images that are shifted at random."""
    return replace(config, **CLASS_GAME)
