"""What studies of many runs share: which runs are played, when one counts as finished, and what is kept of it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from dcgan_core.config import Config, InvalidInput
from dcgan_core.laboratory import studies
from dcgan_core.laboratory.studies import FOUND, LINE, Playing, command_line, note, read_lines, run_jobs
from dcgan_core.runs.files import write_json
from dcgan_core.train import Stopped

NAMES = ("kind", "seed")


def pretend(folder: Path, kind: str, seed: int, images: int = 640, measured: bool = True) -> None:
    """Leaves behind what a run of 640 images would."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", Config(total_images=640, seed=seed).to_dict())
    write_json(folder / "provenance.json", [{"device": "none"}])
    (folder / "metrics.jsonl").write_text(json.dumps({"images": images, "seconds": 1.0}) + "\n")
    if measured:
        write_json(folder / FOUND, {"measured": 10 * seed})


def fail_first(folder: Path, kind: str, seed: int) -> None:
    """A play of which seed 0 fails."""
    if seed == 0:
        raise RuntimeError("no luck")
    pretend(folder, kind, seed)


def test_a_worker_plays_job_after_job_until_there_is_none_even_after_a_failure(tmp_path, capsys):
    jobs = iter([("a", 0), ("a", 1), None, ("a", 2)])
    studies.work(SimpleNamespace(get=lambda: next(jobs)), tmp_path, fail_first)
    assert [path.name for path in tmp_path.iterdir()] == ["a-1"]
    assert "no luck" in capsys.readouterr().err


def test_a_worker_that_is_asked_to_stop_begins_no_other_run(tmp_path):
    played: list[str] = []

    def stopped(folder, *_):
        played.append(folder.name)
        raise Stopped(signal.SIGTERM)

    jobs = iter([("letters", 0), ("letters", 1), None])
    studies.work(SimpleNamespace(get=lambda: next(jobs)), tmp_path, stopped)
    assert played == ["letters-0"]


def test_jobs_are_played_in_other_processes_once_and_those_that_the_file_holds_finished_not_at_all(tmp_path):
    out = tmp_path / "out.jsonl"
    known = [{"kind": "a", "seed": 1, "finished": True}, {"kind": "a", "seed": 2, "finished": False}]
    out.write_text("".join(json.dumps(line) + "\n" for line in known))
    playing = Playing(processes=2, minutes=2, keep=tmp_path / "kept")
    run_jobs(out, NAMES, [("a", 1), ("a", 2), ("b", 3)], pretend, playing, measured_after=True)
    lines = read_lines(out)[2:]
    assert sorted((line["kind"], line["seed"]) for line in lines) == [("a", 2), ("b", 3)]
    assert all(line["measured"] == 10 * line["seed"] for line in lines), "what was found is in the line"
    assert all({"config", "provenance", "metrics"} <= set(line) for line in lines)
    run_jobs(out, NAMES, [("a", 1), ("a", 2)], pretend, playing, measured_after=True)
    assert len(read_lines(out)) == 4


def test_what_was_not_finished_in_time_is_recorded_as_such_unless_it_is_kept(tmp_path):
    half = partial(pretend, images=320, measured=False)
    for keep, expected in ((None, [False]), (tmp_path / "kept", [])):
        out = tmp_path / f"{keep is None}.jsonl"
        run_jobs(out, NAMES, [("a", 1)], half, Playing(minutes=2, keep=keep))
        assert [line["finished"] for line in read_lines(out)] == expected


def save_when_stopped(folder: Path, kind: str, seed: int) -> None:
    """A play that ends only when it is asked to, and saves then."""

    def stop(number, frame):
        raise Stopped(number)

    signal.signal(signal.SIGTERM, stop)
    pretend(folder, kind, seed, images=320)
    try:
        while True:
            time.sleep(0.05)
    finally:
        (folder / "saved").touch()


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_study_that_gets_a_signal_lets_its_runs_save_and_notes_what_there_is(tmp_path, name):
    run, out, number = tmp_path / "kept" / "a-1", tmp_path / "out.jsonl", getattr(signal, name)

    def terminate():
        while not (run / FOUND).exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=terminate, daemon=True).start()
    with pytest.raises(Stopped) as caught:
        run_jobs(out, NAMES, [("a", 1)], save_when_stopped, Playing(keep=run.parent), measured_after=True)
    assert caught.value.number == number and signal.getsignal(number) == before
    assert (run / "saved").exists()
    assert [line["seed"] for line in read_lines(out)] == [1]


def test_a_run_whose_measures_are_missing_is_not_finished_where_they_are_asked_for(tmp_path):
    pretend(tmp_path / "run", "a", 1, measured=False)
    out = tmp_path / "out.jsonl"
    assert not note(out, tmp_path / "run", NAMES, ("a", 1), only_finished=True, measured_after=True)
    assert note(out, tmp_path / "run", NAMES, ("a", 1), only_finished=True)
    assert read_lines(out)[0]["finished"]


def test_a_line_tells_no_place_on_anybodys_disk(tmp_path):
    pretend(tmp_path / "run", "a", 1)
    write_json(tmp_path / "run" / "config.json", Config(data_root="/home/me/sets", total_images=640).to_dict())
    write_json(tmp_path / "run" / "provenance.json", [{"command": "python -m dcgan_core train --data /home/me/cats"}])
    assert note(tmp_path / "out.jsonl", tmp_path / "run", NAMES, ("a", 1), only_finished=True)
    assert "/home" not in (tmp_path / "out.jsonl").read_text()


def test_what_a_play_leaves_as_its_line_is_recorded_and_nothing_is_started_for_nothing(tmp_path, monkeypatch):
    out, run = tmp_path / "out.jsonl", tmp_path / "a-1"
    run.mkdir()
    write_json(run / LINE, {"measured": 10})
    assert note(out, run, NAMES, ("a", 1), only_finished=True)
    assert read_lines(out) == [{"kind": "a", "seed": 1, "finished": True, "measured": 10}]
    monkeypatch.setattr(studies.multiprocessing, "get_context", lambda _: pytest.fail("a process was started"))
    run_jobs(out, NAMES, [("a", 1)], pretend, Playing(minutes=2))
    assert len(read_lines(out)) == 1


def test_a_run_that_was_never_begun_leaves_no_line(tmp_path):
    assert not note(tmp_path / "out.jsonl", tmp_path / "none", NAMES, ("a", 1), only_finished=False)
    assert read_lines(tmp_path / "out.jsonl") == []


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (Stopped(signal.SIGTERM), 143, "stopped: what was finished is recorded"),
        (KeyboardInterrupt(), 130, "stopped: what was finished is recorded"),
        (InvalidInput("the amount is 0, but must be more."), 2, "error: the amount is 0"),
    ],
)
def test_a_study_that_ends_early_says_so_in_one_line_and_by_its_exit_code(monkeypatch, capsys, raised, code, words):
    def study(amount: int = 1) -> None:
        raise raised

    monkeypatch.setattr("sys.argv", ["study", "--amount", "0"])
    with pytest.raises(SystemExit) as left:
        command_line(study, "python -m study")
    errors = capsys.readouterr().err
    assert left.value.code == code and errors.startswith(words) and errors.count("\n") == 1
