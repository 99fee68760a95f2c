"""The study of single settings: what it changes, what it keeps, and how it goes on."""

from __future__ import annotations

import dataclasses
import json

import pytest

from dcgan_core.config import Config
from dcgan_core.laboratory.outcomes import read
from dcgan_core.runtime import choose_machine
from dcgan_core.teaching import settings
from dcgan_core.teaching.settings import AS_IT_IS, SETTINGS, recorded_settings, seeds_of


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_what_it_names_and_nothing_else(setting):
    default = dataclasses.asdict(dataclasses.replace(Config(), evaluate_every_images=0, seed=5))
    changed = {name: value for name, value in settings.config(setting, 5).to_dict().items() if value != default[name]}
    assert changed == SETTINGS[setting]


def test_the_record_holds_every_setting_with_three_seeds_of_as_many_samples_as_evaluate_draws():
    lines = recorded_settings()
    for setting in SETTINGS:
        for weights in ("averaged", "raw"):
            assert seeds_of(lines, setting, "num_samples", weights) == [2_000] * 3
    (costs,) = (line["costs"] for line in lines if line["kind"] == "costs")
    assert costs.keys() == SETTINGS.keys() and costs[AS_IT_IS] == 1


def test_an_outcome_describes_the_averaged_and_the_raw_generator(tiny_config):
    found = settings.outcome(dataclasses.replace(tiny_config, ema_halflife_images=10_000), choose_machine("cpu"))
    assert found["averaged"] != found["raw"]
    assert found["averaged"]["frechet_distance"] > 0 and found["seconds"] > 0


def test_a_study_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    played = []

    def outcome(run, where):
        if len(played) == 3 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        played.append((run.seed, run.batch_size))
        return {"averaged": {"recognised": run.seed / 10}, "raw": {"recognised": 0.0}, "seconds": 1.0}

    stopped = []
    monkeypatch.setattr(settings, "outcome", outcome)
    monkeypatch.setattr(settings, "relative_costs", lambda: {AS_IT_IS: 1.0})
    few = (AS_IT_IS, "batch 32", "batch 128")
    with pytest.raises(KeyboardInterrupt):
        settings.record(tmp_path / "out.jsonl", few, (0, 1))
    settings.record(tmp_path / "out.jsonl", few, (0, 1))
    assert played == [(seed, size) for seed in (0, 1) for size in (64, 32, 128)]

    lines = read(tmp_path / "out.jsonl")
    assert [line["kind"] for line in lines] == ["session", "costs", *["outcome"] * 3, "session", *["outcome"] * 3]
    assert seeds_of(lines, "batch 32", "recognised") == [0.0, 0.1]
    assert json.dumps(lines[0]["seeds"]) == "[0, 1]"


def test_costs_are_per_image(monkeypatch):
    monkeypatch.setattr(settings, "SETTINGS", {AS_IT_IS: {}, "batch 32": {"batch_size": 32}})
    monkeypatch.setattr(
        settings, "in_turns", lambda updates, baseline: {name: 1.0 for name in updates if updates[name]()}
    )
    assert settings.relative_costs() == {AS_IT_IS: 1, "batch 32": 2}, "an update of half the images takes as long"
