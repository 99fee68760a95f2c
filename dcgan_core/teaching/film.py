"""A walk through latent space at constant speed: moments are chosen so that each step looks equally large.

How large a step looks is a distance between features. A fine walk is measured once; then frames are placed along it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Features = Callable[[Tensor], Tensor]  # from images (N, C, S, S) to vectors (N, F)


def step_lengths(features: Features, walks: Tensor) -> Tensor:
    """How far each step of walks (W, M, C, S, S) goes in the space of the features, (W, M - 1)."""
    with torch.no_grad():
        vectors = torch.cat([features(part) for part in walks.flatten(0, 1).split(500)])
    return vectors.flatten(1).unflatten(0, walks.shape[:2]).diff(dim=1).norm(dim=2)


def evenly(lengths: Tensor, num_frames: int) -> Tensor:
    """Shares of the way, from 0 to 1, at which frames lie equally far apart: (num_frames,).

    `lengths` (M,) are those of steps between moments that are evenly spaced. Between two of these, speed is taken for
    constant.
    """
    way = np.concatenate([[0.0], np.cumsum(lengths.double().numpy())])
    moments = np.linspace(0, 1, len(way))
    return torch.from_numpy(np.interp(np.linspace(0, way[-1], num_frames), way, moments))


def unevenness(lengths: Tensor) -> Tensor:
    """The standard deviation of the steps (W, M) of each walk, as a share of their mean, (W,): 0 is even."""
    return lengths.std(dim=1, correction=0) / lengths.mean(dim=1)
