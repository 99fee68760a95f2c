"""Chapter 20, the bug museum: its figures, what is folded away until a reader opens it, and the exercises' checks."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from dcgan_core.teaching import museum
from dcgan_core.teaching.exercises import Mistake, check, require
from dcgan_core.teaching.museum import EXHIBITS, HEALTHY, catches, script
from dcgan_core.teaching.museum_record import (
    CURVES,
    EVALUATE_EVERY,
    EVERY,
    HEALTHY_SEEDS,
    OTHER_SEEDS,
    SEEDS,
    recorded,
)
from dcgan_core.teaching.packed import unpacked
from dcgan_core.teaching.plots import DISCRIMINATOR, FAKE, NEUTRAL, REAL

Runs = Sequence[Mapping[str, Any]]
MYSTERIES = {"A": (12, 1), "B": (6, 2)}  # exhibit and seed of the runs that an exercise shows without a number


class Folded:
    """Code that stays closed until the reader opens it; one line where HTML cannot be shown."""

    def __init__(self, summary: str, *parts: tuple[str, str]) -> None:
        self.summary, self.parts = summary, parts  # of each part: what it is, and its text

    def __repr__(self) -> str:
        return f"({self.summary}: open it in the notebook or on the page)"

    def _repr_html_(self) -> str:
        shown = [
            f'<p>{html.escape(title)}</p><div class="highlight"><pre tabindex="0">{_coloured(text)}</pre></div>'
            for title, text in self.parts
        ]
        return f"<details><summary>{html.escape(self.summary)}</summary>{''.join(shown)}</details>"


def _coloured(text: str) -> str:
    """Code as HTML; lines that begin with - or + are marked as removed or added."""
    marks = {"-": "<del>{}</del>", "+": "<ins>{}</ins>"}
    return "\n".join(marks.get(line[:1], "{}").format(html.escape(line)) for line in text.splitlines())


def opened(number: int) -> Folded:
    """What an exhibit changes in the script, and the test that catches it; closed at first."""
    exhibit = EXHIBITS[number]
    return Folded(
        f"The change, and the test that catches exhibit {number}",
        (
            f"{exhibit.name[0].upper()}{exhibit.name[1:]}: what differs from the healthy script.",
            museum.difference(number),
        ),
        ("The test that fails on it:", inspect.getsource(exhibit.caught_by)),
    )


def whole_script() -> Folded:
    """The healthy script, closed at first."""
    return Folded("The whole script", ("As it stands in `dcgan_core.teaching.museum_script`:", museum.source()))


def runs_of(number: int, seeds: Sequence[int] | None = None) -> Runs:
    """The recorded runs of an exhibit, or of the healthy script: its first ten seeds if none are named."""
    wanted = (HEALTHY_SEEDS if number == HEALTHY else SEEDS) if seeds is None else seeds
    return [run for run in recorded() if run["exhibit"] == number and run["seed"] in wanted]


def level(run: Mapping[str, Any], curve: str) -> float:
    """A curve as one number: its median over the last third of its points."""
    values = run[curve]
    return float(median(values[-max(1, round(len(values) / 3)) :]))


def outside(healthy: Runs, exhibit: Runs, curve: str) -> bool:
    """True if the median of the exhibit's seeds lies outside of all that the healthy seeds did."""
    usual = [level(run, curve) for run in healthy]
    return not min(usual) <= median(level(run, curve) for run in exhibit) <= max(usual)


def shown_by(number: int, seeds: Sequence[int] | None = None) -> list[str]:
    """The curves that would show this exhibit, if one knew what ten healthy runs look like."""
    return [curve for curve in CURVES if outside(runs_of(HEALTHY), runs_of(number, seeds), curve)]


def _places(curve: str, values: Sequence[float]) -> list[int]:
    step = EVALUATE_EVERY if curve == "distance" else EVERY
    return [step * (place + 1) for place in range(len(values))]


PANELS = (  # a title, and curves with their colour and style
    ("losses (nats)", (("loss D", DISCRIMINATOR, "-"), ("loss G", FAKE, "--"))),
    ("mean verdict", (("D(x)", REAL, "-"), ("D(G(z))", FAKE, "--"))),
    ("distance", (("distance", NEUTRAL, "-"),)),
)


def _band(axes: Axes, curve: str, colour: str) -> None:
    """Everything between the lowest and the highest of the healthy runs."""
    values = np.array([run[curve] for run in runs_of(HEALTHY)])
    places = _places(curve, values[0].tolist())
    axes.fill_between(places, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.16, linewidth=0)


def show_curves(runs: Runs, picture: np.ndarray | None = None, notes: str = "") -> Figure:
    """Three panels of curves, one line for each run, over bands from ten healthy runs; below them samples and notes."""
    figure = plt.figure(figsize=(5.4, 3.5 if picture is not None else 2.1), layout="none")  # there are many of these
    if picture is None:
        panels = figure.subplot_mosaic("abc")
        figure.subplots_adjust(left=0.07, right=0.99, top=0.76, bottom=0.2, wspace=0.38)
    else:
        panels = figure.subplot_mosaic("abc;ddd", height_ratios=[1, 0.42])
        figure.subplots_adjust(left=0.07, right=0.99, top=0.84, bottom=0.01, wspace=0.38, hspace=0.8)
    for key, (title, curves) in zip("abc", PANELS, strict=True):
        axes = panels[key]
        for name, colour, style in curves:
            _band(axes, name, colour)
            for place, run in enumerate(runs):
                width, alpha, label = (1.6, 1.0, name) if place == 0 else (0.7, 0.55, None)
                values = run[name]
                axes.plot(_places(name, values), values, style, color=colour, linewidth=width, alpha=alpha, label=label)
        axes.set_title(title, fontsize=10, pad=18)
        axes.tick_params(labelsize=10)
        axes.set_xlabel("updates", fontsize=10)
        if len(curves) > 1:
            axes.legend(
                **{"loc": "lower center", "bbox_to_anchor": (0.5, 0.96), "ncols": 2, "fontsize": 10},
                **{"columnspacing": 0.8, "handlelength": 1.4, "handletextpad": 0.4, "borderpad": 0.1},
            )
    panels["b"].set_ylim(-0.03, 1.03)
    panels["c"].set_yscale("log")
    if picture is not None:
        panels["d"].imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        panels["d"].set_axis_off()
        panels["d"].set_title(notes, fontsize=10, loc="left", pad=4)
    return figure


def show_exhibit(number: int) -> Figure:
    """What there was to see of an exhibit: the curves of its seeds, samples of the first one, and its last words."""
    runs = runs_of(number)
    best = "no generator kept" if runs[0]["best"] is None else f"best distance kept: {runs[0]['best']:.0f}"
    return show_curves(runs, unpacked(runs[0]["picture"]), f"updates made: {runs[0]['made']}\n{best}")


def show_mystery(letter: str) -> Figure:
    """A run of an exhibit that is not named."""
    number, seed = MYSTERIES[letter]
    return show_curves(runs_of(number, [seed]))


def show_matrix(found: Mapping[int, Sequence[int]]) -> Figure:
    """Which test catches which script (rows), and on the right which curves show it."""
    numbers = list(EXHIBITS)
    rows = [number for number in (HEALTHY, *numbers) if number in found]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(5.6, 1.2 + 0.2 * len(rows)), sharey=True, width_ratios=[len(numbers), 2 * len(CURVES)]
    )
    for row, number in enumerate(rows):
        caught = [numbers.index(other) for other in found[number]]
        left.plot(caught, [row] * len(caught), "s", color=REAL, markersize=6)
        shown = [CURVES.index(curve) for curve in shown_by(number)] if number else []
        right.plot(shown, [row] * len(shown), "o", color=FAKE, markersize=6)
    left.set_yticks(range(len(rows)), [str(number) if number else "healthy" for number in rows], fontsize=10)
    left.set_xticks(range(len(numbers)), [str(number) for number in numbers], fontsize=10, rotation=90)
    left.set(xlim=(-0.7, len(numbers) - 0.3), ylim=(len(rows) - 0.4, -0.6), ylabel="exhibit")
    left.set_title("caught by the test of exhibit ...", fontsize=10)
    right.set_xticks(range(len(CURVES)), CURVES, fontsize=10, rotation=60)
    right.set_xlim(-0.7, len(CURVES) - 0.3)
    right.set_title("shown by the curve", fontsize=10)
    right.tick_params(left=False)
    return figure


def show_wall(columns: int = 4, samples: int = 4) -> Figure:
    """The first samples of the healthy script and of every exhibit, each under its number."""
    numbers = [HEALTHY, *EXHIBITS]
    figure, panels = plt.subplots(-(-len(numbers) // columns), columns, figsize=(5.6, 3.6))
    for axes, number in zip(panels.flat, numbers, strict=True):
        picture = unpacked(runs_of(number)[0]["picture"])
        axes.imshow(picture[:, : samples * len(picture)], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(str(number) if number else "healthy", fontsize=10, pad=2)
        axes.set_axis_off()
    return figure


def show_true_distances() -> Figure:
    """The true distance of every run of every exhibit over the range of the healthy runs, on a logarithmic axis."""
    figure, axes = plt.subplots(figsize=(5.6, 3.2))
    healthy = [run["true_distance"] for run in runs_of(HEALTHY)]
    axes.axhspan(min(healthy), max(healthy), color=NEUTRAL, alpha=0.25, linewidth=0, label="ten healthy runs")
    looks = {True: (FAKE, "o", "shown by a curve"), False: (REAL, "s", "shown by none")}
    for shown, (colour, marker, label) in looks.items():
        numbers = [number for number in EXHIBITS if bool(shown_by(number)) == shown]
        places = [number for number in numbers for _ in SEEDS]
        true = [run["true_distance"] for number in numbers for run in runs_of(number, SEEDS)]
        axes.plot(places, true, marker, color=colour, markersize=4.5, alpha=0.7, label=label)
    axes.set_xticks(list(EXHIBITS))
    axes.tick_params(axis="x", labelsize=10)
    axes.set(yscale="log", xlabel="exhibit", ylabel="true distance")
    axes.legend(fontsize=10, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1, handletextpad=0.3)
    return figure


def table() -> str:
    """Every exhibit in one line: what it was, its distances (median and range), and how many curves show it."""
    lines = [f"{'':40} {'true distance':>20}  shown by"]
    rows = [(HEALTHY, "healthy", list(HEALTHY_SEEDS)), (HEALTHY, "healthy, five other seeds", list(OTHER_SEEDS))]
    for number, name, seeds in [*rows, *((number, exhibit.name, list(SEEDS)) for number, exhibit in EXHIBITS.items())]:
        true = [run["true_distance"] for run in runs_of(number, seeds)]
        spread = f"{median(true):.0f} ({min(true):.0f} to {max(true):.0f})"
        shown = len(shown_by(number, seeds))
        curves = "(the bands)" if seeds == list(HEALTHY_SEEDS) else f"{shown or 'none'} of {len(CURVES)}"
        lines.append(f"{number or '':2} {name:37} {spread:>20}  {curves}")
    return "\n".join(lines)


# Exercises


def _judged(test: Callable[[ModuleType], None], wanted: int, others: Mapping[int, str]) -> None:
    """Requires that a test passes the healthy script and the `others`, and fails on the wanted exhibit."""

    def fails(number: int) -> bool:
        module = script(number)
        module.__dict__["BATCH_SIZE"] = 8
        return catches(test, module)

    require(not fails(HEALTHY), "Your test fails on the healthy script, which has no mistake: it cries wolf.")
    require(
        fails(wanted),
        f"Your test passes, although the script has the mistake of exhibit {wanted}. Does it end in an `assert`?",
    )
    for number, mistake in others.items():
        require(not fails(number), f"Your test also fails on exhibit {number}, which is another mistake: {mistake}")


@check
def check_detach_test(test: Callable[[ModuleType], None]) -> str:
    """Exercise 20.1: a test that catches exhibit 4."""
    _judged(
        test,
        4,
        {
            1: "there the *discriminator* does not change. Look at the generator's gradients alone.",
            16: "there another network is in the optimiser. Ask what the discriminator's turn leaves behind.",
        },
    )
    return "It costs two lines, and no curve could have told you."


@check
def check_resume_test(test: Callable[[ModuleType], None]) -> str:
    """Exercise 20.2: a test that catches exhibit 17."""
    _judged(
        test,
        17,
        {
            16: "both runs have it, so they should still agree. Compare two runs, not a run with an ideal.",
            7: "both runs have it, so they should still agree. Compare two runs, not a run with an ideal.",
        },
    )
    return "Stopped and resumed equals never stopped: one test for everything that a checkpoint may forget."


@check
def check_penalty_test(test: Callable[[Callable[[nn.Module, Tensor], Tensor]], None]) -> str:
    """Exercise 20.3: a test of a penalty function; exhibits 9, 13 and 20 are three ways to get it wrong."""

    def of_penalty(module: ModuleType) -> None:
        test(module.penalty)

    _judged(
        of_penalty,
        9,
        {
            13: "its value is right, and only its gradient is missing. Compare values.",
            20: "there the slope of another function is taken. Compare a large image with a small one, both all zeros.",
        },
    )
    return "A discriminator that you can differentiate in your head is the best test of a penalty."


@check
def check_outside(function: Callable[[Sequence[float], Sequence[float]], bool]) -> str:
    """Exercise 20.4: is the median of a few values outside the range of others?"""
    healthy = [3.0, 1.0, 2.0, 5.0, 4.0]
    require(bool(function(healthy, [6.0, 7.0, 9.0])), "All values lie above the highest healthy one: that is outside.")
    require(bool(function(healthy, [0.0, 0.5, -1.0])), "Values *below* the lowest healthy one are outside, too.")
    require(
        not function(healthy, [2.0, 3.0, 9.0]),
        "One of the values lies outside, but their median does not. With five curves and five seeds, one odd value is "
        "nothing unusual.",
    )
    require(
        bool(function(healthy, [6.0, 6.0, 3.0])),
        "Two of the three values lie outside, and so does their median, 6. Compare the median, not every value.",
    )
    require(not function(healthy, [5.0, 5.0, 5.0]), "The highest healthy value is still healthy: use `<=`.")
    return "A rule that is fixed before one looks, and that says how many seeds it needs."


@check
def check_mystery(answers: Mapping[str, int]) -> str:
    """Exercise 20.5: which exhibits are the runs A and B?"""
    for letter, (number, _) in MYSTERIES.items():
        said = answers.get(letter)
        require(said is not None, f"Name an exhibit for run {letter}, by its number.")
        require(said in EXHIBITS, f"There is no exhibit {said}: they have the numbers 1 to {len(EXHIBITS)}.")
        if said != number:
            assert said is not None
            mine, theirs = runs_of(number, [MYSTERIES[letter][1]]), runs_of(said)
            curve = max(CURVES, key=lambda name: _relative(mine, theirs, name))
            usual = median(level(run, curve) for run in theirs)
            raise Mistake(
                f"Run {letter} is not exhibit {said}: most of all, look at {curve}. In the last third it is "
                f"{level(mine[0], curve):.3g} here, and in the median {usual:.3g} there."
            )
    return "Both. You had the whole museum to compare with; in life there is one run, and no number on it."


def _relative(mine: Runs, theirs: Runs, curve: str) -> float:
    first, second = level(mine[0], curve), median(level(run, curve) for run in theirs)
    return abs(first - second) / (abs(first) + abs(second) + 1e-9)


@check
def check_namer(name: Callable[[ModuleType], int]) -> str:
    """Exercise 20.6: a function that names the mistake of a script that it has never seen."""
    found = name(script(HEALTHY))
    require(found == HEALTHY, f"The healthy script has no mistake: return {HEALTHY} for it, not {found!r}.")
    for number in (2, 12, 15, 19, 22, 23):
        found = name(script(number))
        require(
            found == number,
            f"For the script of exhibit {number} you return {found!r}. `EXHIBITS[{number}].caught_by` is the test that "
            f"catches it, with an AssertionError.",
        )
    return "Twenty-three tests, one answer, and not one picture looked at."


@check
def check_prepare(prepare: Callable[[Callable[[Any], Any], Any], tuple[Any, str]]) -> str:
    """Exercise 20.7: a fallback that says that it is one."""

    def turns() -> str:
        return "plain"

    def fast() -> str:
        return "fast"

    def refuses(_: Any) -> Any:
        raise RuntimeError("no graph on a Tuesday")

    def broken(_: Any) -> Any:
        raise KeyError("a mistake in the recorder itself")

    chosen, said = prepare(lambda _: fast, turns)
    require(chosen is fast, "Where recording works, return what the recorder returned.")
    require("recorded" in said, "Where recording works, the text should say `recorded`.")
    chosen, said = prepare(refuses, turns)
    require(chosen is turns, "Where recording fails with a RuntimeError, return the plain turns.")
    require(said != "recorded", "That is the mistake of exhibit 23: nothing was recorded, and the text says it was.")
    require("Tuesday" in said, "The text should hold the recorder's own words, or nobody will learn what to mend.")
    try:
        prepare(broken, turns)
    except KeyError:
        return "What was done, and why: whoever reads the record a month later knows."
    raise Mistake(
        "You catch every exception. A KeyError is a mistake in the code, and no reason to fall back: let it out."
    )
