"""Checkpoints and grids that are written beside the training are those that would be written in its way."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace

import pytest
import torch

from dcgan_core import train as training
from dcgan_core.config import InvalidInput
from dcgan_core.runs import checkpoint, folder, journal
from dcgan_core.runs.writing import Writer, writes_beside
from dcgan_core.runtime import Machine
from dcgan_core.train import CHECKPOINT, load_state, read_metrics, resume, train


@pytest.fixture
def settings(cpu, tiny_dataset):
    return {"machine": cpu, "dataset": tiny_dataset, "progress": False}


@pytest.fixture
def beside(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(training, "writes_beside", lambda machine: True)


def test_a_gpu_does_not_wait_for_the_disk_and_a_cpu_keeps_its_cores(cpu):
    assert writes_beside(Machine(torch.device("cuda"), torch.float32, "a test")) and not writes_beside(cpu)


def test_a_run_leaves_the_same_files(tiny_config, settings, tmp_path, monkeypatch):
    train(tiny_config, tmp_path / "first", **settings)
    monkeypatch.setattr(training, "writes_beside", lambda machine: True)
    threads = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: threads.append(threading.current_thread()) or save(*given))
    train(tiny_config, tmp_path / "second", **settings)
    assert len(threads) == 4 and threading.main_thread() not in threads
    first, second = (checkpoint.load(tmp_path / name / CHECKPOINT) for name in ("first", "second"))
    assert first[1] == second[1] and all(torch.equal(value, second[0][name]) for name, value in first[0].items())
    for grid in sorted((tmp_path / "first" / "samples").iterdir()):
        assert grid.read_bytes() == (tmp_path / "second" / "samples" / grid.name).read_bytes()


def test_what_is_written_late_is_the_state_of_its_own_moment(tiny_config, settings, tmp_path, monkeypatch, beside):
    """The disk is so slow that several iterations are made meanwhile; the mutant would save their weights."""
    save, seen = checkpoint.save, {}

    def slowly(path, tensors, facts):
        time.sleep(0.3)
        seen[facts["step"]] = {name: value.clone() for name, value in tensors.items()}
        save(path, tensors, facts)

    monkeypatch.setattr(checkpoint, "save", slowly)
    train(tiny_config, tmp_path / "run", **settings)
    monkeypatch.undo()
    for step, found in seen.items():
        expected = train(replace(tiny_config, total_images=step * 8), tmp_path / str(step), **settings).tensors()
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.parametrize("name", ["save", "write_whole"])
def test_a_full_disk_is_still_one_sentence_and_keeps_the_last_checkpoint(
    tiny_config, settings, tmp_path, monkeypatch, beside, name
):
    train(replace(tiny_config, total_images=48), tmp_path / "run", **settings)
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()

    def full(*_, **__):
        if name == "save":
            raise InvalidInput("the checkpoint could not be written (No space left on device).")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint if name == "save" else journal, name, full)
        if name == "write_whole":  # grids only: `resume` writes the metrics anew before it trains
            patch.setattr(folder, "forget_after", lambda *_: None)
        with pytest.raises(InvalidInput, match="No space left"):
            resume(tmp_path / "run", total_images=160, **settings)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


def test_a_run_that_is_stopped_has_written_everything(tiny_config, settings, tmp_path, monkeypatch, beside):
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: time.sleep(0.3) or save(*given))
    real = training._Session.due

    def stop_at_96(session):
        if session.state.images == 96:
            session.asked_to_stop.number = 15
        return real(session)

    monkeypatch.setattr(training._Session, "due", stop_at_96)
    with pytest.raises(training.Stopped):
        train(tiny_config, tmp_path / "run", **settings)
    assert load_state(tmp_path / "run", settings["machine"]).images == 96
    assert read_metrics(tmp_path / "run")[-1]["images"] == 96


def test_a_writer_raises_what_went_wrong_at_the_next_call_and_writes_in_order():
    writer, done = Writer(beside=True), []
    writer(lambda: time.sleep(0.1) or done.append(1))
    writer(lambda: done.append(2))
    writer.wait()
    assert done == [1, 2]

    def fail() -> None:
        raise InvalidInput("full.")

    writer(fail)
    with pytest.raises(InvalidInput, match="full"):
        writer(lambda: done.append(3))
    writer.close()
    assert done == [1, 2]


def test_closing_a_writer_raises_what_the_last_write_raised():
    def fail() -> None:
        raise InvalidInput("full.")

    writer = Writer(beside=True)
    writer(fail)
    with pytest.raises(InvalidInput, match="full"):
        writer.close()
