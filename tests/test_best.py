"""Evaluation while a run goes on, and which checkpoint is kept as the best one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcgan_core import train as training
from dcgan_core.config import InvalidInput
from dcgan_core.data import Dataset
from dcgan_core.metrics import examiner, judge_for
from dcgan_core.runs import checkpoint
from dcgan_core.state import State
from dcgan_core.train import BEST, CHECKPOINT, load_state, read_metrics, resume, train

EVERY = 32


class ScriptedJudge:
    """Gives distances from a list, one after the other, and remembers what it was shown."""

    def __init__(self, distances: list[float]) -> None:
        self.distances = iter(distances)
        self.seen: list[torch.Tensor] = []

    def to(self, device: torch.device) -> ScriptedJudge:
        return self

    def report(self, images: torch.Tensor) -> dict[str, object]:
        self.seen.append(images)
        torch.randn(3)  # measuring may use random numbers
        return {
            "frechet_distance": next(self.distances),
            "classes_covered": 3,
            "recognised": 0.5,
            "num_samples": len(images),
        }


@pytest.fixture
def config(tiny_config):
    return replace(tiny_config, evaluate_every_images=EVERY)  # at 32, 64, ..., 160; checkpoints at 48, 96, 144, 160


@pytest.fixture
def settings(cpu, tiny_dataset, monkeypatch):
    """What is done once at the end is tested in test_patience."""
    monkeypatch.setattr(examiner, "NUM_JUDGED", 20)
    monkeypatch.setattr(examiner.Examiner, "compare", lambda *_: None)
    return {"machine": cpu, "dataset": tiny_dataset, "progress": False}


def same(first: State, second: State) -> bool:
    expected, found = first.tensors(), second.tensors()
    return expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_checkpoint_with_the_lowest_distance_is_kept_whole_and_the_lines_say_what_was_measured(
    config, settings, tmp_path
):
    judge = ScriptedJudge([5.0, 2.0, 3.0, 2.0, 9.0])
    last = train(config, tmp_path / "run", judge=judge, **settings)
    best = load_state(tmp_path / "run", settings["machine"], checkpoint="best")
    assert best.images == 64, "of equal ones, the first"
    assert same(load_state(tmp_path / "run", settings["machine"]), last) and last.images == 160
    assert same(best, train(replace(config, total_images=64, evaluate_every_images=0), tmp_path / "64", **settings))

    lines = [line for line in read_metrics(tmp_path / "run") if "frechet_distance" in line]
    assert [(line["images"], line["frechet_distance"]) for line in lines] == [
        *((32, 5.0), (64, 2.0), (96, 3.0), (128, 2.0), (160, 9.0))
    ]
    assert all(
        line["num_samples"] == 20 and line["classes_covered"] == 3 and line["recognised"] == 0.5 for line in lines
    )
    assert all(line["discriminator_loss"] > 0 for line in lines), "every line has the losses"
    latents = training.draw_latents(20, config.latent_size, seed=config.seed + examiner.OTHER_LATENTS)
    torch.testing.assert_close(judge.seen[-1], training.sample(last.average, latents))


def test_evaluating_does_not_change_the_outcome(config, settings, tmp_path):
    plain = train(replace(config, evaluate_every_images=0), tmp_path / "plain", **settings)
    assert same(plain, train(config, tmp_path / "measured", judge=ScriptedJudge([1.0] * 5), **settings))
    assert not (tmp_path / "plain" / BEST).exists()


def assert_best_is_at(out, machine, images: int) -> None:
    assert load_state(out, machine, checkpoint="best").images == images


def test_the_lowest_discriminator_loss_would_choose_another_checkpoint(config, settings, tmp_path):
    """The mutant: a low loss of the discriminator says that it wins, not that the images are good."""
    train(config, tmp_path / "first", judge=ScriptedJudge([1.0] * 5), **settings)
    losses = {line["images"]: line["discriminator_loss"] for line in read_metrics(tmp_path / "first")}
    evaluated = range(EVERY, 161, EVERY)
    lowest_loss = min(evaluated, key=losses.__getitem__)
    wanted = max(evaluated, key=losses.__getitem__)
    distances = [1.0 if images == wanted else 2.0 for images in evaluated]
    train(config, tmp_path / "run", judge=ScriptedJudge(distances), **settings)
    assert_best_is_at(tmp_path / "run", settings["machine"], wanted)
    with pytest.raises(AssertionError):
        assert_best_is_at(tmp_path / "run", settings["machine"], lowest_loss)


@pytest.mark.parametrize("stop_at", [48, 96, 144])
def test_a_resumed_run_keeps_the_best_so_far(config, settings, tmp_path, stop_at):
    distances = [5.0, 2.0, 3.0, 4.0, 2.5]
    train(config, tmp_path / "whole", judge=ScriptedJudge(distances), **settings)
    so_far, rest = distances[: stop_at // EVERY], distances[stop_at // EVERY :]
    at_the_end = [] if stop_at % EVERY == 0 else [9.0]
    first = ScriptedJudge(so_far + at_the_end)
    train(replace(config, total_images=stop_at), tmp_path / "run", judge=first, **settings)
    resume(tmp_path / "run", total_images=160, judge=ScriptedJudge(rest), **settings)
    for name in (BEST, CHECKPOINT):
        expected, found = (checkpoint.load(tmp_path / run / name) for run in ("whole", "run"))
        assert found[1]["step"] == expected[1]["step"] and found[1]["best"] == expected[1]["best"]
        assert all(torch.equal(found[0][key], expected[0][key]) for key in expected[0])


class Killed(BaseException):
    """As good as a SIGKILL: nothing catches it."""


@pytest.mark.parametrize("place", ["copy", "save"])
def test_a_kill_between_the_two_writes_is_put_right_by_resume(config, settings, tmp_path, monkeypatch, place):
    """At 64 images, either the last checkpoint is already the best one but not yet copied, or neither is written."""
    out, machine = tmp_path / "run", settings["machine"]
    with monkeypatch.context() as patch:
        count = 0

        def kill_at_second_best(*arguments):
            nonlocal count
            count += 1
            if count == (2 if place == "copy" else 3):  # saved at 32 (best), 48, 64 (best)
                raise Killed
            return right(*arguments)

        right = getattr(checkpoint, place)
        patch.setattr(checkpoint, place, kill_at_second_best)
        with pytest.raises(Killed):
            train(config, out, judge=ScriptedJudge([5.0, 2.0]), **settings)
    assert_best_is_at(out, machine, 32)
    assert load_state(out, machine).images == (64 if place == "copy" else 48)
    rest = [3.0, 4.0, 6.0] if place == "copy" else [2.0, 3.0, 4.0, 6.0]
    resume(out, judge=ScriptedJudge(rest), **settings)
    assert_best_is_at(out, machine, 64)


def test_on_a_cpu_the_line_holds_exactly_what_the_judge_says_of_the_samples(config, settings):
    state = training.start(config, settings["machine"])
    judge, line = judge_for(config), {}
    examiner.Examiner(config, judge)(state, line)
    latents = torch.randn(20, 8, generator=torch.Generator().manual_seed(config.seed + examiner.OTHER_LATENTS))
    with torch.no_grad():
        expected = judge.report(state.average.eval()(latents))
    assert line.keys() == {"frechet_distance", "classes_covered", "recognised", "num_samples"}
    assert line.items() <= expected.items()


class JudgeOnMeta(ScriptedJudge):
    """A judge on the device that holds no values: whatever is copied from there to the CPU is an error."""

    def __init__(self) -> None:
        super().__init__([3.0] * 2)
        self.moved_to: list[torch.device] = []

    def to(self, device: torch.device) -> JudgeOnMeta:
        self.moved_to.append(device)
        return self


def test_samples_are_judged_on_the_device_that_made_them(config, settings):
    state = training.start(config, settings["machine"])
    state.average.to("meta")
    judge = JudgeOnMeta()
    examine = examiner.Examiner(config, judge)
    for _ in range(2):
        examine(state, {})
    assert {images.device.type for images in judge.seen} == {device.type for device in judge.moved_to} == {"meta"}


def test_the_classifier_is_copied_to_the_device_once(config, settings, monkeypatch):
    monkeypatch.setattr(training.Judge, "report", lambda judge, images: ScriptedJudge([3.0]).report(images))
    state = training.start(config, settings["machine"])
    state.average.to("meta")
    judge = judge_for(config)
    examine = examiner.Examiner(config, judge)
    classifiers = set()
    for _ in range(3):
        examine(state, {})
        classifiers.add(examine.judge.classifier)
    assert len(classifiers) == 1
    assert {weight.device.type for weight in classifiers.pop().parameters()} == {"meta"}
    assert {weight.device.type for weight in judge.classifier.parameters()} == {"cpu"}, (
        "the caller's stays where it was"
    )


class BrokenJudge(ScriptedJudge):
    def report(self, images):
        if self.seen:
            raise torch.linalg.LinAlgError("the algorithm failed to converge.\nsecond line")
        return super().report(images)


def test_where_evaluation_fails_the_run_goes_on_after_one_warning(config, settings, tmp_path):
    with pytest.warns(UserWarning, match=r"without evaluation.*failed to converge\.$") as caught:
        state = train(config, tmp_path / "run", judge=BrokenJudge([5.0]), **settings)
    assert len(caught) == 1 and state.images == 160
    assert_best_is_at(tmp_path / "run", settings["machine"], 32)


def test_a_data_set_that_cannot_be_judged_is_one_warning(config, settings, tmp_path, monkeypatch):
    def refuse(config, **_):
        raise InvalidInput("the data set 'mnist' could not be downloaded.")

    monkeypatch.setattr(examiner, "judge_for", refuse)
    with pytest.warns(UserWarning, match=r"could not be downloaded\.$") as caught:
        train(config, tmp_path / "run", **settings)
    assert len(caught) == 1 and not (tmp_path / "run" / BEST).exists()
    with pytest.raises(InvalidInput, match="there is no checkpoint"):
        load_state(tmp_path / "run", checkpoint="best")


@pytest.mark.filterwarnings("ignore:.*without evaluation")
def test_a_distance_that_is_no_number_is_never_the_best(config, settings, tmp_path):
    train(config, tmp_path / "run", judge=ScriptedJudge([float("nan"), 3.0, float("nan"), 4.0, 5.0]), **settings)
    assert_best_is_at(tmp_path / "run", settings["machine"], 64)


def test_the_books_judge_measures_a_run(config, settings, tiny_dataset: Dataset, tmp_path):
    train(replace(config, evaluate_every_images=160), tmp_path / "run", judge=judge_for(config), **settings)
    assert read_metrics(tmp_path / "run")[-1]["frechet_distance"] > 0


def test_time_spent_on_evaluation_is_no_time_spent_on_training(config, settings, tmp_path, monkeypatch):
    """The clock is a counter, so that the test does not depend on how fast this machine is."""
    now = 0.0
    monkeypatch.setattr(training.time, "perf_counter", lambda: now)

    class SlowJudge(ScriptedJudge):
        def report(self, images):
            nonlocal now
            now += 1_000.0
            return super().report(images)

    train(config, tmp_path / "run", judge=SlowJudge([5.0, 4.0, 3.0, 2.0, 1.0]), **settings)
    assert {line["seconds"] for line in read_metrics(tmp_path / "run")} == {0.0}
