"""Signals that end a run, sent to this process itself."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from dcgan_core.runs.stopping import SIGNALS, BrokenOff, stopping

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals"),
    pytest.mark.usefixtures("usual_signals"),
]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_afterwards_all_is_as_before(cpu, number):
    before = [signal.getsignal(one) for one in SIGNALS]
    with stopping(cpu) as request:
        assert not request
        send(number)
        assert request and request.number == number
    with stopping(cpu) as request:
        assert not request
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_a_second_signal_stops_at_once(cpu):
    with pytest.raises(KeyboardInterrupt), stopping(cpu) as request:
        send(signal.SIGINT)
        assert request
        send(signal.SIGINT)


def test_of_several_processes_none_stops_at_once_when_a_signal_is_passed_on_to_it_twice(cpu):
    with stopping(replace(cpu, num_processes=2)) as request:
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert request.number == signal.SIGINT


def test_what_need_not_wait_is_broken_off_and_the_signal_is_noted_all_the_same(cpu):
    reached = []
    with stopping(cpu) as request:
        with pytest.raises(BrokenOff), request.breaking_off():
            send(signal.SIGTERM)
            reached.append("the rest")
        assert request.number == signal.SIGTERM
        with pytest.raises(BrokenOff), request.breaking_off():
            reached.append("another one, although the signal had come before")
    assert reached == []


def test_what_has_to_be_finished_is_not_broken_off(cpu):
    with stopping(cpu) as request:
        with request.breaking_off():
            pass
        send(signal.SIGTERM)
        assert request.number == signal.SIGTERM


def test_what_nohup_ignores_stays_ignored(cpu):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping(cpu) as request:
            send(signal.SIGHUP)
            assert not request
    finally:
        signal.signal(signal.SIGHUP, before)
