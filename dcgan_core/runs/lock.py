"""Two processes cannot train in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dcgan_core.config import InvalidInput
from dcgan_core.runs.files import refuse_link

NAME = ".lock"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Inside, the folder `out` belongs to this process. The operating system gives it back when the process ends, even
    by a kill; the file itself stays, and means nothing. Raises `InvalidInput` if another process has it.
    """
    path = out / NAME
    refuse_link(path)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InvalidInput(
            f"another process is training in {str(out)!r}: wait until it is done, stop it, or choose another folder."
        ) from error
    except (OSError, NotImplementedError) as error:
        raise InvalidInput(
            f"the folder {str(out)!r} cannot be reserved for one process ({error}): choose one on another disk."
        ) from error
    try:
        yield
    finally:
        lock.release()
