"""Whether a generator still draws letters halfway from one latent to another."""

from __future__ import annotations

from torch import Tensor

from dcgan_core.data.walks import linear, spherical
from dcgan_core.metrics import RECOGNISED_AT, letter_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.models import Generator
from dcgan_core.train import draw_latents, sample

__all__ = ["linear", "recognised_halfway", "spherical"]


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
