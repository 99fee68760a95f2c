"""Networks of a study that are trained once and kept in a folder, so that a study which was stopped goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from dcgan_core.runs.files import write_whole

Named = dict[str, Tensor]


def kept(path: Path, make: Callable[[], Named], facts: dict[str, Any]) -> tuple[Named, dict[str, Any]]:
    """The tensors in `path`, made now if they are not there yet, and the facts about their making, with its seconds."""
    if not path.exists():
        begin = time.perf_counter()
        tensors = {name: value.contiguous() for name, value in make().items()}
        facts = facts | {"seconds": round(time.perf_counter() - begin, 1)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save(tensors, metadata={"facts": json.dumps(facts)}))
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["facts"])  # noqa: SIM118


def under(prefix: str, tensors: Named) -> Named:
    """The tensors whose names begin with the prefix and a full stop, by what follows."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
