"""What the settings of `train --data glyphs --recipe plain` are worth, one changed at a time: its record and figure.

`python -m dcgan_core.teaching.settings` plays all runs (hours on a CPU) and writes the record that ships with the
package. A run is a line, so it goes on where it was stopped; several processes with other seeds may share one file.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dcgan_core.config import Config
from dcgan_core.data import Batches, load
from dcgan_core.iteration import advance
from dcgan_core.laboratory.comparison import in_turns
from dcgan_core.laboratory.outcomes import append, read
from dcgan_core.metrics import judge_for
from dcgan_core.runtime import Machine, choose_machine, provenance
from dcgan_core.state import draw_latents, sample, start
from dcgan_core.teaching.plots import FAKE, NEUTRAL, REAL
from dcgan_core.train import train

RECORD = Path(__file__).with_suffix(".jsonl")
NUM_SAMPLES = 2_000  # as `evaluate` draws
LATENTS_SEED = 1
AS_IT_IS, FLOAT32 = "as it is", "float32"  # the second: where the chip would have taken bfloat16


def _rates(rate: float) -> dict[str, Any]:
    return {"generator_learning_rate": rate, "discriminator_learning_rate": rate}


SETTINGS: dict[str, dict[str, Any]] = {  # fields of Config
    AS_IT_IS: {},
    FLOAT32: {},
    "both rates 0.0002": _rates(2e-4),
    "both rates 0.001": _rates(1e-3),
    "both rates 0.004": _rates(4e-3),
    "batch 32": {"batch_size": 32},
    "batch 128": {"batch_size": 128},
    "widths 36 and 36": {"generator_width": 36, "discriminator_width": 36},
    "spectral norm": {"spectral_norm": True, "discriminator_norm": "none"},
    "minibatch std": {"minibatch_std": True},
}
"""What is changed of `train --data glyphs --recipe plain`. The widths are the generator's and the discriminator's."""


def config(setting: str, seed: int) -> Config:
    """The run of a setting. Nothing is evaluated on the way: its last weights count."""
    return replace(Config(), evaluate_every_images=0, seed=seed, **SETTINGS[setting])


def machine(setting: str) -> Machine:
    """Where, and how precisely, the run of a setting computes."""
    return choose_machine("cpu", "float32" if setting == FLOAT32 else "auto")


def relative_costs() -> dict[str, float]:
    """Time per image as a multiple of the default's: medians of turns, in which every setting plays."""
    images = load("glyphs", image_size=Config().image_size, split="test").images

    def game(setting: str) -> Callable[[], object]:
        where = machine(setting)
        state = start(config(setting, 0), where)
        batches = Batches(images, batch_size=state.config.images_per_step, seed=0)
        return lambda: advance(state, batches(state.step), where)

    per_update = in_turns({setting: game(setting) for setting in SETTINGS}, AS_IT_IS)
    shown = {setting: config(setting, 0).images_per_step for setting in SETTINGS}
    return {setting: cost * shown[AS_IT_IS] / shown[setting] for setting, cost in per_update.items()}


def outcome(run: Config, where: Machine) -> dict[str, Any]:
    """What became of a run: reports on the samples of the averaged and of the raw generator, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        state = train(run, folder, machine=where, progress=False)
        seconds = time.perf_counter() - begin
    judge, latents = judge_for(run), draw_latents(NUM_SAMPLES, run.latent_size, seed=LATENTS_SEED)
    reports = {
        name: judge.report(sample(network, latents))
        for name, network in (("averaged", state.sampler), ("raw", state.generator))
    }
    kept = ("classes_covered", "recognised", "frechet_distance", "class_divergence", "num_samples")
    return {name: {key: report[key] for key in kept} for name, report in reports.items()} | {"seconds": seconds}


def record(out: Path = RECORD, settings: tuple[str, ...] = tuple(SETTINGS), seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    """Play what the file does not hold yet.

    Args:
        out: File of outcomes, one JSON object a line; it may exist.
        settings: Which settings to play.
        seeds: With which seeds.
    """
    lines = read(out) if out.exists() else []
    append(out, kind="session", **provenance(machine(AS_IT_IS)), threads=torch.get_num_threads(), seeds=seeds)
    if not any(line["kind"] == "costs" for line in lines):
        append(out, kind="costs", costs=relative_costs())
    for seed in seeds:
        for setting in settings:
            if not any((line.get("setting"), line.get("seed")) == (setting, seed) for line in lines):
                found = outcome(config(setting, seed), machine(setting))
                append(out, kind="outcome", setting=setting, seed=seed, **found)
                print(setting, seed, json.dumps(found), flush=True)


def seeds_of(lines: Sequence[dict[str, Any]], setting: str, measure: str, weights: str = "averaged") -> list[float]:
    """A measure of each seed's run, in the order of the seeds; `weights` are averaged or raw."""
    found = {line["seed"]: line[weights][measure] for line in lines if line.get("setting") == setting}
    return [found[seed] for seed in sorted(found)]


def recorded_settings() -> list[dict[str, Any]]:
    """The lines of the record that ships with the package."""
    return read(RECORD)


def show_settings(lines: Sequence[dict[str, Any]]) -> Figure:
    """Share recognised and Fréchet distance of every setting: a dot a seed and weights, a bar for the median."""
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 4.4), sharey=True)
    handles: dict[str, Any] = {}
    for axes, measure in zip(panels, ("recognised", "frechet_distance"), strict=True):
        for weights, colour, marker, shift in (("averaged", REAL, "o", -0.14), ("raw", FAKE, "s", 0.14)):
            for row, setting in enumerate(SETTINGS):
                found = seeds_of(lines, setting, measure, weights)
                height = row + shift
                (handles[weights],) = axes.plot(found, [height] * len(found), marker, color=colour, markersize=4)
                axes.plot([statistics.median(found)] * 2, [height - 0.14, height + 0.14], color=colour, linewidth=2)
        axes.axvline(statistics.median(seeds_of(lines, AS_IT_IS, measure)), color=NEUTRAL, linewidth=0.8, zorder=0)
    panels[0].set_yticks(range(len(SETTINGS)), list(SETTINGS))
    panels[0].invert_yaxis()
    panels[0].set_xlabel("recognised")
    panels[0].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[1].set_xlabel("Fréchet distance (log)")
    panels[1].set_xscale("log")
    panels[1].set_xticks([20, 50, 100, 200], ["20", "50", "100", "200"])
    panels[1].minorticks_off()
    labels = {"averaged": "averaged weights", "raw": "raw weights"}
    figure.legend(handles.values(), [labels[name] for name in handles], loc="outside lower center", ncols=2)
    return figure


if __name__ == "__main__":
    tyro.cli(record, description=__doc__)
