"""A frame that is missing between two others: guessed by mixing pixels, and by going halfway in latent space."""

from __future__ import annotations

import torch
from torch import Tensor

from dcgan_core.data.walks import linear
from dcgan_core.laboratory.latent_search import Loss, search
from dcgan_core.models import Generator
from dcgan_core.train import draw_latents, sample

LENGTH_WEIGHT = 0.003
NEAR_WEIGHT = 0.3  # of the mean square difference of the two latents, where they are searched together


def looks_like(targets: Tensor) -> Loss:
    """The loss of a search for images (T, C, S, S): mean square error, and a little of the latent's length."""

    def loss(images: Tensor, latents: Tensor) -> Tensor:
        errors = (images - targets[:, None]).square().mean(dim=(2, 3, 4))
        return errors + LENGTH_WEIGHT * latents.square().mean(dim=2)

    return loss


def together(generator: Generator, first: Tensor, last: Tensor, starts: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Latents (T, latent_size) of both neighbours, near each other.

    The first search looks for one latent that is as like both images as can be; from there one goes to each image, and
    what the two latents differ in costs something.
    """

    def both(images: Tensor, latents: Tensor) -> Tensor:
        return (looks_like(first)(images, latents) + looks_like(last)(images, latents)) / 2

    middle = search(generator, both, starts, steps=steps).best_latents()

    def apart(images: Tensor, latents: Tensor) -> Tensor:  # images (T, 2, C, S, S): of first and last
        errors = (images - torch.stack([first, last], dim=1)).square().mean(dim=(2, 3, 4))
        distance = (latents[:, 0] - latents[:, 1]).square().mean(dim=1, keepdim=True)
        return errors + LENGTH_WEIGHT * latents.square().mean(dim=2) + NEAR_WEIGHT * distance

    found = search(generator, apart, torch.stack([middle, middle], dim=1), steps=steps, rate=0.05)
    return found.latents[:, 0], found.latents[:, 1]


def between(
    generator: Generator, first: Tensor, last: Tensor, *, num_starts: int = 4, steps: int = 100, seed: int = 0
) -> dict[str, Tensor]:
    """Guesses (T, C, S, S) of the frame halfway between neighbours (T, C, S, S), by name.

    "repeated" shows the first frame once more; "cross-fade" is the mean of the pixels; the others are drawn from the
    mean of two latents, which were searched each by itself or together. The last one adds what the generator could not
    draw of the neighbours, faded: the mean of the two differences.
    """
    starts = draw_latents(len(first) * num_starts, generator.latent_size, seed=seed).unflatten(0, (len(first), -1))
    alone = [search(generator, looks_like(each), starts, steps=steps).best_latents() for each in (first, last)]
    near = together(generator, first, last, starts, steps)
    images = {
        "repeated": first,
        "cross-fade": (first + last) / 2,
        "latents alone": sample(generator, linear(alone[0], alone[1], 0.5)),
        "latents together": sample(generator, linear(near[0], near[1], 0.5)),
    }
    missed = (first - sample(generator, near[0]) + last - sample(generator, near[1])) / 2
    images["together, corrected"] = (images["latents together"] + missed).clamp(-1, 1)
    return images
