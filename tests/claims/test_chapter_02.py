"""What chapter 02 claims, measured with the chapter's own cells."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import gaussian_kde, norm, wasserstein_distance
from sklearn.mixture import GaussianMixture

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02_generative_models.ipynb"
SEEDS = range(5)


def source_with(definition: str) -> str:
    """The one code cell of the chapter that holds this text."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    found = [source for source in cells if definition in source]
    assert len(found) == 1, f"{len(found)} cells with {definition!r}"
    return found[0]


def run(namespace: dict[str, Any], *definitions: str) -> None:
    for definition in definitions:
        exec(source_with(definition), namespace)


@pytest.fixture(scope="module")
def line(one_thread: None) -> dict[str, Any]:
    """The names of the chapter after its first cells: truth, data, held_out, distance and the fitted Gaussians."""
    namespace: dict[str, Any] = {}
    run(namespace, "truth = MixtureSameFamily", "def distance", "def column")
    return namespace


@pytest.fixture(scope="module")
def gan(line) -> dict[str, Any]:
    run(line, "class Layer", "def network", "def train_gan")
    return line


def test_the_distance_by_hand_is_scipys(line):
    a, b = line["truth"].sample((500,)), line["truth"].sample((500,)) + 1
    assert np.isclose(line["distance"](a, b), wasserstein_distance(a, b), atol=1e-5)


def test_a_copier_comes_nearly_as_close_as_real_data_and_makes_nothing_new(line):
    truth, held_out, distance = line["truth"], line["held_out"], line["distance"]
    for seed in SEEDS:
        torch.manual_seed(seed)
        data = truth.sample((5_000,))
        copies = data[torch.randint(5_000, (10_000,))]
        gaussian = norm(data.mean(), data.std()).rvs(10_000, random_state=seed)
        assert torch.isin(copies, data).all()
        assert distance(copies, held_out) < 0.15
        assert distance(torch.from_numpy(gaussian).float(), held_out) > 0.35


def test_three_gaussians_reach_the_truths_likelihood_and_one_does_not(line):
    """The ceiling is that of the expectation, so each comparison has the same held-out examples on both sides."""
    held_out = line["held_out"]
    ceiling = line["truth"].log_prob(held_out).mean().item()
    one, three = (line[name].score(line["column"](held_out)) for name in ("one", "three"))
    assert abs(three - ceiling) < 0.01
    assert one < ceiling - 0.3


def test_with_60_examples_more_gaussians_fit_these_better_and_held_out_examples_worse(line):
    gap, held = {count: [] for count in (3, 10)}, {count: [] for count in (1, 3, 10)}
    for seed in SEEDS:
        torch.manual_seed(seed)
        few = line["column"](line["truth"].sample((60,)))
        for count in (1, 3, 10):
            fit = GaussianMixture(count, random_state=seed).fit(few)
            held[count].append(fit.score(line["column"](line["held_out"])))
            if count in gap:
                gap[count].append(fit.score(few))
    assert median(gap[10]) > median(gap[3]) + 0.1
    assert median(held[3]) > median(held[1]) + 0.2
    assert median(held[3]) > median(held[10]) + 0.2


def test_an_image_has_more_terms_than_any_computer_can_add():
    assert len(str(256 ** (32 * 32))) == 2467


def test_random_points_find_the_normalising_constant_in_2_dimensions_and_miss_it_by_nats_in_20(line):
    run(line, "def log_z_error")
    errors = {dimensions: [line["log_z_error"](dimensions, seed) for seed in SEEDS] for dimensions in (2, 20)}
    assert max(abs(error) for error in errors[2]) < 0.1
    assert all(error < -1 for error in errors[20])
    assert median(errors[20]) < -2


def test_maximum_likelihood_covers_both_peaks_and_the_reverse_direction_chooses_the_larger(line):
    run(line, "def gaussian_at")
    p, gaussian_at, divergence = line["two_peaks"], line["gaussian_at"], line["divergence"]
    covering = minimize(lambda values: divergence(p, gaussian_at(values)), (0, 0.0), method="Nelder-Mead").x
    seeking = [
        minimize(lambda values: divergence(gaussian_at(values), p), (start, 0.0), method="Nelder-Mead")
        for start in (-3, 0, 3)
    ]
    # the Gaussian with the data's mean and variance, in closed form
    assert np.isclose(covering[0], -0.4, atol=0.01)
    assert np.isclose(np.exp(covering[1]), np.sqrt(0.25 + 0.6 * 0.4 * 16), atol=0.01)
    best = min(seeking, key=lambda fit: fit.fun)
    assert np.isclose(best.x[0], -2, atol=0.02) and np.isclose(best.fun, -np.log(0.6), atol=0.01)
    assert p[np.argmax(gaussian_at(covering))] < 0.01 * p.max()  # its peak stands where nothing is


def test_the_gan_takes_about_forty_lines(line):
    cells = (source_with(text) for text in ("class Layer", "def network", "def train_gan"))
    lines = [text for cell in cells for text in cell.splitlines() if text.strip()]
    assert 30 <= len([text for text in lines if "import" not in text]) <= 50


def test_the_pairs_that_train_at_once_share_nothing(gan):
    """The weights of one pair have no gradient from another pair's loss."""
    generator, discriminator = gan["network"](3), gan["network"](3)
    losses = gan["softplus"](-discriminator(generator(torch.randn(3, 8, 1))))
    losses[1].mean().backward()
    for parameter in [*generator.parameters(), *discriminator.parameters()]:
        assert not parameter.grad[0].any() and not parameter.grad[2].any()


def test_a_generator_learns_the_line_from_samples_alone_and_leaves_too_many_of_its_own_in_the_valleys(gan):
    """With 500 steps instead of the chapter's thousands; valleys are within 0.3 of the cuts."""
    torch.manual_seed(1)
    held_out, distance = gan["held_out"], gan["distance"]
    gaussian = torch.from_numpy(gan["one"].sample(10_000)[0][:, 0]).float()
    with torch.no_grad():
        before = gan["network"](5)(torch.randn(5, 10_000, 1))[..., 0]
    generator = gan["train_gan"](gan["data"], 5, 500)
    with torch.no_grad():
        after = generator(torch.randn(5, 10_000, 1))[..., 0]
    distances = [distance(points, held_out) for points in after]
    assert median(distances) < distance(gaussian, held_out)
    assert median(distances) < 0.5 * median(distance(points, held_out) for points in before)

    def in_valleys(points: torch.Tensor) -> float:
        return ((points[:, None] - torch.tensor([-0.6, 1.55])).abs() < 0.3).any(dim=1).float().mean().item()

    assert median(in_valleys(points) for points in after) > 1.5 * in_valleys(held_out)


def test_a_density_pieced_together_from_samples_depends_on_the_width_that_one_chose(line):
    """The same samples, of the truth itself, get scores that are nats apart."""
    torch.manual_seed(0)
    points, others = line["truth"].sample((2_000,)), line["truth"].sample((1_000,))
    spread = points.std().item()
    scores = [np.log(gaussian_kde(points, width / spread)(others).clip(1e-300)).mean() for width in (0.001, 0.1)]
    assert scores[1] > scores[0] + 1


def test_diffusion_with_a_perfect_network_needs_dozens_of_steps_and_is_then_nearly_exact(line):
    run(line, "def diffuse")
    torch.manual_seed(0)
    distances = [line["distance"](line["diffuse"](steps), line["held_out"]) for steps in (1, 5, 25, 100)]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 1 and distances[1] > 0.4 and distances[3] < 0.1


def test_half_of_the_examples_lie_left_of_the_first_valley(line):
    """And the two cuts lie where the density has its lowest points between the peaks."""
    cut = torch.tensor([-0.6, 1.55])
    shares = torch.bincount(torch.bucketize(line["held_out"], cut), minlength=3) / 10_000
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.02)
    for valley in cut:
        nearby = valley + torch.linspace(-0.6, 0.6, 121)
        lowest = nearby[line["truth"].log_prob(nearby).argmin()]
        assert abs(lowest - valley) < 0.1
