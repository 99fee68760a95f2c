"""Files in the folder of a run: written whole or not at all, never through a link, and read without surprises."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from dcgan_core.config import InvalidInput

PARTIAL = ".partial"  # how the name of a file ends that is being written
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # refuses a name that exists, a link too
MORE = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Replaces the file `path` by one made of the parts, or, whatever happens, leaves it as it was. Raises `OSError`.

    A link of that name is replaced, not followed. The name that it is first written under cannot be guessed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with os.fdopen(os.open(temporary, NEW, 0o666), "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # a read-only file system also refuses to remove what is not there
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replaces the file `path` by `value` as JSON. Raises `OSError`."""
    write_whole(path, (json.dumps(value, indent=2) + "\n").encode())


def add_line(path: Path, line: str) -> None:
    """Adds a line to the file `path`. Raises `OSError`, for a link of that name too."""
    if path.is_symlink():  # where the system has no O_NOFOLLOW
        raise OSError(None, "it is a link to somewhere else")
    with os.fdopen(os.open(path, MORE, 0o666), "ab") as file:
        file.write((line + "\n").encode())


def read_json(path: Path) -> Any:
    """What the JSON file `path` holds. Raises `InvalidInput` if it is damaged, `OSError` if it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        raise InvalidInput(
            f"{str(path)!r} is damaged ({error}): restore it from a copy, or start a new run."
        ) from error


def refuse_link(path: Path) -> None:
    """Raises `InvalidInput` if `path`, which this program is about to write into, is a link."""
    if path.is_symlink():
        raise InvalidInput(
            f"{str(path)!r} is a link, and nothing is written through links inside a run's folder: "
            "delete it, or copy what it leads to."
        )


def sweep(folder: Path) -> None:
    """Deletes what writes that were killed have left behind."""
    for path in folder.glob(f".*{PARTIAL}"):
        with suppress(OSError):
            path.unlink()
