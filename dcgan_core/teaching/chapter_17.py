"""Chapter 17, going fast: the records that it reads, and its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter, PercentFormatter

import dcgan_core.benchmark
from dcgan_core.benchmark.processes import RECORD, speeds
from dcgan_core.laboratory.studies import read_lines
from dcgan_core.teaching.chapter_17_measuring import KINDS, OTHERS, LayerCost, Stretch
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, NEUTRAL, REAL

REPORTS = Path(dcgan_core.benchmark.__file__).parent / "reports"
IDLE = "#dddddd"
COLOURS = dict(zip([*KINDS, OTHERS], [REAL, EXTRA[2], FAKE, EXTRA[1], DISCRIMINATOR, EXTRA[0], IDLE], strict=True))
KIND_OF_LAYER = {
    "transposed convolution": "convolutions",
    "convolution": "convolutions",
    "Linear": "matrix products",
    "batch norm": "batch normalisation",
}
Roof = Mapping[str, float]  # "flop" and "bytes" per second that a machine can do at most


def recorded(part: str, report: str = "h200-1") -> dict[str, Any]:
    """What a part of a report on a card found; see `benchmark.gpu_report` for the keys."""
    found = json.loads((REPORTS / f"{report}.json").read_text(encoding="utf-8"))
    result: dict[str, Any] = found["parts"][part]["result"]
    return result


def recorded_on_cpu() -> dict[str, Any]:
    """What `python -m dcgan_core benchmark` found on the processor that it was recorded on."""
    found: dict[str, Any] = json.loads((REPORTS / "cpu-1.json").read_text(encoding="utf-8"))
    return found


def recorded_processes() -> dict[str, Any]:
    """The last line of the record of two processes."""
    return read_lines(RECORD)[-1]


def made_on(result: Mapping[str, Any]) -> str:
    """Device, version of PyTorch and day of a record."""
    machine = result["machine"]
    return f"{machine['device']}, torch {machine['torch']}, {machine['started'][:10]}"


def row_of(result: Mapping[str, Any], change: str) -> dict[str, Any]:
    """The row of a ladder by its name."""
    return next(row for row in result["rows"] if row["change"] == change)


def show_busy(profiles: Mapping[str, Mapping[str, Any]]) -> Figure:
    """How long an iteration takes, and how much of that the device computes; see `benchmark.kernels.profile`."""
    figure, axes = plt.subplots(figsize=(5.6, 2.3))
    for place, found in enumerate(profiles.values()):
        whole = 1000 * found["seconds_per_step"]
        busy = whole * found["busy"]
        axes.barh(place, busy, color=REAL, label=None if place else "the card computes")
        axes.barh(place, whole - busy, left=busy, color=IDLE, label=None if place else "the card waits")
        axes.text(whole, place, f" {whole:.1f} ms", va="center", fontsize=10)
    axes.set_yticks(range(len(profiles)), list(profiles))
    axes.invert_yaxis()
    _only_upright_lines(axes)
    axes.set_xlim(right=1.15 * max(1000 * found["seconds_per_step"] for found in profiles.values()))
    axes.set_xlabel("milliseconds")
    figure.legend(loc="outside upper center", ncols=2, fontsize=10)
    return figure


def _only_upright_lines(axes: Axes) -> None:
    """Grid lines for the horizontal axis alone, behind the bars."""
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)


def layer_shares(layers: Sequence[LayerCost]) -> dict[str, dict[str, float]]:
    """By kind of layer, its share of all FLOP, of all bytes and of the time."""
    found = {}
    for name, place in (("FLOPs", 1), ("bytes", 2), ("time", 3)):
        kinds = [KIND_OF_LAYER.get(layer.name, "activations") for layer in layers]
        values = [float(layer[place]) for layer in layers]
        found[name] = {
            kind: sum(value for value, of in zip(values, kinds, strict=True) if of == kind) / sum(values)
            for kind in KINDS
            if kind in kinds
        }
    return found


def show_shares(bars: Mapping[str, Mapping[str, float]]) -> Figure:
    """Stacked bars: what each kind of work has of a whole."""
    figure, axes = plt.subplots(figsize=(5.6, 0.75 + 0.55 * len(bars)))
    known: set[str] = set()
    for place, parts in enumerate(bars.values()):
        left = 0.0
        for kind, share in parts.items():
            axes.barh(place, share, left=left, color=COLOURS[kind], label=None if kind in known else kind)
            if share > 0.06:
                ink = "white" if COLOURS[kind] in (REAL, FAKE) else "black"
                axes.text(left + share / 2, place, f"{share:.0%}", ha="center", va="center", fontsize=10, color=ink)
            left += share
            known.add(kind)
    axes.set_yticks(range(len(bars)), list(bars))
    axes.invert_yaxis()
    _only_upright_lines(axes)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlim(0, 1)
    figure.legend(loc="outside lower center", ncols=2, fontsize=10)
    return figure


def show_bill(bill: Mapping[str, float]) -> Figure:
    """Bars: what share of all FLOPs each part of an iteration has."""
    figure, axes = plt.subplots(figsize=(5.6, 0.7 + 0.34 * len(bill)))
    for place, flop in enumerate(bill.values()):
        share = flop / sum(bill.values())
        axes.barh(place, share, color=REAL)
        axes.text(share, place, f" {share:.0%}", va="center", fontsize=10)
    axes.set_yticks(range(len(bill)), list(bill))
    axes.invert_yaxis()
    _only_upright_lines(axes)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlim(right=1.12 * max(bill.values()) / sum(bill.values()))
    axes.set_xlabel("of the FLOPs of an iteration")
    return figure


def show_roofline(roofs: Mapping[str, Roof], points: Mapping[str, Sequence[tuple[str, float, float]]]) -> Figure:
    """Roofs of machines, and points (name, FLOP per byte, FLOP per second) under them; points without a name are small.

    Source: Williams, Waterman, Patterson 2009, figure 1.
    """
    figure, axes = plt.subplots(figsize=(5.6, 4.4))
    intensity = np.logspace(-1, 3.3, 200)
    for (machine, roof), colour in zip(roofs.items(), (REAL, FAKE), strict=False):
        axes.plot(intensity, np.minimum(roof["flop"], intensity * roof["bytes"]), color=colour, label=machine)
        for name, at, reached in points[machine]:
            axes.plot(at, reached, "o" if name else ".", color=colour, markersize=7 if name else 6, alpha=0.9)
            crowded = any(at < other < 3 * at and 1 / 3 < rate / reached < 3 for _, other, rate in points[machine])
            aside = ((-7, -3), "right") if name and crowded else ((7, -3), "left")
            axes.annotate(name, (at, reached), aside[0], textcoords="offset points", ha=aside[1], fontsize=10)
    axes.set(xscale="log", yscale="log", xlabel="FLOP per byte moved", ylabel="FLOP per second")
    axes.legend(loc="upper left", fontsize=10)
    axes.set_xlim(0.1, 2_000)
    return figure


def show_timeline(parts: Sequence[Stretch], operations: Sequence[Stretch]) -> Figure:
    """A profile from left to right: the marked parts above, the operations below, white where nothing was noted."""
    figure, axes = plt.subplots(figsize=(5.6, 2.6))
    for stretch in parts:
        axes.barh(1, stretch.end - stretch.begin, left=stretch.begin, color=IDLE, edgecolor="white", height=0.5)
        axes.text((stretch.begin + stretch.end) / 2, 1, stretch.kind, ha="center", va="center", fontsize=10)
    for stretch in operations:
        axes.barh(0, stretch.end - stretch.begin, left=stretch.begin, color=COLOURS.get(stretch.kind, NEUTRAL))
    known = [kind for kind in COLOURS if any(stretch.kind == kind for stretch in operations)]
    handles = [Rectangle((0, 0), 1, 1, color=COLOURS[kind]) for kind in known]
    axes.set_yticks([0, 1], ["work", "part"])
    _only_upright_lines(axes)
    axes.set_xlabel("milliseconds")
    figure.legend(handles, known, loc="outside lower center", ncols=2, fontsize=10)
    return figure


def show_parts(parts: Sequence[Stretch]) -> Figure:
    """The marked parts of a profile from left to right, each name in a row of its own."""
    names = list(dict.fromkeys(stretch.kind for stretch in parts))
    figure, axes = plt.subplots(figsize=(5.6, 0.9 + 0.3 * len(names)))
    origin = min(stretch.begin for stretch in parts)
    for stretch in parts:
        axes.barh(names.index(stretch.kind), stretch.end - stretch.begin, left=stretch.begin - origin, color=REAL)
    _only_upright_lines(axes)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    return figure


def show_ladders(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Ladders as `benchmark.measure` returns them: speed relative to the first row, median and range."""
    timed = [[row for row in result["rows"] if not row["skipped"]] for result in results.values()]
    names = list(dict.fromkeys(row["change"] for rows in timed for row in rows))
    figure, axes = plt.subplots(figsize=(5.6, 1.2 + 0.36 * len(names)))
    for number, (label, rows) in enumerate(zip(results, timed, strict=True)):
        colour, marker = ((REAL, "o"), (FAKE, "s"))[number]
        for row in rows:
            place = names.index(row["change"]) + (0.16 if number else -0.16)
            middle, low, high = row["ratio"]
            axes.plot([low, high], [place, place], color=colour, linewidth=1.2)
            axes.plot(middle, place, marker, color=colour, label=label if row is rows[0] else None)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(1, color=NEUTRAL, linewidth=0.8)
    highest = max(row["ratio"][2] for rows in timed for row in rows)
    axes.set_xscale("log")
    ticks = [tick for tick in (0.5, 1, 2, 4, 8, 16) if tick <= 1.3 * highest]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("images per second, relative to the tutorial loop")
    figure.legend(loc="outside upper center", ncols=1, fontsize=10)
    return figure


def show_queue(panels: Mapping[str, tuple[Sequence[float], Sequence[tuple[float, float]]]]) -> Figure:
    """Launches and kernels over time, in microseconds: each panel has launches and (begin, end) of the kernels."""
    figure, rows = plt.subplots(len(panels), 1, figsize=(5.6, 1.0 + 1.15 * len(panels)), sharex=True, squeeze=False)
    for axes, (title, (launches, kernels)) in zip(rows[:, 0], panels.items(), strict=True):
        axes.vlines(launches, 0.75, 1.35, color=FAKE, linewidth=1.5)
        for begin, end in kernels:
            axes.barh(0, end - begin, left=begin, color=REAL, height=0.6, edgecolor="white", linewidth=0.4)
        axes.set_yticks([0, 1.05], ["card", "CPU"])
        _only_upright_lines(axes)
        axes.set_title(title, loc="left", fontsize=10)
    rows[-1, 0].set_xlabel("microseconds")
    rows[-1, 0].set_xlim(left=0)
    return figure


def show_batches(sizes: Sequence[int], times: Sequence[float], fitted: tuple[float, float]) -> Figure:
    """Seconds of an iteration and images per second, over the batch size; `fitted` is seconds + seconds per image."""
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 2.8))
    images, fine = np.array(sizes), np.geomspace(sizes[0], sizes[-1], 50)
    line = fitted[0] + fitted[1] * fine
    for axes, values, expected, title in (
        (panels[0], 1000 * np.array(times), 1000 * line, "ms per iteration"),
        (panels[1], images / np.array(times), fine / line, "images per second"),
    ):
        axes.plot(fine, expected, "--", color=NEUTRAL, linewidth=1.2, label="a fixed cost, and one per image")
        axes.plot(images, values, "o", color=REAL, label="measured")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, list(map(str, sizes)))
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("batch size")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)
    return figure


def show_sources(sources: Mapping[str, float], needs: Mapping[str, float]) -> Figure:
    """Images per second that each source gives, as bars, and that training takes, as lines; logarithmic."""
    figure, axes = plt.subplots(figsize=(5.6, 2.9))
    axes.barh(range(len(sources)), list(sources.values()), color=REAL, height=0.6)
    for place, value in enumerate(sources.values()):
        axes.text(value, place, f" {value:,.0f}", va="center", fontsize=10)
    for (name, value), colour, style in zip(needs.items(), (FAKE, DISCRIMINATOR), ("--", ":"), strict=False):
        axes.axvline(value, color=colour, linestyle=style, label=f"{name}: {value:,.0f}")
    axes.set_yticks(range(len(sources)), list(sources))
    axes.invert_yaxis()
    _only_upright_lines(axes)
    axes.set_xscale("log")
    axes.set_xlim(right=6 * max([*sources.values(), *needs.values()]))
    axes.set_xlabel("images per second, with one thread")
    figure.legend(loc="outside upper center", ncols=1, fontsize=10)
    return figure


def show_processes(line: Mapping[str, Any]) -> Figure:
    """Two processes of the record: images per second of both together, relative to one alone."""
    found = speeds(dict(line))
    figure, axes = plt.subplots(figsize=(5.6, 2.4))
    _spreads(axes, found)
    size = line["num_processes"]
    axes.axvline(size, color=NEUTRAL, linestyle=":", label=f"{size} times as many")
    axes.set_xlim(left=0, right=1.08 * max(size, *(high for _, _, high in found.values())))
    axes.set_xlabel("images per second, relative to one process alone")
    axes.legend(loc="lower left", fontsize=10)
    return figure


def _spreads(axes: Axes, found: Mapping[str, Sequence[float]]) -> None:
    for place, (middle, low, high) in enumerate(found.values()):
        axes.plot([low, high], [place, place], color=REAL, linewidth=1.2)
        axes.plot(middle, place, "o", color=REAL)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()


def show_plan(plan: Mapping[str, Mapping[str, float]]) -> Figure:
    """Milliseconds of an iteration on several cards, by what they are spent on."""
    figure, axes = plt.subplots(figsize=(5.6, 1.2 + 0.42 * len(plan)))
    left = np.zeros(len(plan))
    for name, colour in (("computing", REAL), ("gradients", FAKE), ("batch statistics", EXTRA[1])):
        values = np.array([1000 * row[name] for row in plan.values()])
        axes.barh(range(len(plan)), values, left=left, color=colour, label=name)
        left += values
    axes.set_yticks(range(len(plan)), list(plan))
    axes.invert_yaxis()
    _only_upright_lines(axes)
    axes.set_xlabel("milliseconds per iteration")
    figure.legend(loc="outside upper center", ncols=3, fontsize=10)
    return figure
