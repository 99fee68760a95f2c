"""The rules of `laboratory.contest`: which fix works, and what does it cost, if all have the same chances?

**Who plays.** The methods of `contenders`: the plain game and six changes of it, R1, R1 + R2, and relativistic pairing
with both; on few images also augmentation and noise. What a method's paper fixes stays fixed, the rest is tuned.

**Tuning.** On each data set every method tries equally many settings of its knobs (`Course.draws`), each to the full
length, with the same pilot seeds. Pilots that end early would choose for the early game. One number chooses, the same
everywhere: the *overlap* (`outcomes.describe`), its mean over the looks in the second half of the run and over the
pilot seeds; so a setting is good if it arrives in time and stays. No seed that is reported takes part. Equally many
settings are not equally many per knob: a method with four knobs searches more coarsely than one with two.

**Three views of one record.** A run is looked at all along: `looks` times, at equal distances.

- *updates*: at the end, when all have made as many generator updates;
- *time*: where the time of the plain game's whole run is used up. What an update costs is measured in turns
  (A B C A B C ...), over hundreds of updates of each chosen setting;
- *best*: at the best look of the run, which is as long as it takes to stop improving, if that comes before the end.
  The best look is found with one half of the samples and reported by the other, so it is no lucky draw of samples.

**What is concluded** (`standings`). Means over the seeds, with bootstrap intervals at a nominal 99%, which of so few
values hold the true mean in a little more than nine of ten cases; a method ranks above another only where their
intervals do not touch. Each method is compared with the plain game by an exact permutation test, corrected after Holm
for all comparisons on its data set, in all three views. So many seeds are reported that this test can speak at all: of
n and n values its smallest p is 2 / binomial(2n, n), which is 0.008 for five and would survive no correction. Where a
seed decides which images there are (`few letters`), the test is paired, and its smallest p is 2 / 2^n.

**What the sizes cost in certainty.** Eight settings find a good one, not the best, and three pilot seeds on points, two
on images, may choose a lucky one. With so few seeds and so many comparisons, a difference is found if it is about two
and a half times as large as the standard deviation between seeds; smaller ones mostly are not. "Not ranked" means "not
known". All of it holds for networks of these sizes; the settings are chosen for equal updates, so in the view of equal
time a method may pay for a setting that is better but slower. The overlap does not see copies: on few letters, the
Fréchet distance from letters that nobody was trained on is recorded beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dcgan_core.config import Config, InvalidInput
from dcgan_core.laboratory import ensemble
from dcgan_core.laboratory.contenders import CONTENDERS, METHODS, PLAIN, settings
from dcgan_core.laboratory.ensemble import PointConfig
from dcgan_core.laboratory.protocol import IMAGES, kind


@dataclass(frozen=True, kw_only=True)
class Course:
    """How far, and how often, the methods play on one data set."""

    config: Mapping[str, Any]  # what differs from `ensemble.COLLAPSES`, or from `protocol.IMAGES`
    updates: int  # of the generator
    draws: int  # settings that each method tries
    pilots: tuple[int, ...]  # seeds that choose the setting
    seeds: tuple[int, ...]  # seeds that are reported
    num_samples: int  # at a look; one half chooses, the other is reported
    looks: int = 40  # and one before the first update
    methods: tuple[str, ...] = tuple(METHODS)
    num_images: int | None = None  # that a run learns from, drawn by its seed; None for all


POINTS: dict[str, Any] = {"draws": 8, "pilots": (500, 501, 502), "seeds": tuple(range(8)), "num_samples": 5_000}
PICTURES: dict[str, Any] = {"draws": 8, "pilots": (500, 501), "seeds": tuple(range(7)), "looks": 20}
# Three digits have to be right at once: after 2,000 updates of R1 in a trial, 1.4% of stacked digits were recognised
# with a width of 16, and 9% with 48, still rising. On one core it takes a day for each of the two sets, so use a card.
WIDE = {"generator_width": 48, "discriminator_width": 48}
COURSES: dict[str, Course] = {
    "ring": Course(config={"mixture": "ring"}, updates=4_000, **POINTS),
    "grid": Course(config={"mixture": "grid"}, updates=10_000, **POINTS),
    "letters": Course(config={"data": "glyphs"}, updates=2_000, num_samples=2_000, **PICTURES),
    "few letters": Course(
        config={"data": "glyphs"},
        updates=4_000,
        num_samples=2_000,
        methods=(PLAIN, "R1", "augmentation", "noise"),
        num_images=1_000,
        **PICTURES | {"seeds": tuple(range(9))},
    ),
    "stacked digits": Course(
        config={"data": "stacked-digits", "channels": 3, **WIDE}, updates=6_000, num_samples=4_000, **PICTURES
    ),
    "stacked MNIST": Course(
        config={"data": "stacked-mnist", "channels": 3, **WIDE}, updates=6_000, num_samples=4_000, **PICTURES
    ),
}
PILOT, REPORTED = "pilot", "reported"
NAMES = ("data", "method", "part", "draw", "seed", "updates")  # of what tells a run from the others
Job = tuple[str, str, str, int, int, int]  # the seed is the first of those that are played side by side
CHOSEN_BY = "overlap of the first half"  # of the samples; what else is recorded is of the second
MEASURES = ("covered", "reached", "good", "kl", "overlap", "frechet_distance")
Lines = list[dict[str, Any]]


def run_config(data: str, method: str, knobs: Mapping[str, Any], updates: int) -> PointConfig | Config:
    """The run of one setting of one method; a seed is not in it."""
    contender, course = CONTENDERS[method], COURSES[data]
    if on_points(data):
        changes = {**course.config, **contender.fixed, **knobs, "total_steps": updates}
        return replace(ensemble.COLLAPSES, **changes)
    changes = {**course.config, **contender.fixed, **contender.on_images, **knobs}
    shown = updates * IMAGES.batch_size * changes.get("discriminator_steps", 1)
    return replace(IMAGES, **changes, total_images=shown)


def on_points(data: str) -> bool:
    """Whether the data are points, of which many seeds are played side by side."""
    return kind(data) == "points"


def groups(data: str, part: str) -> list[tuple[int, ...]]:
    """The seeds that are played side by side: all of one part on points, each alone on images."""
    seeds = COURSES[data].pilots if part == PILOT else COURSES[data].seeds
    return [seeds] if on_points(data) else [(seed,) for seed in seeds]


def pilots(data: str, methods: Iterable[str], updates: int) -> Iterator[Job]:
    """All pilots on one data set, setting by setting, so that a study that is stopped has some of every method."""
    for draw in range(COURSES[data].draws):
        for group in groups(data, PILOT):
            yield from ((data, method, PILOT, draw, group[0], updates) for method in methods)


def reports(data: str, chosen: Mapping[str, int], updates: int) -> Iterator[Job]:
    """All runs that are reported on one data set, each method with the setting that was chosen for it."""
    for group in groups(data, REPORTED):
        yield from ((data, method, REPORTED, draw, group[0], updates) for method, draw in chosen.items())


def score(line: Mapping[str, Any]) -> float:
    """The criterion: the overlap in the first half of the samples, over the looks in the second half of the run."""
    overlaps = line["history"][CHOSEN_BY]
    return statistics.mean(statistics.mean(seen) for seen in overlaps[len(overlaps) // 2 :])


def choose(lines: Lines, data: str, method: str, updates: int) -> int | None:
    """The setting whose pilots have the best `score`, the first of equal ones; None before all of them were played."""
    course = COURSES[data]
    expected = {(draw, group[0]) for draw in range(course.draws) for group in groups(data, PILOT)}
    found: dict[tuple[int, int], float] = {}
    for line in lines:
        if (line.get("data"), line.get("method"), line.get("updates")) != (data, method, updates):
            continue
        if line.get("part") == PILOT:
            assert not set(line["seeds"]) & set(course.seeds), "a seed that is reported has chosen"
            found[line["draw"], line["seed"]] = score(line)
    if set(found) != expected:
        return None
    means = [statistics.mean(found[one] for one in found if one[0] == draw) for draw in range(course.draws)]
    return means.index(max(means))


def refuse_other_rules(lines: Lines) -> None:
    """Raises `InvalidInput` if a line was played with other knobs than the number of its setting means here."""
    for line in lines:
        if line.get("part") in (PILOT, REPORTED):
            plays = line["data"] in COURSES and line["method"] in CONTENDERS
            known = settings(line["method"], COURSES[line["data"]].draws) if plays else []
            if line["knobs"] not in known or known.index(line["knobs"]) != line["draw"]:
                raise InvalidInput(
                    f"setting {line['draw']} of {line['method']!r} on {line['data']} was another one when this file "
                    "was begun: choose another file."
                )
