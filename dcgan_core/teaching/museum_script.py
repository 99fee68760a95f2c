"""A GAN for letters of 16 pixels in one file, as thousands of projects have one. This is the healthy one.

Chapter 20 puts one mistake at a time into this source (`museum.EXHIBITS`) and asks whether anybody would notice. It
trains the game of chapter 03 with the penalty R1, averages the generator's weights, keeps the best generator, and goes
on after an interruption. Everything happens on the CPU.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, softplus

from dcgan_core.metrics import Moments, frechet_distance, letter_classifier, moments

LATENT_SIZE, WIDTH = 32, 16
BATCH_SIZE = 64
RATE, BETAS = 4e-3, (0.5, 0.99)
GAMMA = 0.1  # of the penalty
DECAY = 0.98  # of the averaged weights, for each update
NUM_JUDGED = 500  # samples in one distance
Turns = Callable[[Tensor], dict[str, float]]


def make_generator() -> nn.Sequential:
    """Latents (B, 32) to images (B, 1, 16, 16) in [-1, 1]."""
    network = nn.Sequential(
        nn.Linear(LATENT_SIZE, 2 * WIDTH * 16, bias=False),
        nn.Unflatten(1, (2 * WIDTH, 4, 4)),
        nn.BatchNorm2d(2 * WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, stride=2, padding=1, bias=False),  # (B, 16, 8, 8)
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(WIDTH, 1, 4, stride=2, padding=1),  # (B, 1, 16, 16)
        nn.Tanh(),
    )
    for layer in network:
        if isinstance(layer, (nn.Linear, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
    return network


def make_discriminator() -> nn.Sequential:
    """Images (B, 1, 16, 16) to logits (B,): positive means real."""
    return nn.Sequential(
        nn.Conv2d(1, WIDTH, 4, stride=2, padding=1),  # (B, 16, 8, 8)
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, stride=2, padding=1),  # (B, 32, 4, 4)
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2 * WIDTH * 16, 1),
        nn.Flatten(0),
    )


def scale(pixels: Tensor) -> Tensor:
    """Pixels from 0 to 255 as numbers from -1 to 1, the range of tanh."""
    return pixels.float() / 127.5 - 1


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z)))."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """-log D(G(z))."""
    return softplus(-fake_logits).mean()


def penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """R1: gamma / 2 times the squared slope of the logit at a real image, averaged over the images."""
    real = real.detach().requires_grad_()
    logits = discriminator(real)
    (slopes,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return GAMMA / 2 * slopes.square().sum(dim=(1, 2, 3)).mean()


def distance(fake: Tensor, real: Tensor) -> float:
    """Fréchet distance between images in [-1, 1], in the features of the letter classifier."""

    def described(images: Tensor) -> Moments:
        with torch.no_grad():
            return moments(letter_classifier().features(images))

    return frechet_distance(described(fake), described(real))


def picture(images: Tensor) -> Tensor:
    """Images (N, 1, 16, 16) in [-1, 1], three times as large, side by side: pixels (48, 48 N) from 0 to 255."""
    large = interpolate(images, scale_factor=3, mode="bicubic")  # overshoots at edges
    large = large.clamp(-1, 1)
    pixels = ((large + 1) * 127.5).round().int().to(torch.uint8)
    return torch.cat(list(pixels[:, 0]), dim=1)


def no_recorder(turns: Turns) -> Turns:
    """Stands for what records a CUDA graph: there is none on a CPU."""
    raise RuntimeError("a CPU records no CUDA graph")


class Training:
    """Two networks, their optimisers, and everything else that changes. `images` are uint8 (N, 1, 16, 16)."""

    def __init__(self, images: Tensor, held_out: Tensor, seed: int) -> None:
        torch.manual_seed(seed)
        self.images, self.held_out, self.seed = images, held_out, seed
        self.generator, self.discriminator = make_generator(), make_discriminator()
        self.average = copy.deepcopy(self.generator)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), RATE, BETAS)
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), RATE, BETAS)
        self.rng = torch.Generator().manual_seed(seed)
        self.step, self.best_distance = 0, math.inf
        self.best: dict[str, Tensor] = {}
        self.turns: Turns = self.update
        self.made = ""

    def batch(self) -> Tensor:
        """The real images of the next update, (B, 1, 16, 16). Every epoch has an order of its own."""
        epoch, place = divmod(self.step, len(self.images) // BATCH_SIZE)
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.seed + 1000 * epoch))
        return scale(self.images[order[place * BATCH_SIZE : (place + 1) * BATCH_SIZE]])

    def latents(self, num_latents: int) -> Tensor:
        return torch.randn(num_latents, LATENT_SIZE, generator=self.rng)

    def update_discriminator(self, real: Tensor) -> dict[str, float]:
        """The discriminator's turn."""
        fake = self.generator(self.latents(len(real)))
        fake = fake.detach()
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake)
        loss = discriminator_loss(real_logits, fake_logits)
        self.discriminator_optimizer.zero_grad()
        (loss + penalty(self.discriminator, real)).backward()
        self.discriminator_optimizer.step()
        verdicts = {"D(x)": real_logits.sigmoid().mean().item(), "D(G(z))": fake_logits.sigmoid().mean().item()}
        return {"loss D": loss.item(), **verdicts}

    def update_generator(self, num_images: int) -> dict[str, float]:
        """The generator's turn, against the updated discriminator."""
        fake = self.generator(self.latents(num_images))
        loss = generator_loss(self.discriminator(fake))
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()
        return {"loss G": loss.item()}

    @torch.no_grad()
    def update_average(self) -> None:
        """Moves the averaged generator a little towards the generator, running statistics included."""
        now = self.generator.state_dict()
        for name, tensor in self.average.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(now[name], 1 - DECAY)

    def update(self, real: Tensor) -> dict[str, float]:
        """One update of everything."""
        line = {**self.update_discriminator(real), **self.update_generator(len(real))}
        self.update_average()
        return line

    def prepare(self, record: Callable[[Turns], Turns] = no_recorder) -> None:
        """Has the turns recorded if that is possible. `made` says how they are made."""
        tensors = [*self.generator.parameters(), *self.discriminator.parameters()]
        kept = [tensor.detach().clone() for tensor in tensors]  # recording warms up, which changes them
        try:
            self.turns = record(self.update)
            self.made = "recorded"
        except RuntimeError as error:
            self.made = f"one by one: {error}"
        with torch.no_grad():
            for tensor, before in zip(tensors, kept, strict=True):
                tensor.copy_(before)

    @torch.no_grad()
    def sample(self, latents: Tensor) -> Tensor:
        """Images (N, 1, 16, 16) of the averaged generator."""
        self.average.eval()
        return self.average(latents)

    def evaluate(self) -> float:
        """The distance of samples from held-out images."""
        latents = torch.randn(NUM_JUDGED, LATENT_SIZE, generator=torch.Generator().manual_seed(1))
        return distance(self.sample(latents), scale(self.held_out))

    def keep_best(self, measured: float) -> None:
        """Keeps the averaged generator if its distance is the smallest so far."""
        if measured < self.best_distance:
            self.best_distance = measured
            self.best = copy.deepcopy(self.average.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything that a stopped training needs to go on."""
        return copy.deepcopy(
            {
                "generator": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "average": self.average.state_dict(),
                "generator_optimizer": self.generator_optimizer.state_dict(),
                "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
                "rng": self.rng.get_state(),
                "numbers": (self.step, self.best_distance, self.best),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where the other training stopped."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.average.load_state_dict(state["average"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.rng.set_state(state["rng"])
        self.step, self.best_distance, self.best = state["numbers"]

    def train(self, num_updates: int) -> list[dict[str, float]]:
        """Makes so many updates: one line of losses and verdicts for each."""
        log = []
        for _ in range(num_updates):
            log.append(self.turns(self.batch()))
            self.step += 1
        return log
