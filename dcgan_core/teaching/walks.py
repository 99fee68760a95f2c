"""Ways from one latent to another, and whether a generator still draws letters halfway."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dcgan_core.metrics import RECOGNISED_AT, letter_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.models import Generator
from dcgan_core.train import draw_latents, sample


def linear(first: Tensor, last: Tensor, share: float) -> Tensor:
    """The latents (..., latent_size) at this share, 0 to 1, of the straight way."""
    return (1 - share) * first + share * last


def spherical(first: Tensor, last: Tensor, share: float) -> Tensor:
    """The latents (..., latent_size) at this share, 0 to 1, of the way along the sphere: slerp.

    The angle changes evenly. Where two latents point the same or the opposite way, no single way along the sphere is
    shortest, and the straight one is taken. Source: Shoemake 1985 (doi:10.1145/325165.325242); for latents, White 2016
    (arXiv:1609.04468), who finds its samples sharper.
    """
    angle = cosine_similarity(first, last, dim=-1).clamp(-1, 1).acos()[..., None]
    sine = angle.sin()
    undecided = sine < 1e-6
    safe = torch.where(undecided, torch.ones_like(sine), sine)
    along = ((1 - share) * angle).sin() / safe * first + (share * angle).sin() / safe * last
    return torch.where(undecided, linear(first, last, share), along)


def recognised_halfway(generator: Generator, *, num_pairs: int = 500) -> dict[str, Tensor]:
    """Which images the letter classifier recognises, (num_pairs,) each: the first of two letters, and three middles.

    "drawn" is the letter of the first latent; "linear" and "spherical" are drawn from the middle of the two ways to the
    second latent; "pixels" is the mean of the two images.
    """
    first, last = (draw_latents(num_pairs, generator.latent_size, seed=seed) for seed in (21, 22))
    images = {
        "drawn": sample(generator, first),
        "linear": sample(generator, linear(first, last, 0.5)),
        "spherical": sample(generator, spherical(first, last, 0.5)),
    }
    images["pixels"] = (images["drawn"] + sample(generator, last)) / 2
    judge = letter_classifier()
    return {name: measure(judge, made)[1].amax(dim=1) >= RECOGNISED_AT for name, made in images.items()}
