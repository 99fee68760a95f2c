"""What chapter 03 claims, measured."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from dcgan_core.config import Config
from dcgan_core.data import Batches, Dataset, load
from dcgan_core.losses import discriminator_loss, minimax_generator_loss, non_saturating_generator_loss
from dcgan_core.metrics import judge_for
from dcgan_core.models import build
from dcgan_core.steps import frozen, update_discriminator
from dcgan_core.train import draw_latents, sample, train

SEEDS = range(5)
SMALL = Config(
    image_size=16,
    generator_width=8,
    discriminator_width=8,
    batch_size=32,
    total_images=8_000,
    evaluate_every_images=0,
    ema_halflife_images=0,
)
X = torch.linspace(-6, 8, 1401)
REAL = MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([-1.5, 1.5]), 0.5))
FAKE = Normal(0.5, 1.0)


def jensen_shannon(first, second) -> float:
    p, q = (distribution.log_prob(X).exp() for distribution in (first, second))
    m = ((p + q) / 2).clamp(min=1e-30)
    return sum(float(torch.trapezoid(torch.special.xlogy(a, a / m), X)) for a in (p, q)) / 2


def trained_discriminator(seed: int, steps: int = 500) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1), nn.Flatten(0)
    discriminator = nn.Sequential(*layers)
    adam = torch.optim.Adam(discriminator.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(adam, 1, 0.02, steps)
    for _ in range(steps):
        loss = discriminator_loss(discriminator(REAL.sample((512, 1))), discriminator(FAKE.sample((512, 1))))
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return discriminator


@pytest.fixture(scope="module")
def judges() -> list[nn.Module]:
    return [trained_discriminator(seed) for seed in SEEDS]


@torch.no_grad()
def test_a_discriminator_trained_on_samples_comes_near_the_formula_where_there_are_samples(judges):
    p, q = (distribution.log_prob(X).exp() for distribution in (REAL, FAKE))
    for judge in judges:
        error = (judge(X[:, None]).sigmoid() - p / (p + q)).abs()
        assert torch.trapezoid(error * (p + q) / 2, X) < 0.05
        rare, frequent = (p + q) < 1e-4, (p + q) > 1e-2
        assert error[rare].mean() > 5 * error[frequent].mean()


@torch.no_grad()
def test_its_value_is_minus_log_4_plus_twice_the_jensen_shannon_divergence(judges):
    expected = -math.log(4) + 2 * jensen_shannon(REAL, FAKE)
    for judge in judges:
        value = -discriminator_loss(judge(REAL.sample((100_000, 1))), judge(FAKE.sample((100_000, 1))))
        assert value == pytest.approx(expected, abs=0.03)


def test_the_divergence_is_flat_where_the_two_do_not_overlap():
    values = np.array([jensen_shannon(Normal(0.0, 0.5), Normal(shift, 0.5)) for shift in (0, 0.1, 1, 1.1, 5, 5.1)])
    near, middle, far = np.diff(values)[::2]
    assert values[0] == pytest.approx(0, abs=1e-6) and values[-1] == pytest.approx(math.log(2), abs=1e-3)
    assert far < 1e-3 * middle and near < middle


def gradient_norm(loss, generator: nn.Module, discriminator: nn.Module, latents: Tensor) -> float:
    with frozen(discriminator):
        gradients = torch.autograd.grad(loss(discriminator(generator(latents))), list(generator.parameters()))
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


@pytest.fixture(scope="module")
def letters() -> Dataset:
    return load("glyphs", image_size=16)


@pytest.fixture(scope="module")
def norms(letters) -> dict[str, np.ndarray]:
    """Norm of each loss's gradient in the generator (seeds, moments) after 0, 10 and 160 updates of the other."""
    losses = {"minimax": minimax_generator_loss, "non-saturating": non_saturating_generator_loss}
    found: dict[str, list[list[float]]] = {name: [[] for _ in SEEDS] for name in losses}
    for seed in SEEDS:
        torch.manual_seed(seed)
        generator, discriminator = build(SMALL)
        adam = torch.optim.Adam(discriminator.parameters(), 2e-3, (0.5, 0.999))
        batches = Batches(letters.images, batch_size=32, seed=0)
        for step in range(161):
            latents = torch.randn(32, SMALL.latent_size)
            if step in (0, 10, 160):
                for name, loss in losses.items():
                    found[name][seed].append(gradient_norm(loss, generator, discriminator, latents))
            with torch.no_grad():
                fake = generator(latents)
            update_discriminator(discriminator, adam, discriminator_loss, batches(step), fake)
    return {name: np.array(values) for name, values in found.items()}


def test_the_two_gradients_start_alike_and_part_by_orders_of_magnitude(norms):
    ratios = norms["non-saturating"] / norms["minimax"]
    assert (ratios[:, 0] > 0.5).all() and (ratios[:, 0] < 2).all()
    assert (ratios[:, -1] > 20).all() and np.median(ratios[:, -1]) > 100


def test_both_gradients_grow_at_first_and_the_minimax_one_ends_far_below_its_own_start(norms):
    for values in norms.values():
        assert (values[:, 1] > 1.5 * values[:, 0]).all(), values
    assert np.median(norms["minimax"][:, -1] / norms["minimax"][:, 0]) < 0.5, norms["minimax"]


def test_minimax_listens_to_fakes_that_pass_for_real_and_the_other_loss_to_those_that_are_seen_through():
    """The weight of each fake in the batch's gradient is D, or 1 - D."""
    logits = torch.tensor([-4.0, -1.0, 0.0, 2.0], requires_grad=True)
    probability = logits.detach().sigmoid()
    for loss, weight in ((minimax_generator_loss, probability), (non_saturating_generator_loss, 1 - probability)):
        (slope,) = torch.autograd.grad(loss(logits) * len(logits), logits)
        torch.testing.assert_close(-slope, weight)


def test_against_the_best_discriminator_the_non_saturating_gradient_is_that_of_kl_minus_two_jensen_shannon():
    """By integrals over a line; the fakes are z + theta, and the discriminator is the best one for theta = 0.5."""
    x, p = X.double(), REAL.log_prob(X).exp().double()

    def density(theta: Tensor) -> Tensor:
        return (-((x - theta) ** 2) / 2).exp() / math.sqrt(2 * math.pi)

    theta = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    fixed = density(theta).detach()
    loss = torch.trapezoid(-density(theta) * (p / (p + fixed)).log(), x)
    q = density(theta)
    m = (p + q) / 2
    shannon = (torch.trapezoid(torch.special.xlogy(p, p / m), x) + torch.trapezoid(q * (q / m).log(), x)) / 2
    divergence = torch.trapezoid(q * (q / p).log(), x) - 2 * shannon
    (ours,), (theirs,) = torch.autograd.grad(loss, theta), torch.autograd.grad(divergence, theta)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    (without,) = torch.autograd.grad(torch.trapezoid(density(theta) * (density(theta) / p).log(), x), theta)
    assert abs(float(without - ours)) > 0.01, "the second term matters"


def test_a_constant_factor_on_the_gradient_makes_no_difference_to_adam():
    ends = []
    for factor in (1.0, 1e-3):
        weight = torch.tensor([1.0, -2.0], requires_grad=True)
        adam = torch.optim.Adam([weight], 0.01, (0.5, 0.999))
        for _ in range(20):
            adam.zero_grad()
            (factor * weight.square().sum()).backward()
            adam.step()
        ends.append(weight.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=0)


def play(num_steps: int, *, alternate: bool, momentum: float = 0.0, rate: float = 0.1) -> np.ndarray:
    """Radius after each step of the game V = a b, in which b moves first."""
    a, b, a_mean, b_mean, radius = 1.0, 0.0, 0.0, 0.0, [1.0]
    for _ in range(num_steps):
        before = b
        b_mean = momentum * b_mean + (1 - momentum) * a
        b += rate * b_mean
        a_mean = momentum * a_mean + (1 - momentum) * (b if alternate else before)
        a -= rate * a_mean
        radius.append(math.hypot(a, b))
    return np.array(radius)


def test_at_once_every_step_lengthens_the_radius_by_the_same_factor():
    radius = play(500, alternate=False)
    np.testing.assert_allclose(radius[1:] / radius[:-1], math.sqrt(1 + 0.1**2))


def test_in_turns_the_players_circle():
    radius = play(10_000, alternate=True)
    assert radius.min() > 0.9 and radius.max() < 1.1


def test_a_running_mean_feeds_the_circling():
    still, half, most = (play(200, alternate=True, momentum=momentum)[-1] for momentum in (0.0, 0.5, 0.9))
    assert still < 1.1 and half > 2 * still and most > 2 * half


@pytest.mark.slow
def test_beta1_of_0_9_ends_further_from_real_letters_than_0_5_in_the_median_and_for_at_least_four_of_five_seeds(
    letters, tmp_path
):
    judge, latents = judge_for(SMALL), draw_latents(1_000, SMALL.latent_size, seed=1)
    distances = {}
    for beta1 in (0.5, 0.9):
        for seed in SEEDS:
            state = train(
                replace(SMALL, beta1=beta1, seed=seed), tmp_path / f"{beta1}-{seed}", dataset=letters, progress=False
            )
            distances[beta1, seed] = judge.report(sample(state.sampler, latents))["frechet_distance"]
    halves, nines = ([distances[beta1, seed] for seed in SEEDS] for beta1 in (0.5, 0.9))
    assert statistics.median(halves) < statistics.median(nines)
    assert sum(half < nine for half, nine in zip(halves, nines, strict=True)) >= 4


def test_both_losses_can_rise_at_once_with_the_non_saturating_loss_and_never_in_the_minimax_game():
    """Real images recognised worse, and fakes caught better: both players lose more than before."""
    before, after = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, -1.0])  # logits of a real and of a fake image
    real, fake = zip(before, after, strict=True)
    discriminator = [discriminator_loss(r, f) for r, f in zip(real, fake, strict=True)]
    generator = [non_saturating_generator_loss(f) for f in fake]
    assert discriminator[1] > discriminator[0] and generator[1] > generator[0]
    assert minimax_generator_loss(fake[0]) == -discriminator_loss(torch.tensor(1e4), fake[0])
