"""What the record of long runs says, as a table: `python -m dcgan_core.laboratory.lengths`."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from dcgan_core.config import Config
from dcgan_core.laboratory.longer import RECORD
from dcgan_core.laboratory.studies import read_lines

TIMES = (1, 2, 4)  # the default length
NEARLY = 0.9  # of a length: the last evaluation may come a little before the end

Evaluations = list[tuple[int, float]]  # images seen, Fréchet distance


def summary(record: Path = RECORD) -> str:
    """A table in Markdown: of each setting that was played for long enough, medians over its runs.

    A column of `TIMES` has the distance at the evaluation nearest to that length, and behind it the number of runs that
    came so far. The column before the last divides the last distance of each run by its own best.
    """
    base = Config.total_images
    columns = ["data", "setting", *(f"{base * times:,} images" for times in TIMES), "last / best", "runs"]
    rows = [columns, ["---"] * len(columns)]
    for (data, change), runs in sorted(_long_enough(record, base).items()):
        distances = [_typical(runs, base * times) for times in TIMES]
        lost = median(run[-1][1] / min(distance for _, distance in run) for run in runs)
        rows.append([data, change, *distances, f"{lost:.2f}", str(len(runs))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _long_enough(record: Path, images: int) -> dict[tuple[str, str], list[Evaluations]]:
    """The runs that came so far, by data and setting."""
    groups: dict[tuple[str, str], list[Evaluations]] = {}
    for line in read_lines(record):
        found = [(row["images"], row["frechet_distance"]) for row in line["metrics"] if "frechet_distance" in row]
        if found and found[-1][0] > NEARLY * images:
            groups.setdefault((line["data"], line["change"]), []).append(found)
    return groups


def _typical(runs: list[Evaluations], images: int) -> str:
    """The median distance at that length, and how many runs came so far; empty if none did."""
    reached = [run for run in runs if run[-1][0] > NEARLY * images]
    if not reached:
        return ""
    distances = [min(run, key=lambda one: abs(one[0] - images))[1] for run in reached]
    return f"{median(distances):.3g} ({len(reached)})"


if __name__ == "__main__":
    print(summary())
