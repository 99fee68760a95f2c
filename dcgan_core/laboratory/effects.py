"""What the record of `laboratory.ablation` says of each rule: a ratio of distances with its interval, and a verdict.

**The effect** of a change is how many times as large the Fréchet distance gets: each run of the row is divided by each
run of its base, and the median of these ratios is reported (Hodges, Lehmann 1963, doi:10.1214/aoms/1177704172, on
logarithms). **Its interval** is the one that belongs to the exact rank test of Mann and Whitney: it leaves out 1 where
that test rejects at the level. Both look at ranks alone, so that a diverged run counts, as worse than every other one,
although it has no distance. **The verdict** is taken from the p values of that test after Holm's correction for all
comparisons of the study: all rows, of both bases, on all data sets. Of n runs against m, the smallest p is
2 / binomial(n + m, n): 0.0001 for 5 against 15, which survives a correction for a hundred comparisons.

`python -m dcgan_core.laboratory.effects ablation.jsonl`
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import mannwhitneyu, rankdata

from dcgan_core.laboratory.ablation import AS_IT_IS, BASES, DATA, NAMES, RECORD, rows
from dcgan_core.laboratory.standings import Interval, holm
from dcgan_core.laboratory.studies import read_lines

LEVEL = 0.95  # of an interval, and 1 - LEVEL of the corrected p values
Lines = list[dict[str, Any]]
Moment = Literal["end", "best"]
Verdict = Literal["better", "worse", "not told apart"]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One row on one data set, compared with its base."""

    base: str
    change: str
    data: str
    num_runs: int
    num_base_runs: int
    num_diverged: int
    ratio: float  # of the distances; more than 1 is worse, infinite if most of the runs diverged
    interval: Interval  # (0, inf) as long as there are too few runs for one
    p: float  # corrected for all comparisons
    recognised: tuple[float, float]  # medians: of the row, and of its base
    cost: float  # processor time of an image over the base's, median over median
    parameters: tuple[int, int]  # of the generator and of the discriminator, more than the base has

    @property
    def verdict(self) -> Verdict:
        """What is concluded: a direction only where the corrected p value allows one."""
        if self.p > 1 - LEVEL:
            return "not told apart"
        return "worse" if self.ratio > 1 else "better"


def distance(line: dict[str, Any], moment: Moment = "end") -> float:
    """A run's last distance, or the smallest of its looks; infinite if there is none."""
    found = [math.inf if value is None else value for value in line["distance"]]
    return found[-1] if moment == "end" else min(found)


def groups(lines: Lines) -> dict[tuple[str, str, str], Lines]:
    """The runs by (base, change, data), each seed once, in the order of the seeds."""
    runs = {tuple(line[name] for name in NAMES): line for line in lines if line.get("kind") is None}
    found: dict[tuple[str, str, str], Lines] = {}
    for base, change, data, seed in sorted(runs):
        found.setdefault((base, change, data), []).append(runs[base, change, data, seed])
    return found


def effects(lines: Lines, moment: Moment = "end") -> list[Effect]:
    """Every row that was played on a data set where its base was, in the order of the study."""
    runs = groups(lines)
    played = [
        (base, change, data)
        for base in BASES
        for change in rows(base)
        for data in DATA
        if (base, change, data) in runs and (base, AS_IT_IS, data) in runs
    ]
    found = [_effect(one, runs[one], runs[one[0], AS_IT_IS, one[2]], moment) for one in played]
    corrected = holm([effect.p for effect in found])
    return [replace(effect, p=p) for effect, p in zip(found, corrected, strict=True)]


def _effect(names: tuple[str, str, str], runs: Lines, base_runs: Lines, moment: Moment) -> Effect:
    """One comparison, not corrected yet."""
    own, others = ([distance(line, moment) for line in each] for each in (runs, base_runs))
    ratio, interval = ratio_of(own, others)
    recognised = tuple(statistics.median(line["recognised"][-1] for line in each) for each in (runs, base_runs))
    cost = [statistics.median(line["milliseconds_per_image"] for line in each) for each in (runs, base_runs)]
    more = [now - before for now, before in zip(runs[0]["parameters"], base_runs[0]["parameters"], strict=True)]
    return Effect(
        base=names[0],
        change=names[1],
        data=names[2],
        num_runs=len(runs),
        num_base_runs=len(base_runs),
        num_diverged=sum(line["diverged_at"] is not None for line in runs),
        ratio=ratio,
        interval=interval,
        p=rank_p(own, others),
        recognised=(recognised[0], recognised[1]),
        cost=cost[0] / cost[1],
        parameters=(more[0], more[1]),
    )


def ratio_of(values: Sequence[float], others: Sequence[float], level: float = LEVEL) -> tuple[float, Interval]:
    """How many times as large `values` are as `others`, positive or infinite, and the interval of the rank test.

    The interval ends at the k-th smallest and the k-th largest of all ratios, where k is as large as the null
    distribution of Mann and Whitney's U allows. With too few values it is (0, inf).
    """
    with np.errstate(invalid="ignore"):
        ratios = np.divide.outer(np.asarray(values, dtype=float), np.asarray(others, dtype=float)).ravel()
    ratios = np.sort(np.where(np.isnan(ratios), 1.0, ratios))  # both are infinite
    middle = [ratios[(len(ratios) - 1) // 2], ratios[len(ratios) // 2]]
    estimate = math.sqrt(middle[0]) * math.sqrt(middle[1])  # the median of the logarithms
    outside = num_outside(len(values), len(others), level)
    if outside == 0:
        return estimate, (0.0, math.inf)
    return estimate, (float(ratios[outside - 1]), float(ratios[-outside]))


def rank_p(values: Sequence[float], others: Sequence[float]) -> float:
    """P value of the two-sided test of Mann and Whitney, exact also if values are equal, as diverged runs are.

    Equal values share their ranks, and all ways of dealing out the ranks are counted. (Where values are equal, scipy
    takes a normal distribution, whose p values never get small enough for the correction.)
    """
    if len({*values, *others}) == len(values) + len(others):
        return float(mannwhitneyu(values, others, method="exact").pvalue)
    ranks = rankdata([*values, *others])
    sums = np.fromiter(map(sum, combinations(ranks.tolist(), len(values))), dtype=float)
    tails = [(sums <= ranks[: len(values)].sum()).mean(), (sums >= ranks[: len(values)].sum()).mean()]
    return min(1.0, 2 * float(min(tails)))


def num_outside(num: int, num_others: int, level: float) -> int:
    """How many values U can take, from 0 up, with a probability of at most (1 - level) / 2 altogether."""
    cumulated = np.cumsum(np.asarray(num_ways(num, num_others), dtype=float)) / math.comb(num + num_others, num)
    return int((cumulated <= (1 - level) / 2).sum())


def num_ways(num: int, num_others: int) -> list[int]:
    """In how many ways num + num_others values can be dealt out so that U is 0, 1 and so on.

    U counts the pairs in which a value is the larger one. The numbers are the coefficients of the Gaussian binomial,
    the product over i up to num of (1 - q^(num_others + i)) / (1 - q^i).
    """
    ways = [1] + [0] * (num * num_others)
    for i in range(1, num + 1):
        for power in range(len(ways) - 1, num_others + i - 1, -1):
            ways[power] -= ways[power - num_others - i]
        for power in range(i, len(ways)):
            ways[power] += ways[power - i]
    return ways


def in_words(effect: Effect) -> str:
    """A ratio with its interval: ×1.8 (1.4 to 2.2)."""
    low, high = effect.interval
    ratio = "diverged" if math.isinf(effect.ratio) else f"×{effect.ratio:.2f}"
    if low == 0:
        return f"{ratio} (too few runs)"
    return f"{ratio} ({_end(low)} to {_end(high)})"


def _end(ratio: float) -> str:
    """An end of an interval; more than any number where runs diverged."""
    return "∞" if math.isinf(ratio) else f"{ratio:.2f}"


def table(lines: Lines) -> str:
    """Every row, the largest effect first, as lines for a terminal."""
    found = []
    for base in BASES:
        for data in DATA:
            own = [one for one in effects(lines) if (one.base, one.data) == (base, data)]
            if own:
                title = f"{base}, {data}"
                found.append(f"{title:40}{'runs':>8}{'distance':>28}{'p':>8}{'recognised':>18}{'cost':>6}  verdict")
            for one in sorted(own, key=lambda effect: -effect.ratio):
                runs = f"{one.num_runs}:{one.num_base_runs}"
                recognised = f"{one.recognised[0]:.0%} for {one.recognised[1]:.0%}"
                found.append(
                    f"{one.change:40}{runs:>8}{in_words(one):>28}{one.p:>8.3f}{recognised:>18}{one.cost:>6.2f}"
                    f"  {one.verdict}"
                )
            found += [""] * bool(own)
    return "\n".join(found)


def show(record: Path = RECORD) -> None:
    """Prints what a record says of every row.

    Args:
        record: File of the study.
    """
    print(table(read_lines(record)))


if __name__ == "__main__":
    import tyro  # here: the functions themselves can be used where it is not installed

    tyro.cli(show, config=(tyro.conf.PositionalRequiredArgs,), prog="python -m dcgan_core.laboratory.effects")
