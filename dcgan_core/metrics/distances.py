"""Feature vectors and class probabilities to numbers; no images, no networks.

Float64 throughout: the Fréchet distance, and the kernel distance too, is a small difference of large sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

RECOGNISED_AT = 0.9


class Moments(NamedTuple):
    """Mean (F,) and covariance (F, F) of a set of feature vectors, in float64."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Mean and unbiased covariance of (N, F) features; N should exceed F by far. ValueError unless N exceeds 1."""
    if len(features) < 2:
        raise ValueError(
            f"{len(features)} vector has no covariance: give at least 2, and better many more than features."
        )
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


class KernelDistance(NamedTuple):
    """An estimate that is right on average, whatever the number of samples, and the standard error of it."""

    value: float
    error: float


def kernel_distance(first: Tensor, second: Tensor, *, num_subsets: int = 10) -> KernelDistance:
    """Kernel distance ("KID") of two sets of features (N, F): mean over disjoint subsets, and its standard error.

    Unlike the Fréchet distance it needs no correction for the number of samples; for equal distributions it scatters
    around zero, so it may come out negative. Published code draws overlapping subsets, which makes the error look
    smaller than it is; these share no sample. Each set must be in random order and hold at least two samples a subset,
    in at least two subsets.

    Source: Bińkowski et al. 2018 (arXiv:1801.01401), section 4; disjoint subsets as in Zaremba et al. 2013
    (arXiv:1307.1954).
    """
    assert num_subsets >= 2
    pairs = zip(first.tensor_split(num_subsets), second.tensor_split(num_subsets), strict=True)
    values = torch.tensor([squared_discrepancy(*pair) for pair in pairs], dtype=torch.float64)
    return KernelDistance(float(values.mean()), float(values.std()) / math.sqrt(num_subsets))


def squared_discrepancy(first: Tensor, second: Tensor) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy of features (N, F) and (M, F); N and M are 2 or more.

    The kernel is k(x, y) = (x . y / F + 1)^3. Pairs of a sample with itself are left out: with them, equal
    distributions would seem to differ, and the more so the fewer the samples.

    Source: Gretton et al. 2012 (JMLR 13:723), equation 3; the kernel is from Bińkowski et al. 2018 (arXiv:1801.01401),
    section 4.
    """
    assert len(first) >= 2 and len(second) >= 2
    first, second = first.double(), second.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def mean_of_pairs(x: Tensor) -> Tensor:
        products = kernel(x, x)
        return (products.sum() - products.trace()) / (len(x) * (len(x) - 1))

    return float(mean_of_pairs(first) + mean_of_pairs(second) - 2 * kernel(first, second).mean())


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


def class_divergence(class_counts: Sequence[int], expected: Tensor | None = None) -> float:
    """Kullback-Leibler divergence in nats of the class histogram from `expected` (classes,), by default uniform.

    Zero if the samples hit every class as often as expected; the logarithm of the number of classes if all are of one
    class of equally likely ones; infinite if a class appears that is not expected at all, and nan without any sample.
    Biased upwards by about (classes - 1) / (2 samples), so count many more samples than classes.

    Source: of stacked digits, Metz et al. 2017 (arXiv:1611.02163), section 3.3.1.
    """
    found = torch.tensor(class_counts, dtype=torch.float64)
    expected = torch.ones_like(found) if expected is None else expected.double()
    found, expected = found / found.sum(), expected / expected.sum()
    return float(torch.xlogy(found, found / expected).nansum() if found.isfinite().all() else math.nan)
