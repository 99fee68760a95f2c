"""Known damage to real images, in three strengths each: what a distance has to order rightly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

STRENGTHS = (1, 2, 3)
NONE = 0  # the strength of an image that is left as it is


def blurred(images: Tensor, strength: int) -> Tensor:
    """Gaussian blur with a standard deviation of 1/128, 1/64 and 1/32 of the image's side."""
    deviation = images.shape[-1] * 2**strength / 256
    return gaussian_blur(images, kernel_size=[2 * max(1, round(3 * deviation)) + 1] * 2, sigma=[deviation] * 2)


def noisy(images: Tensor, strength: int) -> Tensor:
    """Normal noise with a standard deviation of 4, 8 and 16 grey levels of 255, the same in every call."""
    rng = torch.Generator().manual_seed(strength)
    noise = torch.randn(images.shape, generator=rng)
    return (images + noise * 2**strength / 64).clamp(-1, 1)


def dimmed(images: Tensor, strength: int) -> Tensor:
    """Brightness times 0.9, 0.8 and 0.6."""
    return (images + 1) * (1 - 0.05 * 2**strength) - 1


def tinted(images: Tensor, strength: int) -> Tensor:
    """A colour cast of images in colour: red rises and blue falls by 6, 13 and 26 grey levels of 255."""
    assert images.shape[1] == 3
    return (images + torch.tensor([1.0, 0.0, -1.0])[:, None, None] * 0.025 * 2**strength).clamp(-1, 1)


def shifted(images: Tensor) -> Tensor:
    """Copies that are not equal to the last bit: moved by a pixel, a little blurred and noisy."""
    return noisy(blurred(images.roll((1, 1), (2, 3)), 1), 1)


PIXELS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "blur": blurred,
    "noise": noisy,
    "dimming": dimmed,
    "colour cast": tinted,
}
"""Damage to every image by itself: from images (N, C, S, S) in [-1, 1] and a strength to as many images."""


def fewer_kinds(kinds: Tensor, strength: int) -> Tensor:
    """Rows (M,) of the images whose kind (N,) is left: 3/4, 1/2 and 1/4 of all kinds, at least one."""
    names = kinds.unique()
    left = max(1, round(len(names) * (1 - 0.25 * strength)))
    return torch.isin(kinds, names[:left]).nonzero()[:, 0]


def fewer_images(num_images: int, strength: int) -> Tensor:
    """Rows (num_images,) of which only 1/4, 1/16 and 1/64 are different: a generator that repeats itself."""
    return torch.arange(num_images) % max(1, num_images // 4**strength)
