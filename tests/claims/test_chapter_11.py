"""What chapter 11 claims, measured. Five seeds at once, as one batch, wherever chance plays a part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr, wasserstein_distance
from torch import Tensor, nn

from dcgan_core.laboratory import ensemble
from dcgan_core.laboratory.ensemble import COLLAPSES, COVERS, History
from dcgan_core.laboratory.mixtures import PointDiscriminator, mode_statistics, ring
from dcgan_core.laboratory.stacked import stack
from dcgan_core.losses import GAMES, critic_loss, gradient_penalty
from dcgan_core.models import Discriminator
from dcgan_core.steps import clip_weights, update_discriminator

NUM_SEEDS = 5
WIDTH = 64
Sample = Callable[[int], Tensor]  # num to (5, num, 2)


pytestmark = pytest.mark.usefixtures("one_thread")


# Linear programs


def transport(p: np.ndarray, q: np.ndarray, cost: np.ndarray):
    leaves = np.kron(np.eye(len(p)), np.ones(len(q)))
    arrives = np.kron(np.ones(len(p)), np.eye(len(q)))
    return linprog(cost.ravel(), A_eq=np.vstack([leaves, arrives]), b_eq=np.concatenate([p, q]))


def best_critic(points: np.ndarray, weights: np.ndarray):
    one, other = np.nonzero(~np.eye(len(points), dtype=bool))
    rise = np.zeros((len(one), len(points)))
    rise[np.arange(len(one)), one], rise[np.arange(len(one)), other] = 1, -1
    return linprog(-weights, A_ub=rise, b_ub=cdist(points, points)[one, other], bounds=(None, None))


@pytest.mark.parametrize("theta", [-2.0, 0.0, 0.01, 1.0])
def test_parallel_lines_are_as_far_apart_as_they_are_moved(theta):
    heights, quarter = np.linspace(0, 1, 4), np.full(4, 0.25)
    real, fake = (np.stack([np.full(4, x), heights], axis=1) for x in (0.0, theta))
    assert transport(quarter, quarter, cdist(real, fake)).fun == pytest.approx(abs(theta))


def test_on_one_line_the_program_agrees_with_scipys_distance():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=6), rng.normal(size=8) + 1
    found = transport(np.full(6, 1 / 6), np.full(8, 1 / 8), np.abs(a[:, None] - b)).fun
    assert found == pytest.approx(wasserstein_distance(a, b))


@pytest.mark.parametrize("seed", range(5))
def test_plan_and_critic_have_the_same_value_and_the_critic_has_slope_one_on_the_journeys_only(seed):
    rng = np.random.default_rng(seed)
    real, fake, eighth = rng.normal(size=(8, 2)) * 0.6, rng.normal(size=(8, 2)) * 1.4 + [2, 0], np.full(8, 1 / 8)
    own = transport(eighth, eighth, cdist(real, fake))
    critic = best_critic(np.concatenate([real, fake]), np.concatenate([eighth, -eighth]))
    assert -critic.fun == pytest.approx(own.fun)
    slopes = (critic.x[:8, None] - critic.x[8:]) / cdist(real, fake)
    travelled = own.x.reshape(8, 8) > 1e-9
    np.testing.assert_allclose(slopes[travelled], 1)
    assert slopes[~travelled].max() < 1 + 1e-9 and (slopes[~travelled] < 0.9).any()


# Critics of known distributions


def cloud(x: float = 0.0, y: float = 0.0, size: float = 1.0) -> Sample:
    return lambda num: torch.tensor([x, y]) + size * torch.randn(NUM_SEEDS, num, 2)


def circle(num: int) -> Tensor:
    angle = 2 * math.pi * torch.rand(NUM_SEEDS, num)
    return 2 * torch.stack([angle.cos(), angle.sin()], dim=-1)


def build_critics(activation="tanh", depth: int = 2) -> nn.Sequential:
    rngs = [torch.Generator().manual_seed(seed) for seed in range(NUM_SEEDS)]
    networks = [PointDiscriminator(width=WIDTH, depth=depth, activation=activation, rng=rng) for rng in rngs]
    return stack(networks).append(nn.Flatten(1))


def flat(critics: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda points: critics(points.unflatten(0, (NUM_SEEDS, -1))).flatten()


def paper_penalty(weight: float = 10.0):
    def penalty(critics: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return weight * gradient_penalty(flat(critics), real.flatten(0, 1), fake.flatten(0, 1))

    return penalty


def train_critics(real: Sample, fake: Sample, *, steps: int, penalty=None, clip=None, **network) -> nn.Sequential:
    torch.manual_seed(0)
    critics = build_critics(**network)
    adam = torch.optim.Adam(critics.parameters(), 5e-3, (0.5, 0.9))
    schedule = torch.optim.lr_scheduler.LinearLR(adam, 1, 0.02, steps)
    for _ in range(steps):
        update_discriminator(critics, adam, critic_loss, real(128), fake(128), penalty=penalty)
        if clip is not None:
            clip_weights(critics, clip)
        schedule.step()
    return critics


@torch.no_grad()
def reading(critics: nn.Module, real: Sample, fake: Sample) -> Tensor:
    return critics(real(4000)).mean(dim=1) - critics(fake(4000)).mean(dim=1)


def assert_reads(values: Tensor, expected: float, *, within: float) -> None:
    """For every seed, with a relative error."""
    torch.testing.assert_close(values, torch.full_like(values, expected), rtol=within, atol=0)


def test_without_a_limit_the_reading_grows_with_the_training():
    pair = cloud(), cloud(2.0)
    first, second = (reading(train_critics(*pair, steps=steps), *pair) for steps in (25, 50))
    assert first.min() > 2 * 2 and (second > 1.4 * first).all()


@pytest.fixture(scope="module")
def clipped() -> dict[str, tuple[nn.Module, Tensor]]:
    """Critics with weights of at most 0.03, and their reading over the distance."""
    found = {}
    for name, fake, distance in (
        ("1 to the right", cloud(1.0), 1.0),
        ("4 to the right", cloud(4.0), 4.0),
        ("diagonally", cloud(0.5**0.5, 0.5**0.5), 1.0),
        ("twice as large", cloud(size=2.0), math.sqrt(math.pi / 2)),
    ):
        critics = train_critics(cloud(), fake, steps=120, clip=0.03)
        found[name] = critics, reading(critics, cloud(), fake) / distance
    return found


def test_a_clipped_critic_reads_c_times_cn_squared_times_the_distance_of_a_shift_to_the_right(clipped):
    for name in ("1 to the right", "4 to the right"):
        assert_reads(clipped[name][1], 0.03 * (0.03 * WIDTH) ** 2, within=0.08)


def test_that_factor_is_root_two_larger_along_the_diagonal(clipped):
    assert_reads(clipped["diagonally"][1] / clipped["4 to the right"][1], math.sqrt(2), within=0.08)


def test_a_clipped_critic_is_blind_to_a_cloud_of_twice_the_size(clipped):
    assert (clipped["twice as large"][1] < 0.15 * clipped["4 to the right"][1]).all()


def test_nearly_all_clipped_weights_are_at_a_limit(clipped):
    weights = nn.utils.parameters_to_vector(clipped["4 to the right"][0].parameters())
    assert (weights.abs() >= 0.99 * 0.03).float().mean() > 0.9


@pytest.mark.parametrize(
    ("limit", "low", "high"),
    [({"clip": 0.01}, 0, 1e-6), ({"clip": 0.1}, 30, math.inf), ({"penalty": paper_penalty()}, 0.1, 10)],
    ids=["clipped at 0.01", "clipped at 0.1", "penalty"],
)
def test_through_eight_layers_clipping_makes_the_gradient_die_or_explode_and_the_penalty_keeps_it(limit, low, high):
    critics = train_critics(cloud(), cloud(2.0), steps=100, activation="relu", depth=8, **limit)
    signals = [cloud(2.0)(256).requires_grad_()]
    for layer in critics:
        signals.append(layer(signals[-1]))
    last_hidden = [signal for layer, signal in zip(critics, signals[1:], strict=True) if isinstance(layer, nn.ReLU)][-1]
    gradients = torch.autograd.grad(signals[-1].sum(), [signals[0], last_hidden])
    at_input, at_last = (gradient.norm(dim=-1).mean(dim=1) for gradient in gradients)
    assert low <= (at_input / at_last).min() and (at_input / at_last).max() <= high


@pytest.mark.parametrize(("shift", "weight"), [(2.0, 10.0), (4.0, 10.0), (2.0, 1.0)])
def test_a_penalised_critic_reads_d_plus_d_squared_over_two_lambda_of_a_shift(shift, weight):
    pair = cloud(), cloud(shift)
    critics = train_critics(*pair, steps=150, penalty=paper_penalty(weight))
    assert_reads(reading(critics, *pair), shift + shift**2 / (2 * weight), within=0.08)


def test_with_a_tiny_weight_critics_are_a_sixth_below_the_formula_after_as_many_updates():
    pair = cloud(), cloud(2.0)
    read = reading(train_critics(*pair, steps=150, penalty=paper_penalty(0.1)), *pair)
    assert 0.78 < float(read.median()) / (2 + 2**2 / 0.2) < 0.9, read


def test_a_penalised_critic_sees_a_cloud_of_twice_the_size_within_20_per_cent():
    pair = cloud(), cloud(size=2.0)
    critics = train_critics(*pair, steps=300, penalty=paper_penalty())
    assert_reads(reading(critics, *pair), math.sqrt(math.pi / 2), within=0.2)


# Details of the penalty


def slopes_at(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    points = points.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return gradient.square().sum(dim=1).clamp(min=1e-12).sqrt()


def two_sided(slope: Tensor) -> Tensor:
    return (slope - 1).square()


def one_sided(slope: Tensor) -> Tensor:
    return (slope - 1).clamp(min=0).square()


def one_each(num: int) -> Tensor:
    return torch.rand(num, 1)


def one_for_all(num: int) -> Tensor:
    return torch.rand(1, 1).expand(num, 1)


def from_a_normal(num: int) -> Tensor:
    return torch.randn(num, 1)


def penalty_with(make_mix=one_each, excess=two_sided):
    def penalty(critics: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        mix = torch.cat([make_mix(real.shape[1]) for _ in range(NUM_SEEDS)])
        between = torch.lerp(fake.flatten(0, 1), real.flatten(0, 1), mix)
        return 10 * excess(slopes_at(flat(critics), between)).mean()

    return penalty


def test_one_mix_for_the_batch_is_right_on_average_and_noisy_and_a_normal_mix_is_another_number():
    torch.manual_seed(0)
    critic = PointDiscriminator(activation="tanh", rng=torch.Generator().manual_seed(0))
    real, fake = 0.4 * torch.randn(128, 2), 2 + 0.4 * torch.randn(128, 2)
    values = {}
    for make_mix in (one_each, one_for_all, from_a_normal):
        mixes = [make_mix(128) for _ in range(300)]
        values[make_mix] = torch.stack(
            [two_sided(slopes_at(critic, torch.lerp(fake, real, mix))).mean().detach() for mix in mixes]
        )
    right, noisy, wrong = values.values()
    assert noisy.std() > 5 * right.std()
    standard_error = float(noisy.std()) / math.sqrt(300)
    assert abs(noisy.mean() - right.mean()) < 4 * standard_error < abs(wrong.mean() - right.mean())


def test_two_thirds_of_the_points_of_a_normal_mix_lie_beyond_the_ends():
    mix = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    assert ((mix < 0) | (mix > 1)).float().mean() == pytest.approx(2 / 3, abs=0.02)


def test_with_one_mix_for_the_batch_critics_of_a_circle_lag_behind_and_a_normal_mix_does_no_great_harm():
    clump, distance = cloud(size=0.1), 2 - 0.1 * math.sqrt(math.pi / 2)
    found = {}
    for make_mix in (one_each, one_for_all, from_a_normal):
        critics = train_critics(circle, clump, steps=200, penalty=penalty_with(make_mix))
        found[make_mix] = (reading(critics, circle, clump) / distance).median()
    assert found[one_for_all] < found[one_each] - 0.05
    assert abs(found[from_a_normal] - found[one_each]) < 0.1


def test_between_equal_clouds_the_two_sided_critic_has_slope_one_and_the_one_sided_less():
    steepness = {}
    for excess in (two_sided, one_sided):
        critics = train_critics(cloud(), cloud(), steps=150, penalty=penalty_with(excess=excess))
        at_points = slopes_at(flat(critics), cloud()(500).flatten(0, 1)).detach()
        steepness[excess] = at_points.unflatten(0, (NUM_SEEDS, -1)).mean(dim=1)
        assert reading(critics, cloud(), cloud()).abs().max() < 0.1
    assert_reads(steepness[two_sided], 1, within=0.08)
    assert steepness[one_sided].max() < 0.9


@pytest.mark.parametrize(("norm", "leaks"), [("batch", True), ("layer", False), ("none", False)])
def test_only_with_batch_norm_a_score_has_a_gradient_at_other_images(norm, leaks):
    torch.manual_seed(0)
    critic = Discriminator(image_size=16, channels=1, width=8, norm=norm)
    images = torch.rand(8, 1, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images)[0], images)
    assert (gradient[1:].norm() > 0.01 * gradient.norm()) == leaks
    assert leaks or not gradient[1:].any()


def test_at_a_slope_of_zero_the_bare_root_gives_nan_and_torchs_norm_and_a_floor_do_not():
    finite = []
    for root in (
        lambda gradient: gradient.square().sum(dim=1).sqrt(),
        lambda gradient: gradient.norm(dim=1),
        lambda gradient: gradient.square().sum(dim=1).clamp(min=1e-12).sqrt(),
    ):
        critic = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(critic.weight)
        points = torch.ones(8, 2, requires_grad=True)
        (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
        (root(gradient) - 1).square().mean().backward()
        finite.append(bool(critic.weight.grad.isfinite().all()))
    assert finite == [False, True, True]


# Trained to the end


def line_at(x: float) -> Sample:
    def sample(num: int) -> Tensor:
        height = torch.rand(NUM_SEEDS, num)
        return torch.stack([torch.full_like(height, x), height], dim=-1)

    return sample


@pytest.fixture(scope="module")
def pushes() -> dict[tuple[str, int], tuple[Tensor, Tensor]]:
    """Length and cosine with the right direction of the gradient at a fake, by loss and updates of its opponent."""
    found, fakes = {}, None
    for opponent, generators in (
        ("minimax", ("minimax", "non-saturating")),
        ("wasserstein-penalty", ("wasserstein-penalty",)),
    ):
        torch.manual_seed(0)
        critics, real, fake = build_critics(), line_at(0.0), line_at(4.0)
        adam = torch.optim.Adam(critics.parameters(), 1e-3, (0.5, 0.9))
        penalty = paper_penalty() if opponent == "wasserstein-penalty" else None
        for step in range(301):
            for name in generators if step in (10, 300) else ():
                fakes = fake(100).requires_grad_()
                loss = GAMES[name].generator(critics(fakes)) * NUM_SEEDS * 100
                (gradient,) = torch.autograd.grad(loss, fakes)
                length = gradient.norm(dim=-1)
                found[name, step] = length.mean(dim=1), (gradient[..., 0] / length).mean(dim=1)
            update_discriminator(critics, adam, GAMES[opponent].discriminator, real(64), fake(64), penalty=penalty)
    return found


def test_with_its_opponent_trained_to_the_end_the_minimax_gradient_dies_and_the_two_others_do_not(pushes):
    assert pushes["minimax", 300][0].max() < 1e-4
    assert pushes["non-saturating", 300][0].min() > 0.05
    assert_reads(pushes["wasserstein-penalty", 300][0], 1 + 4 / 20, within=0.15)


def test_at_the_end_only_the_critics_gradient_points_straight_at_the_goal(pushes):
    assert pushes["wasserstein-penalty", 300][1].min() > 0.98
    assert pushes["non-saturating", 300][1].max() < 0.95


def test_with_relu_a_discriminator_points_better_than_with_tanh_and_worse_than_the_critic(pushes):
    torch.manual_seed(0)
    judges, real, fake = build_critics("relu"), line_at(0.0), line_at(4.0)
    adam = torch.optim.Adam(judges.parameters(), 1e-3, (0.5, 0.9))
    for _ in range(300):
        update_discriminator(judges, adam, GAMES["minimax"].discriminator, real(64), fake(64))
    fakes = fake(100).requires_grad_()
    (gradient,) = torch.autograd.grad(GAMES["non-saturating"].generator(judges(fakes)), fakes)
    cosine = (gradient[..., 0] / gradient.norm(dim=-1)).mean(dim=1).median()
    assert pushes["non-saturating", 300][1].median() < 0.85 < 0.9 < cosine
    assert cosine < pushes["wasserstein-penalty", 300][1].median()


def test_a_half_trained_critic_pushes_some_fakes_hard_the_wrong_way(pushes):
    length, cosine = pushes["wasserstein-penalty", 10]
    assert length.median() > 0.1 and cosine.min() < -0.2


# The ring


def play(preset: ensemble.PointConfig, **changes) -> History:
    total = changes["total_steps"]
    return ensemble.train(replace(preset, snapshot_every_steps=total // 10, **changes), range(NUM_SEEDS))


PENALTY = {"loss": "wasserstein-penalty", "beta2": 0.9, "penalty_weight": 0.1, "discriminator_steps": 5}


@pytest.fixture(scope="module")
def plain() -> History:
    return play(COVERS, total_steps=1000)


@pytest.fixture(scope="module")
def penalised() -> History:
    return play(COVERS, total_steps=400, **PENALTY)


def test_a_smear_around_the_ring_covers_all_modes_with_a_share_of_one_or_two_per_cent():
    torch.manual_seed(0)
    radius, angle = 2 + 0.2 * torch.randn(20, 2500), 2 * math.pi * torch.rand(20, 2500)
    found = mode_statistics(ring(), radius[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1))
    assert found.covered.median() == 8 and 0.005 < found.good.median() < 0.025


@pytest.mark.slow
def test_with_a_slow_opponent_the_penalised_game_covers_as_little_as_the_plain_one():
    found = play(COLLAPSES, total_steps=250, **PENALTY)
    assert found.statistics.covered[-1].median() <= 2


@pytest.mark.slow
def test_with_a_faster_opponent_the_plain_game_is_a_lottery_and_the_penalised_one_spreads_without_fitting():
    faster = replace(COLLAPSES, discriminator_learning_rate=1e-3)
    lottery = play(faster, total_steps=1000).statistics.covered[-1]
    spread = play(faster, total_steps=250, **PENALTY).statistics
    assert lottery.min() <= 1 and lottery.max() >= 7, "from none to all"
    assert spread.covered[-1].median() >= 3 and spread.covered[-1].min() >= 2, "every seed spreads"
    assert spread.good[-1].max() < 0.02


@pytest.mark.slow
def test_after_equally_many_generator_updates_the_penalised_game_has_the_larger_share_and_in_less_work_the_plain_one(
    plain, penalised
):
    """1,000 + 1,000 updates against 400 + 2,000 dearer ones."""
    shares = plain.statistics.good.median(dim=1).values
    share = penalised.statistics.good[-1].median()
    assert plain.steps[4] == penalised.steps[-1] == 400
    assert 1.5 * shares[4] < share < shares[-1] / 1.5


def looks(history: History) -> tuple[np.ndarray, np.ndarray]:
    """True distance, and the mean loss of the discriminator shortly before, of each look and seed."""
    data = ring().points(torch.arange(320) % 8, torch.randn(320, 2, generator=torch.Generator().manual_seed(0))).numpy()

    def distance(samples: Tensor) -> float:
        cost = cdist(data, samples[:320].numpy())
        return float(cost[linear_sum_assignment(cost)].mean())

    true = np.array([[distance(samples) for samples in seeds] for seeds in history.samples[1:]])
    return true, torch.stack([part[-10:].mean(0) for part in history.losses[0].chunk(len(true))]).numpy()


@pytest.mark.slow
def test_once_the_critic_has_caught_up_its_reading_orders_the_checks_and_is_the_distance_without_the_spring(penalised):
    true, loss = looks(penalised)
    order = [spearmanr(one, -other).statistic for one, other in zip(true[5:].T, loss[5:].T, strict=True)]
    assert np.median(order) > 0.8
    corrected = 0.1 * (np.sqrt(1 + 2 * -loss[-1] / 0.1) - 1)
    np.testing.assert_allclose(corrected, true[-1], atol=0.06, rtol=0)  # a few hundredths
    early = [spearmanr(one, -other).statistic for one, other in zip(true[:4].T, loss[:4].T, strict=True)]
    assert np.median(early) < 0.5


@pytest.mark.slow
def test_the_plain_discriminators_value_orders_the_checks_the_wrong_way_round(plain):
    true, loss = looks(plain)
    assert max(spearmanr(one, -other).statistic for one, other in zip(true.T, loss.T, strict=True)) < -0.5


@pytest.mark.slow
def test_with_lambda_10_the_critic_cannot_keep_up_and_reads_below_zero():
    found = play(COVERS, total_steps=150, **{**PENALTY, "penalty_weight": 10.0})
    assert (found.losses[0, 50:] > 0).any(dim=0).all()
