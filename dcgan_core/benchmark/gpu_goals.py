"""What is wanted on one H100 or better, beside what a report of `gpu_report` found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Goal(NamedTuple):
    """A number that the result of one part should reach, or should not exceed."""

    what: str
    part: str
    wanted: float
    at_least: bool  # or at most
    find: Callable[[dict[str, Any]], float | None]  # in the result of the part


def fastest(ladder: dict[str, Any]) -> float | None:
    """Median speed of the fastest row."""
    return max((row["images_per_second"][0] for row in ladder["rows"] if not row["skipped"]), default=None)


def gain(precisions: dict[str, Any]) -> float | None:
    """How many times as fast the second of the two rows is."""
    row = precisions["rows"][1]
    return None if row["skipped"] else row["ratio"][0]


def ratio(training: dict[str, Any]) -> float:
    """Speed of the whole run by that of its bare iteration."""
    return training["ratio"]


def not_passed(tests: dict[str, Any]) -> int:
    """Tests that failed or were skipped."""
    return len(tests["failed"]) + len(tests["skipped"])


GOALS = (
    Goal("images/s at 64 px, in colour", "ladder-64", 80_000, True, fastest),
    Goal("images/s at 32 px, in grey", "ladder-32", 250_000, True, fastest),
    Goal("bfloat16 / float32 at 64 px", "precision-64", 1.3, True, gain),
    Goal("train / bare iteration at 64 px", "train-64", 0.85, True, ratio),
    Goal("train / bare iteration at 32 px", "train-32", 0.85, True, ratio),
    Goal("tests that fail or are skipped", "tests", 0, False, not_passed),
)


def goals(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Each goal with what was found (None if nothing was), and whether that is enough; the small form has no goals."""
    lines = []
    for goal in GOALS:
        result = report["parts"].get(goal.part, {}).get("result")
        found = goal.find(result) if result else None
        reached = None
        if found is not None and not report["small"]:
            reached = found >= goal.wanted if goal.at_least else found <= goal.wanted
        lines.append(
            {"goal": goal.what, "wanted": goal.wanted, "at_least": goal.at_least, "found": found, "reached": reached}
        )
    return lines
