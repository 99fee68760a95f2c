"""How much of the memory images may take; more than that stays on the disk."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dcgan_core import runtime


def memory_for_images() -> float:
    """Bytes that images may take: a third of what the computer has, or of a container's share of it.

    What works on them takes up to twice as much again.
    """
    return min(runtime.host_memory(), *_limits()) / 3


def _limits(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """The limits of memory of the control groups that this process is in, of either version; 2^63 is always there.

    A container sees its own group as the root.
    """
    found = [2**63]
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:  # not Linux
        return found
    for _, controllers, group in lines:
        folder, name = {"": (root, "memory.max"), "memory": (root / "memory", "memory.limit_in_bytes")}.get(
            controllers, (None, "")
        )
        if folder is not None:
            inner = folder / group.lstrip("/")
            for place in (inner, *inner.parents):
                with suppress(OSError, ValueError):  # not there, or "max"
                    found.append(int((place / name).read_text()))
                if place == folder:
                    break
    return found
