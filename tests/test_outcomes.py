"""What is compared and how: methods, budgets, what is counted of samples, and how several seeds are summed up."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from dcgan_core.laboratory import mode_statistics, protocol, ring
from dcgan_core.laboratory.outcomes import (
    RECORDED,
    best_rate,
    describe,
    describe_images,
    describe_points,
    median_interval,
    outcomes,
    read,
    summarise,
    table,
)
from dcgan_core.laboratory.protocol import (
    COSTLY,
    METHODS,
    PILOTS,
    PLAIN,
    RATES,
    SEEDS,
    image_config,
    marks,
    point_config,
)
from dcgan_core.metrics import class_divergence, frechet_distance, moments

COSTS = dict.fromkeys(METHODS, 1.0) | {COSTLY: 5.0, "unrolled": 4.0}


def test_a_perfect_histogram_overlaps_fully():
    found = describe(torch.full((4,), 25), torch.full((4,), 25), 100)
    assert found["overlap"] == found["good"] == 1 and found["covered"] == found["reached"] == 4
    assert found["kl"] == pytest.approx(0)


def test_one_mode_hit_perfectly_overlaps_by_its_due_only():
    found = describe(torch.tensor([100, 0, 0, 0]), torch.tensor([100, 0, 0, 0]), 100)
    assert found["good"] == 1 and found["overlap"] == 0.25 and found["kl"] == pytest.approx(math.log(4))


def test_all_modes_reached_but_missed_overlap_little():
    found = describe(torch.tensor([1, 0, 1, 0]), torch.full((4,), 25), 100)
    assert found["reached"] == 4 and found["covered"] == 2 and found["overlap"] == 0.02


def test_the_overlap_is_one_less_the_total_variation_from_the_uniform_distribution():
    counts = torch.tensor([40, 10, 0, 30])  # 20 of 100 are not good: an outcome of its own, due to none
    shares = torch.cat([counts / 100, torch.tensor([0.2])])
    due = torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0])
    expected = 1 - 0.5 * float((shares - due).abs().sum())
    assert describe(counts, counts, 100)["overlap"] == pytest.approx(expected)


def test_the_divergence_is_of_all_samples_good_or_not():
    assert describe(torch.tensor([50, 0]), torch.tensor([50, 50]), 100)["kl"] == pytest.approx(0)
    assert describe(torch.tensor([1, 1]), torch.tensor([100, 0]), 100)["kl"] == pytest.approx(math.log(2))


def test_points_that_are_not_finite_are_of_no_mode():
    mixture = ring()
    right = mixture.centres[[1, 1, 2, 3]].float()
    nowhere = torch.tensor([[torch.nan, 0.0], [0.0, torch.inf], [torch.nan, torch.nan], [-torch.inf, 1.0]])
    found, alone = describe_points(mixture, torch.cat([right, nowhere])), describe_points(mixture, right)
    assert (found["num_samples"], found["reached"], found["covered"]) == (8, 3, 3)
    assert found["kl"] == alone["kl"] and found["good"] == alone["good"] / 2 == 0.5
    lost = describe_points(mixture, nowhere)
    assert (lost["reached"], lost["good"], lost["overlap"]) == (0, 0, 0) and lost["kl"] == math.log(8)


def test_images_are_good_if_recognised_and_otherwise_of_their_most_probable_class():
    probabilities = torch.tensor([[0.95, 0.05, 0.0], [0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.4, 0.35, 0.25]])
    features = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    judge = SimpleNamespace(
        measure=lambda images: (features, probabilities), reference=moments(torch.eye(2).repeat(3, 1))
    )
    found = describe_images(judge, torch.zeros(4, 1, 16, 16))
    assert (found["num_modes"], found["num_samples"], found["covered"], found["reached"]) == (3, 4, 1, 2)
    assert found["good"] == 0.5 and found["overlap"] == pytest.approx(1 / 3)
    assert found["kl"] == class_divergence([3, 1, 0])
    assert found["frechet_distance"] == frechet_distance(moments(features), judge.reference)


def test_points_are_counted_as_mode_statistics_counts_them():
    mixture = ring()
    points = mixture.sample(500, rng=torch.Generator().manual_seed(0)) * 1.02
    points[:3] = torch.nan
    found, expected = describe_points(mixture, points), mode_statistics(mixture, points)
    assert found["covered"] == int(expected.covered) and found["good"] == pytest.approx(float(expected.good))
    assert found["num_samples"] == 500


@pytest.mark.parametrize(("n", "left", "level"), [(5, 0, 0.9375), (8, 1, 0.9296875), (20, 5, 0.9586), (3, 0, 0.75)])
def test_the_interval_ends_at_order_statistics_and_holds_the_median_as_often_as_it_says(n, left, level):
    values = list(range(n))
    assert median_interval(values)[1:] == (left, n - 1 - left)
    rng = torch.Generator().manual_seed(0)
    draws = torch.randn(20_000, n, generator=rng).sort(dim=1).values
    held = ((draws[:, left] <= 0) & (draws[:, n - 1 - left] >= 0)).float().mean()
    assert float(held) == pytest.approx(level, abs=0.01)


def test_budgets_are_equal_updates_and_equal_time():
    assert marks("minimax", 1_000, COSTS) == {"updates": 1_000, "time": 1_000}
    assert marks("unrolled", 1_000, COSTS) == {"updates": 1_000, "time": 250}
    assert marks(PLAIN, 1_000, COSTS) == {"updates": 1_000, "time": 1_000, "longer": 5_000}


def test_odd_costs_lead_to_no_odd_budgets():
    """Hardly more cost is none, the dearest method makes an update, and the plain game never stops early."""
    assert marks("minimax", 1_000, {**COSTS, "minimax": 1.1}) == {"updates": 1_000, "time": 1_000}
    assert marks("minimax", 10, {**COSTS, "minimax": 1_000.0}) == {"updates": 10, "time": 1}
    assert marks(PLAIN, 10, {**COSTS, COSTLY: 0.5})["longer"] == 10


def test_every_method_means_what_its_paper_says():
    assert point_config("ring", COSTLY, 1e-3).loss == "wasserstein-penalty"
    for method in METHODS:
        points, images = point_config("ring", method, 1e-3), image_config("letters", method, 1e-3, 0)
        critic = points.loss.startswith("wasserstein")
        assert points.loss == images.loss
        assert points.discriminator_steps == images.discriminator_steps == (5 if critic else 1)
        assert images.total_steps == protocol.NUM_UPDATES["letters"], "the same number of generator updates"
        assert {points.beta1, images.beta1} == {0.0 if method == COSTLY else 0.5}
        assert {points.beta2, images.beta2} == {0.9 if method == COSTLY else 0.999}
        assert points.spectral_norm == images.spectral_norm == (method == "spectral norm")
        assert points.minibatch_std == images.minibatch_std == (method == "minibatch std")
        assert images.ema_halflife_images == 0, "players are compared, not averages of them"
    assert image_config("letters", COSTLY, 1e-3, 0).discriminator_norm == "layer"
    assert image_config("letters", "spectral norm", 1e-3, 0).discriminator_norm == "none"
    assert point_config("grid", "unrolled", 1e-3).unrolled_steps == 5
    assert image_config("letters", "unrolled", 1e-3, 0).unrolled_steps == 3


def test_configs_hold_the_data_the_rate_and_the_seed_that_were_asked_for():
    """The rate is the discriminator's for points and both players' for images."""
    for mixture in ("ring", "grid"):
        points = point_config(mixture, COSTLY, 3e-4)
        assert (points.mixture, points.discriminator_learning_rate) == (mixture, 3e-4)
        assert points.generator_learning_rate == protocol.POINTS.generator_learning_rate != 3e-4
    names = {"letters": "glyphs", "stacked digits": "stacked-digits", "stacked MNIST": "stacked-mnist"}
    for data, name in names.items():
        images = image_config(data, COSTLY, 3e-4, 7, "elsewhere")
        assert (images.data, images.data_root, images.seed) == (name, "elsewhere", 7)
        assert images.generator_learning_rate == images.discriminator_learning_rate == 3e-4
        assert images.num_channels == (1 if data == "letters" else 3)


@pytest.mark.parametrize("data", protocol.DATA)
def test_the_recorded_comparison_was_played_by_this_protocol(data):
    """Its rates, seeds, numbers of samples, and after how many updates each method was measured."""
    lines = [line for line in read(RECORDED) if line.get("data") == data]
    found, what = outcomes(lines), protocol.kind(data)
    (costs,) = (line["costs"] for line in lines if line["kind"] == "costs")
    samples = protocol.NUM_SAMPLES.get("points" if what == "points" else data, protocol.NUM_STACKED_SAMPLES)
    assert {line["num_samples"] for line in found} == {samples}
    pilots = PILOTS[what] if what == "points" or data == "letters" else ()
    rates = RATES[what] if pilots else {line["rate"] for line in found}
    for method in METHODS:
        of_method = [line for line in found if line["method"] == method]
        assert {line["seed"] for line in of_method} == {*SEEDS[what], *pilots}
        assert {line["rate"] for line in of_method} <= set(rates)
        assert not pilots or {line["rate"] for line in of_method} == set(rates)
        measured = {budget: line["updates"] for line in of_method for budget in line["budgets"]}
        assert measured == marks(method, protocol.NUM_UPDATES[data], costs)


def test_pilots_are_not_among_the_reported_seeds():
    assert not any(set(SEEDS[one]) & set(PILOTS[one]) for one in SEEDS)


def outcome(data: str, rate: float, seed: int, **changes) -> dict:
    line = {"kind": "outcome", "data": data, "method": PLAIN, "rate": rate, "seed": seed, "updates": 10}
    return {**line, "budgets": ["updates"], "overlap": 0.5, **changes}


def pilots_of(data: str, rate: float, overlaps: list[float], **changes) -> list[dict]:
    seeds = range(100, 100 + len(overlaps))
    return [outcome(data, rate, seed, overlap=value, **changes) for seed, value in zip(seeds, overlaps, strict=True)]


def test_the_best_rate_has_the_greatest_median_overlap_of_the_pilots():
    """Not that of the luckiest pilot, of the seeds that are reported, of other data or methods, or after equal time."""
    good = pilots_of("ring", 1e-3, [0.5, 0.6, 0.7])
    assert best_rate([*pilots_of("ring", 1e-4, [0.3, 0.4, 0.5]), *good], "ring", PLAIN) == 1e-3
    lines = [*pilots_of("ring", 1e-4, [0.1, 0.2, 1.0]), *good]
    assert best_rate(lines, "ring", PLAIN) == 1e-3
    tempting = [
        [outcome("ring", 1e-4, seed, overlap=1.0) for seed in SEEDS["points"]],
        pilots_of("grid", 1e-4, [1.0, 1.0, 1.0]),
        pilots_of("ring", 1e-4, [1.0, 1.0, 1.0], method="minimax"),
        pilots_of("ring", 1e-4, [1.0, 1.0, 1.0], budgets=["time"], updates=5),
    ]
    for more in tempting:
        assert best_rate([*lines, *more], "ring", PLAIN) == 1e-3
        assert best_rate([*more, *lines], "ring", PLAIN) == 1e-3


def test_of_images_the_best_rate_has_the_smallest_distance():
    lines = [
        outcome("letters", rate, 100, overlap=overlap, frechet_distance=distance)
        for rate, overlap, distance in ((3e-4, 0.1, 20.0), (1e-3, 0.9, 30.0))
    ]
    assert best_rate(lines, "letters", PLAIN) == 3e-4


def test_a_summary_is_of_the_reported_seeds_at_one_rate_and_one_budget():
    """Every other line of the same method says something else."""
    right = [outcome("ring", 1e-3, seed, good=value) for seed, value in enumerate([0.0, 0.1, 0.6])]
    timely = [outcome("ring", 1e-3, seed, good=0.5, budgets=["time"], updates=3) for seed in (0, 1)]
    other = [outcome("ring", 1e-4, 0, good=0.9), outcome("grid", 1e-3, 0, good=0.9)]
    other.append(outcome("ring", 1e-3, 0, good=0.9, method="minimax"))
    lines = [*right, *timely, *other, *pilots_of("ring", 1e-3, [0.8] * 3, good=0.9)]
    lines += [*pilots_of("ring", 1e-4, [0.1] * 3, good=0.9), *pilots_of("letters", 1e-4, [1.0] * 3, good=0.9)]
    found = summarise(lines, "ring", PLAIN, "good")
    assert found.values == (0.0, 0.1, 0.6) and (found.low, found.median, found.high) == (0.0, 0.1, 0.6)
    assert summarise(lines, "ring", PLAIN, "good", "time").values == (0.5, 0.5)
    assert summarise(lines, "ring", PLAIN, "good", rate=1e-4).values == (0.9,)
    assert summarise(lines, "ring", PLAIN, "good", "longer") is None


def test_the_table_shows_the_latest_costs():
    measures = {"covered": 8, "good": 1.0, "overlap": 1.0, "kl": 0.0}
    costs = [{"kind": "costs", "data": "ring", "costs": {**COSTS, PLAIN: cost}} for cost in (7.7, 1.0)]
    lines = [*costs, *pilots_of("ring", 1e-3, [0.5] * 3), outcome("ring", 1e-3, 0, **measures)]
    printed = table(lines)
    assert "7.7" not in printed and f"{PLAIN:18}updates    1.0" in printed


def test_a_run_that_was_played_again_counts_once():
    line = {"kind": "outcome", "data": "ring", "method": PLAIN, "rate": 1e-3, "seed": 0, "updates": 5}
    assert outcomes([{**line, "seconds": 1.5}, {**line, "seconds": 2.5}]) == [{**line, "seconds": 2.5}]
    earlier = {**line, "updates": 3}
    assert outcomes([earlier, line]) == [earlier, line], "but each of its marks counts"
