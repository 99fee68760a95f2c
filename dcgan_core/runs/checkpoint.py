"""Saves and restores named tensors and a few facts in one file that is never half-written.

A checkpoint is a safetensors file: nothing is ever unpickled, so loading one cannot run foreign code. The facts
(config, position in the run) are JSON in its header. It is written beside its final name, flushed to the disk and
renamed, so that a kill, a crash or a full disk at any moment leaves either the old checkpoint or the new one.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from dcgan_core.config import InvalidInput

FORMAT = "dcgan_core checkpoint"
VERSION = 1


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes `tensors` and JSON-able `facts` to `path`, atomically. Waits for the device."""
    header = {"format": FORMAT, "version": str(VERSION), "facts": json.dumps(facts)}
    _write(path, to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, header))


def copy(path: Path, to: Path) -> None:
    """Copies a checkpoint, atomically."""
    _write(to, path.read_bytes())


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise InvalidInput(
            f"the checkpoint {str(path)!r} could not be written ({error.strerror}): make room or choose another "
            "folder; the previous checkpoint, if there was one, is untouched."
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file `path` by `content`, or, whatever happens, leaves it as it was. Raises `OSError`."""
    temporary = path.with_name(path.name + ".partial")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):  # a read-only file system also refuses to remove what is not there
            temporary.unlink(missing_ok=True)
        raise


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the facts that `save` wrote.

    Raises `InvalidInput`, with one sentence, for a file that is missing, damaged, of another kind, or from a future
    version of this format.
    """
    if not path.is_file():
        raise InvalidInput(f"there is no checkpoint {str(path)!r}: check the path, or start the run with 'train'.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise InvalidInput(f"{str(path)!r} is a safetensors file, but not a checkpoint of dcgan_core.")
            if int(header["version"]) > VERSION:
                raise InvalidInput(
                    f"{str(path)!r} was written by a newer dcgan_core (checkpoint version {header['version']}, "
                    f"this one reads up to {VERSION}): upgrade dcgan_core."
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, json.loads(header["facts"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InvalidInput(
            f"the checkpoint {str(path)!r} is damaged or not a safetensors file ({error}): "
            "restore it from a copy, or start a new run."
        ) from error
