"""What chapter 19 claims beside what it makes of the record: the protocol, the statistics, and what the record is."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from dcgan_core.laboratory.ablation import (
    AS_IT_IS,
    BASE_SEEDS,
    BASES,
    DATA,
    RECORD,
    ROUNDS,
    SIZE,
    jobs,
    rows,
    run_config,
)
from dcgan_core.laboratory.effects import LEVEL, effects, num_ways, rank_p, ratio_of
from dcgan_core.laboratory.standings import holm
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.models import build
from dcgan_core.teaching.chapter_19 import distances, false_alarms, null_ps, recorded
from dcgan_core.teaching.chapter_19_rules import PREDICTED
from dcgan_core.teaching.chapter_19_words import shared

NUM = 132  # comparisons
PLAN = list(jobs(BASES, DATA, range(ROUNDS)))


def test_37_changes_of_the_papers_recipe_and_29_of_ours_are_132_comparisons_of_5_runs_with_15():
    assert [len(rows(base)) for base in ("paper", "ours")] == [37, 29]
    count = Counter(job[:3] for job in PLAN)
    assert len([one for one in count if one[1] != AS_IT_IS]) == NUM
    assert {number for (_, change, _), number in count.items() if change != AS_IT_IS} == {ROUNDS} == {5}
    assert {number for (_, change, _), number in count.items() if change == AS_IT_IS} == {BASE_SEEDS * ROUNDS} == {15}


def test_24_changes_have_a_place_in_both_recipes():
    assert len(set(rows("paper")) & set(rows("ours"))) == 24


def test_the_record_holds_runs_of_this_study_in_this_size():
    lines = read_lines(RECORD)
    assert {str(line["size"]) for line in lines if line.get("kind") == "session"} == {str(SIZE)}
    for line in recorded():
        assert (line["base"], line["change"], line["data"], line["seed"]) in PLAN and line["finished"]
        assert line["total_images"] == SIZE["total_images"] and line["threads"] == 1 and len(line["distance"]) == 5


@pytest.mark.xfail(strict=True, reason="the study is still being played: take this mark away with the whole record")
def test_the_record_holds_every_run_of_the_study():
    assert {(line["base"], line["change"], line["data"], line["seed"]) for line in recorded()} == set(PLAN)
    assert len(effects(recorded())) == NUM


def test_runs_of_the_record_have_the_networks_of_their_base():
    for base in BASES:
        pair = build(run_config(base, AS_IT_IS, "letters", 0))
        sizes = [sum(value.numel() for value in network.parameters()) for network in pair]
        found = [line["parameters"] for line in recorded() if (line["base"], line["change"]) == (base, AS_IT_IS)]
        assert found and all(one == sizes for one in found)


def test_the_base_does_not_diverge():
    """So that ranks of the base can be written down by hand in the page."""
    for base in BASES:
        for data in DATA:
            found = distances(recorded(), base, AS_IT_IS, data)
            assert math.inf not in found and len(set(found)) == len(found)


def test_one_run_that_goes_astray_hardly_moves_the_effect():
    others = [90.0 + 2 * place for place in range(15)]
    usual, astray = [100.0, 104.0, 108.0, 112.0, 116.0], [100.0, 104.0, 108.0, 112.0, 11_600.0]
    assert ratio_of(astray, others)[0] < 1.05 * ratio_of(usual, others)[0]
    assert sum(astray) > 20 * sum(usual), "as it moves a mean"


def test_the_smallest_p_is_2_over_the_number_of_deals_and_five_against_fifteen_survives_387_comparisons():
    for own, others in ((5, 15), (5, 5), (3, 9)):
        least = rank_p([1000.0 + place for place in range(own)], [float(place) for place in range(others)])
        assert least == pytest.approx(2 / math.comb(own + others, own))
    least = 2 / math.comb(20, 5)
    assert 387 * least <= 0.05 < 388 * least and NUM * least <= 1 - LEVEL
    assert 6 * 2 / math.comb(10, 5) <= 0.05 < 7 * 2 / math.comb(10, 5)
    assert 2 / math.comb(10, 5) > 0.0079 and 100 * 2 / math.comb(10, 5) > 0.05
    assert NUM * 2 / math.comb(12, 3) > 0.05


def test_holms_correction_is_the_formula_of_the_page():
    ps = [0.02, 0.001, 0.9, 0.0012]
    ordered = sorted(ps)
    by_hand = [max(min(1, (4 - j) * ordered[j]) for j in range(k + 1)) for k in range(4)]
    assert [holm(ps)[ps.index(p)] for p in ordered] == pytest.approx(by_hand)


def test_in_the_figure_of_no_effects_some_p_values_lie_below_the_line_and_none_after_the_correction():
    ps = null_ps(NUM, 5, 15, seed=0)
    assert 0 < (ps <= 0.05).sum() < 12 and min(holm(ps.tolist())) > 0.05


def test_several_rows_that_change_nothing_seem_to_have_an_effect_and_few_studies_have_any_after_the_correction():
    raw, left = false_alarms(1_000, NUM, 5, 15)
    assert 5 < raw < 8 and 0 < left <= 0.05


def test_of_a_hundred_rows_that_change_nothing_nearly_one_has_a_p_value_of_a_hundredth():
    """Of all deals of 20 ranks: how often p is at most 0.01."""
    ways = num_ways(5, 15)
    total, share, tail = math.comb(20, 5), 0.0, 0
    assert sum(ways) == total
    for number in ways[:38]:
        tail += number
        share = 2 * tail / total if 2 * tail / total <= 0.01 else share
    assert 0.7 < 100 * share <= 1


def test_the_effect_of_a_row_of_which_three_runs_of_five_diverged_is_worse_than_any_number():
    others = [100.0 + place for place in range(15)]
    diverged = [math.inf] * 3 + [50.0, 60.0]
    assert ratio_of(diverged, others)[0] == math.inf
    assert ratio_of(diverged[3:], others)[0] < 1, "the two that are left look better than the base"
    assert 0 < rank_p(diverged, others) <= 1


def test_batches_of_128_make_a_quarter_of_the_updates_and_batches_of_8_four_times_as_many():
    steps = {
        change: run_config("paper", change, "letters", 0).total_steps
        for change in (AS_IT_IS, "batches of 128", "batches of 8")
    }
    assert 4 * steps["batches of 128"] == steps[AS_IT_IS] == steps["batches of 8"] / 4


def test_where_sources_disagree_or_say_nothing_nothing_is_predicted():
    assert not {"LeakyReLU in G", "uniform latents", "average pooling in D", "kernel 3", "beta1 0"} & set(PREDICTED)


def test_both_recipes_are_compared_on_each_data_set_that_both_were_played_on():
    found = effects(recorded())
    played = {(one.base, one.change, one.data) for one in found}
    both = {(c, d) for b, c, d in played if ("paper", c, d) in played and ("ours", c, d) in played}
    assert len(shared(found)) == len(both)
