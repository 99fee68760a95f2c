"""Four real runs with something wrong, recorded for the reader of chapter 18 to diagnose.

`python -m dcgan_core.teaching.unknown_runs` plays and records them, a few minutes on one core; with names behind it,
only these.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from dcgan_core.config import RECIPES, Config
from dcgan_core.data import Dataset, unscale
from dcgan_core.data.scenes import render
from dcgan_core.data.untidy import page_of_text, screenshot
from dcgan_core.laboratory.amounts import judge_of
from dcgan_core.laboratory.studies import train_or_go_on
from dcgan_core.report.examination import nearest
from dcgan_core.runs.folder import CHECKPOINT
from dcgan_core.runtime import choose_machine
from dcgan_core.teaching.packed import packed, unpacked
from dcgan_core.train import draw_latents, load_state, read_metrics, sample

RECORD = Path(__file__).with_suffix(".json")
TRAINING_SEED, HELD_OUT_SEED = 50, 51
NUM_SHOWN = 24
NUM_MEASURED = 1_000
NUM_LINES = 6  # of a log
COLUMNS = 8


@dataclass(frozen=True)
class Unknown:
    """A run, and what is wrong with it."""

    cause: str  # one of chapter_18.CAUSES
    num_scenes: int
    total_images: int
    num_others: int = 0  # images of a second kind among the scenes
    rate_factor: float = 1.0  # on both learning rates


RUNS = {
    "A": Unknown("the rates are too high", 1_000, 12_000, rate_factor=20.0),
    "B": Unknown("too few images", 64, 48_000),
    "C": Unknown("two kinds of pictures", 600, 20_000, num_others=400),
    "D": Unknown("stopped too early", 1_000, 7_000),
}


def images_of(run: Unknown, seed: int) -> Tensor:
    """uint8 (N, 3, 32, 32), in random order: scenes and, where they are asked for, pages of text and screenshots."""
    scenes = torch.from_numpy(render(run.num_scenes, image_size=32, seed=seed).images)
    if not run.num_others:
        return scenes
    random = Random(seed)
    pictures = [random.choice((page_of_text, screenshot))(random) for _ in range(run.num_others)]
    squares = [np.asarray(ImageOps.fit(picture.convert("RGB"), (32, 32))) for picture in pictures]
    both = torch.cat([scenes, torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)])
    return both[torch.randperm(len(both), generator=torch.Generator().manual_seed(seed))]


def run_config(run: Unknown) -> Config:
    rates = ("generator_learning_rate", "discriminator_learning_rate")
    changed = {name: run.rate_factor * getattr(Config(), name) for name in rates}
    every = run.total_images // NUM_LINES
    return replace(
        Config(),
        **RECIPES["default"],
        **changed,
        data="pictures",
        image_size=32,
        channels=3,
        held_out=0.0,
        total_images=run.total_images,
        log_every_images=every,
        evaluate_every_images=every,
        checkpoint_every_images=run.total_images,
        sample_every_images=run.total_images,
    )


def played(run: Unknown) -> dict[str, Any]:
    """Trains the run, and returns what the reader is shown."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    pixels, config = images_of(run, TRAINING_SEED), run_config(run)
    judge = judge_of(pixels, images_of(run, HELD_OUT_SEED) if run.num_others else None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        machine = choose_machine("cpu", "bfloat16")
        train_or_go_on(folder, config, machine, Dataset("pictures", pixels, None, ()), judge)
        lines = read_metrics(folder)
        made_by = json.loads((folder / "provenance.json").read_text())
        found: dict[str, Any] = {}
        if (folder / CHECKPOINT).exists():
            state = load_state(folder, choose_machine("cpu", "float32"))
            images = sample(state.sampler, draw_latents(NUM_MEASURED, config.latent_size, seed=1))
            report = judge.full_report(images)
            found = {name: report[name] for name in ("frechet_distance", "copies", "real_copies", "recall")}
            near = nearest(images, Dataset("pictures", pixels, None, ()))
            found |= {
                "samples": as_text(unscale(images[:NUM_SHOWN])),
                "nearest": as_text(near.images),
                "shares": near.shares,
            }
    lines = [{key: line.get(key) for key in SHOWN} for line in lines]
    return {
        "num_images": len(pixels),
        "training": as_text(pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:COLUMNS]]),
        "metrics": lines,
        **found,
        "config": config.to_dict(),
        "provenance": made_by,
    }


SHOWN = ("images", "discriminator_loss", "generator_loss", "frechet_distance", "seconds")


def as_text(pixels: Tensor) -> str:
    """Images, uint8 (N, 3, S, S), as the text of a picture of one row."""
    return packed(torch.cat(list(pixels), dim=2).permute(1, 2, 0).contiguous().numpy())


def images_in(text: str) -> Tensor:
    """The images, uint8 (N, 3, S, S), that `as_text` made a row of."""
    row = unpacked(text)
    size = len(row)
    return torch.from_numpy(row).reshape(size, -1, size, 3).permute(1, 3, 0, 2)


def unknown_run(name: str) -> dict[str, Any]:
    """The recorded run A, B, C or D."""
    return json.loads(RECORD.read_text(encoding="utf-8"))[name]


if __name__ == "__main__":
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name in sys.argv[1:] or RUNS:
        record[name] = played(RUNS[name])
        summary = {key: value for key, value in record[name].items() if isinstance(value, (int, float))}
        print(name, RUNS[name].cause, summary, flush=True)
        RECORD.write_text(json.dumps(record, separators=(",", ":")) + "\n")
