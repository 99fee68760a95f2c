"""Chapter 13's sentences, read from the recorded comparison."""

from __future__ import annotations

import math
import statistics

import pytest

from dcgan_core.laboratory.outcomes import RECORDED, Summary, outcomes, read, summarise
from dcgan_core.laboratory.protocol import COSTLY, METHODS, PLAIN, RATES, SEEDS, kind
from dcgan_core.metrics import class_divergence
from dcgan_core.teaching.chapter_12 import RING, recorded_race

LINES = read(RECORDED)
FIXES = [method for method in METHODS if method != PLAIN]


def found(data: str, method: str, measure: str, budget: str = "updates", rate: float | None = None) -> Summary:
    summary = summarise(LINES, data, method, measure, budget, rate)
    assert summary is not None
    return summary


DATA = ("ring", "grid", "letters", "stacked digits", "stacked MNIST")


@pytest.mark.parametrize("data", DATA)
def test_the_record_holds_every_method_with_all_seeds_at_every_budget(data):
    num_seeds = len(SEEDS[kind(data)])
    for method in METHODS:
        for budget in ("updates", "time", *(["longer"] if method == PLAIN else [])):
            assert found(data, method, "overlap", budget).num_seeds == num_seeds
    assert {line["data"] for line in outcomes(LINES)} == set(DATA)


def test_at_the_slow_rate_no_method_has_an_overlap_of_one_percent_on_the_ring():
    assert all(found("ring", method, "overlap", rate=1e-4).median < 0.01 for method in METHODS)
    assert found("ring", PLAIN, "overlap", rate=1e-3).median > 0.02, "another rate does more"


def test_at_the_slow_rate_only_clipping_covers_several_modes_of_the_ring():
    assert found("ring", "weight clipping", "covered", rate=1e-4).median >= 4
    assert found("ring", "weight clipping", "good", rate=1e-4).high < 0.005, "a few samples in a thousand"
    assert all(found("ring", one, "covered", rate=1e-4).median <= 1 for one in METHODS if one != "weight clipping")


def test_at_the_slow_rate_clipping_and_looking_ahead_reach_most_of_the_grid_with_few_good_samples():
    for method in ("weight clipping", "unrolled"):
        assert found("grid", method, "covered", rate=1e-4).median > 12
        assert found("grid", method, "good", rate=1e-4).median < 0.04


def test_on_the_ring_the_rate_matters_as_much_as_the_method():
    def spread(cells):
        medians = [found("ring", method, "overlap", rate=rate).median for method, rate in cells]
        return max(medians) - min(medians)

    over_rates = statistics.median(spread((method, rate) for rate in RATES["points"]) for method in METHODS)
    over_methods = statistics.median(spread((method, rate) for method in METHODS) for rate in RATES["points"])
    assert 0.5 < over_rates / over_methods < 2
    for method in METHODS:
        by_rate = [found("ring", method, "overlap", rate=rate).median for rate in RATES["points"]]
        assert method == "weight clipping" or (min(by_rate) < 0.01 and max(by_rate) > 0.09)


def test_on_the_grid_no_method_gets_far():
    assert all(
        found("grid", method, "overlap", rate=rate).median < 0.05 for method in METHODS for rate in RATES["points"]
    )


def test_several_methods_cover_all_modes_of_the_ring_and_the_plain_game_about_half():
    assert all(
        found("ring", method, "covered").median == 8
        for method in ("minimax", "gradient penalty", "unrolled", "spectral norm")
    )
    assert 3 <= found("ring", PLAIN, "covered").median <= 5


def test_the_penalty_and_spectral_norm_pay_for_modes_with_precision():
    for method in ("gradient penalty", "spectral norm"):
        assert found("ring", method, "good").high < found("ring", PLAIN, "good").low


def test_the_four_best_overlaps_on_the_ring_are_not_ranked_by_their_intervals():
    four = [found("ring", method, "overlap") for method in ("unrolled", "minimax", PLAIN, "minibatch std")]
    assert max(one.low for one in four) < min(one.high for one in four)


def test_in_equal_time_the_penalty_and_looking_ahead_hit_hardly_anything_on_the_ring():
    assert all(found("ring", method, "overlap", "time").high < 0.01 for method in ("gradient penalty", "unrolled"))


def test_ten_steps_ahead_cover_the_ring_at_the_slow_rate_at_twelve_times_the_cost():
    results, _ = recorded_race()
    assert RING.discriminator_learning_rate == 1e-4
    assert statistics.median(results["k = 10"]["covered"][-1]) == 8
    assert 10 < results["k = 10"]["seconds"][-1] / results["k = 0"]["seconds"][-1] < 14


def test_at_the_slowest_rate_time_brings_modes_back_in_most_seeds_and_at_the_fastest_it_does_not():
    slow = summarise(LINES, "ring", PLAIN, "covered", "longer", 1e-4).values
    assert sum(covered >= 7 for covered in slow) > len(slow) / 2
    assert found("ring", PLAIN, "covered", rate=1e-4).median == 0
    assert found("ring", PLAIN, "covered", "longer", 3e-3).median <= found("ring", PLAIN, "covered", rate=3e-3).median


def test_with_more_time_the_plain_games_samples_are_good_on_few_modes():
    assert found("ring", PLAIN, "good", "longer").median > 0.9
    assert found("ring", PLAIN, "covered", "longer").median <= 4


def test_the_rate_that_looks_best_early_is_not_the_one_that_ends_best():
    early = {rate: found("ring", PLAIN, "overlap", rate=rate).median for rate in RATES["points"]}
    late = {rate: found("ring", PLAIN, "overlap", "longer", rate).median for rate in RATES["points"]}
    assert max(early, key=early.__getitem__) == 3e-3 and max(late, key=late.__getitem__) == 1e-3


def test_on_the_grid_spectral_norm_is_ahead_of_the_plain_game_at_a_useless_level():
    norm, plain = found("grid", "spectral norm", "overlap"), found("grid", PLAIN, "overlap")
    assert norm.low > plain.high and norm.high < 0.1
    longer = found("grid", PLAIN, "overlap", "longer")
    assert (
        longer.low > norm.high
        and found("grid", PLAIN, "covered", "longer").median < found("grid", PLAIN, "covered").median
    )


def test_on_letters_the_penalty_is_ahead_after_equal_updates_and_behind_in_equal_time():
    penalty = found("letters", "gradient penalty", "overlap")
    assert all(penalty.low > found("letters", one, "overlap").high for one in METHODS if one != "gradient penalty")
    assert found("letters", "gradient penalty", "overlap", "time").high < found("letters", PLAIN, "overlap", "time").low
    assert found("letters", PLAIN, "overlap", "longer").low > penalty.high
    (costs,) = (line["costs"] for line in LINES if line["kind"] == "costs" and line["data"] == "letters")
    assert 6 < costs["gradient penalty"] < 8, "seven times as long"


def test_on_letters_minimax_is_no_worse_than_the_non_saturating_loss():
    assert found("letters", "minimax", "overlap").median >= found("letters", PLAIN, "overlap").median


def test_on_letters_looking_ahead_learns_nothing_with_most_seeds():
    assert sorted(summarise(LINES, "letters", "unrolled", "covered").values) == [0, 0, 0, 0, 10]


def test_on_letters_spectral_norm_covers_fewer_letters_and_the_plain_game_nearly_all():
    assert found("letters", "spectral norm", "covered").high < found("letters", PLAIN, "covered").low
    assert found("letters", PLAIN, "covered").median == 25


def test_no_fix_is_ahead_of_the_plain_game_on_all_five_data_sets():
    for budget in ("updates", "time"):
        for fix in FIXES:
            ahead = [
                found(data, fix, "overlap", budget).low > found(data, PLAIN, "overlap", budget).high for data in DATA
            ]
            assert not all(ahead), (fix, budget)


STACKED = "stacked digits"


def test_on_stacked_digits_every_method_reaches_more_than_800_classes_clipping_and_looking_ahead_with_none_recognised():
    assert all(found(STACKED, method, "reached").median > 800 for method in METHODS)
    assert found(STACKED, "unrolled", "covered").high <= 1
    assert found(STACKED, "weight clipping", "good").high < 0.002, "nearly never sure"


def test_on_stacked_digits_the_penalty_covers_several_times_as_many_classes_as_any_other_after_equal_updates():
    penalty = found(STACKED, COSTLY, "covered")
    others = [found(STACKED, method, "covered") for method in METHODS if method != COSTLY]
    assert all(penalty.low > 3 * other.high for other in others)
    assert found(STACKED, COSTLY, "good").high < 0.04, "three in a hundred"


def test_on_stacked_digits_the_penalty_covers_no_more_than_the_plain_game_in_equal_time():
    penalty, plain = found(STACKED, COSTLY, "covered", "time"), found(STACKED, PLAIN, "covered", "time")
    assert penalty.low < plain.high
    assert penalty.median <= plain.median


def test_on_stacked_digits_the_plain_game_with_the_penaltys_time_is_not_ranked_against_it():
    longer, penalty = found(STACKED, PLAIN, "covered", "longer"), found(STACKED, COSTLY, "covered")
    assert longer.low < penalty.high and penalty.low < longer.high


def test_on_stacked_digits_only_looking_ahead_is_as_uneven_as_a_sampler_of_a_hundred_classes():
    a_hundred = math.log(10)
    for method in METHODS:
        uneven = [kl > a_hundred for kl in summarise(LINES, STACKED, method, "kl").values]
        assert any(uneven) == (method == "unrolled")
    assert class_divergence([256] * 100 + [0] * 900) == pytest.approx(a_hundred)


MNIST = "stacked MNIST"


@pytest.mark.parametrize(("data", "least"), [("letters", 0.99), (STACKED, 0.99), (MNIST, 0.89)])
def test_the_classifiers_are_sure_of_held_out_real_images(data, least):
    (real,) = (line for line in LINES if line["kind"] == "real" and line["data"] == data)
    assert least < real["good"] < least + 0.02 and real["reached"] >= 0.99 * real["num_modes"]


def test_on_stacked_mnist_all_but_looking_ahead_reach_more_than_800_classes_and_the_penalty_all_but_a_few():
    assert all(found(MNIST, method, "reached").median > 800 for method in METHODS if method != "unrolled")
    assert found(MNIST, "unrolled", "reached").high < 700
    assert found(MNIST, COSTLY, "reached").low > 990


def test_on_stacked_mnist_the_penalty_alone_learns_to_draw_and_the_plain_game_with_its_time_does_not():
    penalty = found(MNIST, COSTLY, "covered")
    others = {method: found(MNIST, method, "covered") for method in METHODS if method != COSTLY}
    assert all(penalty.low > 4 * other.high for other in others.values())
    assert penalty.low > 10 * found(MNIST, PLAIN, "covered", "longer").high
    assert max(others, key=lambda method: others[method].median) == "spectral norm"
    assert others["spectral norm"].median < 10
    on_fonts = sorted(METHODS, key=lambda method: found(STACKED, method, "covered").median)
    assert on_fonts[1] == "spectral norm", "last but one"


def test_on_stacked_mnist_the_penalty_covers_nothing_in_the_plain_games_time():
    assert found(MNIST, COSTLY, "covered", "time").high == 0


def test_does_the_penalty_repay_its_time_has_three_answers():
    def answer(data, measure):
        longer, penalty = found(data, PLAIN, measure, "longer"), found(data, COSTLY, measure)
        return "yes" if penalty.low > longer.high else "no" if longer.low > penalty.high else "open"

    assert [answer("letters", "overlap"), answer(STACKED, "covered"), answer(MNIST, "covered")] == ["no", "open", "yes"]


def test_on_stacked_mnist_only_looking_ahead_goes_beyond_a_hundred_classes_unevenness():
    assert 0.8 < statistics.median(found(MNIST, one, "kl").median for one in METHODS) < 1.2, "about one nat"
    for method in METHODS:
        assert (found(MNIST, method, "kl").median > math.log(10)) == (method == "unrolled")


def test_on_stacked_mnist_looking_ahead_lowers_the_count_of_the_plain_game():
    assert found(MNIST, "unrolled", "reached").high < found(MNIST, PLAIN, "reached").low
    assert found(MNIST, PLAIN, "reached").median > 800
