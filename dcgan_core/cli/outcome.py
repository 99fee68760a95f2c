"""The commands that use what was trained: sample, evaluate, export."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torchvision.utils import save_image
from tyro.conf import Positional

from dcgan_core.cli.flags import Run, Which
from dcgan_core.config import InvalidInput
from dcgan_core.data import unscale
from dcgan_core.metrics import judge_for
from dcgan_core.recorded import export as export_run
from dcgan_core.runtime import Device, choose_machine, refuse_too_large
from dcgan_core.train import BEST, State, draw_latents, load_state
from dcgan_core.train import sample as sample_images


def sample(
    run: Positional[Run],
    out: Path,
    num_images: int = 64,
    seed: int = 0,
    checkpoint: Which = "auto",
    device: Device = "auto",
) -> None:
    """Draw images from a trained generator into one picture.

    Example: python -m dcgan_core sample runs/first --num-images 64 --out grid.png

    Args:
        out: Picture to write, for example grid.png.
        num_images: Images in the picture, in rows of equal length.
        seed: Seed of the latents; another seed gives other images.
        checkpoint: The best so far (lowest frechet_distance) or the last; auto is the best where there is one.
        device: Where to compute; auto takes a GPU if there is one.
    """
    if num_images < 1:
        raise InvalidInput(f"num_images is {num_images}, but must be 1 or more.")
    state, _ = _load(run, checkpoint, device)
    images = _draw("num_images", num_images, state, seed)
    try:
        save_image(unscale(images).float() / 255, out, nrow=math.ceil(math.sqrt(num_images)), padding=0)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot write the picture {str(out)!r} ({error}): use a name such as grid.png.") from error
    print(out)


def evaluate(
    run: Positional[Run],
    num_samples: int = 2_000,
    seed: int = 0,
    features: Literal["book", "inception"] = "book",
    checkpoint: Which = "auto",
    device: Device = "auto",
) -> None:
    """Measure a trained generator and print one JSON object.

    frechet_distance and kid: distances of the samples to held-out images, in the features of a small classifier (0 is
    equal). precision: share of the samples that look like held-out images. recall: share of the held-out images that
    look like samples. one_nn_accuracy: how often the nearest neighbour tells the two apart (0.5 is by chance).
    classes_covered: classes of which at least one sample is recognised. recognised: share of the samples that the
    classifier is sure of (probability at least 0.9). class_divergence: how unevenly these hit the classes (0 is
    evenly). Data without labels have no classes.

    Example: python -m dcgan_core evaluate runs/first

    Args:
        num_samples: Samples to draw; numbers compare only at the same number of samples.
        seed: Seed of the latents.
        features: Whose features: the book's small classifiers, or Inception as in published scores, which needs
            pip install 'dcgan-core[metrics]' and a download, and is slow without a GPU.
        checkpoint: The best so far (lowest frechet_distance) or the last; auto is the best where there is one.
        device: Where to compute; auto takes a GPU if there is one.
    """
    if num_samples < 2:
        raise InvalidInput(f"num_samples is {num_samples}, but must be 2 or more.")
    state, which = _load(run, checkpoint, device)
    images = _draw("num_samples", num_samples, state, seed)
    report = judge_for(state.config, features=features).full_report(images)
    facts = {"run": str(run), "checkpoint": which, "images_seen": state.images}
    print(json.dumps({**facts, **report, "seed": seed}, indent=2))


def export(run: Positional[Run], out: Path) -> None:
    """Write a small copy of a finished run, to publish: weights in half precision, samples over time, a model card.

    Example: python -m dcgan_core export runs/first --out first-recorded

    Args:
        out: New folder for the copy.
    """
    export_run(run, out)
    print(out)


def _load(run: Path, checkpoint: Which, device: Device) -> tuple[State, str]:
    """The state that was asked for, and which it is."""
    if checkpoint == "auto":
        checkpoint = "best" if (run / BEST).exists() else "last"
    state = load_state(run, choose_machine(device), checkpoint=checkpoint)
    print(f"the {checkpoint} checkpoint, at {state.images:,} images", file=sys.stderr)
    return state, checkpoint


def _draw(name: str, number: int, state: State, seed: int) -> Tensor:
    """So many images, unless the field `name` asks for more than memory holds."""
    config = state.config
    if not 0 <= seed < 2**32:
        raise InvalidInput(f"seed is {seed}, but must be from 0 to 4294967295.")
    num_bytes = 4 * number * (config.latent_size + 3 * config.num_channels * config.image_size**2)
    refuse_too_large(f"{name} is {number}", num_bytes, torch.device("cpu"))
    return sample_images(state.sampler, draw_latents(number, config.latent_size, seed=seed))
