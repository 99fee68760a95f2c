"""Squares in a file: written one after another, and mapped, so that of many only those are in memory that are needed.

The file is NumPy's (.npy), uint8 (N, C, S, S). A map is private: what is written into it stays in memory.
"""

from __future__ import annotations

import io
import math
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

CHUNK = 2**22  # bytes that are handled at a time
HEAD = 128  # bytes of NumPy's head, whatever the shape
# Linux refuses a private map that is larger than the memory, unless it is told that little of it will be changed.
MAP_NORESERVE = 0x4000  # `mmap` names it from Python 3.13 on
PRIVATE: dict[str, Any] = (
    {"flags": mmap.MAP_PRIVATE | MAP_NORESERVE} if sys.platform == "linux" else {"access": mmap.ACCESS_COPY}
)
_right: dict[Path, tuple[str, tuple[int, ...]]] = {}  # files whose checksum was compared, and their state then


def mapped(path: Path) -> np.ndarray:
    """The squares of a file: a map that can be written into, which changes nothing in the file.

    Raises `ValueError`, and whatever NumPy does, for a file that holds anything else.
    """
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version of the format")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.uint8 or is_fortran or len(shape) != 4:
            raise ValueError("no squares")
        return _mapped(path, shape, file.tell())


def _mapped(path: Path, shape: tuple[int, ...], start: int) -> np.ndarray:
    if not math.prod(shape):
        return np.empty(shape, np.uint8)
    with path.open("rb") as file:
        return np.ndarray(shape, np.uint8, mmap.mmap(file.fileno(), 0, **PRIVATE), start)


def checked(path: Path, checksum: str) -> np.ndarray | None:
    """The squares of a file if they have this checksum, else None. A file that stays as it is is summed once."""
    about = path.stat()
    state = (about.st_ino, about.st_size, about.st_mtime_ns)
    pixels = mapped(path)
    if _right.get(path) != (checksum, state):
        total = xxhash.xxh3_128()
        for part in in_parts(pixels):
            total.update(part.tobytes())
        if _with_shape(total, pixels.shape) != checksum:
            return None
        _right[path] = checksum, state
    return pixels


def in_parts(pixels: np.ndarray, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """The squares (N, C, S, S), or those of the rows alone, a part at a time."""
    num = len(pixels) if rows is None else len(rows)
    step = max(1, CHUNK // max(1, math.prod(pixels.shape[1:])))
    for start in range(0, num, step):
        part = slice(start, start + step)
        yield pixels[part if rows is None else rows[part]]


class Writer:
    """Writes squares into a new file, one after another. How many there will be need not be known, nor whether any of
    them has colour: there is one channel until the first that has.

    What fails on the disk is an `OSError`, after which all that was added before is still there.
    """

    def __init__(self, path: Path, image_size: int, channels: int = 1) -> None:
        self.path, self.image_size, self.channels = path, image_size, channels
        self.num = 0
        self._file = path.open("xb", buffering=0)  # what does not reach the disk fails at once
        self._total = xxhash.xxh3_128()
        try:
            self._write(bytes(HEAD))
        except BaseException:
            self.abandon()
            raise

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all that was added: (N, C, S, S)."""
        return self.num, self.channels, self.image_size, self.image_size

    @property
    def squares(self) -> np.ndarray:
        """All that was added, as a map."""
        return _mapped(self.path, self.shape, HEAD)

    def add(self, squares: np.ndarray) -> None:
        """Appends squares (n, C, S, S); a single channel fills all three."""
        if squares.shape[1] > self.channels:
            self._begin_with_colour()
        values = np.broadcast_to(squares, (len(squares), *self.shape[1:])).tobytes()
        self._write(values)
        self._total.update(values)
        self.num += len(squares)

    def _begin_with_colour(self) -> None:
        """Writes the grey squares anew, with three channels."""
        other = Writer(self.path.with_name(f"{self.path.name}c"), self.image_size, channels=3)
        try:
            for part in in_parts(self.squares):
                other.add(part)
        except BaseException:
            other.abandon()
            raise
        self.abandon()
        self.path, self.channels, self._file, self._total = other.path, 3, other._file, other._total

    def _write(self, values: bytes) -> None:
        left = memoryview(values)
        while left:
            left = left[self._file.write(left) :]

    def finish(self) -> str:
        """Writes the head, closes the file, and returns the checksum of what is in it."""
        head = io.BytesIO()
        description = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(head, description)
        assert len(head.getvalue()) == HEAD
        self._file.truncate(HEAD + math.prod(self.shape))
        self._file.seek(0)
        self._write(head.getvalue())
        self._file.close()
        return _with_shape(self._total, self.shape)

    def abandon(self) -> None:
        """Closes the file and deletes it, if it still has its first name."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def _with_shape(total: xxhash.xxh3_128, shape: tuple[int, ...]) -> str:
    total = total.copy()
    total.update(repr(shape).encode())
    return total.hexdigest()
