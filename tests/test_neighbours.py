"""Neighbours against scikit-learn, slow loops, and sets whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.model_selection import LeaveOneOut
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor

from dcgan_core.metrics import nearest_neighbours, neighbours, one_nn_accuracy, precision_recall
from dcgan_core.metrics.neighbours import distances_to_others


def normal(num_samples: int, seed: int, *, num_features: int = 3, mean: float = 0, deviation: float = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(num_samples, num_features, generator=rng) * deviation + mean


@pytest.fixture(params=[2_000, 17])
def chunk(request, monkeypatch) -> None:
    """All references at once, and in several parts of which the last is smaller."""
    monkeypatch.setattr(neighbours, "CHUNK", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("k", [1, 3, 20])
def test_nearest_neighbours_are_those_of_scikit_learn(k):
    queries, references = normal(40, 1, num_features=20), normal(90, 2, num_features=20)
    found = nearest_neighbours(queries, references, k=k)
    distances, indices = NearestNeighbors(n_neighbors=k).fit(references.double()).kneighbors(queries.double())
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances)


@pytest.mark.usefixtures("chunk")
def test_a_copy_is_found_at_distance_zero_also_among_large_numbers():
    """Through |x|^2 + |y|^2 - 2 x.y in float32 it would be some way off."""
    references = normal(90, 1, num_features=50, mean=1000)
    found = nearest_neighbours(references[[3, 88]], references)
    assert found.indices.flatten().tolist() == [3, 88]
    assert found.distances.flatten().tolist() == [0, 0]


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("k", [1, 3])
def test_distances_to_others_leave_the_point_itself_out(k):
    points = normal(60, 1)
    points[5] = points[40]  # but not its copy
    expected = np.sort(cdist(points.double(), points.double()), axis=1)[:, k]
    np.testing.assert_allclose(distances_to_others(points, k=k), expected)
    assert distances_to_others(points)[[5, 40]].tolist() == [0, 0]


@pytest.mark.parametrize("k", [1, 3])
def test_k_points_have_no_k_others(k):
    """The k-th other of k points is infinitely far away, and a ball that reaches to it would hold everything."""
    with pytest.raises(AssertionError):
        distances_to_others(normal(k, 1), k=k)
    assert distances_to_others(normal(k + 1, 1), k=k).isfinite().all()


def slow_precision(real: Tensor, fake: Tensor, k: int) -> float:
    """Share of the fake samples that lie in a ball around some real one, one pair after the other."""
    x, y = real.double().numpy(), fake.double().numpy()
    radii = [sorted(np.linalg.norm(x[i] - x[j]) for j in range(len(x)) if j != i)[k - 1] for i in range(len(x))]
    inside = [any(np.linalg.norm(y[n] - x[i]) <= radii[i] for i in range(len(x))) for n in range(len(y))]
    return sum(inside) / len(inside)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_counts_of_balls_that_reach(k):
    real, fake = normal(50, 1), normal(40, 2, mean=0.7, deviation=0.6)
    found = precision_recall(real, fake, k=k)
    assert found == (slow_precision(real, fake, k), slow_precision(fake, real, k))
    assert 0 < found.recall < found.precision < 1


def assert_tells_quality_from_variety(measure: Callable[[Tensor, Tensor], tuple[float, float]]) -> None:
    real = normal(300, 1)
    precision, recall = measure(real, normal(300, 2, deviation=0.2))  # all plausible, but hardly any variety
    assert precision > 0.9 and recall < 0.5
    precision, recall = measure(real, normal(300, 3, deviation=4))  # all of the real variety, and much that is not real
    assert precision < 0.5 and recall > 0.9


def test_precision_falls_with_quality_and_recall_with_variety():
    assert_tells_quality_from_variety(precision_recall)


def test_precision_and_recall_that_are_interchanged_are_caught():
    with pytest.raises(AssertionError):
        assert_tells_quality_from_variety(lambda real, fake: precision_recall(fake, real))


def test_precision_and_recall_of_identical_and_of_distant_sets():
    real = normal(50, 1)
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(real, real + 1000) == (0, 0)
    assert precision_recall(torch.ones(5, 2), torch.ones(5, 2)) == (1, 1)  # balls of radius zero hold their centre


def with_itself(points: Tensor, *, k: int) -> Tensor:
    """The mistake: a point counts as its own nearest neighbour."""
    return nearest_neighbours(points, points, k=k).distances[:, -1]


def assert_radius_reaches_another_point() -> None:
    """Four points a unit apart, k = 1: each ball has radius 1, and half-way between two points is inside."""
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert precision_recall(corners, corners + torch.tensor([0.5, 0.0]), k=1).precision == 1


def test_the_ball_around_a_real_sample_reaches_to_another_one(monkeypatch):
    assert_radius_reaches_another_point()
    monkeypatch.setattr(neighbours, "distances_to_others", with_itself)
    with pytest.raises(AssertionError):
        assert_radius_reaches_another_point()


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("mean", [0, 0.5, 2])
def test_one_nn_accuracy_is_scikit_learns_with_leave_one_out(mean):
    real, fake = normal(30, 1), normal(30, 2, mean=mean)
    points, labels = torch.cat([real, fake]).double().numpy(), np.repeat([0, 1], 30)
    right = 0
    for rest, (own,) in LeaveOneOut().split(points):
        classifier = KNeighborsClassifier(n_neighbors=1, algorithm="brute").fit(points[rest], labels[rest])
        right += int(classifier.predict(points[[own]])[0] == labels[own])
    assert one_nn_accuracy(real, fake) == pytest.approx(right / 60)


def assert_reads_the_four_cases(accuracy: Callable[[Tensor, Tensor], float]) -> None:
    """Of 200 and 200 samples of one distribution, one half with a standard error of about 0.03 (pairs go together)."""
    real = normal(200, 1)
    assert abs(accuracy(real, normal(200, 2)) - 0.5) < 0.12
    assert accuracy(real, real + 1000) == 1
    assert accuracy(real, real.clone()) == 0  # learnt by heart: the nearest is always the copy
    assert accuracy(torch.zeros(6, 2), torch.zeros(6, 2)) == 0.5  # nothing but ties


def test_one_nn_accuracy_of_equal_distant_copied_and_constant_sets():
    assert_reads_the_four_cases(one_nn_accuracy)


def test_one_nn_accuracy_without_leaving_out_is_caught():
    def without_leaving_out(real: Tensor, fake: Tensor) -> float:
        points, labels = torch.cat([real, fake]), np.repeat([0, 1], len(real))
        return float(KNeighborsClassifier(n_neighbors=1).fit(points, labels).score(points, labels))

    with pytest.raises(AssertionError):
        assert_reads_the_four_cases(without_leaving_out)


def test_one_nn_accuracy_refuses_unequal_sets():
    """Else the larger set would win by its number: 90 against 10 alike samples give far more than one half."""
    with pytest.raises(AssertionError):
        one_nn_accuracy(normal(90, 1), normal(10, 2))
