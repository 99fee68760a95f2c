"""Files written beside the training: a GPU does not wait for a disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from dcgan_core.runtime import Machine


class Writer:
    """Calls what writes, one after the other: at once, or `beside` the training in a thread of its own.

    There, the next call waits until the last one is done, and raises what it has raised; so does `close`. What is to be
    written must not change meanwhile: tensors are copied before.
    """

    def __init__(self, *, beside: bool) -> None:
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="writer") if beside else None
        self.last: Future[None] | None = None

    def __call__(self, write: Callable[[], None]) -> None:
        self.wait()
        if self.pool is None:
            write()
        else:
            self.last = self.pool.submit(write)

    def wait(self) -> None:
        """Until everything is written. Raises what that has raised."""
        last, self.last = self.last, None
        if last is not None:
            last.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            if self.pool is not None:
                self.pool.shutdown()


def writes_beside(machine: Machine) -> bool:
    """On a GPU, a checkpoint in the foreground would cost half of the speed; on a CPU, a thread would take it away."""
    return machine.device.type == "cuda"
