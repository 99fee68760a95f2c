"""The squares of a folder that has been read before, so that only new and changed files are decoded again.

They lie in the user's cache folder, in one folder for each source, size and fit: `pixels-<checksum>.npy`, and
`index.json`, which names it and says of every file what came of it. Both are written under another name and renamed,
the index last, so that of two processes each leaves a whole cache. A cache that is damaged is as good as none. Nothing
in it can be executed.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import xxhash

from dcgan_core.config import Fit

FOLDER = "DCGAN_CORE_CACHE"  # environment variable: another folder, or "off"
VERSION = 2  # of what is written here, and of how pixels are made
UNUSED_DAYS = 60  # after which a cache is deleted
CHUNK = 2**24  # bytes that are summed at a time


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Cached:
    """What was read: entries by name of file, and their pixels."""

    entries: dict[str, Entry]
    pixels: np.ndarray  # uint8 (N, C, S, S); from the cache, a copy-on-write map of the file


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
    try:
        index = json.loads((place / "index.json").read_bytes())
        checksum = str(index["pixels"])
        pixels = np.load(place / f"pixels-{checksum}.npy", mmap_mode="c", allow_pickle=False)
        entries = {str(name): Entry(**entry) for name, entry in index["entries"].items()}
        rows = sorted(entry.row for entry in entries.values() if not entry.reason)
        fits = pixels.dtype == np.uint8 and pixels.ndim == 4 and rows == list(range(len(pixels)))
        if not fits or _checksum(pixels) != checksum:
            return None
    except Exception:  # NumPy reads a damaged head as Python, and fails in as many ways as Python can
        return None
    with suppress(OSError):  # of a cache that may be read only
        os.utime(place / "index.json")
    return Cached(entries, pixels)


def save(place: Path, found: Cached) -> None:
    """Replaces what was saved there, and deletes what nobody has used for long. Raises `OSError`."""
    place.mkdir(parents=True, exist_ok=True)
    checksum = _checksum(found.pixels)
    pixels = place / f"pixels-{checksum}.npy"
    temporary = place / f".{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            np.lib.format.write_array(file, found.pixels, allow_pickle=False)
        os.replace(temporary, pixels)
        index = {"pixels": checksum, "entries": {name: asdict(entry) for name, entry in found.entries.items()}}
        temporary.write_bytes(json.dumps(index).encode())
        os.replace(temporary, place / "index.json")
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    for other in place.glob("pixels-*.npy"):
        if other != pixels:
            _delete(other)
    long_ago = time.time() - UNUSED_DAYS * 86_400
    for index_file in place.parent.glob("*/index.json"):
        with suppress(OSError):
            if index_file.stat().st_mtime < long_ago:
                for unused in (index_file, *index_file.parent.glob("pixels-*.npy")):
                    _delete(unused)
                index_file.parent.rmdir()


def _delete(path: Path) -> None:
    with suppress(OSError):  # on Windows, a file that another process has mapped stays
        path.unlink()


def _checksum(pixels: Any) -> str:
    """Of shape and values, a part at a time: a map of a file stays on the disk."""
    total = xxhash.xxh3_128(repr(pixels.shape).encode())
    flat = pixels.reshape(-1)
    for start in range(0, len(flat), CHUNK):
        total.update(flat[start : start + CHUNK].tobytes())
    return total.hexdigest()
