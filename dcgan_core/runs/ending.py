"""What the folder of a run that has ended holds about its end: the measures of its best and last generators."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from dcgan_core.config import InvalidInput
from dcgan_core.runs.files import read_json

EVALUATION = "evaluation.json"


def read_evaluation(out: str | Path) -> dict[str, dict[str, Any]] | None:
    """The measures of the "best" and the "last" generator of a run that has ended; None if they cannot be read."""
    with suppress(OSError, InvalidInput):
        found = read_json(Path(out) / EVALUATION)
        if isinstance(found, dict) and "last" in found and all(map(_is_measured, found.values())):
            return found
    return None


def _is_measured(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("images"), int)
        and isinstance(entry.get("frechet_distance"), (int, float))
    )
