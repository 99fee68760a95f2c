"""The ladder from the paper's DCGAN: what a run of it leaves behind, and in which order it is played."""

from __future__ import annotations

import base64
import io
import itertools
import json

import pytest
from PIL import Image

from dcgan_core.config import RECIPES, Config
from dcgan_core.data import named
from dcgan_core.laboratory import modern
from dcgan_core.laboratory.modern import LADDER, NAMES, SMALL, changes_up_to, jobs, run_config
from dcgan_core.laboratory.studies import note
from dcgan_core.teaching.chapter_21 import ladder_table, recorded_ladder, show_ladder, show_samples, steps_up


def test_the_lowest_rung_has_the_rates_of_the_paper_and_the_highest_all_changes():
    lowest, highest = (run_config(rung, 3).to_dict() for rung in (next(iter(LADDER)), list(LADDER)[-1]))
    for name in ("generator_learning_rate", "discriminator_learning_rate", "ema_halflife_images"):
        assert lowest[name] == RECIPES["paper"][name] and highest[name] == getattr(Config(), name)
    assert highest["loss"] == "relativistic" and highest["r1_gamma"] == highest["r2_gamma"] > 0
    assert highest["discriminator_norm"] == "none" and lowest["discriminator_norm"] == "batch"
    for field, width in SMALL.items():
        assert lowest[field] == highest[field] == width
    assert lowest["seed"] == highest["seed"] == 3


def test_every_rung_changes_what_it_names_and_keeps_all_below():
    rungs = list(LADDER)
    assert len(rungs) == 10
    for below, rung in itertools.pairwise(rungs):
        before, after = (run_config(name, 0).to_dict() for name in (below, rung))
        assert {name for name in before if before[name] != after[name]} == set(LADDER[rung])


def test_no_rung_sets_anything_that_has_no_effect():
    for rung in LADDER:
        assert run_config(rung, 0).without_effect() == []
        assert changes_up_to(rung).items() >= LADDER[rung].items()


def test_a_study_that_is_stopped_has_all_rungs_with_fewer_seeds():
    assert list(jobs(("a", "b"), (0, 1))) == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def line(rung: str, seed: int, distance: float, seconds: float = 0.001) -> dict:
    pixels = Image.new("L", (320, 32), color=seed)
    file = io.BytesIO()
    pixels.save(file, format="PNG")
    measured = {"frechet_distance": distance, "good": 0.25, "covered": 20, "processor_seconds_per_image": seconds}
    picture = base64.b64encode(file.getvalue()).decode("ascii")
    return {"rung": rung, "seed": seed, "finished": True, "picture": picture, **measured}


def test_the_table_compares_each_rung_with_the_one_below_seed_by_seed(tmp_path):
    low, high = list(LADDER)[:2]
    lines = [line(low, seed, 100.0 * (seed + 1)) for seed in range(5)]
    lines += [line(high, seed, 50.0 * (seed + 1), 0.0015) for seed in (4, 2, 0, 1)]
    record = tmp_path / "modern.jsonl"
    record.write_text("".join(json.dumps(each) + "\n" for each in [*lines, {**line(high, 3, 1.0), "finished": False}]))
    found = recorded_ladder(record)
    assert found == lines
    assert steps_up(found, high, "frechet_distance") == [0.5] * 4 and steps_up(found, low, "frechet_distance") == []
    head, first, second = ladder_table(found).splitlines()
    assert first.split() == [*low.split(), "5", "300", "(100-500)", "25%", "20", "1.00"]
    assert second.split() == [*high.split(), "4", "125", "(50-250)", "0.50", "(0.50-0.50)", "25%", "20", "1.50"]
    assert len(head) == len(first) == len(second)
    assert [text.get_text() for text in show_ladder(found).axes[0].get_yticklabels()] == [low, high]
    assert [axes.get_ylabel() for axes in show_samples(found, 0).axes] == [low, high]
    assert [axes.get_ylabel() for axes in show_samples(found, 3).axes] == [low]


@pytest.fixture
def few(monkeypatch):
    """Few letters of 16 pixels."""
    monkeypatch.setattr(named, "NUM_GLYPHS", {"train": 400, "test": 300})
    monkeypatch.setattr(modern, "SMALL", {"generator_width": 4, "discriminator_width": 4, "image_size": 16})
    monkeypatch.setattr(modern, "NUM_MEASURED", 100)
    for kept in (modern.letters, modern.judge):
        kept.cache_clear()
    yield
    for kept in (modern.letters, modern.judge):
        kept.cache_clear()


@pytest.mark.slow
def test_a_run_leaves_a_line_with_its_measures_its_cost_and_ten_samples(tmp_path, few):
    folder, job = tmp_path / "run", ("pairing", 1)
    modern.play(folder, *job, total_images=4 * 64, device="cpu", precision="float32")
    assert note(tmp_path / "modern.jsonl", folder, NAMES, job, only_finished=True, measured_after=True)
    (found,) = recorded_ladder(tmp_path / "modern.jsonl")
    assert (
        found["rung"] == "pairing"
        and found["seed"] == 1
        and found["images"] == 256
        and found["num_samples"] == 100
        and found["num_modes"] == 26
    )
    assert found["frechet_distance"] > 0 and 0 <= found["good"] <= 1 and 0 <= found["covered"] <= 26
    assert 0 < found["processor_seconds_per_image"] < 1
    assert found["config"]["loss"] == "relativistic" and found["provenance"][0]["device_kind"] == "cpu"
    assert Image.open(io.BytesIO(base64.b64decode(found["picture"]))).size == (160, 16)
    assert not any(str(tmp_path) in str(value) for value in found.values())
