"""Signals that end a run: the loop finishes its iteration and saves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dcgan_core.runtime import Machine

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A run was asked to stop by the signal `number`, and has saved what it had."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class BrokenOff(BaseException):
    """A signal came where it need not wait."""


class Request:
    """Whether a signal has asked the run to stop, and which."""

    number: int | None = None
    need_not_wait = False

    def __bool__(self) -> bool:
        return self.number is not None

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signals' handler."""
        self.number = number
        if self.need_not_wait:
            self.need_not_wait = False
            raise BrokenOff

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """Inside, a signal ends the work at once, by raising `BrokenOff`; so does one that came before."""
        self.need_not_wait = True
        try:
            if self:
                raise BrokenOff
            yield
        finally:
            self.need_not_wait = False


@contextmanager
def stopping(machine: Machine) -> Iterator[Request]:
    """Notes the first Ctrl-C, SIGTERM (a cluster's end of time) or SIGHUP (a closed terminal); a second one stops.

    With several processes, torchrun passes signals on, so that one Ctrl-C may arrive twice: then none of them stops at
    once. SIGHUP stays ignored where it is, as under nohup. Signals reach the main thread alone; elsewhere nothing
    changes.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    ignored = {number for number, handler in handlers.items() if handler == signal.SIG_IGN and number != signal.SIGINT}
    before = {number: handler for number, handler in handlers.items() if number not in ignored}

    def note(number: int, frame: FrameType | None) -> None:
        if machine.num_processes == 1:
            for one, handler in before.items():
                signal.signal(one, handler)
        request.note(number, frame)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
