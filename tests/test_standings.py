"""How the contest stands: intervals, tests and corrections agree with slow ones, and nothing is ranked by chance."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import replace

import numpy as np
import pytest

from dcgan_core.config import InvalidInput
from dcgan_core.laboratory import rules, standings
from dcgan_core.laboratory.contenders import PLAIN, settings
from dcgan_core.laboratory.rules import CHOSEN_BY, PILOT, REPORTED
from dcgan_core.laboratory.standings import LEVEL, difference_interval, holm, look, mean_interval, p_value, ranks

RNG = np.random.default_rng(0)


def test_p_is_the_share_of_deals_that_differ_as_much():
    values, others = [0.1, 0.5, 0.4, 0.6], [0.2, 0.1, 0.3]
    pool = values + others
    found = statistics.mean(values) - statistics.mean(others)
    deals = []
    for own in itertools.combinations(range(7), 4):
        rest = [pool[place] for place in range(7) if place not in own]
        deals.append(statistics.mean(pool[place] for place in own) - statistics.mean(rest))
    above = sum(deal >= found - 1e-12 for deal in deals) / len(deals)
    assert p_value(values, others, paired=False) == pytest.approx(min(1.0, 2 * above))


def test_paired_p_is_the_share_of_swaps_within_seeds_that_differ_as_much():
    values, others = [0.5, 0.6, 0.4, 0.9, 0.3], [0.45, 0.52, 0.43, 0.7, 0.28]
    differences = [a - b for a, b in zip(values, others, strict=True)]
    swaps = [
        statistics.mean(sign * one for sign, one in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=5)
    ]
    above = sum(swap >= statistics.mean(differences) - 1e-12 for swap in swaps) / len(swaps)
    assert p_value(values, others, paired=True) == pytest.approx(2 * above)
    assert p_value(values, others, paired=False) > 0.5, "the same seed by seed is little beside the spread over seeds"


def test_the_smallest_p_is_what_the_rules_say():
    assert p_value([1.0] * 5, [0.0] * 5, paired=False) == pytest.approx(2 / 252)
    assert p_value([1.0] * 5, [0.0] * 5, paired=True) == pytest.approx(2 / 2**5)
    assert p_value([0.0] * 5, [0.0] * 5, paired=False) == 1


def closed(p_values: list[float]) -> list[float]:
    """The definition that Holm's method is a shortcut of: each set of hypotheses is tested by Bonferroni's rule."""
    places = range(len(p_values))
    sets = [one for size in places for one in itertools.combinations(places, size + 1)]
    return [
        max(min(1.0, len(one) * min(p_values[other] for other in one)) for one in sets if place in one)
        for place in places
    ]


@pytest.mark.parametrize("p_values", [[0.01], [0.04, 0.01, 0.03], [0.2, 0.2, 0.001, 0.9, 0.02], [0.5, 0.6], []])
def test_holms_correction_is_the_closed_test(p_values):
    assert holm(p_values) == pytest.approx(closed(p_values))


def test_holms_correction_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_an_interval_for_the_mean_is_cut_from_all_resamples():
    values = [0.1, 0.2, 0.4, 0.8]
    means = np.array([np.mean(one) for one in itertools.product(values, repeat=4)])
    found = mean_interval(values, level=0.8)
    assert found == pytest.approx(tuple(np.quantile(means, [0.1, 0.9])), abs=0.03)
    assert mean_interval([0.25] * 8) == (0.25, 0.25)


def test_an_interval_for_a_difference_is_narrow_where_seeds_go_together_and_are_paired():
    values, others = [0.1, 0.3, 0.5, 0.7, 0.9], [0.0, 0.2, 0.4, 0.6, 0.8]
    assert difference_interval(values, others, paired=True) == pytest.approx((0.1, 0.1))
    low, high = difference_interval(values, others, paired=False)
    assert low < -0.2 and high > 0.4 and (low + high) / 2 == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("n", [7, 8, 9])
def test_the_nominal_level_holds_the_mean_in_more_than_nine_of_ten_cases_and_95_percent_would_not(n):
    def held(draws: np.ndarray, true: float, level: float) -> float:
        chosen = RNG.integers(0, n, (1_000, n))
        means = draws[:, chosen].mean(axis=2)  # (sets, resamples)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=1)
        return float(((low <= true) & (true <= high)).mean())

    even, skewed = RNG.normal(size=(2_000, n)), RNG.beta(2, 5, (2_000, n))
    assert held(even, 0, LEVEL) > 0.91 and held(skewed, 2 / 7, LEVEL) > 0.9
    assert held(even, 0, 0.95) < 0.91


def test_nothing_is_ranked_where_intervals_overlap():
    for _ in range(200):
        ends = np.sort(RNG.random((5, 2)), axis=1) * RNG.choice([0.2, 1.0])
        intervals = {str(name): (float(low), float(high)) for name, (low, high) in enumerate(ends)}
        found = ranks(intervals)
        for (one, (low, high)), (other, (other_low, other_high)) in itertools.permutations(intervals.items(), 2):
            apart = low > other_high
            if not apart and not other_low > high:
                (best, worst), (other_best, other_worst) = found[one], found[other]
                assert best <= other_worst and other_best <= worst, "each may still be the better one"
            if found[one][1] < found[other][0]:
                assert apart
        assert all(1 <= best <= worst <= 5 for best, worst in found.values())


def test_ranks_by_hand():
    intervals = {"best": (0.8, 0.9), "middle": (0.4, 0.6), "also middle": (0.5, 0.7), "touches": (0.7, 0.75)}
    assert ranks(intervals) == {"best": (1, 1), "touches": (2, 3), "also middle": (2, 4), "middle": (3, 4)}
    assert ranks({"alone": (0.1, 0.2)}) == {"alone": (1, 1)}


RUN = {
    "updates": [0, 10, 20, 30, 40],
    CHOSEN_BY: [0.0, 0.2, 0.7, 0.7, 0.3],
    "overlap": [0.0, 0.9, 0.5, 0.6, 0.4],
}


@pytest.mark.parametrize(
    ("view", "cost", "place"),
    [
        ("updates", 7.0, 4),
        ("time", 1.0, 4),
        ("time", 0.5, 4),
        ("time", 2.0, 2),
        ("time", 1.9, 2),
        ("time", 100.0, 0),
        ("best", 7.0, 2),
    ],
)
def test_a_view_takes_its_look(view, cost, place):
    """Nobody goes on for longer than the others, and the best is not found in what is reported."""
    assert look(RUN, view, cost) == place


NAMES = (PLAIN, "minimax", "R1")


@pytest.fixture
def short(monkeypatch):
    """A ring with two settings, two looks and four seeds, on which three methods play."""
    course = replace(rules.COURSES["ring"], draws=2, methods=NAMES, seeds=(0, 1, 2, 3), updates=40)
    for room in (rules, standings):
        monkeypatch.setattr(room, "COURSES", {"ring": course})
    return course


def lines_of(method: str, values: list[float], best: list[float], draw: int = 1) -> list[dict]:
    """Pilots that choose a setting, and reported seeds that end at `values` and were best, or early, at `best`."""
    facts = {"data": "ring", "method": method, "updates": 40, "finished": True}
    found = []
    for one in range(2):
        history = {"updates": [0, 40], "seconds": [0, 1], CHOSEN_BY: [[0.0] * 3, [float(one == draw)] * 3]}
        line = {"part": PILOT, "draw": one, "seed": 500, "seeds": [500, 501, 502], "knobs": settings(method, 2)[one]}
        found.append(facts | line | {"history": history})
    history = {
        "updates": [0, 20, 40],
        "seconds": [0, 1, 2],
        CHOSEN_BY: [[0.0] * 4, [1.0] * 4, [0.5] * 4],
        "overlap": [[0.0] * 4, best, values],
    }
    line = {"part": REPORTED, "draw": draw, "seed": 0, "seeds": [0, 1, 2, 3], "knobs": settings(method, 2)[draw]}
    return [*found, facts | line | {"history": history}]


COSTS = {"kind": "costs", "data": "ring", "updates": 40, "costs": {name: (1.0, 1.0, 1.0) for name in NAMES}}
COSTS["costs"] |= {"R1": (2.0, 1.9, 2.1)}


def record() -> list[dict]:
    lines = lines_of(PLAIN, [0.1, 0.2, 0.1, 0.2], [0.2, 0.3, 0.2, 0.3])
    lines += lines_of("minimax", [0.15, 0.15, 0.1, 0.2], [0.1, 0.1, 0.1, 0.2], draw=0)
    return [*lines, *lines_of("R1", [0.8, 0.9, 0.8, 0.9], [0.4, 0.5, 0.4, 0.5]), COSTS]


def test_each_view_reports_the_second_half_of_the_samples_at_its_look(short):
    found = standings.standings(record(), "ring")
    assert found["updates"]["R1"].values == (0.8, 0.9, 0.8, 0.9) and found["updates"]["R1"].updates == (40,) * 4
    assert found["time"]["R1"].values == (0.4, 0.5, 0.4, 0.5) and found["time"]["R1"].updates == (20,) * 4
    assert found["time"][PLAIN].values == found["updates"][PLAIN].values == (0.1, 0.2, 0.1, 0.2)
    assert found["best"]["minimax"].values == (0.1, 0.1, 0.1, 0.2)
    assert found["updates"]["R1"].mean == pytest.approx(0.85)
    assert found["updates"]["R1"].interval == mean_interval([0.8, 0.9, 0.8, 0.9])


def test_all_comparisons_on_a_data_set_are_corrected_together_and_the_plain_game_is_compared_with_itself_never(short):
    found = standings.standings(record(), "ring")
    raw = [
        p_value(found[view][method].values, found[view][PLAIN].values, paired=False)
        for view in found
        for method in ("minimax", "R1")
    ]
    corrected = [found[view][method].p for view in found for method in ("minimax", "R1")]
    assert len(raw) == 6 and corrected == pytest.approx(closed(raw))
    assert all(found[view][PLAIN].p is None and found[view][PLAIN].ahead is None for view in found)
    low, high = found["updates"]["R1"].ahead
    assert 0.6 < low < 0.7 < high < 0.8


def test_only_what_stands_apart_is_ranked(short):
    found = standings.standings(record(), "ring")["updates"]
    assert found["R1"].rank == (1, 1) and found[PLAIN].rank == found["minimax"].rank == (2, 3)


def test_where_seeds_share_their_images_methods_are_compared_seed_by_seed(short, monkeypatch):
    monkeypatch.setattr(standings, "COURSES", {"ring": replace(short, num_images=5)})
    found = standings.standings(record(), "ring")
    assert found["updates"]["R1"].ahead == pytest.approx((0.7, 0.7))


def test_a_method_that_has_not_finished_is_left_out_and_so_are_runs_with_another_setting(short):
    lines = record()
    lost = [line for line in lines if (line.get("method"), line.get("part")) != ("minimax", REPORTED)]
    assert set(standings.standings(lost, "ring")["updates"]) == {PLAIN, "R1"}
    other = [
        line | {"draw": 0} if (line.get("method"), line.get("part")) == ("R1", REPORTED) else line for line in lines
    ]
    assert set(standings.standings(other, "ring")["updates"]) == {PLAIN, "minimax"}
    few = [line | {"seeds": [0, 1, 2]} if line.get("part") == REPORTED else line for line in lines]
    assert standings.reported(few, "ring") == {}


def test_what_is_missing_is_said(short):
    with pytest.raises(InvalidInput, match="no costs on ring were measured yet"):
        standings.standings(record()[:-1], "ring")
    with pytest.raises(InvalidInput, match="the plain game has not finished on ring yet"):
        standings.standings([COSTS], "ring")


def test_the_last_costs_count(short):
    dearer = COSTS | {"costs": COSTS["costs"] | {"R1": (4.0, 4.0, 4.0)}}
    assert standings.costs([*record(), dearer], "ring")["R1"] == 4.0
    assert standings.costs(record(), "ring")["R1"] == 2.0


def test_the_table_says_costs_means_ranks_and_p(short):
    text = standings.table(record(), "ring")
    assert text.count("ring, ") == 3
    (row,) = (line for line in text.split("\n\n")[0].splitlines() if line.startswith("R1"))
    assert row.split()[:3] == ["R1", "2.0", "40"] and "85.0%" in row and " 1 " in row
    (row,) = (line for line in text.split("\n\n")[0].splitlines() if line.startswith("minimax"))
    assert "2-3" in row and row.endswith("1.000")


def test_a_run_has_stopped_improving_if_its_best_look_came_before_the_last_tenth(short):
    assert standings.stopped_improving([10, 89, 90, 100], 100) == 0.5
    best = standings.table(record(), "ring").split("\n\n")[2]
    (row,) = (line for line in best.splitlines() if line.startswith("R1"))
    assert "stopped" in best.splitlines()[0] and row.endswith("100%"), "at 20 of 40 updates"
    assert "stopped" not in standings.table(record(), "ring").split("\n\n")[1]
