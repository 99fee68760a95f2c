"""The ladder from the paper's DCGAN: what a run of it leaves behind, and in which order it is played."""

from __future__ import annotations

import base64
import io
import json

import pytest
from PIL import Image

from dcgan_core.config import RECIPES, Config
from dcgan_core.data import named
from dcgan_core.laboratory import modern
from dcgan_core.laboratory.modern import LADDER, NAMES, SMALL, changes_up_to, jobs, run_config
from dcgan_core.laboratory.studies import note


def test_the_lowest_rung_has_the_rates_of_the_paper_and_the_highest_all_changes():
    lowest, highest = (run_config(rung, 3).to_dict() for rung in (next(iter(LADDER)), list(LADDER)[-1]))
    for name in ("generator_learning_rate", "discriminator_learning_rate", "ema_halflife_images"):
        assert lowest[name] == RECIPES["paper"][name] and highest[name] == getattr(Config(), name)
    assert highest["loss"] == "relativistic" and highest["r1_gamma"] == highest["r2_gamma"] > 0
    assert highest["discriminator_norm"] == "none" and lowest["discriminator_norm"] == "batch"
    for field, width in SMALL.items():
        assert lowest[field] == highest[field] == width
    assert lowest["seed"] == highest["seed"] == 3


def test_no_rung_sets_anything_that_has_no_effect():
    for rung in LADDER:
        assert run_config(rung, 0).without_effect() == []
        assert changes_up_to(rung).items() >= LADDER[rung].items()


def test_a_study_that_is_stopped_has_all_rungs_with_fewer_seeds():
    assert list(jobs(("a", "b"), (0, 1))) == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


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
    line = json.loads((tmp_path / "modern.jsonl").read_text())
    assert line["finished"] and line["images"] == 256 and line["num_samples"] == 100 and line["num_modes"] == 26
    assert line["frechet_distance"] > 0 and 0 <= line["good"] <= 1 and 0 <= line["covered"] <= 26
    assert 0 < line["processor_seconds_per_image"] < 1
    assert line["config"]["loss"] == "relativistic" and line["provenance"][0]["device_kind"] == "cpu"
    assert Image.open(io.BytesIO(base64.b64decode(line["picture"]))).size == (160, 16)
    assert not any(str(tmp_path) in str(value) for value in line.values())
