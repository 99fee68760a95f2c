"""Makes the classifiers that ship with the package: `python -m dcgan_core.metrics.make_weights letters`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from safetensors.torch import save_file
from tyro.conf import Positional

from dcgan_core.data import load, scale
from dcgan_core.metrics.classifiers import non_classes, train_classifier
from dcgan_core.metrics.distances import RECOGNISED_AT
from dcgan_core.metrics.features import WEIGHTS, accuracy, measure, shipped_classifier
from dcgan_core.runtime import choose_machine, provenance

TRAINING_IMAGES = 160_000  # shown to a shipped classifier; a third more than to one that a reader waits for


def make_weights(
    data: Positional[Literal["letters", "digits", "mnist", "fashion-mnist"]] = "letters", root: Path = Path("data")
) -> dict[str, Any]:
    """Trains the classifier that the package ships for a data set, and writes it as float16 with a report beside it.

    Args:
        data: What it is to know.
        root: Folder that downloaded data sets are kept in.
    """
    name = "glyphs" if data == "letters" else data
    train, test = load(name, root=root, split="train"), load(name, root=root, split="test")
    assert train.labels is not None
    classifier = train_classifier(
        train.images, train.labels, num_classes=len(train.class_names), total_images=TRAINING_IMAGES
    )
    WEIGHTS.mkdir(exist_ok=True)
    halves = {
        key: value.half() if value.is_floating_point() else value for key, value in classifier.state_dict().items()
    }
    save_file(halves, WEIGHTS / f"{data}.safetensors")
    made = shipped_classifier(name)
    _, real = measure(made, scale(test.images))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        _, none = measure(made, non_classes(scale(test.images)))
    report = {
        "accuracy_on_held_out_images": accuracy(made, test),
        "held_out_images_recognised": float((real.amax(1) >= RECOGNISED_AT).float().mean()),
        "non_class_images_recognised": float((none.amax(1) >= RECOGNISED_AT).float().mean()),
        "num_held_out_images": len(test.images),
        "num_parameters": sum(parameter.numel() for parameter in classifier.parameters()),
    } | provenance(choose_machine())
    report["command"] = f"python -m dcgan_core.metrics.make_weights {data}"
    (WEIGHTS / f"{data}.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


if __name__ == "__main__":
    print(json.dumps(tyro.cli(make_weights, prog="python -m dcgan_core.metrics.make_weights"), indent=2))
