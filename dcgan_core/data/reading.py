"""All images of a folder or a zip at once: from the cache what has not changed, the rest by as many threads as cores.

Pillow lets go of Python's lock while it decodes and resizes, so threads are as fast as processes, and share the memory.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from dcgan_core.config import Fit
from dcgan_core.data import cache
from dcgan_core.data.cache import Cached, Entry
from dcgan_core.data.files import File, Source
from dcgan_core.data.foreign import HEAD, kind
from dcgan_core.data.keeping import Keeper
from dcgan_core.data.pixels import NoPicture, NotUsable, Picture, picture

SHOW_AFTER = 0.5  # seconds; reading that is done sooner has no progress bar
AHEAD = 16  # files for each thread that may be decoded before their turn; the results of more could fill the memory
DARK, PALE = 64, 191  # of 255: beyond this, all but a hundredth of a dark or a pale image's pixels lie
ONE_COLOUR = 8  # of 255: an image whose values differ by at most this in each channel is of one colour


@dataclass(frozen=True)
class Reading:
    """What a folder or a zip holds, file by file."""

    source: Source
    image_size: int
    fit: Fit
    names: tuple[str, ...]  # of the files that are images, in order
    entries: tuple[Entry, ...]  # of these files
    pixels: np.ndarray  # uint8 (N, C, S, S): C is 3 if any of them has colour
    left_out: dict[str, str]  # name to reason
    num_decoded: int  # the others were in the cache
    not_cached: str = ""  # why this was not saved, if it was to be
    place: Path | None = None  # of the cache that the pixels are mapped from
    checksum: str = ""  # of the pixels there


def read(source: Source, *, image_size: int, fit: Fit, progress: bool = True) -> Reading:
    """Reads everything that `find_files` listed. A bar shows how far it is, if it takes longer than half a second."""
    place = cache.place_of(source.path, image_size, fit)
    old = cache.load(place) or Cached({}, np.empty((0, 1, image_size, image_size), np.uint8))
    known = {file.name: old.entries[file.name] for file in source.files if _is_same(file, old.entries.get(file.name))}
    fresh = [file for file in source.files if file.name not in known]
    not_cached = ""
    if not fresh and len(known) == len(old.entries):
        found = old
    else:
        entries: dict[str, Entry] = {}
        with closing(Keeper(place, image_size, len(source.files))) as keeper:
            try:
                with closing(_decoded(source, fresh, image_size, fit, progress)) as decoded:
                    _join(source.files, known, old.pixels, decoded, keeper, entries)
            except KeyboardInterrupt:
                if len(entries) > len(known):
                    keeper.break_off(entries)
                raise
            found, not_cached = keeper.finish(entries), keeper.why_not
    names = tuple(file.name for file in source.files if not found.entries[file.name].reason)
    refused = {file.name: why for file in source.files if (why := found.entries[file.name].reason)}
    return Reading(
        source=source,
        image_size=image_size,
        fit=fit,
        names=names,
        entries=tuple(found.entries[name] for name in names),
        pixels=found.pixels,
        left_out=source.left_out | refused,
        num_decoded=len(fresh),
        not_cached=not_cached,
        place=place if found.checksum else None,
        checksum=found.checksum,
    )


def _is_same(file: File, entry: Entry | None) -> bool:
    return entry is not None and (entry.size, entry.modified) == (file.size, file.modified)


def _decoded(
    source: Source, files: list[File], image_size: int, fit: Fit, progress: bool
) -> Generator[Picture | NotUsable, None, None]:
    """What came of each of the files, in their order."""
    if not files:
        return
    from dcgan_core.data.progress import progress_bar  # here: what never reads a folder does without

    bar = progress_bar(f"reading {source.name}", total=len(files), shown=progress, delay=SHOW_AFTER)
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_threads = min(num_cores, 32)
    pool = ThreadPoolExecutor(num_threads)
    one = partial(_attempt, source, image_size=image_size, fit=fit)
    with warnings.catch_warnings(), closing(bar):
        warnings.simplefilter("ignore")  # Pillow warns of damaged notes and of large pictures
        try:
            ahead: deque[Future[Picture | NotUsable]] = deque()
            for file in files:
                ahead.append(pool.submit(one, file.name))
                while len(ahead) > (AHEAD * num_threads if file is not files[-1] else 0):
                    result = ahead.popleft().result()
                    bar.update()
                    yield result
        finally:
            pool.shutdown(cancel_futures=True)  # an interruption need not wait for the rest


def _attempt(source: Source, name: str, *, image_size: int, fit: Fit) -> Picture | NotUsable:
    try:
        with source.open(name) as file:
            try:
                return picture(file, image_size=image_size, fit=fit)
            except NoPicture:
                file.seek(0)
                return NotUsable(kind(name, file.read(HEAD)))
    except NotUsable as error:
        return error
    except PermissionError:
        return NotUsable("may not be read (permission denied)")
    except Exception as error:  # of a disk, or of a zip that is damaged, encrypted or packed in an unknown way
        return NotUsable(f"cannot be read ({type(error).__name__})")


def _join(
    files: Sequence[File],
    known: dict[str, Entry],
    known_pixels: np.ndarray,
    decoded: Iterator[Picture | NotUsable],
    keeper: Keeper,
    entries: dict[str, Entry],
) -> None:
    """Gives the pixels of all files to the keeper, in their order, and their entries into `entries`; `decoded` gives
    those that are not known.
    """
    for file in files:
        values = None
        if file.name in known:
            entry = known[file.name]
            if not entry.reason:
                values = known_pixels[entry.row] if entry.has_colour else known_pixels[entry.row, :1]
        else:
            result = next(decoded)
            entry = _entry(file, result)
            values = result.pixels if isinstance(result, Picture) else None
        if values is not None:
            entry = replace(entry, row=keeper.add(values))
        entries[file.name] = entry


def _entry(file: File, result: Picture | NotUsable) -> Entry:
    if isinstance(result, NotUsable):
        return Entry(file.size, file.modified, reason=str(result))
    values = result.pixels
    is_plain = bool((values.max(axis=(1, 2)) - values.min(axis=(1, 2))).max() <= ONE_COLOUR)
    return Entry(
        size=file.size,
        modified=file.modified,
        width=result.width,
        height=result.height,
        has_colour=len(values) == 3,
        has_more=result.has_more,
        on_black=result.on_black,
        is_plain=is_plain,
        is_dark=not is_plain and bool(np.percentile(values.max(axis=0), 99) < DARK),
        is_pale=not is_plain and bool(np.percentile(values.min(axis=0), 1) > PALE),
        digest=xxhash.xxh3_128_hexdigest(values.tobytes()),
    )
