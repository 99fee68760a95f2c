"""Random changes to what the discriminator sees: differentiable, different for every image, without any wait.

Real and fake images are changed alike, in both players' turns, so that the generator does not learn the changes: if the
changed images cannot be told apart, neither can the others. Gradients flow through to the generator. Images are
(B, C, S, S) in [-1, 1]; what moves in from outside, or is cut out, is 0, which is grey. Random numbers are those of
torch's default generator on the images' device. Source: Zhao et al. 2020 (arXiv:2006.10738); the amounts are theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor
from torch.nn.functional import pad

from dcgan_core.config import Augmentation


def augmented(images: Tensor, names: Collection[Augmentation]) -> Tensor:
    """The images (B, C, S, S), changed in the named ways one after the other, in the order of `AUGMENTATIONS`."""
    for name, change in AUGMENTATIONS.items():
        if name in names:
            images = change(images)
    return images


def recoloured(images: Tensor) -> Tensor:
    """Each image brighter or darker by up to 0.5, with 0 to 2 times its saturation and 0.5 to 1.5 times its contrast.

    A grey image has no saturation to change. Values may leave [-1, 1]: clamped, they would have no gradient.
    """

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(images), 1, 1, 1, device=images.device, dtype=images.dtype)

    images = images + between(-0.5, 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * between(0.0, 2.0)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * between(0.5, 1.5)


def translated(images: Tensor) -> Tensor:
    """Each image moved by whole pixels, up to an eighth of its size to each side."""
    size = images.shape[-1]
    most = size // 8
    images = pad(images, (most, most, most, most))  # (B, C, S + 2 * most, S + 2 * most)
    for axis in (2, 3):
        begin = torch.randint(2 * most + 1, (len(images), 1), device=images.device)
        kept = begin + torch.arange(size, device=images.device)  # (B, S): which rows, then which columns
        kept = kept.unflatten(1, (1, size, 1) if axis == 2 else (1, 1, size))
        shape = list(images.shape)
        shape[axis] = size
        images = images.gather(axis, kept.expand(shape))
    return images


def cut_out(images: Tensor) -> Tensor:
    """Each image without a square of half its size, whose centre may be anywhere in the image."""
    size = images.shape[-1]
    side = size // 2

    def outside() -> Tensor:
        """(B, S): which rows, or which columns, the square does not touch."""
        begin = torch.randint(size + 1 - side % 2, (len(images), 1), device=images.device) - side // 2
        place = torch.arange(size, device=images.device)
        return (place < begin) | (place >= begin + side)

    return images * (outside()[:, None, :, None] | outside()[:, None, None, :])


def flipped(images: Tensor) -> Tensor:
    """Each image, or its mirror image, with equal chances. Not for letters or digits, which are others in a mirror."""
    mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


AUGMENTATIONS: dict[Augmentation, Callable[[Tensor], Tensor]] = {
    "colour": recoloured,
    "translation": translated,
    "cutout": cut_out,
    "flip": flipped,
}
