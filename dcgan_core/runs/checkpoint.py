"""Saves and restores named tensors and a few facts in one file that is never half-written, and checks every bit of it.

A checkpoint is a safetensors file: nothing is ever unpickled, so loading one cannot run foreign code. The facts
(config, position in the run) are JSON in its header, beside a checksum of the whole file. It is written under another
name, flushed to the disk and renamed, so that a kill, a crash or a full disk at any moment leaves either the old
checkpoint or the new one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xxhash
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from dcgan_core.config import InvalidInput, first_line
from dcgan_core.runs.files import write_whole

FORMAT = "dcgan_core checkpoint"
VERSION = 2  # 1 had no checksum
BLANK = "0" * 16  # stands in for the checksum while it is computed
BEFORE = b'"checksum":"'  # as the header spells it; within another string the quotes would be escaped


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes `tensors` and JSON-able `facts` to `path`, atomically. Waits for the device."""
    header = {"format": FORMAT, "version": str(VERSION), "facts": json.dumps(facts), "checksum": BLANK}
    blank = to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, header)
    begin, end = _place_of_checksum(blank)
    view = memoryview(blank)
    _write(path, view[:begin], _checksum(blank), view[end:])


def copy(path: Path, to: Path) -> None:
    """Copies a checkpoint, atomically."""
    _write(to, path.read_bytes())


def _write(path: Path, *parts: bytes | memoryview) -> None:
    try:
        write_whole(path, *parts)
    except OSError as error:
        raise InvalidInput(
            f"the checkpoint {str(path)!r} could not be written ({error.strerror}): make room or choose another "
            "folder; the previous checkpoint, if there was one, is untouched."
        ) from error


def _place_of_checksum(content: bytes) -> tuple[int, int]:
    """Where in the file the digits of its checksum begin and end."""
    begin = content.index(BEFORE) + len(BEFORE)
    return begin, begin + len(BLANK)


def _checksum(content: bytes) -> bytes:
    """16 hexadecimal digits of the whole file, in which the place for them counts as blank.

    XXH3 adds 1 to 2% to the time of a save; SHA-256 would add a quarter.
    """
    begin, end = _place_of_checksum(content)
    view, digest = memoryview(content), xxhash.xxh3_64()
    for part in (view[:begin], BLANK.encode(), view[end:]):
        digest.update(part)
    return digest.hexdigest().encode()


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the facts that `save` wrote.

    Raises `InvalidInput`, with one sentence, for a file that is missing, damaged (in a single bit), of another kind, or
    from a future version of this format.
    """
    if not path.is_file():
        raise InvalidInput(f"there is no checkpoint {str(path)!r}: check the path, or start the run with 'train'.")
    try:
        content = path.read_bytes()
        header = _header(content)
        if header.get("format") != FORMAT:
            raise InvalidInput(f"{str(path)!r} is a safetensors file, but not a checkpoint of dcgan_core.")
        version = int(header["version"])
        if version > VERSION:
            raise InvalidInput(
                f"{str(path)!r} was written by a newer dcgan_core (checkpoint version {version}, "
                f"this one reads up to {VERSION}): upgrade dcgan_core."
            )
        if version < 1:
            raise ValueError("there was no such version")
        if version > 1 and header["checksum"].encode() != _checksum(content):
            raise ValueError("its checksum says so")
        facts = json.loads(header["facts"])
        if not isinstance(facts, dict):
            raise ValueError("its facts are no JSON object")
        return from_bytes(content), facts
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInput(
            f"the checkpoint {str(path)!r} is damaged or not a safetensors file ({first_line(error)}): "
            "restore it from a copy, or start a new run."
        ) from error


def _header(content: bytes) -> dict[str, str]:
    """The named strings in the header of a safetensors file. Raises `ValueError` where there is none."""
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= len(content) - 8:
        raise ValueError("it has no header")
    header = json.loads(content[8 : 8 + length])
    named = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not (isinstance(named, dict) and all(isinstance(value, str) for value in named.values())):
        raise ValueError("its header makes no sense")
    return named
