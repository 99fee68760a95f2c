"""Where squares go as they are decoded: into the cache's file, or, where nothing can be written, into memory."""

from __future__ import annotations

import math
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from dcgan_core.config import InvalidInput
from dcgan_core.data import cache
from dcgan_core.data.cache import Cached, Entry
from dcgan_core.data.maps import Writer
from dcgan_core.data.memory import memory_for_images


class Keeper:
    """Takes squares one after another, up to `most` of them, and gives them back together.

    They go into a file in the cache's folder `place`. If there is none, or it is full, they go into memory, and if they
    might take more than a third of it, `InvalidInput` is raised.
    """

    def __init__(self, place: Path | None, image_size: int, most: int) -> None:
        self.place, self.image_size, self.most = place, image_size, most
        self.num = 0
        self.why_not = ""  # nothing is kept for the next time
        self._writer: Writer | None = None
        self._memory = np.empty((0, 1, image_size, image_size), np.uint8)
        if place is None:
            self._enlarge(1)
            return
        try:
            place.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(place).free < most * image_size**2:
                raise OSError(0, "too little space on the disk")
            self._writer = Writer(cache.temporary(place), image_size)
        except OSError as error:
            self._into_memory(error)

    def add(self, square: np.ndarray) -> int:
        """Takes a square (C, S, S), and says which row it is of all of them."""
        if self._writer is not None:
            try:
                self._writer.add(square[None])
            except OSError as error:
                self._into_memory(error)
        if self._writer is None:
            if len(square) > self._memory.shape[1]:
                self._enlarge(3)
            self._memory[self.num] = square  # one channel fills all three
        self.num += 1
        return self.num - 1

    def finish(self, entries: dict[str, Entry]) -> Cached:
        """All squares, and the entries of the files that they come from."""
        if self._writer is not None and self.place is not None:
            try:
                return cache.save(self.place, self._writer, entries)
            except OSError as error:
                self._into_memory(error)
        return Cached(entries, self._memory[: self.num])

    def break_off(self, entries: dict[str, Entry]) -> None:
        """Keeps what there is for the next time."""
        if self._writer is not None and self.place is not None:
            with suppress(OSError):
                cache.save(self.place, self._writer, entries)

    def close(self) -> None:
        """Leaves nothing unfinished behind."""
        if self._writer is not None:
            self._writer.abandon()

    def _into_memory(self, error: OSError) -> None:
        self.why_not = error.strerror or str(error)
        writer, self._writer = self._writer, None
        try:
            self._enlarge(1 if writer is None else writer.channels)
            if writer is not None and self.num:
                self._memory[: self.num] = writer.squares
        finally:
            if writer is not None:
                writer.abandon()

    def _enlarge(self, channels: int) -> None:
        """Memory for all squares that may come; it is taken as it is filled."""
        shape = (self.most, channels, self.image_size, self.image_size)
        if math.prod(shape) > memory_for_images():
            why = f"cannot be kept on the disk ({self.why_not})" if self.why_not else "may not be kept on the disk"
            raise InvalidInput(
                f"{self.most:,} files may become images of {math.prod(shape) / 1e9:,.3g} GB, more than a third of the "
                f"memory, and {why}: let the environment variable {cache.FOLDER} name a folder with enough space, or "
                "choose smaller images (--image-size)."
            )
        larger = np.empty(shape, np.uint8)
        held = self._memory[: self.num]  # none yet, if they are in a file
        larger[: len(held)] = held
        self._memory = larger
