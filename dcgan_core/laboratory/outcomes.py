"""What a comparison found: how samples are described, and how the outcomes of several seeds are summed up."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.laboratory.mixtures import GOOD_SIGMAS, Mixture
from dcgan_core.laboratory.protocol import METHODS, PILOTS, SEEDS, kind
from dcgan_core.metrics import RECOGNISED_AT, Judge, class_divergence, coverage, frechet_distance, moments

RECORDED = Path(__file__).parent / "comparison.jsonl"  # the comparison that ships with the package


def describe(good: Tensor, nearest: Tensor, num_samples: int) -> dict[str, Any]:
    """What the histograms (M,) of good samples and of all samples over the modes say about them.

    reached: modes that are the nearest to a sample, or its most probable class. covered: those with a good sample
    (within 3 sigma, or recognised). good: share of the samples. kl: divergence of all samples' histogram from a uniform
    one, in nats. overlap: share of the samples that are good and not in excess of their mode's due 1 / M, so that
    both missing modes and missing the modes cost; 1 is perfect.
    """
    shares = good.double() / num_samples
    return {
        "num_modes": len(good),
        "num_samples": num_samples,
        "reached": int((nearest > 0).sum()),
        "covered": int((good > 0).sum()),
        "good": float(shares.sum()),
        "kl": class_divergence(nearest.tolist()) if nearest.sum() else math.log(len(good)),
        "overlap": float(shares.clamp(max=1 / len(good)).sum()),
    }


def describe_points(mixture: Mixture, points: Tensor) -> dict[str, Any]:
    """`describe` of points (N, 2); those that are not finite count as samples and for no mode."""
    finite = points[points.isfinite().all(dim=1)]
    mode, sigmas = mixture.nearest(finite)
    good, nearest = (
        torch.bincount(found, minlength=mixture.num_modes) for found in (mode[sigmas <= GOOD_SIGMAS], mode)
    )
    return describe(good, nearest, len(points))


def describe_images(judge: Judge, images: Tensor) -> dict[str, Any]:
    """`describe` of images (N, C, S, S), and their Fréchet distance."""
    features, probabilities = judge.measure(images)
    good, nearest = (torch.tensor(coverage(probabilities, least).class_counts) for least in (RECOGNISED_AT, 0.0))
    distance = frechet_distance(moments(features), judge.reference)
    return {**describe(good, nearest, len(images)), "frechet_distance": distance}


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a comparison. One that was cut short by a kill is left out: what it said is played again.

    Raises `InvalidInput` for a line that is none of a comparison.
    """
    found = []
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            if raw.startswith(b"{") and not raw.endswith(b"}"):
                continue
            line = None
        if not _is_right(line):
            raise InvalidInput(f"line {number} of {str(path)!r} is no line of a comparison: delete it.")
        found.append(line)
    return found


def _is_right(line: Any) -> bool:
    """True for an object that says its kind, and what is needed of an outcome and of costs."""
    if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
        return False
    needed: dict[str, Any] = {}
    if line["kind"] == "outcome" and "method" in line:
        needed = {"data": str, "method": str, "rate": (int, float), "seed": int, "updates": int, "budgets": list}
    if line["kind"] == "costs" and "data" in line:
        needed = {"data": str, "costs": dict}
    return all(isinstance(line.get(name), kind) for name, kind in needed.items())


def append(path: Path, **line: Any) -> None:
    """Adds a line to a comparison, also behind one that was cut short by a kill."""
    cut_short = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * cut_short + json.dumps(line) + "\n")


def outcomes(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that say how a run came out; of a run that was stopped and played again, the later ones."""
    names = ("data", "method", "rate", "seed", "updates")
    return list({tuple(line[name] for name in names): line for line in lines if line["kind"] == "outcome"}.values())


def best_rate(lines: list[dict[str, Any]], data: str, method: str) -> float:
    """The rate whose pilots did best after equal updates: greatest median overlap, or smallest Fréchet distance."""
    found: dict[float, list[float]] = {}
    for line in outcomes(lines):
        is_pilot = (line["data"], line["method"]) == (data, method) and line["seed"] in PILOTS[kind(data)]
        if is_pilot and "updates" in line["budgets"]:
            found.setdefault(line["rate"], []).append(line.get("frechet_distance", -line["overlap"]))
    if not found:
        raise InvalidInput(f"no pilot of {method!r} on {data} was played yet: compare them on {data} first.")
    return min(found, key=lambda rate: statistics.median(found[rate]))


def median_interval(values: Sequence[float], level: float = 0.9) -> tuple[float, float, float]:
    """The median of a sample and an interval that holds the true median with probability `level` or more.

    The interval ends at two of the values, equally far from both ends (order statistics; exact for any continuous
    distribution): of 5, the lowest and the highest hold it with 94%; of 8, the second and the seventh with 93%.
    Of fewer than 5, the lowest and the highest, with less than `level`.
    """
    from scipy.stats import binom  # here: importing it takes a second, and most commands never ask

    ordered = sorted(values)
    n = len(ordered)
    left = 0
    while left + 1 < n / 2 and 1 - 2 * binom.cdf(left + 1, n, 0.5) >= level:
        left += 1
    return statistics.median(ordered), ordered[left], ordered[n - 1 - left]


@dataclass(frozen=True)
class Summary:
    """One measure of one method over the seeds that are reported: the median, its interval, and the values."""

    median: float
    low: float
    high: float
    values: tuple[float, ...]  # one of each seed

    @property
    def num_seeds(self) -> int:
        return len(self.values)


def summarise(
    lines: list[dict[str, Any]],
    data: str,
    method: str,
    measure: str,
    budget: str = "updates",
    rate: float | None = None,
) -> Summary | None:
    """The `measure` (a name in `describe`, or "seconds") of each reported seed summed up; None if that was not played.

    `rate` is the pilots' choice unless given; `budget` is updates, time or longer.
    """
    if rate is None:
        rate = best_rate(lines, data if kind(data) == "points" else "letters", method)
    found = tuple(
        line[measure]
        for line in outcomes(lines)
        if (line["data"], line["method"], line["rate"]) == (data, method, rate)
        and budget in line["budgets"]
        and line["seed"] in SEEDS[kind(data)]
    )
    return Summary(*median_interval(found), found) if found else None


def table(lines: list[dict[str, Any]]) -> str:
    """What was compared, as lines for a terminal: medians, and what holds the true median with 90% or more."""
    found: list[str] = []
    for data in dict.fromkeys(line["data"] for line in outcomes(lines)):
        costs = next(line["costs"] for line in reversed(lines) if line["kind"] == "costs" and line["data"] == data)
        names = ("covered", "good", "overlap", "kl")
        found.append(f"{data:26}{'cost':>6}" + "".join(f"{name:>22}" for name in names))
        for method, budget in [(method, budget) for method in METHODS for budget in ("updates", "time", "longer")]:
            try:
                row = [summarise(lines, data, method, name, budget) for name in names]
            except InvalidInput:  # no pilot
                continue
            if row[0] is not None:
                cells = "".join(f"{f'{one.median:.4g} ({one.low:.3g}-{one.high:.3g})':>22}" for one in row if one)
                found.append(f"{method:18}{budget:8}{costs[method]:>6.1f}{cells}")
        found.append("")
    return "\n".join(found)
