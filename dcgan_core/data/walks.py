"""Ways from one latent to another: straight, along the sphere, and round a loop of stops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


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


def loop(stops: Tensor, frames_between: int) -> Tensor:
    """From each of the stops (S, N, latent_size) to the next along the sphere, and from the last back to the first.

    Returns (S * frames_between, N, latent_size); the first frame of each way is its stop.
    """
    pairs = zip(stops, stops.roll(-1, 0), strict=True)
    shares = [frame / frames_between for frame in range(frames_between)]
    return torch.stack([spherical(first, last, share) for first, last in pairs for share in shares])
