"""Chapter 10, mode collapse: what it depends on, and its record; pictures, and checks of the exercises.

`python -m dcgan_core.teaching.chapter_10` plays the games that the chapter compares and writes the record that ships
with the package.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcgan_core.ensemble import COLLAPSES, COVERS, MIXTURES, History, PointConfig, train
from dcgan_core.runtime import choose_machine, provenance

RECORD = Path(__file__).with_suffix(".json")
SEEDS = range(8)
PRESETS = {"COVERS": COVERS, "COLLAPSES": COLLAPSES}
FACTORS: dict[str, dict[str, dict[str, Any]]] = {
    "activation": {"tanh": {"activation": "tanh"}, "ReLU": {"activation": "relu"}},
    "discriminator's rate": {f"{rate:g}": {"discriminator_learning_rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3)},
    "generator's rate": {f"{rate:g}": {"generator_learning_rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3)},
    "discriminator updates": {f"{steps}": {"discriminator_steps": steps} for steps in (1, 5)},
    "hidden layers": {
        f"{depth}": {"generator_depth": depth, "discriminator_depth": depth} for depth in (1, 2, 3)
    },
    "units in a layer": {
        f"{width}": {"generator_width": width, "discriminator_width": width} for width in (64, 128)
    },
    "latent size": {f"{size}": {"latent_size": size} for size in (2, 16, 256)},
    "batch size": {f"{size}": {"batch_size": size} for size in (64, 256)},
    "beta1": {f"{beta:g}": {"beta1": beta} for beta in (0.0, 0.5, 0.9)},
    "loss": {name: {"loss": name} for name in ("non-saturating", "minimax")},
    "updates": {f"{steps:,}": {"total_steps": steps} for steps in (1_000, 4_000)},
}
"""What is changed, one thing at a time: a factor, and the settings of each of its values."""


def favourites(history: History) -> tuple[Tensor, Tensor]:
    """The mode that most samples are nearest to, and their share, at each look: int64 and float64 (T, S).

    All samples count, good or not, so a crowd between two modes has a favourite, too.
    """
    num_modes = history.statistics.counts.shape[-1]
    mixture = next(made for made in (make() for make in MIXTURES.values()) if made.num_modes == num_modes)
    mode, _ = mixture.nearest(history.samples)
    shares = torch.nn.functional.one_hot(mode, num_modes).double().mean(dim=2)
    share, favourite = shares.max(dim=-1)
    return favourite, share


def outcome(config: PointConfig, seeds: Sequence[int]) -> dict[str, Any]:
    """What became of each seed: lists over the seeds, of the last look but for `favourites`.

    covered, good, kl: as in `mixtures.mode_statistics`. crowd: share of the samples that are nearest to the favourite
    mode. favourites: how many different modes were the favourite, over ten looks after the start. The two losses are
    means over the last tenth of the updates.
    """
    history = train(dataclasses.replace(config, snapshot_every_steps=max(1, config.total_steps // 10)), seeds)
    favourite, share = favourites(history)
    last = {name: getattr(history.statistics, name)[-1].tolist() for name in ("covered", "good", "kl")}
    for player, losses in zip(("discriminator_loss", "generator_loss"), history.losses, strict=True):
        last[player] = losses[-max(1, config.total_steps // 10) :].mean(dim=0).tolist()
    last |= {"crowd": share[-1].tolist(), "favourites": [len(set(modes)) for modes in favourite[1:].T.tolist()]}
    return {name: [round(value, 4) for value in values] for name, values in last.items()}


def games() -> dict[tuple[str, str, str], PointConfig]:
    """Every game of the study, by preset, factor and value."""
    return {
        (preset, factor, value): dataclasses.replace(config, **changes)
        for preset, config in PRESETS.items()
        for factor, values in FACTORS.items()
        for value, changes in values.items()
    }


def record(path: Path = RECORD, seeds: Sequence[int] = SEEDS) -> None:
    """Plays every game once on one thread, and writes down what became of it, with who did it."""
    torch.set_num_threads(1)
    facts = provenance(choose_machine("cpu", "float32"))
    facts |= {"command": "python -m dcgan_core.teaching.chapter_10", "seeds": len(seeds)}
    played: dict[PointConfig, dict[str, Any]] = {}
    results: dict[str, dict[str, dict[str, Any]]] = {}
    begin = time.process_time()
    for (preset, factor, value), config in games().items():
        if config not in played:
            played[config] = outcome(config, seeds)
            print(preset, factor, value, played[config]["covered"], f"{time.process_time() - begin:.0f} s", flush=True)
        results.setdefault(preset, {}).setdefault(factor, {})[value] = played[config]
    facts["seconds"] = round(time.process_time() - begin)
    path.write_text(json.dumps({"provenance": facts, "results": results}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    record()
