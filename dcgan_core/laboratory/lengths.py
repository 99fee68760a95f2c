"""What the record of long runs says, as a table: `python -m dcgan_core.laboratory.lengths`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dcgan_core.config import Config
from dcgan_core.laboratory import costs
from dcgan_core.laboratory.longer import RECORD
from dcgan_core.laboratory.studies import read_lines

TIMES = (1, 2, 4)  # the default length
NEARLY = 0.9  # of a length: the last evaluation may come a little before the end

DEVICES = {"cpu": "time, CPU", "cuda": "time, GPU"}

Evaluation = tuple[int, float, float]  # images seen, Fréchet distance, share recognised


def evaluations(line: Mapping[str, Any]) -> list[Evaluation]:
    """Every evaluation of one run of the record, in their order; empty if it was stopped before the first."""
    return [
        (row["images"], row["frechet_distance"], row["recognised"])
        for row in line["metrics"]
        if "frechet_distance" in row
    ]


def nearest(found: Sequence[Evaluation], images: int) -> Evaluation:
    """The evaluation that is nearest to that many images."""
    return min(found, key=lambda one: abs(one[0] - images))


def summary(record: Path = RECORD, measured: Path = costs.RECORD) -> str:
    """A table in Markdown: of each setting that was played for long enough, medians over its runs.

    A column of `TIMES` has the distance at the evaluation nearest to that length, and behind it the number of runs that
    came so far. Then come the share of the samples that is recognised at the end of a run, its last distance as a
    multiple of its own best, and the time of an image as a multiple of the time as it is, on each kind of device on
    which that was `measured`.
    """
    base = Config.total_images
    times = {title: costs.latest(measured).get(kind, {"costs": {}})["costs"] for kind, title in DEVICES.items()}
    columns = ["data", "setting", *(f"{base * each:,} images" for each in TIMES), "recognised", "last / best", *times]
    rows = [[*columns, "runs"], ["---"] * (len(columns) + 1)]
    for (data, change), runs in sorted(_long_enough(record, base).items()):
        distances = [_typical(runs, base * each) for each in TIMES]
        lost = median(run[-1][1] / min(distance for _, distance, _ in run) for run in runs)
        recognised = median(run[-1][2] for run in runs)
        dear = [f"{found[change][0]:.2f}" if change in found else "" for found in times.values()]
        rows.append([data, change, *distances, f"{recognised:.0%}", f"{lost:.2f}", *dear, str(len(runs))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _long_enough(record: Path, images: int) -> dict[tuple[str, str], list[list[Evaluation]]]:
    """The runs that came so far, by data and setting."""
    groups: dict[tuple[str, str], list[list[Evaluation]]] = {}
    for line in read_lines(record):
        found = evaluations(line)
        if found and found[-1][0] > NEARLY * images:
            groups.setdefault((line["data"], line["change"]), []).append(found)
    return groups


def _typical(runs: list[list[Evaluation]], images: int) -> str:
    """The median distance at that length, and how many runs came so far; empty if none did."""
    reached = [run for run in runs if run[-1][0] > NEARLY * images]
    if not reached:
        return ""
    distances = [nearest(run, images)[1] for run in reached]
    return f"{median(distances):.3g} ({len(reached)})"


if __name__ == "__main__":
    print(summary())
