"""Seven methods on data sets with known modes: what is counted, when it is measured, and that a comparison goes on."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch

from dcgan_core.capture import Way
from dcgan_core.config import InvalidInput
from dcgan_core.iteration import advance
from dcgan_core.laboratory import comparison, mode_statistics, protocol, ring
from dcgan_core.laboratory.comparison import Game, compare, play
from dcgan_core.laboratory.outcomes import describe, describe_points, median_interval, outcomes, read, summarise, table
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
from dcgan_core.runtime import Machine

COSTS = dict.fromkeys(METHODS, 1.0) | {COSTLY: 5.0, "unrolled": 4.0}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiny players and samples; the protocol is the module's own."""
    monkeypatch.setattr(protocol, "POINTS", replace(protocol.POINTS, generator_width=4, discriminator_width=4))
    monkeypatch.setattr(protocol, "IMAGES", replace(protocol.IMAGES, generator_width=2, discriminator_width=2))
    monkeypatch.setattr(comparison, "NUM_SAMPLES", {"points": 50, "letters": 40})
    monkeypatch.setattr(comparison, "NUM_STACKED_SAMPLES", 30)
    monkeypatch.setattr(comparison, "COST_ROUNDS", 1)
    monkeypatch.setattr(comparison, "COST_UPDATES", 1)


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


def test_points_are_counted_as_mode_statistics_counts_them():
    mixture = ring()
    points = mixture.sample(500, rng=torch.Generator().manual_seed(0)) * 1.02
    points[:3] = torch.nan
    found, expected = describe_points(mixture, points), mode_statistics(mixture, points)
    assert found["covered"] == int(expected.covered) and found["good"] == pytest.approx(float(expected.good))
    assert found["num_samples"] == 500


@pytest.mark.parametrize(("n", "left", "level"), [(5, 0, 0.9375), (8, 1, 0.9296875), (3, 0, 0.75)])
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


def test_play_looks_exactly_at_the_marks():
    made = itertools.count(1)
    count = [0]

    def update() -> None:
        count[0] = next(made)

    game = Game(update, lambda: [{"updates made": count[0]}])
    found = [(mark, seen[0]["updates made"]) for mark, _, seen in play(game, {7, 2})]
    assert found == [(2, 2), (7, 7)]


def test_every_method_means_what_its_paper_says():
    assert point_config("ring", COSTLY, 1e-3).loss == "wasserstein-penalty"
    for method in METHODS:
        points, images = point_config("ring", method, 1e-3), image_config("letters", method, 1e-3, 0)
        critic = points.loss.startswith("wasserstein")
        assert points.loss == images.loss
        assert points.discriminator_steps == images.discriminator_steps == (5 if critic else 1)
        assert images.total_steps == protocol.NUM_UPDATES["letters"], "the same number of generator updates"
    assert image_config("letters", COSTLY, 1e-3, 0).discriminator_norm == "layer"
    assert image_config("letters", "spectral norm", 1e-3, 0).discriminator_norm == "none"
    assert point_config("grid", "unrolled", 1e-3).unrolled_steps == 5


def test_pilots_are_not_among_the_reported_seeds():
    assert not any(set(SEEDS[one]) & set(PILOTS[one]) for one in SEEDS)


def test_a_comparison_of_points_plays_everything_and_its_table_says_so(tmp_path):
    path = tmp_path / "comparison.jsonl"
    found = compare(path, data=["ring"], methods=[PLAIN, "unrolled"], num_seeds=2, num_updates=4, progress=False)
    seeds = {0, 1, *PILOTS["points"]}
    assert {(one["method"], one["rate"], one["seed"]) for one in found if "updates" in one["budgets"]} == set(
        itertools.product([PLAIN, "unrolled"], RATES["points"], seeds)
    )
    longer = [one for one in found if "longer" in one["budgets"]]
    assert {one["method"] for one in longer} == {PLAIN} and all(one["updates"] >= 4 for one in longer)
    printed = table(read(path))
    assert "unrolled" in printed and "minimax" not in printed and "overlap" in printed
    assert summarise(read(path), "ring", "unrolled", "good").num_seeds == 2


def test_images_are_played_at_the_rate_that_the_pilots_chose(tmp_path):
    path = tmp_path / "comparison.jsonl"
    with pytest.raises(InvalidInput, match="no pilot of 'minimax' on letters"):
        compare(path, data=["stacked digits"], methods=["minimax", PLAIN], num_seeds=1, num_updates=1, progress=False)
    compare(path, data=["letters"], methods=["minimax", PLAIN], num_seeds=1, num_updates=2, progress=False)
    found = compare(
        path, data=["stacked digits"], methods=["minimax", PLAIN], num_seeds=1, num_updates=1, progress=False
    )
    chosen = {one["method"]: one["rate"] for one in found if one["data"] == "letters" and one["seed"] == 0}
    for method, rate in chosen.items():
        pilots = {
            one["rate"]: one["frechet_distance"]
            for one in found
            if one["data"] == "letters" and one["method"] == method and one["seed"] == 100
        }
        assert pilots[rate] == min(pilots.values())
    stacked = [one for one in found if one["data"] == "stacked digits"]
    assert stacked and all(one["num_modes"] == 1000 and chosen[one["method"]] == one["rate"] for one in stacked)


def test_where_iterations_can_be_recorded_no_method_may_do_without(monkeypatch, cpu):
    """Or it would be slower for a reason that is not its own, and its time would count against it."""
    asked = []

    def ready(state, machine):
        asked.append(machine.capture)
        return Way(lambda *given: advance(*given), {"captured": machine.capture == "on"})

    monkeypatch.setattr(comparison, "ready", ready)
    played = []
    for machine, no_graph in ((cpu, None), (cpu, "no card"), (replace(cpu, capture="off"), "switched off")):
        monkeypatch.setattr(Machine, "no_graph", property(lambda _, why=no_graph: why))
        played.append(comparison.image_game("letters", PLAIN, 1e-3, 0, machine, "data"))
        played[-1].update()
    assert asked == ["on", "off", "off"]
    assert [game.facts for game in played] == [{"captured": True}, {"captured": False}, {"captured": False}]


def test_a_comparison_that_was_stopped_goes_on_and_plays_nothing_twice(tmp_path, monkeypatch):
    path = tmp_path / "comparison.jsonl"
    settings = dict(data=["ring"], methods=[PLAIN, "minimax"], num_seeds=1, num_updates=3, progress=False)
    whole = compare(path, **settings)
    lines = path.read_text().splitlines()
    half = len(lines) // 2
    path.write_text("\n".join(lines[:half]) + "\n" + lines[half][:20])  # killed in the middle of a line
    played = []
    real = comparison.point_game
    monkeypatch.setattr(comparison, "point_game", lambda *game: played.append(game) or real(*game))
    again = compare(path, **settings)
    assert 0 < len(played) < 2 * len(RATES["points"])

    def result(line):
        return {name: value for name, value in line.items() if name not in ("seconds", "budgets", "updates")}

    def ends(found):
        return {json.dumps(result(one), sort_keys=True) for one in found if one["updates"] == 3}

    assert ends(again) == ends(whole)
    played.clear()
    compare(path, **settings)
    assert played == []


def test_a_line_that_a_kill_cut_short_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "comparison.jsonl"
    path.write_text('{"kind": "outc')
    compare(path, data=["ring"], methods=[PLAIN], num_seeds=1, num_updates=1, progress=False)
    assert read(path)[0]["kind"] == "session"


def test_games_of_another_length_are_not_mixed_into_one_file(tmp_path):
    path = tmp_path / "comparison.jsonl"
    settings = dict(data=["ring"], methods=["minimax"], num_seeds=1, progress=False)
    compare(path, num_updates=2, **settings)
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="holds games on ring of 2 updates, and these would have 3"):
        compare(path, num_updates=3, **settings)
    assert path.read_bytes() == before


def test_more_seeds_than_the_protocol_has_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"^num_seeds is 9, but ring has 8"):
        compare(tmp_path / "new.jsonl", data=["ring"], num_seeds=9)


def test_a_run_that_was_played_again_counts_once():
    line = {"kind": "outcome", "data": "ring", "method": PLAIN, "rate": 1e-3, "seed": 0, "updates": 5}
    assert outcomes([{**line, "good": 1}, {**line, "good": 2}]) == [{**line, "good": 2}]


@pytest.mark.parametrize(("name", "value"), [("data", "spiral"), ("methods", "hinge")])
def test_unknown_names_are_refused_before_anything_is_written(tmp_path, name, value):
    with pytest.raises(InvalidInput, match=f"^{name} has {value!r}, but knows only"):
        compare(tmp_path / "new.jsonl", **{name: [value]})
    assert not (tmp_path / "new.jsonl").exists()


def test_what_real_images_would_get_is_noted_once(tmp_path):
    path = tmp_path / "comparison.jsonl"
    for _ in range(2):
        compare(path, data=["letters", "ring"], methods=[], progress=False)
    (real,) = (line for line in read(path) if line["kind"] == "real")
    assert real["data"] == "letters" and real["num_samples"] == 10_000
    assert real["covered"] == 26 and real["overlap"] > 0.9
    assert real["frechet_distance"] == pytest.approx(0, abs=1e-3), "they are what generated ones are compared with"


def test_costs_are_ratios_of_times_in_the_same_round(monkeypatch):
    clock = itertools.count()  # seconds that nothing but the updates below takes
    now = [0.0]
    monkeypatch.setattr(comparison.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(comparison, "COST_ROUNDS", 3)

    def takes(seconds):
        def update():
            now[0] += seconds * (1 + next(clock) // 2)  # the machine gets slower from round to round

        return update

    assert comparison.in_turns({"plain": takes(1), "dear": takes(3)}, "plain") == {"plain": 1, "dear": 3}
