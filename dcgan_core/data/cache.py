"""The squares of a folder that has been read before, so that only new and changed files are decoded again.

They lie in the user's cache folder, in one folder for each source, size and fit: `pixels-<checksum>.npy`, and
`index.jsonl`, which says of every file what came of it, between a line that names the pixels and a checksum of its own.
Both are written under another name and renamed, the index last, so that of two processes each leaves a whole cache. A
cache that is damaged is as good as none. Nothing in it can be executed. Images that are more than fit into memory are
used from there, and so are parts of them, `part-<what>-<checksum>.npy`.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import xxhash

from dcgan_core.config import Fit
from dcgan_core.data.maps import Writer, checked, mapped

FOLDER = "DCGAN_CORE_CACHE"  # environment variable: another folder, or "off"
VERSION = 3  # of what is written here, and of how pixels are made
UNUSED_DAYS = 60  # after which a cache is deleted
STRAY_DAYS = 1  # after which a file that was not finished is deleted
INDEX = "index.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """What came of a file when it had this size and time."""

    size: int
    modified: int
    reason: str = ""  # why it was left out; if so, the rest means nothing
    row: int = -1  # of the pixels
    width: int = 0  # of the whole picture
    height: int = 0
    has_colour: bool = False
    has_more: bool = False
    on_black: bool = False
    is_plain: bool = False  # of one colour
    is_dark: bool = False  # even its light parts are dark
    is_pale: bool = False  # even its dark parts are light
    digest: str = ""  # of its pixels: the same for the same picture


FIELDS = {one.name: one.default for one in fields(Entry)}  # and what they usually are


@dataclass(frozen=True)
class Cached:
    """What was read: entries by name of file, and their pixels."""

    entries: dict[str, Entry]
    pixels: np.ndarray  # uint8 (N, C, S, S); a map of a file, if it is kept
    checksum: str = ""  # of the pixels, if they are kept


def cache_folder() -> Path | None:
    """Where caches are kept: by default where the system keeps them; None if switched off."""
    chosen = os.environ.get(FOLDER)
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen)
    import platformdirs  # here: only folders of images need it

    return platformdirs.user_cache_path("dcgan_core") / "images"


def place_of(source: Path, image_size: int, fit: Fit) -> Path | None:
    """The folder of one cache. Another version of Pillow may round in another way, so it has another one."""
    parent = cache_folder()
    key = json.dumps([VERSION, PIL.__version__, os.path.realpath(source), image_size, fit])
    return parent and parent / xxhash.xxh3_128_hexdigest(key.encode())


def load(place: Path | None) -> Cached | None:
    """What was saved there, or None: nothing yet, something damaged, or another process is replacing it just now."""
    if place is None:
        return None
    index = place / INDEX
    try:
        checksum, entries = _read_index(index)
        pixels = checked(place / f"pixels-{checksum}.npy", checksum)
        rows = [entry.row for entry in entries.values() if not entry.reason]
        if pixels is None or sorted(rows) != list(range(len(pixels))):
            return None
    except Exception:  # NumPy reads a damaged head as Python, and fails in as many ways as Python can
        return None
    with suppress(OSError):  # of a cache that may be read only
        os.utime(index)
    return Cached(entries, pixels, checksum)


def _read_index(path: Path) -> tuple[str, dict[str, Entry]]:
    """The checksum of the pixels, and the entries, a line at a time: there may be millions."""
    total, entries, pixels, line = xxhash.xxh3_128(), {}, "", b""
    with path.open("rb") as file:
        for number, after in enumerate(file):
            if number == 1:
                pixels = str(json.loads(line))
            elif number > 1:
                name, about = json.loads(line)
                entries[str(name)] = Entry(**about)
            total.update(line)
            line = after
    if json.loads(line) != total.hexdigest():
        raise ValueError("damaged")
    return pixels, entries


def _write_index(path: Path, pixels: str, entries: dict[str, Entry]) -> None:
    total = xxhash.xxh3_128()
    with path.open("xb") as file:
        for one in chain([pixels], ([name, _short(entry)] for name, entry in entries.items())):
            line = json.dumps(one).encode() + b"\n"
            total.update(line)
            file.write(line)
        file.write(json.dumps(total.hexdigest()).encode())


def _short(entry: Entry) -> dict[str, Any]:
    """What an entry says, without what is as usual."""
    return {name: value for name in FIELDS if (value := getattr(entry, name)) != FIELDS[name]}


def save(place: Path, writer: Writer, entries: dict[str, Entry]) -> Cached:
    """Replaces what was saved there by what was written, and deletes what nobody has used for long.

    Raises `OSError`; then, what was written is still in the writer's file.
    """
    checksum = writer.finish()
    pixels = place / f"pixels-{checksum}.npy"
    index = temporary(place)
    try:
        _write_index(index, checksum, entries)
        os.replace(writer.path, pixels)
        os.replace(index, place / INDEX)
    finally:
        _delete(index)
    for other in (*place.glob("pixels-*.npy"), *place.glob("part-*.npy")):
        if other != pixels:
            _delete(other)
    _tidy(place.parent)
    return Cached(entries, mapped(pixels), checksum)


def temporary(place: Path) -> Path:
    """A name there for a file that is being written."""
    return place / f".{secrets.token_hex(8)}"


def part(place: Path, what: str) -> np.ndarray | None:
    """The part of the pixels that was kept under the name `what`, if it is whole."""
    for path in place.glob(f"part-{what}-*.npy"):
        with suppress(Exception):  # as above
            if (found := checked(path, path.stem.rsplit("-", 1)[-1])) is not None:
                return found
    return None


def save_part(place: Path, what: str, writer: Writer) -> np.ndarray:
    """Keeps what was written under the name `what`, until the pixels change. Raises `OSError`."""
    path = place / f"part-{what}-{writer.finish()}.npy"
    os.replace(writer.path, path)
    return mapped(path)


def _tidy(folder: Path) -> None:
    """Deletes caches that are not used, and what a process that was killed has left."""
    now = time.time()
    for days, pattern in ((UNUSED_DAYS, f"*/{INDEX}"), (UNUSED_DAYS, "*/index.json"), (STRAY_DAYS, "*/.*")):
        for path in folder.glob(pattern):
            with suppress(OSError):
                if path.stat().st_mtime < now - days * 86_400:
                    for unused in (path, *(path.parent.glob("*.npy") if days == UNUSED_DAYS else ())):
                        _delete(unused)
                    path.parent.rmdir()


def _delete(path: Path) -> None:
    with suppress(OSError):  # on Windows, a file that another process has mapped stays
        path.unlink()
