"""How a run ends: by its length or by its patience, with its last state evaluated, and what it says of both."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from test_best import ScriptedJudge, assert_best_is_at, same

from dcgan_core import train as training
from dcgan_core.metrics import examiner
from dcgan_core.runs.ending import EVALUATION
from dcgan_core.train import BEST, load_state, read_metrics, resume, train

EVERY = 32
WORSE = [5.0, 2.0, 3.0, 4.0]  # the best is the second, at 64 images


@pytest.fixture
def config(tiny_config):
    return replace(tiny_config, evaluate_every_images=EVERY)  # 160 images; checkpoints at 48, 96, 144, 160


@pytest.fixture
def settings(cpu, tiny_dataset, monkeypatch):
    monkeypatch.setattr(examiner, "NUM_JUDGED", 20)
    return {"machine": cpu, "dataset": tiny_dataset, "progress": False}


def evaluated_at(out) -> list[int]:
    return [line["images"] for line in read_metrics(out) if "frechet_distance" in line]


@pytest.mark.parametrize("every", [48, 96, 160, 1000])
def test_the_last_state_is_evaluated_whatever_the_interval(config, settings, tmp_path, every):
    config = replace(config, evaluate_every_images=every)
    train(config, tmp_path / "run", judge=ScriptedJudge([3.0] * 9), **settings)
    assert evaluated_at(tmp_path / "run") == sorted({*range(every, 161, every), 160})


def test_without_an_interval_nothing_is_evaluated(config, settings, tmp_path):
    judge = ScriptedJudge([])
    train(replace(config, evaluate_every_images=0), tmp_path / "run", judge=judge, **settings)
    assert not judge.seen and not (tmp_path / "run" / EVALUATION).exists()


@pytest.mark.parametrize(("patience", "end"), [(0, 160), (32, 96), (33, 128), (64, 128), (96, 160), (500, 160)])
def test_a_run_ends_with_the_evaluation_that_exhausts_its_patience(config, settings, tmp_path, patience, end):
    out, judge = tmp_path / "run", ScriptedJudge([*WORSE, 4.0, 1.0, 1.0])
    state = train(replace(config, patience=patience), out, judge=judge, **settings)
    assert state.images == end
    assert same(load_state(out, settings["machine"]), state), "the end is saved"
    assert (out / "samples" / f"{end:09d}.png").exists(), "and shown"
    assert evaluated_at(out) == list(range(EVERY, end + 1, EVERY))
    assert_best_is_at(out, settings["machine"], 64)


def test_a_new_best_renews_the_patience(config, settings, tmp_path):
    judge = ScriptedJudge([5.0, 5.0, 4.0, 4.0, 3.0, 3.0, 3.0])
    assert train(replace(config, patience=64), tmp_path / "run", judge=judge, **settings).images == 160


def test_a_run_whose_patience_is_exhausted_goes_on_only_with_more_of_it(config, settings, tmp_path):
    out = tmp_path / "run"
    train(replace(config, patience=64), out, judge=ScriptedJudge([*WORSE, 4.0, 4.0]), **settings)
    assert resume(out, judge=ScriptedJudge([7.0] * 2), **settings).images == 128
    found = resume(out, patience=0, judge=ScriptedJudge([1.0] * 3), **settings)
    assert found.images == 160
    assert same(found, train(config, tmp_path / "whole", judge=ScriptedJudge([3.0] * 9), **settings))


def test_a_resumed_run_is_as_patient_as_one_that_was_never_stopped(config, settings, tmp_path, monkeypatch):
    """Killed at 112 images, between two evaluations and after 96, where a checkpoint is."""

    class Killed(BaseException):
        pass

    def kill(state, *_):
        if state.images == 112:
            raise Killed
        return advance(state, *_)

    advance, out = training.advance, tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("dcgan_core.capture.advance", kill)
        with pytest.raises(Killed):
            train(replace(config, patience=96), out, judge=ScriptedJudge(WORSE), **settings)
    assert resume(out, judge=ScriptedJudge([4.0, 1.0, 1.0]), **settings).images == 160
    assert_best_is_at(out, settings["machine"], 160)


def test_best_and_last_are_compared_with_latents_that_chose_neither(config, settings, tmp_path):
    out, judge = tmp_path / "run", ScriptedJudge([*WORSE, 4.0, 8.0, 6.0])
    last = train(config, out, judge=judge, **settings)
    found = json.loads((out / EVALUATION).read_text(encoding="utf-8"))
    assert {which: (entry["images"], entry["frechet_distance"]) for which, entry in found.items()} == {
        "last": (160, 8.0),
        "best": (64, 6.0),
    }
    assert all(entry["num_samples"] == 20 and entry["recognised"] == 0.5 for entry in found.values())
    best = load_state(out, settings["machine"], checkpoint="best")
    latents = torch.randn(20, config.latent_size, generator=torch.Generator().manual_seed(config.seed))
    for state, seen in zip((last, best), judge.seen[-2:], strict=True):
        torch.testing.assert_close(seen, training.sample(state.average, latents))


def test_where_the_last_is_the_best_it_is_measured_once(config, settings, tmp_path):
    judge = ScriptedJudge([5.0, 4.0, 3.0, 2.0, 1.0, 1.5])
    train(config, tmp_path / "run", judge=judge, **settings)
    found = json.loads((tmp_path / "run" / EVALUATION).read_text(encoding="utf-8"))
    assert found["best"] == found["last"] and found["last"]["frechet_distance"] == 1.5
    assert len(judge.seen) == 6


def test_a_run_that_goes_on_has_no_comparison_of_an_end_that_is_none(config, settings, tmp_path, monkeypatch):
    out = tmp_path / "run"
    train(config, out, judge=ScriptedJudge([3.0] * 9), **settings)
    monkeypatch.setattr(examiner.Examiner, "compare", lambda *_: None)
    resume(out, total_images=176, judge=ScriptedJudge([3.0] * 2), **settings)
    assert not (out / EVALUATION).exists()


def test_an_end_that_cannot_be_measured_is_a_warning(config, settings, tmp_path):
    class BrokenAtLast(ScriptedJudge):
        def report(self, images):
            if len(self.seen) == 5:
                raise torch.linalg.LinAlgError("the algorithm failed to converge.")
            return super().report(images)

    with pytest.warns(UserWarning, match="failed to converge"):
        state = train(config, tmp_path / "run", judge=BrokenAtLast([*WORSE, 4.0]), **settings)
    assert state.images == 160 and (tmp_path / "run" / BEST).exists() and not (tmp_path / "run" / EVALUATION).exists()


def test_that_the_best_was_long_ago_is_said_once(config, settings, tmp_path, capsys):
    """Long ago: five evaluations, and as many images as had led to it."""
    config = replace(config, evaluate_every_images=8, total_images=240)
    for improving, words in ((2, 1), (8, 1), (18, 0)):  # of the 30 evaluations, so many find a new best
        distances = [1 / (1 + number) for number in range(improving)] + [9.0] * 40
        quiet = {**settings, "progress": True}
        train(config, tmp_path / str(improving), judge=ScriptedJudge(distances), **quiet)
        said = capsys.readouterr().err
        assert said.count("the best evaluation was") == words
        assert words == 0 or f"at {8 * improving} (" in said
