"""The contest plays what the rules say, looks all along, and has the same record whether it was stopped or not."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from dcgan_core.config import InvalidInput
from dcgan_core.laboratory import contest, ensemble, rules
from dcgan_core.laboratory.contenders import PLAIN, settings
from dcgan_core.laboratory.contest import costs, described, history, play_job, study, training_images
from dcgan_core.laboratory.games import Game
from dcgan_core.laboratory.rules import CHOSEN_BY, COURSES, MEASURES, PILOT, REPORTED, choose
from dcgan_core.laboratory.standings import standings, table
from dcgan_core.laboratory.studies import LINE, Playing, note, read_lines
from dcgan_core.runtime import choose_machine

pytestmark = pytest.mark.usefixtures("one_thread")
WHO = (PLAIN, "R1")
CPU = choose_machine("cpu", "float32")
GAME = Game(lambda: None, lambda: [])


@pytest.fixture
def short(monkeypatch):
    """Tiny players on a short course, with two settings for each of two methods; letters are few."""
    monkeypatch.setattr(ensemble, "COLLAPSES", replace(ensemble.COLLAPSES, generator_width=4, discriminator_width=4))
    tiny = {"draws": 2, "looks": 2, "num_samples": 60, "updates": 4, "methods": WHO}
    courses = {name: replace(course, **tiny) for name, course in COURSES.items()}
    courses["few letters"] = replace(courses["few letters"], num_images=70)
    monkeypatch.setattr("dcgan_core.data.named.NUM_GLYPHS", {"train": 200, "test": 400})
    for room in (contest, rules):
        monkeypatch.setattr(room, "COURSES", courses)
        monkeypatch.setattr(room, "IMAGES", replace(contest.IMAGES, generator_width=2, discriminator_width=2))
    monkeypatch.setattr("dcgan_core.laboratory.standings.COURSES", courses)
    monkeypatch.setattr(contest, "COST_ROUNDS", 1)
    monkeypatch.setattr(contest, "COST_UPDATES", 1)
    yield courses
    contest._images.cache_clear()
    contest._judge.cache_clear()


@pytest.fixture
def here(monkeypatch):
    """Jobs are played in this process, one after the other; returns the list of those that were."""
    played = []

    def run_jobs(out, names, jobs, play, playing):
        done = {tuple(line.get(name) for name in names) for line in read_lines(out)}
        for job in [job for job in jobs if job not in done]:
            play(playing.keep / str(len(played)), *job)
            played.append(job)
            note(out, playing.keep / str(len(played) - 1), names, job, True)

    monkeypatch.setattr(contest, "run_jobs", run_jobs)
    return played


def numbers(path) -> list[dict]:
    """What was played and seen, without times and dates."""
    found = []
    for line in read_lines(path):
        line = {name: value for name, value in line.items() if name not in ("provenance", "costs")}
        if "history" in line:
            line["history"] = {name: value for name, value in line["history"].items() if name != "seconds"}
        found.append(json.dumps(line, sort_keys=True))
    return sorted(found)


def test_pilots_are_played_first_then_all_seeds_with_the_setting_that_they_chose_then_costs(short, here, tmp_path):
    out = tmp_path / "contest.jsonl"
    study(out, data=("ring",), playing=Playing(keep=tmp_path / "a"))
    assert here[:4] == [("ring", method, PILOT, draw, 500, 4) for draw in range(2) for method in WHO]
    lines = read_lines(out)
    chosen = {method: choose(lines, "ring", method, 4) for method in WHO}
    assert here[4:] == [("ring", method, REPORTED, chosen[method], 0, 4) for method in WHO]
    assert lines[-1]["kind"] == "costs" and lines[-1]["draws"] == chosen
    assert lines[-1]["costs"][PLAIN] == [1.0, 1.0, 1.0]
    assert [line["seeds"] for line in lines[:-1]] == [[500, 501, 502]] * 4 + [list(range(8))] * 2
    assert set(standings(lines, "ring")["time"]) == set(WHO) and "R1" in table(lines, "ring")


def test_a_line_says_what_was_played_and_what_was_seen_all_along(short, here, tmp_path):
    out = tmp_path / "contest.jsonl"
    study(out, data=("ring",), methods=("R1",), data_root="/home/me/data", playing=Playing(keep=tmp_path / "a"))
    line = next(line for line in read_lines(out) if line["method"] == "R1")
    assert line["knobs"] == settings("R1", 2)[line["draw"]]
    assert line["knobs"].items() <= line["config"].items() and line["config"]["total_steps"] == 4
    assert line["provenance"]["threads"] == 1 and "torch" in line["provenance"]
    seen = line["history"]
    assert seen["updates"] == [0, 2, 4] and seen["seconds"][0] == 0 < seen["seconds"][1] < seen["seconds"][2]
    assert {len(of_seeds) for name in (CHOSEN_BY, *MEASURES[:5]) for of_seeds in seen[name]} == {3}
    assert "/home" not in out.read_text()


def test_wherever_a_contest_is_cut_its_record_ends_the_same(short, here, tmp_path):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    study(whole, data=("ring",), playing=Playing(keep=tmp_path / "a"))
    lines = whole.read_text().splitlines()
    for kept in range(len(lines) + 1):
        here.clear()
        cut.write_text("".join(line + "\n" for line in lines[:kept]))
        study(cut, data=("ring",), playing=Playing(keep=tmp_path / str(kept)))
        assert numbers(cut) == numbers(whole)
        assert len(here) == max(0, len(lines) - 1 - kept), "nothing is played twice"


def test_a_run_that_is_kept_is_not_played_again(short, tmp_path, monkeypatch):
    job = ("ring", "R1", PILOT, 1, 500, 4)
    play_job(tmp_path / "run", *job, data_root="data", device="cpu")
    before = (tmp_path / "run" / LINE).read_bytes()
    monkeypatch.setattr(contest, "history", lambda *_: pytest.fail("played again"))
    play_job(tmp_path / "run", *job, data_root="data", device="cpu")
    assert (tmp_path / "run" / LINE).read_bytes() == before


def test_side_by_side_or_alone_a_seed_has_the_same_run(short):
    """So its record does not depend on which others were reported."""
    together = contest.begin("ring", rules.run_config("ring", "R1", settings("R1", 2)[0], 4), (0, 1, 2), CPU)
    alone = contest.begin("ring", rules.run_config("ring", "R1", settings("R1", 2)[0], 4), (1,), CPU)
    assert [seen[1] for seen in history(together, [4])["kl"]] == pytest.approx(history(alone, [4])["kl"][0])


def test_when_the_time_is_over_nothing_is_begun(short, here, tmp_path):
    study(tmp_path / "contest.jsonl", data=("ring",), playing=Playing(minutes=0, keep=tmp_path))
    assert here == [] and not (tmp_path / "contest.jsonl").exists()


def test_what_was_not_chosen_yet_is_not_reported(short, here, tmp_path, monkeypatch):
    monkeypatch.setattr(contest, "pilots", lambda *given: [job for job in rules.pilots(*given) if job[3] == 0])
    study(tmp_path / "contest.jsonl", data=("ring",), playing=Playing(keep=tmp_path))
    assert {job[2] for job in here} == {PILOT}


@pytest.mark.parametrize(("name", "value"), [("data", "spiral"), ("methods", "hinge")])
def test_unknown_names_are_refused_before_anything_is_written(tmp_path, name, value):
    with pytest.raises(InvalidInput, match=f"^{name} has {value!r}, but knows only"):
        study(tmp_path / "new.jsonl", **{name: (value,)})
    assert not (tmp_path / "new.jsonl").exists()


def test_the_plain_game_plays_whoever_else_does(short, here, tmp_path):
    study(tmp_path / "contest.jsonl", data=("ring",), methods=("R1",), playing=Playing(keep=tmp_path))
    assert {job[1] for job in here} == set(WHO)


def test_a_file_of_other_rules_is_not_added_to(short, here, tmp_path):
    out = tmp_path / "contest.jsonl"
    study(out, data=("ring",), playing=Playing(keep=tmp_path / "a"))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    lines[0]["knobs"]["generator_learning_rate"] *= 2
    out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InvalidInput, match="choose another file"):
        study(out, data=("ring",), playing=Playing(keep=tmp_path / "b"))


def test_costs_are_those_of_the_chosen_settings_and_measured_once_for_them(short, here, tmp_path, monkeypatch):
    out, asked = tmp_path / "contest.jsonl", []
    monkeypatch.setattr(contest, "ratios_in_turns", lambda games, *_: {name: [3.0, 1.0, 2.0] for name in games})
    monkeypatch.setattr(contest, "begin", lambda data, config, seeds, machine: asked.append((config, seeds)) or GAME)
    found = costs("ring", {PLAIN: 0, "R1": 1}, 4, "data", CPU)
    assert found == {PLAIN: (2.0, 1.0, 3.0), "R1": (2.0, 1.0, 3.0)}
    assert [config.r1_gamma for config, _ in asked] == [0.0, settings("R1", 2)[1]["r1_gamma"]]
    assert {seeds for _, seeds in asked} == {tuple(range(8))}, "side by side, as what is reported"
    for _ in range(2):
        contest.note_costs(out, "ring", {PLAIN: 1, "R1": 0}, 4, "data", "cpu")
    contest.note_costs(out, "ring", {PLAIN: 1, "R1": 1}, 4, "data", "cpu")
    assert [line["draws"]["R1"] for line in read_lines(out)] == [0, 1]


def test_one_half_of_the_samples_chooses_and_the_other_is_reported():
    seen = []

    def describe(half):
        seen.append(half.tolist())
        return {"overlap": float(half.mean()), "covered": 3, "num_modes": 8}

    found = described(torch.tensor([[1.0], [1.0], [0.0], [0.5]]), describe)
    assert found == {CHOSEN_BY: 1.0, "covered": 3, "overlap": 0.25}
    assert sorted(seen) == [[[0.0], [0.5]], [[1.0], [1.0]]]


def test_a_history_has_a_list_over_the_seeds_at_each_mark():
    made = [0]

    def update():
        made[0] += 1

    def seen():
        return [{"overlap": made[0] / 30 + seed, "kl": float("nan")} for seed in (0, 1)]

    found = history(Game(update, seen), [0, 10])
    assert found.pop("seconds")[0] == 0
    assert found == {"updates": [0, 10], "overlap": [[0.0, 1.0], [0.33333, 1.3333]], "kl": [[None, None]] * 2}


def test_runs_are_looked_at_from_the_start_to_the_end_at_equal_distances():
    for data, course in COURSES.items():
        marks = contest._marks(data, course.updates)
        assert marks[0] == 0 and marks[-1] == course.updates and len(marks) == course.looks + 1
        assert len({after - before for before, after in itertools.pairwise(marks)}) == 1


def test_images_that_are_no_longer_finite_are_not_good_and_stop_nothing():
    judge = SimpleNamespace(num_classes=26)
    found = contest.describe_pictures(judge, torch.full((5, 1, 16, 16), torch.nan))
    assert (found["overlap"], found["covered"], found["reached"], found["frechet_distance"]) == (0, 0, 0, None)
    assert json.loads(json.dumps(found, allow_nan=False))["num_modes"] == 26


def test_few_letters_are_the_same_for_all_methods_of_a_seed_and_others_for_another(short):
    first, again, other = (training_images("few letters", seed, "data") for seed in (3, 3, 4))
    assert len(first) == 70 and torch.equal(first, again) and not torch.equal(first, other)
    assert len(training_images("letters", 3, "data")) == 200
    pool = {image.numpy().tobytes() for image in training_images("letters", 0, "data")}
    assert {image.numpy().tobytes() for image in first} <= pool


@pytest.mark.parametrize("data", ["letters", "few letters"])
def test_images_are_played_seed_by_seed_from_what_the_course_says(short, tmp_path, data, monkeypatch):
    taught = []
    real = contest.game_of_images

    def watched(config, machine, images, *rest):
        taught.append((config, images))
        return real(config, machine, images, *rest)

    monkeypatch.setattr(contest, "game_of_images", watched)
    play_job(tmp_path / "run", data, "R1", REPORTED, 1, 2, 4, data_root="data", device="cpu")
    line = json.loads((tmp_path / "run" / LINE).read_text())
    ((config, images),) = taught
    assert line["seeds"] == [2] and config.seed == 2 and torch.equal(images, training_images(data, 2, "data"))
    assert config.r1_gamma == settings("R1", 2)[1]["r1_gamma"] and config.total_steps == 4
    assert {len(column) for column in line["history"].values()} == {3}
    assert all(len(of_seeds) == 1 for of_seeds in line["history"]["frechet_distance"])
