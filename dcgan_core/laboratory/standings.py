"""How the contest stands: from its record to means with intervals, ranks where there are any, and corrected p values.

See `laboratory.rules` for what is concluded and why. `python -m dcgan_core.laboratory.standings contest.jsonl`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test

from dcgan_core.config import InvalidInput
from dcgan_core.laboratory.contenders import PLAIN
from dcgan_core.laboratory.rules import CHOSEN_BY, COURSES, REPORTED, Lines, choose
from dcgan_core.laboratory.studies import read_lines

VIEWS = {"updates": "equal updates", "time": "equal time", "best": "best look"}
LEVEL = 0.99  # nominal; of seven to nine values, such an interval holds the mean in a little more than 90% of cases
RESAMPLES = 9_999
OF_ALL = ("updates", "seconds")  # what a history says of the seeds that were played side by side together
Run = dict[str, list[Any]]  # of one seed: name of a measure to what was seen at each look
Interval = tuple[float, float]


def reported(lines: Lines, data: str, updates: int | None = None) -> dict[str, dict[int, Run]]:
    """The runs that count: method to seed to run, of methods of which every seed was played with the chosen setting."""
    course, found = COURSES[data], {}
    length = updates or course.updates
    for method in course.methods:
        draw = choose(lines, data, method, length)
        own = (data, method, REPORTED, draw, length)
        names = ("data", "method", "part", "draw", "updates")
        played = [line for line in lines if tuple(line.get(name) for name in names) == own]
        runs = {seed: run for line in played for seed, run in _of_each_seed(line).items()}
        if draw is not None and set(runs) == set(course.seeds):
            found[method] = {seed: runs[seed] for seed in course.seeds}
    return found


def _of_each_seed(line: Mapping[str, Any]) -> dict[int, Run]:
    def run(place: int) -> Run:
        return {
            name: column if name in OF_ALL else [of_seeds[place] for of_seeds in column]
            for name, column in line["history"].items()
        }

    return {seed: run(place) for place, seed in enumerate(line["seeds"])}


def costs(lines: Lines, data: str, updates: int | None = None) -> dict[str, float]:
    """Time of an update of each method over the plain game's, as it was measured last."""
    length = updates or COURSES[data].updates
    found = [
        line for line in lines if (line.get("kind"), line.get("data"), line.get("updates")) == ("costs", data, length)
    ]
    if not found:
        raise InvalidInput(f"no costs on {data} were measured yet: go on with the contest.")
    return {method: median for method, (median, _, _) in found[-1]["costs"].items()}


def look(run: Run, view: str, cost: float) -> int:
    """Which look of a run a view takes.

    updates: the last one. time: the last one before the plain game's time is used up, where an update takes `cost`
    times as long as there. best: the first of those with the best overlap in the half of the samples that is not
    reported.
    """
    last = len(run["updates"]) - 1
    if view == "updates":
        return last
    if view == "time":
        allowed = run["updates"][-1] / max(cost, 1.0)
        return max(place for place, updates in enumerate(run["updates"]) if updates <= allowed)
    assert view == "best"
    return int(np.argmax(run[CHOSEN_BY]))


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """A percentile bootstrap interval for the mean. Source: Efron, Tibshirani 1993, chapter 13."""
    return _bootstrapped((values,), _mean, level, paired=False)


def difference_interval(
    values: Sequence[float], others: Sequence[float], *, paired: bool, level: float = LEVEL
) -> Interval:
    """The same for the mean of `values` minus that of `others`; seed by seed if they are `paired`."""
    return _bootstrapped((values, others), _difference, level, paired)


def _bootstrapped(samples: Sequence[Sequence[float]], statistic: Any, level: float, paired: bool) -> Interval:
    found = bootstrap(
        [np.asarray(sample, dtype=float) for sample in samples],
        statistic,
        confidence_level=level,
        n_resamples=RESAMPLES,
        method="percentile",
        paired=paired,
        random_state=0,
    ).confidence_interval
    return float(found.low), float(found.high)


def _mean(values: NDArray[Any], axis: int = -1) -> Any:
    return values.mean(axis=axis)


def _difference(values: NDArray[Any], others: NDArray[Any], axis: int = -1) -> Any:
    return values.mean(axis=axis) - others.mean(axis=axis)


def p_value(values: Sequence[float], others: Sequence[float], *, paired: bool) -> float:
    """How probable a difference of the means as large as this, or larger, is where the methods do the same.

    Exact: all ways to deal the values out to the two methods are tried, or, if `paired`, to swap them within the seeds.
    """
    return float(
        permutation_test(
            (np.asarray(values, dtype=float), np.asarray(others, dtype=float)),
            _difference,
            permutation_type="samples" if paired else "independent",
            n_resamples=np.inf,
            vectorized=True,
        ).pvalue
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for being several, in the same order. Source: Holm 1979 (Scand. J. Stat. 6, 65 to 70).

    If those below a level are believed, even one error among them is no more probable than the level says.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def ranks(intervals: Mapping[str, Interval]) -> dict[str, tuple[int, int]]:
    """The best and the worst rank that each can have; the same number twice where it is known.

    One ranks above another only if its whole interval lies above the other's. 1 is best.
    """
    found = {}
    for name, (low, high) in intervals.items():
        above = sum(other_low > high for other_low, _ in intervals.values())
        below = sum(other_high < low for _, other_high in intervals.values())
        found[name] = (1 + above, len(intervals) - below)
    return found


@dataclass(frozen=True)
class Standing:
    """One method in one view."""

    values: tuple[float, ...]  # of each seed that is reported
    mean: float
    interval: Interval
    rank: tuple[int, int]  # the best and the worst that it can have
    updates: tuple[int, ...]  # after which each seed was looked at
    ahead: Interval | None  # of the difference to the plain game's mean; None for the plain game
    p: float | None  # of that difference, corrected for all comparisons on the data set


def stopped_improving(updates: Sequence[int], total: int) -> float:
    """Share of the seeds whose best look, after so many updates, came before the last tenth of the run.

    The others might be better still after a longer one.
    """
    return sum(each < 0.9 * total for each in updates) / len(updates)


def standings(lines: Lines, data: str, updates: int | None = None) -> dict[str, dict[str, Standing]]:
    """View to method to standing, by the overlap; of the methods that have finished.

    Raises `InvalidInput` before costs were measured, or the plain game has finished.
    """
    runs, dear = reported(lines, data, updates), costs(lines, data, updates)
    if PLAIN not in runs:
        raise InvalidInput(f"the plain game has not finished on {data} yet: go on with the contest.")
    paired = COURSES[data].num_images is not None
    places = {
        (view, method): [look(run, view, dear[method]) for run in of_seeds.values()]
        for view in VIEWS
        for method, of_seeds in runs.items()
        if method in dear
    }
    values = {
        (view, method): tuple(run["overlap"][place] for run, place in zip(runs[method].values(), at, strict=True))
        for (view, method), at in places.items()
    }
    compared = [one for one in values if one[1] != PLAIN]
    p_values = holm([p_value(values[one], values[one[0], PLAIN], paired=paired) for one in compared])
    corrected = dict(zip(compared, p_values, strict=True))
    found: dict[str, dict[str, Standing]] = {}
    for view in VIEWS:
        intervals = {method: mean_interval(of_seeds) for (of, method), of_seeds in values.items() if of == view}
        ranked = ranks(intervals)
        for method, interval in intervals.items():
            own, plain = values[view, method], values[view, PLAIN]
            found.setdefault(view, {})[method] = Standing(
                values=own,
                mean=float(np.mean(own)),
                interval=interval,
                rank=ranked[method],
                updates=tuple(
                    run["updates"][place]
                    for run, place in zip(runs[method].values(), places[view, method], strict=True)
                ),
                ahead=None if method == PLAIN else difference_interval(own, plain, paired=paired),
                p=corrected.get((view, method)),
            )
    return found


def table(lines: Lines, data: str, updates: int | None = None) -> str:
    """How it stands on one data set, as lines for a terminal; at the best look also how many had stopped improving."""
    dear, rows, length = costs(lines, data, updates), [], updates or COURSES[data].updates
    for view, of_methods in standings(lines, data, updates).items():
        last = "stopped" if view == "best" else ""
        rows.append(
            f"{f'{data}, {VIEWS[view]}':28}{'cost':>6}{'updates':>9}{'overlap':>20}{'rank':>8}{'p':>8}{last:>9}"
        )
        for method, one in sorted(of_methods.items(), key=lambda pair: -pair[1].mean):
            low, high = one.interval
            overlap = f"{one.mean:.1%} ({low:.1%}-{high:.1%})"
            best, worst = one.rank
            rank = f"{best}" if best == worst else f"{best}-{worst}"
            p = "" if one.p is None else f"{one.p:.3f}"
            stopped = f"{stopped_improving(one.updates, length):.0%}" if last else ""
            looked = f"{np.median(one.updates):.0f}"
            rows.append(f"{method:28}{dear[method]:>6.1f}{looked:>9}{overlap:>20}{rank:>8}{p:>8}{stopped:>9}".rstrip())
        rows.append("")
    return "\n".join(rows)


def show(record: Path) -> None:
    """Prints the table of every data set that has come so far.

    Args:
        record: File of the contest.
    """
    lines = read_lines(record)
    for data in dict.fromkeys(line["data"] for line in lines):
        for length in dict.fromkeys(line["updates"] for line in lines if line["data"] == data):
            try:
                print(table(lines, data, length))
            except InvalidInput as error:
                print(f"{data}: {error}\n")


if __name__ == "__main__":
    import tyro  # here: the functions themselves can be used where it is not installed

    tyro.cli(show, config=(tyro.conf.PositionalRequiredArgs,), prog="python -m dcgan_core.laboratory.standings")
