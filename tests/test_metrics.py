"""Metrics against closed forms, scipy's matrix square root, numpy, and counts made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcgan_core.metrics import Moments, coverage, frechet_distance, moments


def gaussian(size: int, seed: int) -> Moments:
    """A random mean and a random well-conditioned covariance."""
    rng = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=rng, dtype=torch.float64)
    covariance = root @ root.T / size + 0.1 * torch.eye(size, dtype=torch.float64)
    return Moments(torch.randn(size, generator=rng, dtype=torch.float64), covariance)


def of_one_dimension(mean: float, deviation: float) -> Moments:
    return Moments(torch.tensor([mean], dtype=torch.float64), torch.tensor([[deviation**2]], dtype=torch.float64))


@pytest.mark.parametrize("size", [2, 10, 64])
def test_distance_is_the_formula_with_scipys_matrix_square_root(size):
    first, second = gaussian(size, 1), gaussian(size, 2)
    root = scipy.linalg.sqrtm((first.covariance @ second.covariance).numpy())
    expected = (first.mean - second.mean).square().sum() + (first.covariance + second.covariance).trace()
    assert frechet_distance(first, second) == pytest.approx(float(expected) - 2 * np.trace(root).real)


@given(
    means=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    deviations=st.tuples(st.floats(0, 100), st.floats(0, 100)),
)
def test_distance_in_one_dimension_is_the_closed_form(means, deviations):
    distance = frechet_distance(of_one_dimension(means[0], deviations[0]), of_one_dimension(means[1], deviations[1]))
    expected = (means[0] - means[1]) ** 2 + (deviations[0] - deviations[1]) ** 2
    assert distance == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_distance_with_equal_covariances_is_the_squared_distance_of_the_means():
    first = gaussian(20, 1)
    second = Moments(first.mean + 3, first.covariance)
    assert frechet_distance(first, second) == pytest.approx(20 * 9)


def test_distance_with_commuting_covariances_is_the_distance_of_the_deviations():
    first, second = (torch.linspace(start, 5, 8, dtype=torch.float64) for start in (0, 1))
    mean = torch.zeros(8, dtype=torch.float64)
    distance = frechet_distance(Moments(mean, first.square().diag()), Moments(mean, second.square().diag()))
    assert distance == pytest.approx(float((first - second).square().sum()))


def test_distance_is_zero_of_itself_symmetric_and_blind_to_a_common_shift():
    first, second = gaussian(16, 1), gaussian(16, 2)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))
    shifted = [Moments(one.mean + 7, one.covariance) for one in (first, second)]
    assert frechet_distance(*shifted) == pytest.approx(frechet_distance(first, second))


@pytest.mark.parametrize("num_samples", [2, 5, 40])
def test_distance_stays_finite_and_near_zero_for_singular_covariances(num_samples):
    """Fewer samples than features; three of the features are always zero, as behind a ReLU."""
    features = torch.randn(num_samples, 64, generator=torch.Generator().manual_seed(0))
    features[:, :3] = 0
    own = moments(features)
    distance = frechet_distance(own, own)
    assert math.isfinite(distance) and abs(distance) < 1e-6 * float(own.covariance.trace())
    assert frechet_distance(moments(features), gaussian(64, 1)) > 1


def test_moments_are_those_of_numpy():
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * 3 + 1
    found = moments(features)
    np.testing.assert_allclose(found.mean, features.double().numpy().mean(0))
    np.testing.assert_allclose(found.covariance, np.cov(features.double().numpy(), rowvar=False))
    assert moments(features[:, :1]).covariance.shape == (1, 1)


def test_moments_are_taken_in_double_precision():
    """In float32 the variance of 10,000 + {0, 1} is far off."""
    features = torch.tensor([[10_000.0], [10_001.0]]).repeat(500, 1)
    assert moments(features).covariance.item() == pytest.approx(0.25 * 1000 / 999, rel=1e-12)


def test_coverage_counts_by_hand():
    probabilities = torch.tensor(
        [
            [0.95, 0.05, 0.00, 0.00],  # class 0
            [0.92, 0.00, 0.08, 0.00],  # class 0 again
            [0.00, 0.10, 0.90, 0.00],  # class 2, exactly at the threshold
            [0.00, 0.89, 0.11, 0.00],  # not recognised
            [0.25, 0.25, 0.25, 0.25],  # not recognised
        ]
    )
    found = coverage(probabilities)
    assert found.class_counts == [2, 0, 1, 0]
    assert (found.classes_covered, found.recognised) == (2, 3 / 5)
    assert coverage(probabilities, recognised_at=0.5).class_counts == [2, 1, 1, 0]


def test_coverage_of_nothing_recognised_is_zero():
    assert coverage(torch.full((10, 26), 1 / 26)) == (0, 0.0, [0] * 26)
