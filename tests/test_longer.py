"""The study of long runs: what it plays, in which order, how it goes on, and the record that ships."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcgan_core.config import Config
from dcgan_core.data import named
from dcgan_core.laboratory import costs, games, longer
from dcgan_core.laboratory.lengths import summary
from dcgan_core.laboratory.longer import AS_IT_IS, CHANGES, DATA, NAMES, jobs, run_config, study
from dcgan_core.laboratory.studies import Playing, note
from dcgan_core.runs.files import add_line, write_json
from dcgan_core.runtime import choose_machine
from dcgan_core.teaching.lengths import curves, typical
from dcgan_core.train import train

RECORD = longer.RECORD
# Do not matter here, or follow from the data.
FREE = ("checkpoint_every_images", "sample_every_images", "held_out", "channels", "data_root")


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


@pytest.fixture
def small(monkeypatch):
    """A study of few letters of 16 pixels, with two evaluations of a run."""
    monkeypatch.setattr(named, "NUM_GLYPHS", {"train": 600, "test": 400})
    monkeypatch.setitem(DATA["letters"], "image_size", 16)
    monkeypatch.setattr(longer, "EVALUATIONS", 2)
    for kept in (longer._dataset, longer._judge):
        kept.cache_clear()
    yield
    for kept in (longer._dataset, longer._judge):
        kept.cache_clear()


@pytest.mark.slow
def test_a_study_writes_a_line_for_each_run_and_goes_on_where_it_was(tmp_path, small):
    out, length = tmp_path / "longer.jsonl", 4 * 64
    longer.play(tmp_path / "run", "letters", AS_IT_IS, 0, length, "data", "cpu")
    assert note(out, tmp_path / "run", NAMES, ("letters", AS_IT_IS, 0), only_finished=True)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["finished"] and [row["images"] for row in line["metrics"] if "frechet_distance" in row] == [128, 256]
    study(
        out,
        data=("letters",),
        changes=(AS_IT_IS,),
        seeds=(0,),
        total_images=length,
        playing=Playing(device="cpu", minutes=1),
    )
    assert len(out.read_text().splitlines()) == 1, "nothing was left to be played"


@pytest.mark.slow
def test_a_run_that_is_kept_goes_on_and_is_recorded_at_its_end_only(tmp_path, small):
    out, folder, job = tmp_path / "longer.jsonl", tmp_path / "runs" / "letters-recipe-0", ("letters", "recipe", 0)
    short = run_config("letters", "recipe", 0, 4 * 64)
    train(replace(short, total_images=2 * 64), folder, progress=False, machine=choose_machine("cpu", "float32"))
    write_json(folder / "config.json", short.to_dict())  # as if it had been stopped half-way
    assert not note(out, folder, NAMES, job, only_finished=True) and not out.exists()
    longer.play(folder, *job, 4 * 64, "data", "cpu")
    assert note(out, folder, NAMES, job, only_finished=True)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["finished"] and [entry.get("resumed_at_images") for entry in line["provenance"]] == [None, 2 * 64]


def test_few_letters_are_the_first_of_all_and_files_lie_with_the_downloaded_data(monkeypatch):
    monkeypatch.setattr(named, "NUM_GLYPHS", {"train": 1_200, "test": 100})
    longer._dataset.cache_clear()
    few, every = longer._dataset("1,000 letters", "data"), longer._dataset("letters", "data")
    longer._dataset.cache_clear()
    assert few.images.equal(every.images[:1_000]) and few.labels.equal(every.labels[:1_000])
    assert len(every.images) == 1_200
    assert run_config("characters", AS_IT_IS, 0, 400_000, "sets").data == str(Path("sets", "pixel_characters64.zip"))


def test_the_table_has_medians_of_the_runs_that_came_so_far(tmp_path):
    """Three runs of 200,000 images or more, one of them to 800,000, and one that was hardly begun."""
    record, measured = tmp_path / "longer.jsonl", tmp_path / "costs.jsonl"
    for seed, distances in enumerate(([60, 30], [50, 20], [40, 10, 25, 40], [99])):
        places = [(100_000, 200_000), (100_000, 200_000), (100_000, 200_000, 400_000, 800_000), (100_000,)][seed]
        rows = [
            {"images": at, "frechet_distance": d, "recognised": 0.5 + seed / 10}
            for at, d in zip(places, distances, strict=True)
        ]
        add_line(record, json.dumps({"data": "mnist", "change": "R1", "metrics": [*rows, {"images": 900_000}]}))
    assert (
        summary(record, measured).splitlines()[2] == "| mnist | R1 | 20 (3) | 25 (1) | 40 (1) | 60% | 1.00 |  |  | 3 |"
    )
    for kind, cost in (("cpu", 1.0), ("cuda", 1.2), ("cpu", 1.5)):
        add_line(measured, json.dumps({"machine": {"device_kind": kind}, "costs": {"R1": [cost, cost, cost]}}))
    assert summary(record, measured).splitlines()[2].endswith("| 1.00 | 1.50 | 1.20 | 3 |"), "the latest of each device"


def test_what_is_typical_at_a_length_is_that_of_the_runs_that_came_so_far():
    def run(seed: int, *rows: tuple[int, float, float]) -> dict:
        names = ("images", "frechet_distance", "recognised")
        metrics = [{"images": 5}, *(dict(zip(names, row, strict=True)) for row in rows)]
        tells = {"data": "mnist", "change": "recipe", "seed": seed}
        return {**tells, "metrics": metrics, "provenance": [{"device_kind": "cpu"}]}

    lines = [
        run(2, (100, 9.0, 0.4)),
        run(0, (100, 8.0, 0.5), (200, 4.0, 0.7)),
        run(1, (110, 7.0, 0.6), (200, 6.0, 0.8)),
    ]
    assert typical(lines, "mnist", 100) == (3, (7.0, 8.0, 9.0), (0.4, 0.5, 0.6))
    assert typical(lines, "mnist", 200) == (2, (4.0, 5.0, 6.0), (0.7, 0.75, 0.8))
    assert [found[0][0] for found in curves(lines, "mnist", "recipe")] == [100, 110, 100], "by seed"
    assert curves(lines, "mnist", "recipe", kind="cuda") == curves(lines, "letters", "recipe") == []


def test_costs_are_those_of_equally_many_images(monkeypatch, cpu):
    """By a clock of its own: an iteration takes as many seconds as its images, three times as many with a penalty."""
    configs = {
        "as it is": Config(batch_size=8),
        "larger batches": Config(batch_size=16),
        "penalty": replace(Config(batch_size=8), **CHANGES["R1"]),
    }
    now = [0.0]

    def step(config, images, machine):
        def takes():
            now[0] += config.images_per_step * (3 if config.r1_gamma else 1)

        return takes

    monkeypatch.setattr(costs, "_step", step)
    monkeypatch.setattr(games.time, "perf_counter", lambda: now[0])
    found = costs.relative_costs(configs, torch.zeros(1), cpu, num_iterations=5, num_turns=3)
    assert found == {"as it is": [1, 1, 1], "larger batches": [1, 1, 1], "penalty": [3, 3, 3]}
    assert now[0] == (3 + 1) * 5 * (8 + 16 + 3 * 8), "one turn more than counts"


@pytest.mark.slow
def test_costs_that_were_measured_are_recorded_with_the_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(named, "NUM_GLYPHS", {"train": 600, "test": 200})
    monkeypatch.setattr(costs, "CHANGES", {name: CHANGES[name] for name in (AS_IT_IS, "R1")})
    costs.study(tmp_path / "costs.jsonl", device="cpu", num_iterations=1, num_turns=1)
    line = costs.latest(tmp_path / "costs.jsonl")["cpu"]
    assert line["costs"].keys() == {AS_IT_IS, "R1"} and line["costs"][AS_IT_IS] == [1, 1, 1]
    assert line["machine"]["torch"] == torch.__version__ and line["turns"] == line["iterations"] == 1
    assert capsys.readouterr().out.startswith(AS_IT_IS)


def test_the_costs_that_ship_are_of_every_change():
    assert costs.latest()["cpu"]["costs"].keys() == set(CHANGES)


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
