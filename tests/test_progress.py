"""The progress bar: quick in a terminal, seldom in a log file."""

from __future__ import annotations

import io
import sys
import time

import pytest

from dcgan_core.data import progress
from dcgan_core.data.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when told to."""
    now = [1_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    return now


def written(monkeypatch, clock, stream: io.StringIO, *, updates: int, seconds: float) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    with progress_bar("training", total=64 * updates) as bar:
        for _ in range(updates):
            clock[0] += seconds
            bar.update(64)
    return stream.getvalue()


@pytest.mark.parametrize("seconds", [0.06, 1.0, 90.0])
def test_a_log_file_gets_a_line_every_few_seconds_and_percent_at_most(monkeypatch, clock, seconds):
    text = written(monkeypatch, clock, io.StringIO(), updates=937, seconds=seconds)
    lines = text.splitlines()
    assert "\r" not in text
    assert 5 <= len(lines) <= min(104, 937 * seconds / progress.SELDOM + 5)
    assert "100%" in text and "60.0k/60.0k" in text


def test_a_terminal_gets_many_updates_of_one_line(monkeypatch, clock):
    text = written(monkeypatch, clock, Terminal(), updates=937, seconds=0.06)
    assert text.count("\r") > 300 and text.count("\n") == 1


def test_a_notebook_gets_about_one_update_a_second(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    with progress_bar("training", total=64 * 937) as bar:
        for _ in range(937):
            clock[0] += 0.06
            bar.update(64)
    text = sys.stderr.getvalue()
    assert 40 < text.count("\r") < 70


def test_a_bar_that_is_not_to_be_shown_writes_nothing(monkeypatch, clock):
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_bar("training", total=640, shown=False) as bar:
            for _ in range(10):
                clock[0] += 60
                bar.update(64)
        assert stream.getvalue() == ""


def test_a_run_that_goes_on_begins_where_it_was(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar("training", total=640, initial=576) as bar:
        clock[0] += 60
        bar.update(64)
    first, *_, last = filter(None, sys.stderr.getvalue().splitlines())
    assert " 90%" in first and "576/640" in first and "640/640" in last


def test_a_bar_that_makes_way_for_a_message_leaves_no_empty_line(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar("training", total=640) as bar:
        clock[0] += 60
        bar.update(64)
        num_lines = sys.stderr.getvalue().count("\n")
        bar.clear()
        assert sys.stderr.getvalue().count("\n") == num_lines
