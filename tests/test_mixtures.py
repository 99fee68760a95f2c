"""Modes in the plane: where they are, how likely points are, and which of them a set of points covers."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from dcgan_core.laboratory.mixtures import Mixture, PointDiscriminator, PointGenerator, grid, mode_statistics, ring


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at_modes(mixture: Mixture, counts: list[int], off: float = 0.0) -> Tensor:
    """So many points at each mode, `off` sigmas to the right of its centre."""
    return mixture.centres.repeat_interleave(torch.tensor(counts), dim=0) + torch.tensor([off * mixture.sigma, 0])


# The mixtures


def test_the_ring_has_its_modes_at_equal_steps_on_the_circle():
    centres = ring(8, radius=2.0).centres
    assert torch.allclose(centres.norm(dim=1), torch.tensor(2.0).double())
    neighbours = (centres - centres.roll(1, dims=0)).norm(dim=1)
    torch.testing.assert_close(neighbours, torch.full((8,), 4 * math.sin(math.pi / 8)).double())
    assert centres[0].tolist() == [2, 0]


def test_the_grid_is_square_and_centred():
    centres = grid(5, spacing=2.0).centres
    assert sorted(map(tuple, centres.tolist())) == [(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)]


def test_ring_and_grid_are_by_default_those_of_the_literature():
    """Eight modes at a distance of 2 with a deviation of 0.02 (Metz et al.); 5 times 5, 2 apart, with 0.05 (VEEGAN)."""
    assert (ring().num_modes, ring().sigma) == (8, 0.02)
    assert torch.allclose(ring().centres.norm(dim=1), torch.tensor(2.0).double())
    assert (grid().num_modes, grid().sigma) == (25, 0.05)
    assert torch.pdist(grid().centres).min() == 2


@pytest.mark.parametrize("mixture", [ring(), grid(), ring(3, 1.0, 0.5)])
def test_log_density_is_that_of_scipy(mixture):
    points = mixture.sample(50, rng=seeded(), dtype=torch.float64) + 0.3
    parts = [multivariate_normal(centre.numpy(), mixture.sigma**2).pdf(points.numpy()) for centre in mixture.centres]
    expected = np.mean(parts, axis=0)
    np.testing.assert_allclose(mixture.density(points).numpy(), expected, rtol=1e-9)
    near = expected > 0
    np.testing.assert_allclose(mixture.log_density(points).numpy()[near], np.log(expected[near]), rtol=1e-9)


def test_density_integrates_to_one():
    mixture = ring(4, 1.0, 0.2)
    line = torch.linspace(-3, 3, 301, dtype=torch.float64)
    total = mixture.density(torch.cartesian_prod(line, line)).sum() * (line[1] - line[0]) ** 2
    assert total.item() == pytest.approx(1, abs=1e-6)


def test_log_density_is_finite_where_the_density_is_zero():
    far = torch.tensor([[1e3, 1e3]])
    assert ring().density(far) == 0 and torch.isfinite(ring().log_density(far)).all()


def test_samples_come_from_every_mode_equally_often_with_the_stated_spread():
    mixture = grid()
    samples = mixture.sample(25_000, rng=seeded(), dtype=torch.float64)
    mode, _ = mixture.nearest(samples)
    counts = torch.bincount(mode, minlength=25)
    assert ((counts - 1000).square() / 1000).sum() < 24 + 4 * math.sqrt(48)
    assert (samples - mixture.centres[mode]).std(dim=0).tolist() == pytest.approx([0.05, 0.05], rel=0.03)


def test_samples_depend_on_the_generator_alone():
    torch.manual_seed(1)
    first = ring().sample(20, rng=seeded(3))
    torch.manual_seed(2)
    assert torch.equal(first, ring().sample(20, rng=seeded(3)))
    assert not torch.equal(first, ring().sample(20, rng=seeded(4)))


# Mode statistics


def slow_statistics(mixture: Mixture, samples: np.ndarray, min_samples: int) -> tuple[list[int], int, float, float]:
    """The definitions, one sample after the other."""
    counts = [0] * mixture.num_modes
    for sample in samples:
        distances = [math.dist(sample, centre) for centre in mixture.centres.tolist()]
        if min(distances) <= 3 * mixture.sigma:
            counts[int(np.argmin(distances))] += 1
    divergence = sum(c / sum(counts) * math.log(c / sum(counts) * len(counts)) for c in counts if c)
    return counts, sum(c >= min_samples for c in counts), sum(counts) / len(samples), divergence


@given(seed=st.integers(0, 999), spread=st.floats(0.5, 3), min_samples=st.integers(1, 5), num=st.integers(5, 80))
@settings(max_examples=40, deadline=None)
def test_statistics_are_those_of_the_slow_loop(seed, spread, min_samples, num):
    mixture = ring(5, 1.0, 0.3)
    samples = mixture.centres[0] + spread * torch.randn(num, 2, generator=seeded(seed), dtype=torch.float64)
    found = mode_statistics(mixture, samples, min_samples=min_samples)
    counts, covered, good, divergence = slow_statistics(mixture, samples.numpy(), min_samples)
    assert found.counts.tolist() == counts and int(found.covered) == covered
    assert float(found.good) == pytest.approx(good)
    if sum(counts):
        assert float(found.kl) == pytest.approx(divergence, abs=1e-12)


def test_the_mixture_itself_covers_everything():
    """Within 3 sigma lies 1 - exp(-9/2) of a Gaussian in the plane, not the 99.7% of the line."""
    mixture = ring()
    found = mode_statistics(mixture, mixture.sample(20_000, rng=seeded()))
    assert found.covered == 8 and found.good.item() == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert found.kl < 0.002


@pytest.mark.parametrize("num_hit", range(1, 9))
def test_modes_hit_evenly_diverge_by_the_log_of_what_is_missing(num_hit):
    found = mode_statistics(ring(), at_modes(ring(), [10] * num_hit + [0] * (8 - num_hit)))
    assert found.covered == num_hit
    assert found.kl.item() == pytest.approx(math.log(8 / num_hit), abs=1e-12)


def test_a_divergence_is_never_negative_not_even_by_rounding():
    """Of 5, 13 or 26 modes that are hit evenly, log M less the entropy is a few times -1e-16."""
    for num_modes in range(2, 40):
        assert mode_statistics(ring(num_modes), at_modes(ring(num_modes), [7] * num_modes)).kl >= 0


def test_without_a_good_sample_nothing_is_covered_and_the_divergence_is_the_worst():
    found = mode_statistics(ring(), torch.zeros(10, 2))
    assert (found.covered, found.good) == (0, 0) and found.kl.item() == pytest.approx(math.log(8))


def test_a_sample_is_good_up_to_three_sigmas():
    assert mode_statistics(ring(), at_modes(ring(), [1] * 8, off=2.99)).good == 1
    assert mode_statistics(ring(), at_modes(ring(), [1] * 8, off=3.01)).good == 0


def test_a_stray_sample_covers_a_mode_unless_more_are_asked_for():
    samples = at_modes(ring(), [93, 1, 1, 1, 1, 1, 1, 1])
    assert mode_statistics(ring(), samples).covered == 8
    assert mode_statistics(ring(), samples, min_samples=2).covered == 1


def test_samples_that_are_not_finite_are_not_good():
    samples = torch.cat([at_modes(ring(), [5] * 8), torch.full((40, 2), math.nan), torch.full((20, 2), math.inf)])
    found = mode_statistics(ring(), samples)
    assert found.good == 0.4 and found.counts.tolist() == [5] * 8


def test_leading_dimensions_are_kept():
    samples = torch.stack([ring().sample(30, rng=seeded(seed)) for seed in range(6)]).unflatten(0, (2, 3))
    together = mode_statistics(ring(), samples)
    assert together.counts.shape == (2, 3, 8) and together.kl.shape == (2, 3)
    for row in range(2):
        for column in range(3):
            alone = mode_statistics(ring(), samples[row, column])
            for name in ("counts", "covered", "good", "kl"):
                assert torch.equal(getattr(together, name)[row, column], getattr(alone, name))


# The players


def test_players_have_the_stated_layers():
    generator = PointGenerator(latent_size=5, depth=3, width=7, activation="tanh")
    discriminator = PointDiscriminator(depth=1, width=7)
    assert generator(torch.zeros(4, 5)).shape == (4, 2) and discriminator(torch.zeros(4, 2)).shape == (4,)

    def kinds(network: nn.Module) -> list[str]:
        return [type(layer).__name__ for layer in network.layers]

    assert kinds(generator) == ["Linear", "Tanh"] * 3 + ["Linear"]
    assert kinds(discriminator) == ["Linear", "ReLU", "Linear"]
    shown = PointDiscriminator(depth=2, width=7, minibatch_std=True)
    assert kinds(shown) == ["Linear", "ReLU", "Linear", "ReLU", "MinibatchStd", "Linear"]
    assert sum(parameter.numel() for parameter in generator.parameters()) == 5 * 7 + 7 + 2 * (7 * 7 + 7) + 7 * 2 + 2


def test_initial_weights_fill_the_range_that_torch_uses():
    """The same range as that of a linear layer made by torch: within 1 / sqrt(inputs), and up to it."""
    for layer in (*PointGenerator(rng=seeded()).layers, *PointDiscriminator(rng=seeded()).layers):
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            torchs = nn.Linear(layer.in_features, 4096).weight.abs().max().item()
            assert torchs == pytest.approx(bound, rel=0.01)
            assert layer.weight.abs().max() <= bound and layer.bias.abs().max() <= bound
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)
            if len(layer.bias) > 100:
                assert layer.bias.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)


@pytest.mark.parametrize(
    "make",
    [
        PointGenerator,
        PointDiscriminator,
        partial(PointDiscriminator, minibatch_std=True),
        partial(PointDiscriminator, spectral_norm=True),
    ],
)
def test_initial_weights_depend_on_the_generator_alone_and_leave_torchs_random_numbers_alone(make):
    torch.manual_seed(1)
    first = make(rng=seeded(5)).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second, other = make(rng=seeded(5)).state_dict(), make(rng=seeded(6)).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    for name, value in first.items():
        assert torch.equal(value, second[name])
        assert not torch.equal(value, other[name]) or value.numel() == 1  # a norm of one row knows its left vector


@pytest.mark.parametrize("seed", range(3))
def test_spectral_norm_makes_every_largest_singular_value_one_from_the_start(seed):
    discriminator = PointDiscriminator(spectral_norm=True, rng=seeded(seed)).eval()
    linear = [layer for layer in discriminator.layers if isinstance(layer, nn.Linear)]
    found = torch.stack([torch.linalg.matrix_norm(layer.weight, 2) for layer in linear])
    torch.testing.assert_close(found, torch.ones(3), rtol=0.05, atol=0)
