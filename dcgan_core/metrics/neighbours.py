"""Sets of feature vectors compared by distances between single vectors; no images, no networks.

Distances are taken in float64, from differences: the shortcut through |x|^2 + |y|^2 - 2 x.y would give a copy a small
distance to its original, and ties would be broken by rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 2_000  # queries, and references, whose distances are held in memory at a time: 32 MB


class Neighbours(NamedTuple):
    """The k nearest references of every query, nearest first."""

    distances: Tensor  # float64 (N, k), Euclidean
    indices: Tensor  # int64 (N, k), into the references


class PrecisionRecall(NamedTuple):
    """How much of what is generated is realistic, and how much of what is real can be generated; both 0 to 1."""

    precision: float
    recall: float


def nearest_neighbours(queries: Tensor, references: Tensor, *, k: int = 1) -> Neighbours:
    """The `k` nearest of the references (M, F) for each query (N, F); M is at least k.

    With generated images as queries and training images as references, what the generator has learnt by heart shows:
    its distances are small beside those of held-out images to the same references.
    """
    assert len(references) >= k
    parts = [_merge(_distances(part, references), k) for part in queries.split(CHUNK)]
    return Neighbours(torch.cat([part.distances for part in parts]), torch.cat([part.indices for part in parts]))


def distances_to_others(points: Tensor, *, k: int = 1) -> Tensor:
    """Distance (N,) of each of the points (N, F) to its k-th nearest among the others; N exceeds k."""
    assert len(points) > k

    def others(first: int, part: Tensor) -> Iterator[tuple[int, Tensor]]:
        for start, distances in _distances(part, points):
            if start == first:  # both are cut into the same parts
                distances.fill_diagonal_(torch.inf)
            yield start, distances

    parts = [_merge(others(CHUNK * number, part), k) for number, part in enumerate(points.split(CHUNK))]
    return torch.cat([part.distances[:, -1] for part in parts])


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Precision and recall of fake features (N, F) against real ones (M, F); compare only at equal N, M and k.

    The real manifold is the union of the balls around the real samples that reach to the k-th nearest other real one.
    Precision is the share of fake samples inside it, recall the share of real samples inside the fake manifold. A
    single outlier among the real samples has a large ball, so a high precision is weaker evidence than a low one.

    Source: Kynkäänniemi et al. 2019 (arXiv:1904.06991), section 2, equations 1 and 2; k = 3 is theirs.
    """
    return PrecisionRecall(_share_inside(fake, real, k), _share_inside(real, fake, k))


def one_nn_accuracy(real: Tensor, fake: Tensor) -> float:
    """How often the nearest neighbour tells a real sample from a fake one, leaving out the sample itself; 0 to 1.

    Both sets are (N, F). About 0.5: no difference is seen. Towards 1: the sets lie apart, or one has collapsed. Well
    below 0.5: the fake samples are copies of the real ones. A tie of a real and a fake neighbour counts as one half.

    Source: Lopez-Paz, Oquab 2017 (arXiv:1610.06545); its readings, Xu et al. 2018 (arXiv:1806.07755).
    """
    assert real.shape == fake.shape, "with unequal sets, one half would no longer mean that they are alike"
    correct = 0.0
    for own, other in ((real, fake), (fake, real)):
        to_own = distances_to_others(own)
        to_other = nearest_neighbours(own, other).distances[:, 0]
        correct += float((to_own < to_other).sum()) + 0.5 * float((to_own == to_other).sum())
    return correct / (2 * len(real))


def _share_inside(points: Tensor, centres: Tensor, k: int) -> float:
    """Share of the points that lie in at least one of the balls around the centres."""
    radii = distances_to_others(centres, k=k)
    inside = torch.zeros(len(points), dtype=torch.bool)
    for own, part in zip(inside.split(CHUNK), points.split(CHUNK), strict=True):
        for start, distances in _distances(part, centres):
            own |= (distances <= radii[start : start + CHUNK]).any(dim=1)
    return float(inside.double().mean())


def _distances(queries: Tensor, references: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Distances (N, up to CHUNK) to one part of the references after the other, each with the index it starts at."""
    queries = queries.double()
    for start in range(0, len(references), CHUNK):
        part = references[start : start + CHUNK].double()
        yield start, torch.cdist(queries, part, compute_mode="donot_use_mm_for_euclid_dist")


def _merge(parts: Iterator[tuple[int, Tensor]], k: int) -> Neighbours:
    """The k smallest distances of all parts together."""
    best, where = torch.empty(0), torch.empty(0)
    for start, distances in parts:
        indices = torch.arange(start, start + distances.shape[1]).expand_as(distances)
        if start:
            distances, indices = torch.cat([best, distances], dim=1), torch.cat([where, indices], dim=1)
        best, order = distances.topk(min(k, distances.shape[1]), dim=1, largest=False)
        where = indices.gather(1, order)
    return Neighbours(best, where)
