"""Signals that end a run: the loop finishes its iteration and saves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dcgan_core.runtime import Machine


@contextmanager
def stopping(machine: Machine) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the loop can finish its iteration and save; a second one stops.

    With several processes, torchrun passes signals on, so that one Ctrl-C may arrive twice: then none of them stops.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    several = machine.num_processes > 1
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)[: 1 + several]}

    def note(number: int, frame: object) -> None:
        event.set()
        if not several:
            signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
