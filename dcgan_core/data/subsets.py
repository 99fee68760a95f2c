"""Some of a folder's images as one tensor: in memory if they fit into a third of it, or else mapped from the disk."""

from __future__ import annotations

import math

import numpy as np
import torch
import xxhash
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.data import cache
from dcgan_core.data.maps import Writer, in_parts
from dcgan_core.data.memory import memory_for_images
from dcgan_core.data.pixels import luminance
from dcgan_core.data.reading import SHOW_AFTER, Reading


def subset(reading: Reading, rows: np.ndarray | None, channels: int, *, progress: bool = True) -> tuple[Tensor, bool]:
    """The images of these rows (N,), or all, uint8 (N, channels, S, S); and whether they stay on the disk.

    What stays there is written into the cache once, as a file of its own, unless it is all that there is. Raises
    `InvalidInput` if that fails.
    """
    pixels = reading.pixels
    num = len(pixels) if rows is None else len(rows)
    shape = (num, min(channels, pixels.shape[1]), *pixels.shape[2:])  # three equal channels take the memory of one
    on_disk = reading.place is not None and math.prod(shape) > memory_for_images()
    if rows is None and shape == pixels.shape:
        chosen = pixels
    elif on_disk:
        chosen = _in_file(reading, rows, shape, progress)
    else:
        chosen, start = np.empty(shape, np.uint8), 0
        for part in in_parts(pixels, rows):
            chosen[start : start + len(part)] = _with(shape[1], part)
            start += len(part)
    return torch.from_numpy(chosen).expand(-1, channels, -1, -1), on_disk


def _with(channels: int, squares: np.ndarray) -> np.ndarray:
    return luminance(squares) if channels < squares.shape[1] else squares


def _in_file(reading: Reading, rows: np.ndarray | None, shape: tuple[int, ...], progress: bool) -> np.ndarray:
    """The part, as a map of its own file in the cache."""
    assert reading.place is not None
    key = repr((reading.checksum, shape)).encode() + (b"" if rows is None else rows.astype(np.int64).tobytes())
    what = xxhash.xxh3_128_hexdigest(key)
    found = cache.part(reading.place, what)
    if found is not None:
        return found
    from dcgan_core.data.progress import progress_bar  # here: what never reads a folder does without

    bar = progress_bar(f"setting aside {reading.source.name}", total=shape[0], shown=progress, delay=SHOW_AFTER)
    try:
        writer = Writer(cache.temporary(reading.place), reading.image_size, shape[1])
        try:
            with bar:
                for part in in_parts(reading.pixels, rows):
                    writer.add(_with(shape[1], part))
                    bar.update(len(part))
            return cache.save_part(reading.place, what, writer)
        finally:
            writer.abandon()
    except OSError as error:
        raise InvalidInput(
            f"the images take {math.prod(shape) / 1e9:,.3g} GB, more than a third of the memory, and cannot be kept on "
            f"the disk ({error.strerror or error}): let the environment variable {cache.FOLDER} name a folder with "
            "enough space, or choose smaller images (--image-size)."
        ) from error
