"""What is concluded from a record of the ablation: ratios, their intervals, corrected p values and verdicts."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from dcgan_core.laboratory.ablation import AS_IT_IS, rows
from dcgan_core.laboratory.effects import (
    distance,
    effects,
    groups,
    in_words,
    num_outside,
    rank_p,
    ratio_of,
    show,
    table,
)
from dcgan_core.runs.files import add_line

RNG = np.random.default_rng(0)
PLAIN = RNG.lognormal(5, 0.2, size=15)


def line(change: str, seed: int, distance: float | None, base: str = "paper", data: str = "letters", **more) -> dict:
    """A run whose last look is at that distance."""
    found = {
        "base": base,
        "change": change,
        "data": data,
        "seed": seed,
        "finished": True,
        "diverged_at": None if distance is not None else 64,
        "distance": [900.0, distance],
        "recognised": [0.0, 0.3],
        "parameters": [100, 50],
        "milliseconds_per_image": 1.0,
    }
    return found | more


def of_base(**more) -> list[dict]:
    return [line(AS_IT_IS, seed, value, **more) for seed, value in enumerate(PLAIN)]


def of_row(change: str, factor: float, num: int = 5, **more) -> list[dict]:
    """Runs spread over the base's range, times a factor."""
    values = factor * np.quantile(PLAIN, np.linspace(0.12, 0.9, num))
    return [line(change, seed, value, **more) for seed, value in enumerate(values)]


@pytest.mark.parametrize("num, num_others", [(1, 3), (2, 6), (3, 9), (4, 5), (5, 15)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_as_many_values_of_u_lie_outside_as_all_ways_to_deal_the_ranks_out_say(num, num_others, level):
    ranks = range(num + num_others)
    ways = [sum(chosen) - num * (num - 1) // 2 for chosen in itertools.combinations(ranks, num)]
    rare = [u for u in range(num * num_others + 1) if np.mean([way <= u for way in ways]) <= (1 - level) / 2 + 1e-12]
    assert num_outside(num, num_others, level) == len(rare)


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.0, 1.2, 2.5])
def test_the_interval_leaves_out_exactly_the_ratios_that_the_rank_test_rejects(factor):
    own = factor * RNG.lognormal(5, 0.2, size=5)
    ratio, (low, high) = ratio_of(own, PLAIN)
    assert low < ratio < high

    def p_of(assumed: float) -> float:
        return float(mannwhitneyu(own / assumed, PLAIN, method="exact").pvalue)

    for assumed in (low * 1.0001, ratio * 1.0001, high * 0.9999):
        assert p_of(assumed) > 0.05
    for assumed in (low * 0.9999, high * 1.0001):
        assert p_of(assumed) <= 0.05


def test_intervals_hold_the_true_ratio_in_at_least_as_many_cases_as_they_say():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        low, high = ratio_of(1.5 * rng.lognormal(5, 0.3, size=5), rng.lognormal(5, 0.3, size=15))[1]
        inside += low <= 1.5 <= high
    assert 0.93 < inside / 400 < 0.985


def test_a_row_that_is_its_base_times_two_has_a_ratio_of_two():
    assert ratio_of(2 * PLAIN, PLAIN)[0] == pytest.approx(2)
    assert ratio_of([3.0], [1.0, 2.0, 4.0])[0] == pytest.approx(1.5)
    assert ratio_of([2.0, 8.0], [1.0])[0] == pytest.approx(4), "between two ratios, the middle is that of logarithms"


def test_too_few_runs_have_a_ratio_and_no_interval():
    assert ratio_of([300.0], [100.0, 200.0, 300.0])[1] == (0.0, math.inf)
    assert ratio_of([300.0, 310.0, 320.0], list(range(1, 10)))[1][0] > 0


def test_a_run_that_diverged_is_worse_than_all_others_and_open_above():
    own = [160.0, 170.0, math.inf, 180.0, 190.0]
    ratio, (low, high) = ratio_of(own, PLAIN)
    assert math.isfinite(ratio) and ratio > ratio_of([value for value in own if value < math.inf], PLAIN)[0]
    assert low < ratio and high == math.inf
    assert ratio_of([math.inf] * 4 + [100.0], PLAIN)[0] == math.inf
    assert ratio_of([math.inf] * 5, [math.inf] * 15)[0] == 1, "and those of both bases are equal"


def test_the_best_look_may_come_before_the_end_and_a_diverged_run_has_one_too():
    run = line("kernel 3", 0, 200.0) | {"distance": [400.0, 90.0, 200.0]}
    assert distance(run) == 200 and distance(run, "best") == 90
    run = line("kernel 3", 0, None) | {"distance": [400.0, 90.0, None]}
    assert distance(run) == math.inf and distance(run, "best") == 90
    assert distance(run | {"distance": [None, None]}, "best") == math.inf


def test_each_row_is_compared_with_its_own_base_on_its_own_data_set():
    lines = [*of_base(), *(run | {"distance": [900.0, 10.0]} for run in of_base(base="ours"))]
    lines += [*of_row("kernel 3", 2), *of_row("kernel 3", 2, base="ours"), *of_row("kernel 3", 2, data="clothes")]
    found = {(one.base, one.data): one for one in effects(lines)}
    assert set(found) == {("paper", "letters"), ("ours", "letters")}, "clothes have no base here"
    assert 1.5 < found["paper", "letters"].ratio < 2.6 < 20 < found["ours", "letters"].ratio


def test_a_run_that_was_played_twice_counts_once_and_sessions_do_not_count():
    lines = [{"kind": "session"}, line("kernel 3", 1, 5.0), line("kernel 3", 0, 1.0), line("kernel 3", 1, 7.0)]
    ((key, runs),) = groups(lines).items()
    assert key == ("paper", "kernel 3", "letters")
    assert [run["distance"][-1] for run in runs] == [1.0, 7.0]


def test_p_values_are_those_of_the_rank_test_times_the_number_of_comparisons_that_are_left():
    changes = {"kernel 3": 1.0, "kernel 5": 2.5, "no tanh": 0.7}
    lines = of_base() + [run for change, factor in changes.items() for run in of_row(change, factor)]
    raw = {
        change: mannwhitneyu([run["distance"][-1] for run in of_row(change, factor)], PLAIN, method="exact").pvalue
        for change, factor in changes.items()
    }
    found = {one.change: one.p for one in effects(lines)}
    first, second, third = sorted(raw, key=raw.get)
    assert found[first] == pytest.approx(3 * raw[first])
    assert found[second] == pytest.approx(max(2 * raw[second], found[first]))
    assert found[third] == pytest.approx(max(raw[third], found[second]))


def test_a_row_of_which_all_runs_diverged_has_the_smallest_p_that_there_is():
    """Ranks of diverged runs are equal, and the test is exact nevertheless."""
    assert (
        rank_p([math.inf] * 5, PLAIN)
        == pytest.approx(2 / math.comb(20, 5))
        == rank_p([1e9 + i for i in range(5)], PLAIN)
    )
    assert rank_p([math.inf] * 5, [math.inf] * 15) == 1
    # 1 and 2 against 2 and 3: ranks 1, 2.5, 2.5 and 4, so that one deal of six has a smaller sum and two have this one
    assert rank_p([1.0, 2.0], [2.0, 3.0]) == pytest.approx(2 * 2 / 6)
    # 1 and 1 against 0, 2 and 2: ranks 2.5 and 2.5 of 1, 2.5, 2.5, 4.5, 4.5; three deals of ten have no larger sum
    assert rank_p([1.0, 1.0], [0.0, 2.0, 2.0]) == pytest.approx(2 * 3 / 10)
    lines = of_base() + [line("kernel 5", seed, None) for seed in range(5)]
    for change in [row for row in rows("paper") if row != "kernel 5"]:
        lines += of_row(change, 1.0)
    assert {one.change: one.verdict for one in effects(lines)}["kernel 5"] == "worse"


def test_a_verdict_has_a_direction_only_where_the_corrected_p_value_allows_one():
    lines = of_base() + of_row("kernel 5", 2.5) + of_row("no tanh", 0.3) + of_row("kernel 3", 1.0)
    assert {one.change: one.verdict for one in effects(lines)} == {
        "kernel 5": "worse",
        "no tanh": "better",
        "kernel 3": "not told apart",
    }
    alone = {one.change: one for one in effects(of_base() + of_row("kernel 5", 1.45))}["kernel 5"]
    others = [run for change in rows("paper") if change != "kernel 5" for run in of_row(change, 1.0)]
    among = {one.change: one for one in effects([*of_base(), *of_row("kernel 5", 1.45), *others])}["kernel 5"]
    assert alone.verdict == "worse" and among.verdict == "not told apart" and alone.interval == among.interval


def test_one_run_of_each_row_proves_nothing():
    lines = of_base()[:3] + of_row("kernel 5", 50.0, num=1)
    (found,) = effects(lines)
    assert found.verdict == "not told apart" and found.ratio > 10 and "too few runs" in in_words(found)


def test_what_else_is_said_of_a_row_is_counted_and_compared():
    runs = of_row("kernel 5", 2.0, num=4)
    runs = [run | {"milliseconds_per_image": 3.0, "parameters": [130, 45], "recognised": [0.9, 0.1]} for run in runs]
    runs.append(line("kernel 5", 4, None, parameters=[130, 45], milliseconds_per_image=9.0, recognised=[0.0, 0.0]))
    (found,) = effects(of_base() + runs)
    assert (found.num_runs, found.num_base_runs, found.num_diverged) == (5, 15, 1)
    assert (found.cost, found.parameters, found.recognised) == (3.0, (30, -5), (0.1, 0.3))


def test_the_table_has_a_line_for_every_row_the_largest_ratio_first(tmp_path, capsys):
    lines = of_base() + of_row("kernel 3", 1.0) + of_row("no tanh", 3.0) + of_row("kernel 5", 2.0)
    names = [row.split("  ")[0] for row in table(lines).splitlines()[1:] if row]
    assert names == ["no tanh", "kernel 5", "kernel 3"]
    assert table([]) == ""
    for one in lines:
        add_line(tmp_path / "x.jsonl", json.dumps(one))
    show(tmp_path / "x.jsonl")
    assert capsys.readouterr().out.strip() == table(lines).strip()


def test_ratios_are_written_with_their_intervals_and_what_diverged_says_so():
    (found,) = effects(of_base() + of_row("kernel 5", 2.0))
    low, high = found.interval
    assert in_words(found) == f"×{found.ratio:.2f} ({low:.2f} to {high:.2f})"
    (found,) = effects(of_base() + [line("kernel 5", seed, None) for seed in range(5)])
    assert in_words(found) == "diverged (∞ to ∞)"
