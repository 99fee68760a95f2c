"""Metrics against closed forms, scipy, numpy, torchmetrics, slow loops, and counts made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from dcgan_core.metrics import (
    Moments,
    class_divergence,
    coverage,
    frechet_distance,
    kernel_distance,
    moments,
    squared_discrepancy,
)


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


def normal(num_samples: int, num_features: int, seed: int, *, mean: float = 0, deviation: float = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(num_samples, num_features, generator=rng, dtype=torch.float64) * deviation + mean


def test_distance_is_that_of_torchmetrics():
    real, fake = normal(300, 8, 1), normal(200, 8, 2, mean=0.3, deviation=1.5)
    theirs = FrechetInceptionDistance(feature=nn.Flatten(), input_img_size=(8, 1, 1), normalize=True)
    theirs.set_dtype(torch.float64)
    theirs.update(real[:, :, None, None], real=True)
    theirs.update(fake[:, :, None, None], real=False)
    ours = frechet_distance(moments(real), moments(fake))
    assert ours == pytest.approx(theirs.compute().item(), rel=1e-6)


def test_distance_is_biased_upwards_and_the_more_so_the_fewer_the_samples():
    """Samples of one distribution, whose distance to itself is zero."""
    truth = Moments(torch.zeros(16, dtype=torch.float64), torch.eye(16, dtype=torch.float64))
    means = [
        sum(frechet_distance(moments(normal(num_samples, 16, seed)), truth) for seed in range(20)) / 20
        for num_samples in (50, 500, 5000)
    ]
    assert means[0] > 5 * means[1] > 25 * means[2] > 0


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_kernel_distance_of_one_subset_is_that_of_torchmetrics():
    real, fake = normal(60, 8, 1).float(), normal(60, 8, 2, mean=0.5).float()
    theirs = KernelInceptionDistance(feature=nn.Flatten(), subsets=1, subset_size=60, normalize=True)
    theirs.update(real[:, :, None, None], real=True)
    theirs.update(fake[:, :, None, None], real=False)
    assert squared_discrepancy(real, fake) == pytest.approx(theirs.compute()[0].item(), rel=1e-4)


def slow_discrepancy(first: Tensor, second: Tensor) -> float:
    """The same as three sums over pairs."""
    x, y = first.double().numpy(), second.double().numpy()

    def kernel(one: np.ndarray, other: np.ndarray) -> float:
        return (np.dot(one, other) / len(one) + 1) ** 3

    within_x = [kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]
    within_y = [kernel(y[i], y[j]) for i in range(len(y)) for j in range(len(y)) if i != j]
    between = [kernel(one, other) for one in x for other in y]
    return float(np.mean(within_x) + np.mean(within_y) - 2 * np.mean(between))


def test_squared_discrepancy_is_three_sums_over_pairs_also_of_unequal_sets():
    first, second = normal(13, 5, 1), normal(9, 5, 2, mean=1)
    assert squared_discrepancy(first, second) == pytest.approx(slow_discrepancy(first, second))
    assert squared_discrepancy(first, second) == pytest.approx(squared_discrepancy(second, first))


def test_squared_discrepancy_of_two_points_is_the_closed_form():
    """k(a, a) + k(b, b) - 2 k(a, b); with one feature, a = 1 and b = 2: 2^3 + 5^3 - 2 * 3^3."""
    first, second = torch.ones(3, 1), torch.full((3, 1), 2.0)
    assert squared_discrepancy(first, second) == pytest.approx(8 + 125 - 54)
    assert squared_discrepancy(first, first) == pytest.approx(0)


def biased_discrepancy(first: Tensor, second: Tensor) -> float:
    """The mistake: each sample is also paired with itself (the V-statistic)."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    return float(kernel(first, first).mean() + kernel(second, second).mean() - 2 * kernel(first, second).mean())


def assert_right_on_average(discrepancy: Callable[[Tensor, Tensor], float], *, deviation: float) -> None:
    """Over 2,000 pairs of small sets, within 4 standard errors of the closed form for two normal distributions.

    With one feature the kernel is the sum of binomial(3, j) x^j y^j, so the squared discrepancy is
    3 (m1 - m1')^2 + 3 (m2 - m2')^2 + (m3 - m3')^2 in the raw moments; around zero, m1 = m3 = 0 and m2 is the variance.
    """
    first, second = normal(2000 * 8, 1, 1), normal(2000 * 8, 1, 2, deviation=deviation)
    found = [discrepancy(*pair) for pair in zip(first.split(8), second.split(8), strict=True)]
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found) - 3 * (1 - deviation**2) ** 2) < 4 * error


@pytest.mark.parametrize("deviation", [1, 1.5])
def test_squared_discrepancy_of_few_samples_is_right_on_average(deviation):
    assert_right_on_average(squared_discrepancy, deviation=deviation)


@pytest.mark.parametrize("deviation", [1, 1.5])
def test_pairs_of_a_sample_with_itself_are_caught(deviation):
    with pytest.raises(AssertionError):
        assert_right_on_average(biased_discrepancy, deviation=deviation)


def test_kernel_distance_is_the_mean_over_disjoint_subsets_with_its_standard_error():
    real, fake = normal(100, 4, 1), normal(100, 4, 2, mean=0.5)
    parts = [slow_discrepancy(real[start : start + 20], fake[start : start + 20]) for start in range(0, 100, 20)]
    value, error = kernel_distance(real, fake, num_subsets=5)
    assert value == pytest.approx(np.mean(parts))
    assert error == pytest.approx(scipy.stats.sem(parts))


def test_the_kernel_distance_has_ten_subsets_unless_others_are_asked_for():
    real, fake = normal(100, 4, 1), normal(100, 4, 2, mean=0.5)
    parts = [slow_discrepancy(real[start : start + 10], fake[start : start + 10]) for start in range(0, 100, 10)]
    assert kernel_distance(real, fake).error == pytest.approx(scipy.stats.sem(parts))


def test_the_error_of_the_kernel_distance_is_the_scatter_over_fresh_samples():
    """Subsets that overlap would promise an error that is too small."""
    found = [kernel_distance(normal(200, 4, seed), normal(200, 4, 1000 + seed, mean=0.5)) for seed in range(200)]
    scatter = np.std([one.value for one in found], ddof=1)
    promised = math.sqrt(np.mean([one.error**2 for one in found]))
    assert promised == pytest.approx(scatter, rel=0.25)


def test_kernel_distance_is_taken_in_double_precision():
    """In float32 the difference of numbers near 10^12 would be lost."""
    real, fake = normal(40, 4, 1, mean=10_000).float(), normal(40, 4, 2, mean=10_000).float()
    slow = [slow_discrepancy(*pair) for pair in zip(real.split(20), fake.split(20), strict=True)]
    assert kernel_distance(real, fake, num_subsets=2).value == pytest.approx(np.mean(slow), rel=1e-3)


@given(counts=st.lists(st.integers(0, 50), min_size=2, max_size=20), data=st.data())
def test_class_divergence_is_that_of_scipy(counts, data):
    weights = data.draw(st.lists(st.floats(0.01, 1), min_size=len(counts), max_size=len(counts)))
    if sum(counts):
        expected = scipy.stats.entropy(counts, weights)
        assert class_divergence(counts, torch.tensor(weights)) == pytest.approx(expected, abs=1e-6)


def test_class_divergence_in_closed_form():
    assert class_divergence([7] * 1000) == pytest.approx(0)
    assert class_divergence([5] + [0] * 999) == pytest.approx(math.log(1000))
    assert class_divergence([5] * 500 + [0] * 500) == pytest.approx(math.log(2))
    assert class_divergence([1, 3], torch.tensor([10.0, 30.0])) == pytest.approx(0)


def test_class_divergence_is_infinite_for_a_class_that_cannot_be_and_nan_for_nothing():
    assert class_divergence([1, 1], torch.tensor([1.0, 0.0])) == math.inf
    assert class_divergence([1, 0], torch.tensor([1.0, 0.0])) == 0
    assert math.isnan(class_divergence([0, 0]))
