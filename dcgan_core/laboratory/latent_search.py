"""A search in latent space: the generator stands still, and latents learn until the image does what a loss asks for.

Chapter 16 fills holes, finds missing frames and shifts styles with this one function; only the loss differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dcgan_core.models import Generator

Loss = Callable[[Tensor, Tensor], Tensor]  # (images (T, K, C, S, S), latents (T, K, latent_size)) -> (T, K)


class Found(NamedTuple):
    """Where a search has ended, for each of T targets and K starts."""

    latents: Tensor  # (T, K, latent_size)
    images: Tensor  # (T, K, C, S, S), in [-1, 1]
    losses: Tensor  # (T, K)

    def best(self) -> Tensor:
        """The image with the lowest loss among the starts of each target, (T, C, S, S)."""
        return self._lowest(self.images)

    def best_latents(self) -> Tensor:
        """The latents with the lowest loss among the starts of each target, (T, latent_size)."""
        return self._lowest(self.latents)

    def _lowest(self, values: Tensor) -> Tensor:
        return values[torch.arange(len(values)), self.losses.argmin(dim=1)]


def search(
    generator: Generator, loss: Loss, starts: Tensor, *, steps: int = 100, rate: float = 0.1, sphere: bool = False
) -> Found:
    """Follows the gradient of the loss from `starts` (T, K, latent_size), each by itself, with Adam.

    With `sphere`, latents are brought back after each step to the length sqrt(latent_size) that drawn ones have.
    The generator must be in evaluation mode, or each image would depend on the others of the batch.

    Sources: Creswell, Bharath 2016 (arXiv:1611.05644) for the search; Menon et al. 2020 (arXiv:2003.03808), section
    3.2, for the sphere.
    """
    assert not generator.training, "in train mode, batch normalisation mixes the candidates"
    latents = on_sphere(starts) if sphere else starts.clone()
    latents.requires_grad_(True)
    optimizer = torch.optim.Adam([latents], lr=rate)
    for step in range(steps + 1):
        images = generator(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        losses = loss(images, latents)
        if step < steps:
            (latents.grad,) = torch.autograd.grad(losses.sum(), [latents])
            optimizer.step()
            if sphere:
                with torch.no_grad():
                    latents.copy_(on_sphere(latents))
    return Found(latents.detach(), images.detach(), losses.detach())


def on_sphere(latents: Tensor) -> Tensor:
    """Latents (..., latent_size) at the length sqrt(latent_size), each by itself."""
    return latents / latents.norm(dim=-1, keepdim=True) * latents.shape[-1] ** 0.5
