"""Chapter 19: what it says of the record of the ablation, and what its figures show, on results that are made up."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from dcgan_core.laboratory.ablation import AS_IT_IS, CHANGES, rows
from dcgan_core.laboratory.effects import Effect
from dcgan_core.teaching import chapter_19
from dcgan_core.teaching.chapter_19 import MARKER, checkered, distances, false_alarms, limits, null_ps, recorded
from dcgan_core.teaching.chapter_19_rules import FAMILIES, PREDICTED, TRICKS
from dcgan_core.teaching.chapter_19_words import (
    agreement,
    in_short,
    interactions,
    judged,
    listed,
    order,
    resolution,
    results,
    surprises,
    told,
    where,
)


def effect(
    change: str, data: str = "letters", base: str = "paper", ratio: float = 1.0, p: float = 1.0, **more
) -> Effect:
    """A comparison; its interval reaches a tenth to either side unless another one is given."""
    given = {
        "num_runs": 5,
        "num_base_runs": 15,
        "num_diverged": 0,
        "interval": (0.9 * ratio, 1.1 * ratio),
        "recognised": (0.2, 0.3),
        "cost": 1.25,
        "parameters": (0, 0),
    }
    return Effect(base=base, change=change, data=data, ratio=ratio, p=p, **given | more)


def both(change: str, base: str = "paper", ratio: float = 1.0, p: float = 1.0, **more) -> list[Effect]:
    return [effect(change, data, base, ratio, p, **more) for data in ("letters", "clothes")]


WORSE = both("no tanh", ratio=2.0, p=0.01)
BETTER = both("minibatch std", ratio=0.5, p=0.01)
OPEN = both("kernel 3", ratio=1.1)
ONCE = [effect("kernel 5", ratio=1.5, p=0.01), effect("kernel 5", "clothes", ratio=1.2)]
GONE = both("rates of 0.006", ratio=math.inf, p=0.01, num_diverged=4, interval=(3.0, math.inf))
FOUND = [*WORSE, *BETTER, *OPEN, *ONCE, *GONE, *both("no tanh", "ours", 0.6, 0.02)]


def line(said, start: str) -> str:
    """The line of generated text that has these words."""
    (found,) = [one for one in said.markdown.splitlines() if start in one]
    return found


def test_every_row_is_in_one_family_and_what_is_predicted_is_a_row():
    listed_rows = [change for family in FAMILIES.values() for change in family]
    assert sorted(listed_rows) == sorted(set(CHANGES) - {AS_IT_IS})
    assert set(PREDICTED) < set(listed_rows) and set(PREDICTED.values()) == {"worse", "better"}


def test_the_list_has_seventeen_tricks_and_each_has_a_row_or_a_chapter_or_a_reason():
    assert len(TRICKS) == 17
    for trick in TRICKS:
        assert set(trick.rows) <= set(CHANGES)
        assert trick.rows or "chapter" in trick.elsewhere or "not measured here, because" in trick.elsewhere, trick.says
    measured = {change for trick in TRICKS for change in trick.rows}
    assert all(
        PREDICTED[change] == said for trick in TRICKS for change, said in trick.rows.items() if said in PREDICTED
    )
    assert {"minimax loss", "labels of 0.9", "dropout of 0.5 in G", "uniform latents"} < measured


def test_a_family_is_told_by_verdict_with_the_recipe_and_the_data_set_of_each():
    said = told(FOUND, ["no tanh", "kernel 3", "kernel 5", "minibatch std", "no R1"])
    assert line(said, "Worse") == (
        "- ▶ **Worse than the base:** *no tanh* (paper: letters ×2.00 and clothes ×2.00); "
        "*kernel 5* (paper: letters ×1.50)."
    )
    better = line(said, "Better")
    assert "*minibatch std* (paper: letters ×0.50" in better and "*no tanh* (ours: letters ×0.60" in better
    assert line(said, "anywhere") == "- ● **Not told apart from the base anywhere:** *kernel 3*."
    assert "none." in line(told(OPEN, ["kernel 3"]), "Worse")


def test_the_short_answer_counts_verdicts_and_names_what_holds_on_both_data_sets():
    said = in_short(FOUND).markdown
    assert said.startswith(
        "Of 12 comparisons, 5 are worse than their base, 4 better, and 3 are not told apart from it."
    )
    assert "In `paper`, worse on both data sets: *rates of 0.006* and *no tanh*." in said
    assert "In `paper`, better on both data sets: *minibatch std*." in said
    assert "In `ours`, better on both data sets: *no tanh*." in said
    assert "In `ours`, worse on both data sets: none." in said
    assert "*rates of 0.006* (paper, letters: 4 of 5)" in said and "not complete" not in said
    assert "Runs diverged in: no row." in in_short(OPEN).markdown


def test_a_record_with_too_few_runs_for_any_verdict_says_so():
    few = [effect(change, num_runs=1, num_base_runs=3) for change in ("kernel 3", "kernel 5")]
    assert "The record is not complete" in in_short(few).markdown
    enough = both("kernel 3")
    assert "not complete" not in in_short(enough).markdown


def test_a_row_that_was_played_on_one_data_set_alone_is_on_no_list_of_both():
    assert "In `paper`, worse on both data sets: none." in in_short([WORSE[0], *OPEN]).markdown
    half = [effect("no tanh", ratio=2.0, p=0.01), effect("no tanh", "clothes", ratio=2.0)]
    assert "In `paper`, worse on both data sets: none." in in_short(half).markdown


def test_surprises_are_rows_that_came_out_against_their_prediction():
    said = surprises(FOUND)
    assert (
        "Sources predict 8 of the comparisons: 6 came out as predicted, 2 the other way round, and 0" in said.markdown
    )
    assert line(said, "other way round:**") == (
        "- **The other way round:** *no tanh*, said to be worse, is better (ours: letters ×0.60 and clothes ×0.60)."
    )
    assert line(said, "everywhere") == (
        "- **As predicted, everywhere it was played:** *rates of 0.006*; *minibatch std*."
    )
    silent = surprises([*both("minimax loss"), effect("no R1", base="ours", ratio=3.0, p=0.01)])
    assert line(silent, "told apart nowhere") == "- **Predicted, and told apart nowhere:** *minimax loss*."
    half = [effect("no R1", base="ours", ratio=3.0, p=0.01), effect("no R1", "clothes", "ours", ratio=3.0)]
    assert line(surprises(half), "everywhere").endswith("** none.")
    assert agreement(FOUND, {"no tanh": "worse", "kernel 5": "worse", "kernel 3": None}) == (3, 2, 1)


def test_effects_differ_between_recipes_where_their_intervals_do_not_overlap_and_not_where_verdicts_do():
    found = [
        *both("no tanh", ratio=2.0, p=0.01),
        effect("no tanh", "letters", "ours", 0.6, 0.02),
        effect("no tanh", "clothes", "ours", 0.7, 0.02),
        effect("kernel 3", ratio=1.30, p=0.04, interval=(1.05, 1.5)),
        effect("kernel 3", base="ours", ratio=1.2, p=0.2, interval=(0.95, 1.4)),
        effect("kernel 5", ratio=1.0),
    ]
    said = interactions(found)
    assert said.markdown.startswith(
        "Of 3 comparisons that both recipes have, 2 have intervals that do not overlap: *no tanh*. Opposite verdicts: "
        "*no tanh* on letters (worse in `paper`, better in `ours`); *no tanh* on clothes (worse in `paper`, better in "
        "`ours`).\n\n<details>"
    )
    assert line(said, "- *no tanh*") == (
        "- *no tanh*: letters ×2.00 (1.80 to 2.20) in `paper`, ×0.60 (0.54 to 0.66) in `ours`; "
        "clothes ×2.00 (1.80 to 2.20) in `paper`, ×0.70 (0.63 to 0.77) in `ours`."
    )
    assert "- *kernel 3*" not in said.markdown
    assert line(said, "one recipe only:") == "- A verdict in one recipe only: *kernel 3* on letters (paper, worse)."
    assert "0 have intervals that do not overlap: none. Opposite verdicts: none." in interactions(OPEN).markdown


def test_what_may_stay_unseen_is_how_far_the_intervals_reach():
    found = [effect(f"kernel {size}", interval=ends) for size, ends in ((3, (0.5, 2.0)), (5, (0.25, 4.0)))]
    found += [effect("no tanh", interval=(1.21, 1.44)), *BETTER]
    said = resolution(found).markdown
    assert (
        said.startswith("3 comparisons are not told apart") and "×2.00 or more" in said and " 1 of them would" in said
    )
    assert (
        resolution([effect("kernel 3", interval=(0.0, math.inf))]).markdown == "There are too few runs for intervals."
    )


def test_rows_are_sorted_by_their_mean_effect_on_both_data_sets_and_diverged_ones_come_first():
    assert order(FOUND, "paper") == ["rates of 0.006", "no tanh", "kernel 5", "kernel 3", "minibatch std"]
    assert order(FOUND, "ours") == ["no tanh"]
    mixed = [effect("kernel 3", ratio=1.5), effect("kernel 3", "clothes", ratio=0.5), *both("kernel 5", ratio=1.2)]
    assert order(mixed, "paper") == ["kernel 5", "kernel 3"]


def test_the_table_of_a_base_is_folded_and_has_a_line_for_each_row_and_data_set():
    said = results(FOUND, "paper").markdown
    assert said.startswith("<details>\n<summary>All 5 rows of paper in numbers</summary>\n\n| change |")
    body = [one for one in said.splitlines() if one.startswith("| ")][2:]
    assert len(body) == 10
    assert body[0] == (
        "| rates of 0.006 | letters, 5:15, 4 diverged | diverged (3.00 to ∞) | 0.010 | 20% (30%) | 1.25 | ▶ worse |"
    )
    assert "| ×1.10 (0.99 to 1.21) | 1.000 | 20% (30%) | 1.25 | ● not told apart |" in said
    assert len({one.count("|") for one in said.splitlines() if one.startswith("|")}) == 1


def test_each_trick_has_a_line_with_the_verdicts_of_its_rows_or_where_it_is_treated_or_why_not():
    first, second = judged(FOUND).markdown.split("<details>\n<summary>The 7 that no row measures</summary>\n\n")
    body = {one.split(" | ")[0]: one for one in [*first.splitlines()[2:], *second.splitlines()[2:]] if "|" in one}
    assert sorted(body) == sorted(f"| {number}" for number in range(1, 18))
    assert body["| 1"].endswith("*no tanh*: paper ▶▶, ours ◀◀; chapter 05 | 2 / 2 / 0 |"), "sigmoid was not played"
    assert "paper ▶▶" in body["| 9"] and body["| 9"].endswith("| 2 / 0 / 0 |")
    assert body["| 15"].endswith("*minibatch std*: paper ◀◀; chapter 13 | – |"), "it predicts nothing"
    assert body["| 16"].endswith("| not measured here, because no run has a condition |") and body["| 16"] in second
    for part in (first, second):
        assert len({one.count("|") for one in part.splitlines() if "|" in one}) == 1


def test_lists_read_like_sentences():
    assert listed([]) == "none" and listed(["a"]) == "a" and listed("abc") == "a, b and c"
    assert where(ONCE, with_ratio=False) == "paper: letters and clothes"


def marks(axes, marker: str) -> list:
    return [one for one in axes.lines if one.get_marker() == marker]


def test_the_forest_has_a_mark_for_each_comparison_by_verdict_and_crosses_at_the_edge_for_diverged_ones():
    figure = chapter_19.show_forest(FOUND, "paper")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == order(FOUND, "paper")
    counts = {verdict: len(marks(axes, marker)) for verdict, (marker, _) in MARKER.items()}
    assert counts == {"worse": 3, "better": 2, "not told apart": 3}, "diverged rows have no ratio to stand at"
    assert [one.get_xdata()[0] for one in marks(axes, "x")] == [axes.get_xlim()[1]] * 2
    filled = {tuple(one.get_ydata()): one.get_markerfacecolor() for one in marks(axes, "<")}
    assert [colour for _, colour in sorted(filled.items())] == [MARKER["better"][1], "white"], "letters, then clothes"
    assert axes.get_ylim()[0] > axes.get_ylim()[1] and axes.get_xscale() == "log"
    plt.close(figure)


@pytest.mark.parametrize("draw", ["show_forest", "show_family", "show_tricks", "show_bases", "show_checkered"])
def test_labels_can_be_read_on_a_phone(draw):
    """A page of 390 pixels shows a figure, and what sticks out of it, 342 pixels wide: 9 pixels at least."""
    given = {
        "show_forest": (FOUND, "paper"),
        "show_family": (FOUND, "ends"),
        "show_bases": (FOUND,),
        "show_tricks": (FOUND,),
    }
    figure = getattr(chapter_19, draw)(*given.get(draw, (RUNS, {"letters": 0.003})))
    scale = 342 / (1.03 * figure.get_figwidth() * 96)
    for axes in figure.axes:
        for label in [*axes.get_yticklabels(), *axes.get_xticklabels(), axes.xaxis.label]:
            assert not label.get_text() or label.get_fontsize() * 96 / 72 * scale >= 9, label
    plt.close(figure)


def test_a_family_is_shown_in_both_recipes_and_rows_without_a_place_stay_empty():
    figure = chapter_19.show_family(FOUND, "layers")
    paper, ours = figure.axes
    assert (
        len(paper.get_yticklabels()) == 2
        and marks(paper, "o")
        and not [one for one in ours.lines if one.get_marker() in "<>o"]
    )
    plt.close(figure)


def test_the_side_on_which_a_trick_says_its_row_will_be_is_shaded():
    figure = chapter_19.show_tricks(FOUND)
    paper, ours = figure.axes
    assert [label.get_text() for label in paper.get_yticklabels()] == [
        "1: no tanh",
        "9: rates of 0.006",
        "15: minibatch std",
    ]
    shaded = [one.get_paths()[0].get_extents() for one in paper.collections]
    assert [(box.x0 >= 1, round(box.y0 + box.y1)) for box in shaded] == [(True, 0), (True, 2)], "15 is not sure"
    assert len(ours.collections) == 1, "one of them has a place there"
    low = chapter_19.show_tricks(both("labels of 0.9")).axes[0].collections[0].get_paths()[0].get_extents()
    assert low.x1 == 1 and low.x0 < 1, "it says that it will be better"
    plt.close("all")


def test_effects_of_both_recipes_are_joined_and_thick_where_their_intervals_are_apart():
    found = [*FOUND, *both("kernel 3", "ours", ratio=1.15)]
    figure = chapter_19.show_bases(found)
    letters, _ = figure.axes
    assert [label.get_text() for label in letters.get_yticklabels()] == ["no tanh", "kernel 3"], (
        "the largest gap on top"
    )
    joined = [one for one in letters.lines if len(one.get_xdata()) == 2 and len(set(one.get_xdata())) == 2]
    assert [(one.get_ydata()[0], one.get_linewidth() > 2) for one in joined] == [(0, True), (1, False)]
    plt.close(figure)


@pytest.mark.parametrize(
    "span, narrow, shown",
    [
        ((0.8, 1.3), False, ["×1"]),
        ((0.4, 5.0), False, ["×0.5", "×1", "×2", "×4"]),
        ((0.4, 20.0), True, ["×1", "×4"]),
        ((0.05, 500.0), False, ["×0.1", "×1", "×10", "×100"]),
    ],
)
def test_ticks_are_round_and_inside(span, narrow, shown):
    figure, axes = plt.subplots()
    axes.set(xscale="log", xlim=span)
    chapter_19._ticks(axes, span, narrow)
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert "×1" in ticks and set(shown) <= set(ticks), ticks
    assert all(span[0] <= tick <= span[1] for tick in axes.get_xticks())
    plt.close(figure)


def test_an_axis_shows_every_finite_ratio_and_end_of_an_interval():
    low, high = limits(FOUND)
    assert low < 0.45 and 3.0 < high < 4.0
    assert limits([effect("kernel 3", ratio=1.0, interval=(0.0, math.inf))]) == pytest.approx((1 / 1.15, 1.15))


def run(change: str, seed: int, distance: float | None, checkered: float | None, data: str = "letters") -> dict:
    return {
        "base": "paper",
        "change": change,
        "data": data,
        "seed": seed,
        "distance": [900.0, distance],
        "checkered": [0.5, checkered],
    }


RUNS = [
    run(AS_IT_IS, 0, 100.0, 0.004),
    run(AS_IT_IS, 1, 120.0, 0.005),
    run("kernel 3", 0, 150.0, 0.02),
    run("kernel 3", 1, None, None),
    run("no tanh", 0, 130.0, 0.9),
]


def test_the_checkerboard_is_that_of_the_last_look_of_runs_that_did_not_diverge():
    assert checkered(RUNS) == {
        ("paper", "letters", "kernel 4"): [0.004, 0.005],
        ("paper", "letters", "kernel 3"): [0.02],
    }
    assert distances(RUNS, "paper", "kernel 3", "letters") == [150.0, math.inf]
    assert distances(RUNS, "ours", "kernel 3", "letters") == []


def test_of_rows_that_change_nothing_one_in_twenty_seems_to_have_an_effect():
    ps = np.concatenate([null_ps(132, 5, 15, seed) for seed in range(12)])
    assert ps.shape == (12 * 132,) and 0.02 < (ps <= 0.05).mean() < 0.09
    assert (null_ps(132, 5, 15, seed=1) == null_ps(132, 5, 15, seed=1)).all()
    raw, left = false_alarms(12, 132, 5, 15)
    assert raw == pytest.approx(12 * (ps <= 0.05).mean() * 132 / 12) and left <= 0.25
    assert false_alarms(3, 4, 5, 15, level=1.0) == (4.0, 1.0)


def test_p_values_of_nothing_are_exact_and_rows_of_a_group_are_compared_with_the_same_runs(monkeypatch):
    drawn = []

    class Draws:
        def __init__(self, seed: int) -> None:
            self.rng = RNG(seed)

        def standard_normal(self, shape):
            drawn.append(self.rng.standard_normal(shape))
            return drawn[-1]

    RNG = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", Draws)
    ps = iter(null_ps(10, 3, 4, seed=0, num_groups=4))
    assert [values.shape for values in drawn] == [(3, 3, 1), (4,), (3, 3, 1), (4,), (2, 3, 1), (4,), (2, 3, 1), (4,)]
    for own, others in zip(drawn[::2], drawn[1::2], strict=True):
        for row in own:
            assert next(ps) == pytest.approx(mannwhitneyu(row[:, 0], others, method="exact").pvalue)


def test_sessions_are_no_runs(tmp_path):
    path = tmp_path / "record.jsonl"
    path.write_text('{"kind": "session"}\n{"base": "paper", "change": "no tanh"}\n', encoding="utf-8")
    assert recorded(path) == [{"base": "paper", "change": "no tanh"}]


def test_every_row_of_the_study_is_asked_for_in_the_tables():
    everything = [
        effect(change, data, base)
        for base in ("paper", "ours")
        for change in rows(base)
        for data in ("letters", "clothes")
    ]
    assert len(everything) == 132
    for base in ("paper", "ours"):
        body = results(everything, base).markdown
        assert all(f"| {change} | clothes" in body for change in rows(base))
