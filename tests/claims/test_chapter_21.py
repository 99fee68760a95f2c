"""What chapter 21 claims, measured with other numbers than the page has."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import binomtest
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core.config import Config
from dcgan_core.iteration import advance
from dcgan_core.laboratory import costs, longer
from dcgan_core.laboratory.dirac import DiracGame, eigenvalues, play
from dcgan_core.laboratory.modern import LADDER, run_config
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.losses import discriminator_loss, relativistic_discriminator_loss, zero_centred_penalty
from dcgan_core.state import start
from dcgan_core.teaching.chapter_21 import count_flops, long_runs, of_rung, recorded_ladder, steps_up
from dcgan_core.teaching.chapter_21_figures import on_loops, show_arrangements, show_costs, show_long_runs

pytestmark = pytest.mark.usefixtures("one_thread")

DOUBLE = {"dtype": torch.float64}
STARTS = torch.tensor([[0.7, -0.9], [1.2, 0.3]], **DOUBLE)
LOSSES = (discriminator_loss, relativistic_discriminator_loss)


def radii(game: DiracGame, in_turns: bool, num_steps: int = 300) -> torch.Tensor:
    return play(game, STARTS, rate=0.15, num_steps=num_steps, in_turns=in_turns).norm(dim=-1)


def test_the_minimax_players_stay_where_they_are_in_turns_and_leave_at_once():
    turns, at_once = radii(DiracGame("minimax"), True), radii(DiracGame("minimax"), False)
    assert (turns.min(dim=0).values > 0.9 * turns[0]).all() and (turns.max(dim=0).values < 1.15 * turns[0]).all()
    assert (at_once[-1] > 1.8 * at_once[0]).all()


def test_the_non_saturating_players_come_nearer_and_do_not_arrive():
    found = radii(DiracGame(), True)
    assert (found[-1] < 0.7 * found[0]).all() and (found[-1] > 0.2).all()


@pytest.mark.parametrize("in_turns", [False, True])
def test_with_r1_they_arrive(in_turns):
    assert (radii(DiracGame(r1_gamma=0.5), in_turns)[-1] < 1e-3).all()
    assert (radii(DiracGame("Wasserstein", r1_gamma=0.5), in_turns)[-1] < 1e-3).all()


@pytest.mark.parametrize(("loss", "critical"), [("minimax", 1.0), ("non-saturating", 1.0), ("Wasserstein", 2.0)])
def test_the_critical_gamma_is_where_the_formula_says(loss, critical):
    """By the players' own turns, and by automatic differentiation: the smallest gamma without an imaginary part."""
    step, square, rates = 0.004, 1e-5 * torch.eye(2, **DOUBLE), {}
    for share in (0.8, 0.9, 1.0, 1.1, 1.2):
        game = DiracGame(loss, r1_gamma=share * critical)
        turn = play(game, square, rate=step, num_steps=1, in_turns=True)[1] / 1e-5
        rates[share] = -np.log(abs(np.linalg.eigvals(turn.numpy()))).max() / step
    assert max(rates, key=rates.__getitem__) == 1.0
    low, high = 0.0, 4.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        turns = bool(eigenvalues(DiracGame(loss, r1_gamma=middle)).imag.abs().max() > 0)
        low, high = (middle, high) if turns else (low, middle)
    assert low == pytest.approx(critical, abs=1e-4)


def test_half_of_the_critical_weight_leaves_half_of_the_speed_and_twice_of_it_about_a_quarter():
    slow, best_rate, fast = (-eigenvalues(DiracGame(r1_gamma=gamma)).real.max().item() for gamma in (0.5, 1.0, 2.0))
    assert slow == pytest.approx(best_rate / 2, rel=1e-6) and 0.22 < fast / best_rate < 0.3


def test_r1_by_hand_has_the_value_and_the_gradient_of_the_package():
    """Of another network than the page's: a tanh and another direction for the differences."""
    rng = torch.Generator().manual_seed(3)
    weight, last, real = (torch.randn(*shape, generator=rng, **DOUBLE) for shape in ((5, 7), (5,), (20, 7)))
    direction = torch.randn(5, 7, generator=rng, **DOUBLE)

    def by_hand(moved: torch.Tensor) -> float:
        slopes = ((1 - torch.tanh(real @ moved.T) ** 2) * last) @ moved
        return float(slopes.square().sum(dim=1).mean() / 2)

    weight.requires_grad_()
    packaged = zero_centred_penalty(lambda x: torch.tanh(x @ weight.T) @ last, real)
    assert packaged.item() == pytest.approx(by_hand(weight.detach()))
    (gradient,) = torch.autograd.grad(packaged, weight)
    moved = [by_hand(weight.detach() + sign * 1e-6 * direction) for sign in (1, -1)]
    assert float((gradient * direction).sum()) == pytest.approx((moved[0] - moved[1]) / 2e-6, rel=1e-6)


def best(loss, where: tuple[int | None, ...]) -> float:
    """The loss of the best discriminator that may be anything: a logit of its own for each place, found by scipy."""
    n = len(where)
    places = [n + i if place is None else place for i, place in enumerate(where)]  # nowhere: a place of its own

    def value(logits: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.tensor(logits, requires_grad=True)
        found = loss(free[:n], free[places]) + 1e-7 * free.square().sum()
        (gradient,) = torch.autograd.grad(found, free)
        return float(found.detach()), gradient.numpy()

    found = minimize(value, np.zeros(2 * n), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return float(found.fun)


def test_collapse_is_a_local_optimum_for_the_separate_loss_and_leaving_it_costs_nothing_in_pairs():
    separate, paired = ([best(loss, where) for where in ((0, 0), (0, None), (0, 1))] for loss in LOSSES)
    assert separate == pytest.approx(
        [1.5 * (math.log(3) - 2 / 3 * math.log(2)), math.log(2), 2 * math.log(2)], abs=1e-3
    )
    assert paired == pytest.approx([math.log(2) / 2, math.log(2) / 2, math.log(2)], abs=1e-3)


@pytest.mark.parametrize(("loss", "expected"), [(LOSSES[0], 3**3 - 6), (LOSSES[1], 0)])
def test_of_three_points_every_wrong_arrangement_is_a_bad_optimum_and_none_is_in_pairs(loss, expected):
    optima = 0
    for where in itertools.product(range(3), repeat=3):
        if len(set(where)) == 3:
            continue
        here = best(loss, where)
        optima += all(best(loss, (*where[:i], None, *where[i + 1 :])) < here - 0.01 for i in range(3))
    assert optima == expected


def test_flops_are_those_of_pytorchs_counter_and_gradients_of_gradients_count():
    layer = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.LazyLinear(1))
    images = torch.randn(2, 1, 8, 8)
    layer(images)
    with FlopCounterMode(display=False) as counter:
        layer(images).sum().backward()
    plain = count_flops(lambda: layer(images).sum().backward())
    assert plain == counter.get_total_flops()
    penalised = count_flops(lambda: zero_centred_penalty(lambda x: layer(x).squeeze(1), images).backward())
    assert penalised > 1.5 * plain


def test_the_rungs_cost_what_the_page_says(cpu):
    batch = torch.zeros(64, 1, 32, 32)
    flops = {}
    for rung in ("moving average", "R1", "R2", "pairing", "nearest upsampling"):
        state = start(run_config(rung, seed=1), cpu)
        flops[rung] = count_flops(lambda state=state: advance(state, batch, cpu))
    plain = flops["moving average"]
    assert flops["R1"] / plain == pytest.approx(7 / 6, abs=0.02)
    assert flops["R2"] - flops["R1"] == pytest.approx(flops["R1"] - plain, rel=0.1)
    assert flops["pairing"] - flops["R2"] < 0.06 * plain
    assert flops["nearest upsampling"] - flops["pairing"] > flops["R2"] - plain
    for change, most in (("R1", 1.35), ("R1, pairing", 1.4), ("R1, R2, pairing", 1.6)):
        assert 1.1 < costs.latest()["cpu"]["costs"][change][0] < most


def ladder(rung: str, name: str) -> list[float]:
    return [value for _, value in sorted(of_rung(recorded_ladder(), rung, name).items())]


def ratios(rung: str) -> list[float]:
    return steps_up(recorded_ladder(), rung, "frechet_distance")


def test_the_record_of_the_ladder_holds_whole_seeds_of_these_settings():
    lines = recorded_ladder()
    seeds = {line["seed"] for line in lines}
    assert seeds == set(range(len(seeds))) and len(seeds) == 5 and len(lines) == len(seeds) * len(LADDER)
    for line in lines:
        expected = replace(run_config(line["rung"], line["seed"]), channels=1)  # found in the data
        assert Config.from_dict(line["config"]) == expected
        assert line["images"] == 20_000 // 64 * 64 and line["num_samples"] == 2_000
        assert [entry["device_kind"] for entry in line["provenance"]] == ["cpu"]


def test_in_the_ladder_all_seeds_agree_on_what_rates_and_upsampling_do_to_the_distance():
    assert max(ratios("faster rates")) < 0.35 and max(ratios("nearest upsampling")) < 0.9


def test_in_the_ladder_batch_norm_cannot_simply_be_left_out_and_he_s_weights_win_most_of_it_back():
    assert min(ratios("no batch norm in D")) > 1.5 and max(ratios("He's weights in D")) < 0.9
    assert max(ladder("no batch norm in D", "covered")) <= 15
    lost, won = (median(ladder(rung, "frechet_distance")) for rung in ("no batch norm in D", "He's weights in D"))
    assert lost - won > 0.5 * (lost - median(ladder("moving average", "frechet_distance")))


def test_in_the_ladder_more_is_recognised_from_he_s_weights_to_pairs_in_every_seed():
    for name in ("good", "covered"):
        pairs = zip(ladder("He's weights in D", name), ladder("pairing", name), strict=True)
        assert all(before < after for before, after in pairs), name


@pytest.mark.parametrize(("rung", "better"), [("R1", 4), ("R2", 2), ("pairing", 2), ("no momentum", 4)])
def test_in_the_ladder_the_seeds_disagree_on_what_the_game_does_to_the_distance(rung, better):
    found = ratios(rung)
    assert len(found) == 5 and sum(ratio < 1 for ratio in found) == better
    assert binomtest(better, 5).pvalue > 0.3


def test_in_the_ladder_the_changes_of_the_game_cost_about_two_thirds_more_time():
    before, after = (
        median(ladder(rung, "processor_seconds_per_image")) for rung in ("He's weights in D", "no momentum")
    )
    assert 1.5 < after / before < 1.85


def at(change: str, images: int) -> float:
    return median(long_runs(longer.RECORD, "letters", change, images))


def test_in_long_runs_on_letters_r1_and_its_weight_made_a_large_difference_and_pairing_none_that_one_run_shows():
    plain, weak, strong, pairs = (at(name, 400_000) for name in ("as it is", "R1", "R1, gamma 0.5", "R1, pairing"))
    assert strong < plain / 3 and weak < 0.75 * plain
    assert weak > 1.8 * strong and abs(pairs - weak) < 0.1 * weak
    assert at("recipe", 400_000) < plain / 3
    assert long_runs(longer.RECORD, "letters", "R1, R2, pairing", 400_000) == []
    for line in read_lines(longer.RECORD):
        if line["data"] == "letters" and line["change"].startswith("R1") and line["finished"]:
            assert line["metrics"][-1].get("classes_covered", 26) >= 24


def test_arrows_are_in_colour_if_they_are_on_a_closed_loop_and_stepping_away_costs_nothing_in_pairs():
    assert on_loops((1, 0, 3, 2)) == [True] * 4
    assert on_loops((1, 2, 0, 0)) == [True, True, True, False]
    assert on_loops((0, 0, 0, 0)) == on_loops((0, 0, None, 0)) == [True, False, False, False]
    for where in itertools.product([0, 1, 2, None], repeat=3):  # a loop has as many arrows as points
        loop = {place for place, closed in enumerate(on_loops(where)) if closed}
        assert {where[place] for place in loop} == loop
    figure = show_arrangements({"two": (1, 0, 0), "none": (1, 2, None)}, {"loops": lambda where: sum(on_loops(where))})
    assert [axes.get_title() for axes in figure.axes] == ["two\nloops 2.00", "none\nloops 0.00"]


def test_figures_of_costs_and_long_runs_show_the_numbers_that_they_are_given():
    above, below = show_costs({"a": 50, "b": 100}, {"x": (1.5, 1.2, 1.9)}).axes
    assert [bar.get_width() for bar in above.patches] == [1, 2]
    assert [list(line.get_xdata()) for line in below.lines] == [[1.2, 1.9], [1.5]]
    (axes,) = show_long_runs({"a": {1: [30.0], 2: [20.0]}, "b": {1: [9.0, 8.0], 2: []}}).axes
    assert [sorted(line.get_xdata()) for line in axes.lines] == [[8, 9, 30], [20]]
    assert [text.get_text() for text in axes.texts] == ["30", "20"]  # a number for a single run only
