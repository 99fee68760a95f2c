"""The study of how many images are needed: what it plays, what it measures against, and the record that ships."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from dcgan_core.config import RECIPES, Config
from dcgan_core.data.scenes import render
from dcgan_core.laboratory import amounts
from dcgan_core.laboratory.amounts import (
    AMOUNTS,
    AUGMENTED,
    EVALUATIONS,
    FLOOR_SEEDS,
    NAMES,
    RECORD,
    REFERENCE_SEED,
    SEEDS,
    TOTAL_IMAGES,
    jobs,
    run_config,
    training_images,
)
from dcgan_core.laboratory.studies import FOUND, note, read_lines

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small(monkeypatch):
    """The study with little of everything."""
    monkeypatch.setattr(amounts, "AMOUNTS", (80,))
    monkeypatch.setattr(amounts, "NUM_REFERENCE", 120)
    monkeypatch.setattr(amounts, "NUM_MEASURED", 60)
    for cached in (amounts.drawn, amounts.reference_features):
        cached.cache_clear()
    yield
    for cached in (amounts.drawn, amounts.reference_features):
        cached.cache_clear()


def test_runs_differ_in_augmentation_and_seed_and_in_nothing_else():
    plain, changed = (run_config(name, 2) for name in AUGMENTED)
    assert replace(plain, augment=AUGMENTED["augmented"]) == changed
    assert replace(run_config("augmented", 1), seed=2) == changed
    default = replace(Config(), **RECIPES["default"]).to_dict()
    allowed = {"data", "channels", "held_out", "seed", "total_images"}
    allowed |= {f"{what}_every_images" for what in ("log", "sample", "checkpoint", "evaluate")}
    assert {name for name, value in plain.to_dict().items() if value != default[name]} <= allowed


def test_a_study_that_is_stopped_has_all_settings_with_fewer_seeds():
    order = list(jobs())
    per_seed = len(AMOUNTS) * len(AUGMENTED)
    assert [seed for _, _, seed in order] == [seed for seed in SEEDS for _ in range(per_seed)]
    assert len(set(order)) == len(order) == per_seed * len(SEEDS)
    first = {number for number, _, _ in order[: 2 * len(AUGMENTED)]}
    assert first == {min(AMOUNTS), max(AMOUNTS)}, "the ends come first"


def test_more_images_hold_the_fewer_and_nothing_is_measured_with_what_was_trained_on(small):
    few, many = training_images(20, 0), training_images(80, 0)
    assert torch.equal(few, many[:20])
    assert torch.equal(few, torch.from_numpy(render(20, image_size=32, seed=0).images))
    seeds = {*SEEDS, REFERENCE_SEED, *FLOOR_SEEDS}
    assert len(seeds) == len(SEEDS) + 1 + len(FLOOR_SEEDS)
    reference = {image.numpy().tobytes() for image in amounts.reference()}
    assert not reference & {image.numpy().tobytes() for image in many}


def test_who_knows_the_reference_by_heart_is_at_no_distance_and_who_knows_few_scenes_is_further_away_than_others(small):
    judge = amounts.judge_of(training_images(80, 0))
    assert (
        amounts.by_heart(judge, amounts.reference()) < amounts.floor(3) < amounts.by_heart(judge, training_images(5, 0))
    )


def test_copies_of_the_training_images_are_found_and_other_scenes_are_none(small):
    from dcgan_core.data import scale

    training = training_images(80, 0)
    judge = amounts.judge_of(training)
    assert judge.full_report(scale(training))["copies"] > 0.9
    assert judge.full_report(scale(amounts.drawn(60, 9)))["copies"] < 0.1


@pytest.mark.slow
def test_a_run_is_recorded_with_its_measures_and_not_played_again(small, tmp_path):
    folder, out, job = tmp_path / "80-augmented-0", tmp_path / "amounts.jsonl", (80, "augmented", 0)
    amounts.play(folder, *job, 12 * 64, "cpu", "float32")
    assert note(out, folder, NAMES, job, only_finished=True, measured_after=True)
    (line,) = read_lines(out)
    assert line["finished"] and line["config"]["augment"] == list(AUGMENTED["augmented"])
    assert len([row for row in line["metrics"] if "frechet_distance" in row]) == EVALUATIONS
    for which in ("best", "last"):
        assert line[which]["num_samples"] == 60 and 0 <= line[which]["copies"] <= 1
    assert line["last"]["images"] == 12 * 64 and line["by_heart"] > 0
    (folder / FOUND).unlink()  # as if it had been killed before it was measured
    amounts.play(folder, *job, 12 * 64, "cpu", "float32")
    assert json.loads((folder / FOUND).read_text())["last"] == line["last"]


def test_the_record_that_ships_holds_a_floor_and_finished_runs_of_these_settings():
    lines = read_lines(RECORD)
    floors = [line for line in lines if line.get("kind") == "floor"]
    runs = [line for line in lines if "num_images" in line]
    assert len(floors) == 1 and len(floors[0]["distances"]) == len(FLOOR_SEEDS)
    played = [tuple(line[name] for name in NAMES) for line in runs]
    assert len(set(played)) == len(played) and set(played) <= set(jobs())
    ends = {(number, name, 0) for number in (min(AMOUNTS), max(AMOUNTS)) for name in AUGMENTED}
    assert ends <= set(played), "the fewest and the most images, with and without augmentation, of the first seed"
    for line in runs:
        assert line["finished"] and Config.from_dict(line["config"]) == run_config(line["augmented"], line["seed"])
        assert (
            line["last"]["images"] == TOTAL_IMAGES
            and len([row for row in line["metrics"] if "frechet_distance" in row]) == EVALUATIONS
        )
        assert all(math.isfinite(line[which]["frechet_distance"]) for which in ("best", "last"))
        assert line["provenance"][0]["precision"] == "bfloat16"
