"""The study of long runs: what it plays, in which order, how it goes on, and the record that ships."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dcgan_core.config import Config
from dcgan_core.laboratory import longer
from dcgan_core.laboratory.longer import AS_IT_IS, CHANGES, DATA, EVALUATIONS, NAMES, jobs, run_config, study
from dcgan_core.laboratory.studies import note
from dcgan_core.runs.files import write_json
from dcgan_core.runtime import choose_machine
from dcgan_core.train import train

RECORD = longer.RECORD
FREE = ("checkpoint_every_images", "held_out", "channels")  # do not matter here, or follow from the data


@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_changes_what_it_names_and_nothing_else(change):
    plain, changed = (run_config("mnist", name, 3, 400_000) for name in (AS_IT_IS, change))
    assert replace(plain, **CHANGES[change]) == changed
    lengths = {"total_images", "data", "data_root", "seed", *(f"{what}_every_images" for what in WHAT)}
    default = Config().to_dict()
    assert {name for name, value in plain.to_dict().items() if value != default[name]} <= lengths


WHAT = ("log", "sample", "checkpoint", "evaluate")


def test_where_a_data_set_has_rates_of_its_own_a_changed_one_keeps_its_proportion():
    """R1 halves the discriminator's rate: 5e-4 becomes 2.5e-4."""
    assert run_config("letters 64", "R1", 0, 400_000).discriminator_learning_rate == pytest.approx(2.5e-4)
    assert run_config("letters 64", AS_IT_IS, 0, 400_000).discriminator_learning_rate == 5e-4


def test_a_study_that_is_stopped_has_all_settings_with_fewer_seeds():
    order = list(jobs(("mnist", "letters"), ("a", "b"), (0, 1)))
    assert order[:4] == [("mnist", "a", 0), ("letters", "a", 0), ("mnist", "b", 0), ("letters", "b", 0)]
    assert [seed for _, _, seed in order] == [0] * 4 + [1] * 4


@pytest.mark.slow
def test_a_run_writes_as_many_evaluations_as_the_study_asks_for_and_is_not_played_again(tmp_path, monkeypatch):
    monkeypatch.setitem(DATA["letters"], "image_size", 16)
    out = tmp_path / "longer.jsonl"
    longer.play(tmp_path / "run", "letters", AS_IT_IS, 0, 20 * 64, "data", "cpu")
    note(out, tmp_path / "run", NAMES, ("letters", AS_IT_IS, 0), only_finished=True)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["finished"] and len([row for row in line["metrics"] if "frechet_distance" in row]) == EVALUATIONS
    settings = {"data": ("letters",), "changes": (AS_IT_IS,), "total_images": 20 * 64, "device": "cpu"}
    study(out, seeds=(0,), processes=1, minutes=1, **settings)  # nothing is left to be played
    assert len(out.read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_run_that_is_kept_goes_on_and_is_recorded_at_its_end_only(tmp_path, monkeypatch):
    monkeypatch.setitem(DATA["letters"], "image_size", 16)
    out, folder, job = tmp_path / "longer.jsonl", tmp_path / "runs" / "letters-recipe-0", ("letters", "recipe", 0)
    short = run_config("letters", "recipe", 0, 20 * 64)
    train(replace(short, total_images=10 * 64), folder, progress=False, machine=choose_machine("cpu", "float32"))
    write_json(folder / "config.json", short.to_dict())  # as if it had been stopped half-way
    assert not note(out, folder, NAMES, job, only_finished=True) and not out.exists()
    longer.play(folder, *job, 20 * 64, "data", "cpu")
    assert note(out, folder, NAMES, job, only_finished=True)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["finished"] and [entry.get("resumed_at_images") for entry in line["provenance"]] == [None, 10 * 64]


def test_the_record_that_ships_holds_runs_of_these_settings_and_says_which_were_not_finished():
    lines = [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]
    assert {line["change"] for line in lines if line["finished"]} >= {AS_IT_IS, "R1", "R1, pairing", "R1, layer norm"}
    for line in lines:
        expected = run_config(line["data"], line["change"], line["seed"], line["config"]["total_images"])
        found = Config.from_dict(line["config"])
        assert found.to_dict() | dict.fromkeys(FREE) == expected.to_dict() | dict.fromkeys(FREE)
        for entry in line["provenance"]:
            assert entry["captured"] in (entry["device_kind"] != "cpu", None)
        assert line["finished"] == (bool(line["metrics"]) and line["metrics"][-1]["images"] >= found.total_images - 100)
