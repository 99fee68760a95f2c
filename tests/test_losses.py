"""Seven games against formulae written a second time, their optima on known densities, and the edge of floats."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import get_args

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from torch import Tensor

from dcgan_core.config import InvalidInput, Loss
from dcgan_core.losses import (
    GAMES,
    PAIRED,
    critic_generator_loss,
    critic_loss,
    discriminator_loss,
    hinge_discriminator_loss,
    least_squares_discriminator_loss,
    minimax_generator_loss,
    non_saturating_generator_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    smoothed_discriminator_loss,
)


def mean(values) -> float:
    values = list(values)
    return math.fsum(values) / len(values)


def probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def cross_entropy(real: list[float], fake: list[float]) -> float:
    return -mean(math.log(probability(r)) for r in real) - mean(math.log(1 - probability(f)) for f in fake)


def difference_of_means(real: list[float], fake: list[float]) -> float:
    return mean(fake) - mean(real)


def minus_mean(fake: list[float]) -> float:
    return -mean(fake)


# As the papers print them, number by number, without torch: what the discriminator and the generator minimise. In a
# game that pairs the batches, the generator's also takes the real logits.
FORMULAE = {
    "non-saturating": (cross_entropy, lambda fake: -mean(math.log(probability(f)) for f in fake)),
    "minimax": (cross_entropy, lambda fake: mean(math.log(1 - probability(f)) for f in fake)),
    "wasserstein-clipping": (difference_of_means, minus_mean),
    "wasserstein-penalty": (difference_of_means, minus_mean),
    "hinge": (
        lambda real, fake: -mean(min(0, -1 + r) for r in real) - mean(min(0, -1 - f) for f in fake),
        minus_mean,
    ),
    "least-squares": (
        lambda real, fake: mean((r - 1) ** 2 for r in real) / 2 + mean(f**2 for f in fake) / 2,
        lambda fake: mean((f - 1) ** 2 for f in fake) / 2,
    ),
    "relativistic": (
        lambda real, fake: -mean(math.log(probability(r - f)) for r, f in zip(real, fake, strict=True)),
        lambda fake, real: -mean(math.log(probability(f - r)) for r, f in zip(real, fake, strict=True)),
    ),
}

# Derivatives of one term of the mean, by hand: of the real logit, of the fake one, and of the generator's fake one.
# In a game that pairs the batches, each is a function of its own logit and of the one beside it.
SLOPES = {
    "non-saturating": (lambda r: probability(r) - 1, probability, lambda f: probability(f) - 1),
    "minimax": (lambda r: probability(r) - 1, probability, lambda f: -probability(f)),
    "wasserstein-clipping": (lambda r: -1, lambda f: 1, lambda f: -1),
    "wasserstein-penalty": (lambda r: -1, lambda f: 1, lambda f: -1),
    "hinge": (lambda r: -1 if r < 1 else 0, lambda f: 1 if f > -1 else 0, lambda f: -1),
    "least-squares": (lambda r: r - 1, lambda f: f, lambda f: f - 1),
    "relativistic": (
        lambda r, f: probability(r - f) - 1,
        lambda f, r: probability(f - r),
        lambda f, r: -probability(r - f),
    ),
}


def textbook_minimax_loss(fake_logits: Tensor) -> Tensor:
    return (1 - fake_logits.sigmoid()).log().mean()


def textbook_non_saturating_loss(fake_logits: Tensor) -> Tensor:
    return -fake_logits.sigmoid().log().mean()


GENERATOR_LOSSES = [minimax_generator_loss, non_saturating_generator_loss]


def logits(num: int = 101, seed: int = 0) -> Tensor:
    return torch.randn(num, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 4


def batches(name: str) -> tuple[Tensor, Tensor]:
    """Real and fake logits; where the game allows it, not as many of each."""
    return logits(101 if name in PAIRED else 60, seed=1), logits(101, seed=2)


def generator_loss(game, name: str, real: Tensor):
    """The generator's loss as a function of the fake logits alone."""
    return (lambda fake: game.generator(fake, real)) if name in PAIRED else game.generator


def value_and_gradient(loss, at: float, dtype: torch.dtype = torch.float32) -> tuple[float, float]:
    logit = torch.tensor([at], dtype=dtype, requires_grad=True)
    value = loss(logit)
    value.backward()
    return value.item(), logit.grad.item()


def assert_finite_at_extreme_logits(loss) -> None:
    for at in (-1e4, -200.0, 200.0, 1e4):
        assert all(map(math.isfinite, value_and_gradient(loss, at))), f"not finite at {at}"


def assert_plays(game, name: str) -> None:
    """Both losses have the values of the formulae, also where the two batches may differ in size."""
    for_discriminator, for_generator = FORMULAE[name]
    real, fake = batches(name)
    expected = for_discriminator(real.tolist(), fake.tolist())
    assert game.discriminator(real, fake).item() == pytest.approx(expected, rel=1e-8), "discriminator"
    expected = for_generator(fake.tolist(), *([real.tolist()] if name in PAIRED else []))
    assert generator_loss(game, name, real)(fake).item() == pytest.approx(expected, rel=1e-8), "generator"


def test_every_game_of_the_config_can_be_played():
    assert set(GAMES) == set(get_args(Loss)) == set(FORMULAE) == set(SLOPES)


@pytest.mark.parametrize("name", GAMES)
def test_losses_are_the_formulae_of_the_papers(name):
    assert_plays(GAMES[name], name)


@pytest.mark.parametrize("name", GAMES)
def test_no_other_game_passes_for_this_one(name):
    """So the formulae tell the games apart; the two Wasserstein games differ in what limits the critic."""
    for other in GAMES.keys() - {name}:
        if not (name.startswith("wasserstein") and other.startswith("wasserstein")):
            with pytest.raises((AssertionError, InvalidInput, TypeError)):  # another number of logits, or of batches
                assert_plays(GAMES[other], name)


@pytest.mark.parametrize("name", GAMES)
def test_losses_have_the_derivatives_of_the_formulae(name):
    real, fake = (batch.requires_grad_() for batch in batches(name))
    GAMES[name].discriminator(real, fake).backward()
    of_real, of_fake, of_generator = SLOPES[name]

    def expected(slope, own: Tensor, other: Tensor) -> list[float]:
        pairs = zip(own.tolist(), other.tolist(), strict=True) if name in PAIRED else zip(own.tolist(), strict=True)
        return [slope(*pair) / len(own) for pair in pairs]

    assert real.grad.tolist() == pytest.approx(expected(of_real, real, fake), abs=1e-9)
    assert fake.grad.tolist() == pytest.approx(expected(of_fake, fake, real), abs=1e-9)
    (gradient,) = torch.autograd.grad(generator_loss(GAMES[name], name, real)(fake), fake)
    assert gradient.tolist() == pytest.approx(expected(of_generator, fake, real), abs=1e-9)


@pytest.mark.parametrize("name", GAMES)
def test_losses_have_the_derivatives_of_finite_differences(name):
    real, fake = logits(seed=1).requires_grad_(), logits(seed=2).requires_grad_()
    assert torch.autograd.gradcheck(GAMES[name].discriminator, (real, fake))
    assert torch.autograd.gradcheck(generator_loss(GAMES[name], name, real), fake)


@pytest.mark.parametrize("name", GAMES)
def test_losses_and_gradients_are_finite_at_extreme_logits(name):
    game = GAMES[name]
    for side in (1, -1):
        assert_finite_at_extreme_logits(lambda logit, side=side: game.discriminator(logit, side * logit))
        assert_finite_at_extreme_logits(generator_loss(game, name, torch.tensor([side * 1e4])))


@pytest.mark.parametrize("name", GAMES)
def test_the_generator_pulls_a_fake_towards_what_the_discriminator_calls_real(name):
    for at in (-5.0, -0.5, 0.5):
        assert value_and_gradient(generator_loss(GAMES[name], name, torch.tensor([0.3])), at)[1] < 0


def assert_is_hinge(loss) -> None:
    """Flat beyond the margin of 1, and never negative."""
    beyond = torch.tensor([1.5, 3.0, 100.0], requires_grad=True)
    value = loss(beyond, -beyond)
    assert value.item() == 0
    (gradient,) = torch.autograd.grad(value, beyond)
    assert not gradient.any()
    within = torch.tensor([0.5], requires_grad=True)
    assert loss(within, -within).item() == 1


def test_hinge_is_flat_beyond_its_margin():
    assert_is_hinge(hinge_discriminator_loss)


@pytest.mark.parametrize("mutant", [critic_loss, discriminator_loss, lambda real, fake: critic_loss(real, fake).relu()])
def test_mutant_wasserstein_loss_sold_as_hinge_is_caught(mutant):
    with pytest.raises(AssertionError):
        assert_is_hinge(mutant)


def test_only_the_wasserstein_loss_ignores_a_shift_and_grows_with_the_scale_of_the_scores():
    real, fake = logits(seed=1), logits(seed=2)
    torch.testing.assert_close(critic_loss(real + 5, fake + 5), critic_loss(real, fake))
    torch.testing.assert_close(critic_loss(3 * real, 3 * fake), 3 * critic_loss(real, fake))
    for loss in (hinge_discriminator_loss, discriminator_loss, least_squares_discriminator_loss):
        assert not torch.isclose(loss(real + 5, fake + 5), loss(real, fake))


# How often each of five places holds a real and a fake sample: densities p and q with the same total.
REAL_COUNTS, FAKE_COUNTS = torch.tensor([8, 4, 4, 3, 1]), torch.tensor([1, 4, 2, 6, 7])
P, Q = (counts.double() / 20 for counts in (REAL_COUNTS, FAKE_COUNTS))


def on_densities(loss, at: Tensor) -> Tensor:
    """The loss of a discriminator that gives place i the logit at[i]."""
    return loss(at.repeat_interleave(REAL_COUNTS), at.repeat_interleave(FAKE_COUNTS))


def minimise(loss) -> tuple[Tensor, float]:
    free = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [free], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = on_densities(loss, free)
        value.backward()
        return value

    optimizer.step(closure)
    return free.detach(), closure().item()


def test_the_best_discriminator_says_p_over_p_plus_q_and_its_loss_is_the_jensen_shannon_divergence():
    """Goodfellow et al. 2014, proposition 1 and theorem 1: the minimum is 2 log 2 - 2 JS(p, q)."""
    best, value = minimise(discriminator_loss)
    torch.testing.assert_close(best.sigmoid(), P / (P + Q), rtol=0, atol=1e-6)
    assert value == pytest.approx(2 * math.log(2) - 2 * jensenshannon(P, Q) ** 2, abs=1e-10)


def assert_best_discriminator_says_a_share_of_what_it_said(loss, share: float) -> None:
    best, _ = minimise(loss)
    torch.testing.assert_close(best.sigmoid(), share * P / (P + Q), rtol=0, atol=1e-6)


@pytest.mark.parametrize("share", [0.9, 0.5])
def test_the_best_smoothed_discriminator_says_a_share_of_p_over_p_plus_q(share):
    """Salimans et al. 2016, section 3.4, with nothing in the numerator for the generator's density."""
    assert_best_discriminator_says_a_share_of_what_it_said(
        partial(smoothed_discriminator_loss, real_label=share), share
    )


def smoothed_on_both_sides(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return smoothed_discriminator_loss(real_logits, fake_logits, real_label=0.9) - 0.1 * fake_logits.mean()


def smoothed_on_the_other_side(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return discriminator_loss(real_logits, fake_logits) - 0.1 * fake_logits.mean()


def with_a_smaller_weight(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """0.9 of the real term, and nothing in return."""
    return discriminator_loss(real_logits, fake_logits) - 0.1 * torch.nn.functional.softplus(-real_logits).mean()


@pytest.mark.parametrize(
    "mutant", [discriminator_loss, smoothed_on_both_sides, smoothed_on_the_other_side, with_a_smaller_weight]
)
def test_mutant_smoothing_is_caught(mutant):
    with pytest.raises(AssertionError):
        assert_best_discriminator_says_a_share_of_what_it_said(mutant, 0.9)


def test_smoothed_loss_is_the_cross_entropy_with_the_label_in_it():
    real, fake = logits(60, seed=1), logits(seed=2)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = entropy(real, torch.full_like(real, 0.9)) + entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(smoothed_discriminator_loss(real, fake, real_label=0.9), expected)
    assert smoothed_discriminator_loss(real, fake, real_label=1.0) == discriminator_loss(real, fake)
    for side in (1, -1):
        assert_finite_at_extreme_logits(
            lambda logit, side=side: smoothed_discriminator_loss(logit, side * logit, real_label=0.9)
        )


def test_the_best_least_squares_discriminator_also_says_p_over_p_plus_q():
    best, value = minimise(least_squares_discriminator_loss)
    torch.testing.assert_close(best, P / (P + Q), rtol=0, atol=1e-6)
    assert value == pytest.approx((P * Q / (P + Q)).sum().item() / 2, abs=1e-10)


def test_the_best_hinge_discriminator_says_one_or_minus_one_and_its_loss_is_the_overlap():
    """2 sum min(p, q), which is 2 (1 - total variation); convex, so no small change may lower it."""
    best = (P - Q).sign()
    value = on_densities(hinge_discriminator_loss, best)
    torch.testing.assert_close(value, 2 * torch.minimum(P, Q).sum())
    for change in 0.1 * torch.randn(200, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        assert on_densities(hinge_discriminator_loss, best + change) >= value


def test_a_linear_critic_of_slope_one_finds_the_distance_of_two_point_masses():
    here, there = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[-2.0, 2.0, 0.5]])  # 5 apart
    direction = torch.tensor([0.1, 0.2, 0.9], requires_grad=True)
    optimizer = torch.optim.SGD([direction], 0.3)
    for _ in range(100):
        optimizer.zero_grad()
        unit = direction / direction.norm()  # 1-Lipschitz, whatever the direction
        loss = critic_loss(here @ unit, there @ unit)
        loss.backward()
        optimizer.step()
    assert -loss.item() == pytest.approx(5, abs=1e-4)
    torch.testing.assert_close(unit.detach(), (here - there)[0] / 5, rtol=0, atol=1e-3)


def test_the_best_critic_of_slope_one_on_a_line_finds_the_wasserstein_distance():
    """Between neighbouring places it rises or falls with slope 1, whichever lowers the loss: exact, as it is linear."""
    places = torch.tensor([-1.0, 0.0, 0.5, 2.0, 4.0], dtype=torch.float64)
    slopes = torch.zeros(4, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        scores = torch.cat([places.new_zeros(1), (slopes * places.diff()).cumsum(0)])
        return on_densities(critic_loss, scores)

    (gradient,) = torch.autograd.grad(loss(), slopes)
    with torch.no_grad():
        slopes.copy_(-gradient.sign())
    expected = wasserstein_distance(places, places, P, Q)
    assert -loss().item() == pytest.approx(expected)
    below = [(P - Q)[: i + 1].sum().abs() * (b - a) for i, (a, b) in enumerate(pairwise(places.tolist()))]
    assert expected == pytest.approx(sum(below).item())  # the area between the distribution functions


def test_losses_of_a_discriminator_that_cannot_tell():
    undecided = torch.zeros(7, dtype=torch.float64)
    assert discriminator_loss(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert minimax_generator_loss(undecided).item() == pytest.approx(-math.log(2))
    assert non_saturating_generator_loss(undecided).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("mutant", [textbook_minimax_loss, textbook_non_saturating_loss])
def test_mutant_log_of_sigmoid_overflows(mutant):
    with pytest.raises(AssertionError, match="not finite"):
        assert_finite_at_extreme_logits(mutant)


def test_a_wrong_and_sure_discriminator_pays_its_logit():
    wrong = torch.tensor([1e4], dtype=torch.float64)
    assert discriminator_loss(-wrong, wrong).item() == 2e4
    assert discriminator_loss(wrong, -wrong).item() == 0


def test_minimax_gradient_vanishes_where_the_non_saturating_one_does_not():
    _, minimax = value_and_gradient(minimax_generator_loss, -20.0, torch.float64)
    _, non_saturating = value_and_gradient(non_saturating_generator_loss, -20.0, torch.float64)
    assert minimax == pytest.approx(-1 / (1 + math.exp(20)))
    assert non_saturating == pytest.approx(-1, abs=1e-8)


@pytest.mark.parametrize("at", [-20.0, -1.0, 0.0, 1.0, 20.0])
def test_both_generator_losses_push_the_logit_the_same_way(at):
    assert all(value_and_gradient(loss, at, torch.float64)[1] < 0 for loss in GENERATOR_LOSSES)


def test_minimax_players_play_a_zero_sum_game():
    fake = logits()
    certain = torch.full_like(fake, 1e4)  # real images that cost the discriminator nothing
    assert GAMES["minimax"].generator(fake) == -GAMES["minimax"].discriminator(certain, fake)


def test_minimax_and_non_saturating_are_played_against_the_same_discriminator_loss():
    assert GAMES["minimax"].discriminator is GAMES["non-saturating"].discriminator is discriminator_loss
    assert GAMES["non-saturating"].generator is non_saturating_generator_loss


@pytest.mark.parametrize("name", GAMES)
def test_losses_are_means_over_the_batch(name):
    game, real, fake = GAMES[name], logits(seed=1), logits(seed=2)
    torch.testing.assert_close(game.discriminator(real.repeat(3), fake.repeat(3)), game.discriminator(real, fake))
    loss, of_three = (generator_loss(game, name, batch) for batch in (real, real.repeat(3)))
    torch.testing.assert_close(of_three(fake.repeat(3)), loss(fake))
    assert game.discriminator(real, fake).shape == loss(fake).shape == ()


def test_hinge_and_wasserstein_generators_minimise_the_same():
    games = ("hinge", "wasserstein-clipping", "wasserstein-penalty")
    assert {GAMES[name].generator for name in games} == {critic_generator_loss}


def of_all_pairs(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(B,) - (B, 1) is (B, B): every fake logit against every real one."""
    return torch.nn.functional.softplus(fake_logits.view(-1, 1) - real_logits.flatten()).mean()


def of_the_batch_mean(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """A real image against the fake ones on average: half of another game (RaSGAN)."""
    return torch.nn.functional.softplus(fake_logits.mean() - real_logits).mean()


def of_switched_players(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return relativistic_generator_loss(fake_logits, real_logits)


@pytest.mark.parametrize("mutant", [of_all_pairs, of_the_batch_mean, of_switched_players])
def test_mutant_that_is_not_paired_row_by_row_is_caught(mutant):
    with pytest.raises(AssertionError, match="discriminator"):
        assert_plays(GAMES["relativistic"]._replace(discriminator=mutant), "relativistic")


@pytest.mark.parametrize("loss", [relativistic_discriminator_loss, relativistic_generator_loss])
def test_logits_that_cannot_be_paired_are_refused_instead_of_broadcast(loss):
    for other in (logits(6)[:, None], logits(5), logits(1)):
        with pytest.raises(InvalidInput, match="row by row, but their shapes are"):
            loss(logits(6), other)


def test_a_relativistic_game_knows_differences_only():
    real, fake = logits(seed=1), logits(seed=2)
    for loss in (relativistic_discriminator_loss, relativistic_generator_loss):
        torch.testing.assert_close(loss(real + 7, fake + 7), loss(real, fake))
        assert loss(real, real).item() == pytest.approx(math.log(2))


def test_the_players_of_the_relativistic_game_change_places_with_their_images():
    real, fake = logits(seed=1), logits(seed=2)
    assert relativistic_generator_loss(fake, real) == relativistic_discriminator_loss(fake, real)
