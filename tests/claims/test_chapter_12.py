"""What chapter 12 claims, measured."""

from __future__ import annotations

import copy
import dataclasses
import statistics

import numpy as np
import pytest
import torch
from scipy.stats import fisher_exact
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core.laboratory.ensemble import PointConfig, advance, start
from dcgan_core.laboratory.mixtures import PointDiscriminator, PointGenerator, ring
from dcgan_core.losses import discriminator_loss, minimax_generator_loss
from dcgan_core.steps import update_discriminator, update_generator
from dcgan_core.teaching.chapter_12 import (
    METHODS,
    RING,
    STATISTICS,
    advance_with_a_stepped_copy,
    count_saved_memory,
    num_seeds,
    race,
    recorded_race,
    together,
)
from dcgan_core.unrolled import look_ahead, update_generator_unrolled

SEEDS = range(5)
RATE = 0.05
SGD = torch.optim.SGD


def play(num_steps: int, *, second: float = 1.0, turns: int = 400) -> np.ndarray:
    """The game a b in turns: positions (turns + 1, 2)."""
    a, b = 1.0, 0.0
    path = [(a, b)]
    for _ in range(turns):
        b += RATE * a
        ahead, slope = b + num_steps * RATE * a, num_steps * RATE
        a -= RATE * (ahead + second * slope * a)
        path.append((a, b))
    return np.array(path)


@pytest.mark.parametrize("num_steps", [0, 1, 5, 10])
def test_every_turn_shrinks_the_area_between_positions_by_the_closed_form(num_steps):
    path = play(num_steps)
    area = path[:-1, 0] * path[1:, 1] - path[:-1, 1] * path[1:, 0]
    assert area[1:] / area[:-1] == pytest.approx(1 - 2 * num_steps * RATE**2)


def test_looking_ahead_turns_circling_into_convergence_and_further_ahead_converges_faster():
    radii = [np.hypot(*play(num_steps)[-1]) for num_steps in (0, 1, 5, 10)]
    assert radii[0] > 0.9 and radii[1] < 0.5
    assert radii == sorted(radii, reverse=True) and radii[-1] < 1e-4


def test_in_that_game_the_first_term_alone_with_twice_the_steps_is_the_whole_gradient():
    assert play(10, second=0) == pytest.approx(play(5))


def test_second_term_vanishes_without_steps_and_at_the_best_answer_and_not_between():
    """In the game a b - b^2 / 2 with a = 1 and b = 0, by autograd."""
    terms = {}
    for num_steps in (0, 14, 200):
        a, b = torch.tensor(1.0, requires_grad=True), torch.tensor(0.0)
        for _ in range(num_steps):
            b = b + RATE * (a - b)
        (whole,) = torch.autograd.grad(a * b - b**2 / 2, a)
        terms[num_steps] = abs(float(whole - b.detach()))
    assert terms[0] == 0 and terms[200] < 1e-3 and terms[14] > 0.2


class Game:
    """Two small networks in float64, and a discriminator whose Adam has taken three steps."""

    def __init__(self, seed: int) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        self.real, self.latents = self.draw()
        self.generator = PointGenerator(latent_size=4, depth=1, width=8, activation="tanh", rng=self.rng).double()
        self.discriminator = PointDiscriminator(depth=1, width=8, activation="tanh", rng=self.rng).double()
        self.still = SGD(self.generator.parameters(), lr=0.0)
        self.adam = torch.optim.Adam(self.discriminator.parameters(), 0.01, (0.5, 0.999))
        self.train(self.discriminator, self.adam, 3)

    def draw(self) -> tuple[Tensor, Tensor]:
        real = ring().sample(32, rng=self.rng, dtype=torch.float64)
        return real, torch.randn(32, 4, generator=self.rng, dtype=torch.float64)

    def train(self, judge: nn.Module, optimizer: torch.optim.Optimizer, num_steps: int, *, fresh: bool = False) -> None:
        for _ in range(num_steps):
            real, latents = self.draw() if fresh else (self.real, self.latents)
            update_discriminator(judge, optimizer, discriminator_loss, real, self.generator(latents))

    def copied(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        return copy.deepcopy((self.discriminator, self.adam))


def unroll(game: Game, num_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Tensor:
    return update_generator_unrolled(
        discriminator=game.discriminator,
        optimizer=game.still,
        loss_function=minimax_generator_loss,
        real=game.real,
        fake=game.generator(game.latents),
        num_steps=num_steps,
        discriminator_optimizer=optimizer or game.adam,
        discriminator_loss_function=discriminator_loss,
        zero_sum=True,
    )


def step_a_copy(game: Game, num_steps: int) -> Tensor:
    judge, its_adam = game.copied()
    game.train(judge, its_adam, num_steps)
    return update_generator(judge, game.still, minimax_generator_loss, game.generator(game.latents))


def step_and_restore(game: Game, num_steps: int) -> Tensor:
    before = copy.deepcopy(game.discriminator.state_dict())
    game.train(game.discriminator, game.adam, num_steps)
    loss = update_generator(game.discriminator, game.still, minimax_generator_loss, game.generator(game.latents))
    game.discriminator.load_state_dict(before)
    return loss


def gradient(game: Game) -> Tensor:
    return parameters_to_vector([parameter.grad for parameter in game.generator.parameters()])


def finite_differences(game: Game, num_steps: int, hair: float = 1e-5) -> Tensor:
    """Slopes of the value after really training a copy; knows nothing of unrolling."""
    weights = parameters_to_vector(game.generator.parameters()).detach()

    def value_at(moved: Tensor) -> float:
        vector_to_parameters(moved, game.generator.parameters())
        judge, its_adam = game.copied()
        game.train(judge, its_adam, num_steps)
        return -discriminator_loss(judge(game.real), judge(game.generator(game.latents))).item()

    moves = hair * torch.eye(len(weights), dtype=torch.float64)
    slopes = [(value_at(weights + move) - value_at(weights - move)) / (2 * hair) for move in moves]
    vector_to_parameters(weights, game.generator.parameters())
    return torch.tensor(slopes, dtype=torch.float64)


def assert_gradient_agrees(game: Game, update, num_steps: int, expected: Tensor) -> None:
    update(game, num_steps)
    assert (gradient(game) - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize("num_steps", [0, 1, 3])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_unrolled_gradient_passes_the_check_that_both_usual_fakes_fail(seed, num_steps):
    expected = finite_differences(Game(seed), num_steps)
    assert_gradient_agrees(Game(seed), unroll, num_steps, expected)
    for fake in (step_a_copy, step_and_restore):
        if num_steps == 0:
            assert_gradient_agrees(Game(seed), fake, num_steps, expected)
        else:
            with pytest.raises(AssertionError):
                assert_gradient_agrees(Game(seed), fake, num_steps, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_fakes_have_the_same_loss_as_the_unrolled_update(seed):
    losses = [update(Game(seed), 5).item() for update in (unroll, step_a_copy, step_and_restore)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_steps_ahead_are_the_ordinary_turn_bit_for_bit(seed):
    game = Game(seed)
    unroll(game, 0)
    found = gradient(game)
    update_generator(game.discriminator, game.still, minimax_generator_loss, game.generator(game.latents))
    assert torch.equal(found, gradient(game))


def test_restoring_the_weights_alone_leaves_adam_five_steps_on():
    counts = {}
    for update in (unroll, step_a_copy, step_and_restore):
        game = Game(0)
        before = parameters_to_vector(game.discriminator.parameters()).clone()
        update(game, 5)
        assert torch.equal(parameters_to_vector(game.discriminator.parameters()), before)
        counts[update] = int(game.adam.state[next(game.discriminator.parameters())]["step"])
    assert counts == {unroll: 3, step_a_copy: 3, step_and_restore: 8}


def ways(seed: int) -> dict[str, tuple[float, float]]:
    """How far each rehearsal of five steps goes, and how far it ends from the discriminator trained on the batch.

    Both in units of the way that the trained one went.
    """
    game = Game(seed)
    today = parameters_to_vector(game.discriminator.parameters()).detach().clone()

    def ahead(optimizer: torch.optim.Optimizer) -> Tensor:
        batches = game.real, game.generator(game.latents)
        weights = look_ahead(game.discriminator, optimizer, discriminator_loss, *batches, num_steps=5)
        return parameters_to_vector(weights.values()).detach()

    def trained(*, fresh: bool) -> Tensor:
        judge, its_adam = game.copied()
        game.train(judge, its_adam, 5, fresh=fresh)
        return parameters_to_vector(judge.parameters()).detach()

    expected = trained(fresh=False)
    way = (expected - today).norm()
    ends = {
        "adam": ahead(game.adam),
        "sgd": ahead(SGD(game.discriminator.parameters(), lr=0.01)),
        "new batches": trained(fresh=True),
    }
    return {name: (float((w - today).norm() / way), float((w - expected).norm() / way)) for name, w in ends.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_rehearsal_by_adam_ends_where_training_ends_and_by_gradient_descent_of_that_rate_it_does_not(seed):
    found = ways(seed)
    assert found["adam"] == pytest.approx((1, 0), abs=1e-6)
    assert found["sgd"][0] < 0.3 and found["sgd"][1] > 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_the_future_on_new_batches_is_another_one(seed):
    assert ways(seed)["new batches"][1] > 0.1


def saved_bytes(update, num_steps: int) -> int:
    game = Game(0)
    with count_saved_memory() as memory:
        update(game, num_steps)
    assert memory.now == 0
    return memory.peak


def test_saved_memory_grows_in_proportion_to_the_steps_ahead_and_not_at_all_for_a_copy():
    kept = {num_steps: saved_bytes(unroll, num_steps) for num_steps in (0, 2, 5, 10)}
    assert (kept[10] - kept[5]) / 5 == pytest.approx((kept[5] - kept[2]) / 3, rel=0.05)
    assert kept[10] > 5 * kept[0]
    assert saved_bytes(step_a_copy, 10) == saved_bytes(step_a_copy, 1)


def test_work_grows_in_proportion_to_the_steps_ahead_and_ten_cost_more_than_ten_ordinary_updates():
    """Arithmetic instead of time, which a test cannot rely on."""
    work = {}
    for num_steps in (0, 5, 10):
        ensemble = start(dataclasses.replace(RING, unrolled_steps=num_steps), [0])
        with FlopCounterMode(display=False) as counter:
            advance(ensemble)
        work[num_steps] = counter.get_total_flops()
    assert work[10] - work[5] == pytest.approx(work[5] - work[0], rel=0.1)
    assert work[10] > 5 * work[0]


def test_a_stepped_copy_of_no_steps_is_the_ordinary_iteration():
    first, second = start(RING, range(2)), start(RING, range(2))
    for _ in range(3):
        advance(first)
        advance_with_a_stepped_copy(second, num_steps=0)
    for one, other in zip(first.generator.parameters(), second.generator.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_race_looks_at_the_first_and_the_last_update_and_batches_of_seeds_join():
    runs = [race("k = 1", seeds, total_steps=3) for seeds in (range(1), range(1, 3))]
    whole = together(runs)
    assert whole["steps"] == [0, 3] and whole["seconds"][0] == 0 < whole["seconds"][1]
    for statistic in STATISTICS:
        assert np.shape(whole[statistic]) == (2, 3)


# What the text says of the recorded race.


def last(name: str, statistic: str) -> list[float]:
    return recorded_race()[0][name][statistic][-1]


def test_record_is_of_the_race_as_it_is_defined_now():
    results, provenance = recorded_race()
    assert list(results) == list(METHODS)
    recorded = PointConfig(**provenance["config"])
    assert recorded == RING, "fields that came later, and change nothing, may be missing there"
    assert provenance["seeds"] == {name: num_seeds(name) for name in METHODS}
    for name, run in results.items():
        assert run["steps"][-1] == METHODS[name][0].total_steps
        assert {np.shape(run[statistic]) for statistic in STATISTICS} == {(len(run["steps"]), num_seeds(name))}


def test_recorded_plain_gan_covers_at_most_one_mode_and_ten_steps_ahead_all_eight_in_the_median():
    assert max(last("k = 0", "covered")) <= 1
    assert statistics.median(last("k = 10", "covered")) == 8


def test_recorded_modes_covered_grow_with_the_steps_ahead():
    medians = [statistics.median(last(f"k = {k}", "covered")) for k in (0, 1, 5, 10)]
    assert medians == sorted(medians) and medians[2] < 8


def test_recorded_samples_cover_modes_without_hitting_them():
    assert 0.02 < statistics.median(last("k = 10", "good")) < 0.06, "a few in a hundred"


def test_recorded_stepped_copy_also_covers_eight_modes_in_the_median_in_about_a_third_of_the_time():
    assert statistics.median(last("copy, 10 steps", "covered")) == 8
    assert 0.3 < last_second("copy, 10 steps") / last_second("k = 10") < 0.4


def test_ten_recorded_seeds_do_not_tell_the_copy_from_ten_steps_ahead():
    """The share of seeds that cover all eight modes, by Fisher's exact test."""
    whole = [sum(modes == 8 for modes in last(name, "covered")) for name in ("k = 10", "copy, 10 steps")]
    assert whole[0] > whole[1]
    assert fisher_exact([[count, 10 - count] for count in whole]).pvalue > 0.05


def test_recorded_plain_gan_with_ten_times_the_updates_is_still_collapsed_in_the_median_but_not_in_every_seed():
    covered = last("k = 0, longer", "covered")
    assert statistics.median(covered) <= 2 and max(covered) == 8


def last_second(name: str) -> float:
    return recorded_race()[0][name]["seconds"][-1]


def test_recorded_eleven_updates_spread_at_first_and_fall_back():
    medians = [statistics.median(moment) for moment in recorded_race()[0]["11 updates"]["covered"]]
    assert max(medians) >= 6 and medians[-1] <= 4


def test_recorded_tanh_networks_do_not_collapse_even_without_looking_ahead():
    assert statistics.median(last("tanh, k = 0", "covered")) >= 4
