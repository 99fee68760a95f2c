"""Feature vectors and class probabilities to numbers; no images, no networks.

Float64 throughout: the Fréchet distance is a small difference of large sums.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

RECOGNISED_AT = 0.9


class Moments(NamedTuple):
    """Mean (F,) and covariance (F, F) of a set of feature vectors, in float64."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Mean and unbiased covariance of (N, F) features; N must exceed 1, and should exceed F by far."""
    features = features.double()
    return Moments(features.mean(dim=0), torch.cov(features.T).reshape(features.shape[1], features.shape[1]))


def frechet_distance(first: Moments, second: Moments) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    The trace of the root is the sum of the square roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric:
    no root of a nearly singular, non-symmetric product is ever taken. Biased upwards for few samples, so two values
    compare only at the same number of samples.

    Source: Dowson, Landau 1982 (doi:10.1016/0047-259X(82)90077-X); as a score for GANs, Heusel et al. 2017
    (arXiv:1706.08500), equation 6.
    """
    root = _symmetric_root(first.covariance)
    eigenvalues = torch.linalg.eigvalsh(root @ second.covariance @ root).clamp(min=0)
    trace_of_root = eigenvalues.sqrt().sum()
    between_means = (first.mean - second.mean).square().sum()
    return float(between_means + first.covariance.trace() + second.covariance.trace() - 2 * trace_of_root)


def _symmetric_root(matrix: Tensor) -> Tensor:
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T


class Coverage(NamedTuple):
    """What a classifier makes of generated samples."""

    classes_covered: int  # classes with at least one recognised sample
    recognised: float  # share of all samples that are recognised
    class_counts: list[int]  # recognised samples of each class


def coverage(probabilities: Tensor, recognised_at: float = RECOGNISED_AT) -> Coverage:
    """Counts classes and recognisable samples in (N, classes) probabilities.

    A sample is recognised when its largest probability is at least `recognised_at`; it then counts for that class. A
    class is covered by a single recognised sample, as in the stacked-digits protocol (Metz et al. 2017,
    arXiv:1611.02163, section 3.3.1), so read `class_counts` too: one sample is not much.
    """
    confidence, label = probabilities.max(dim=1)
    counts = torch.bincount(label[confidence >= recognised_at], minlength=probabilities.shape[1])
    return Coverage(int((counts > 0).sum()), float(counts.sum()) / len(probabilities), counts.tolist())
