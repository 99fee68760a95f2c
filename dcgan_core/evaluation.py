"""A generator and a data set to the numbers of one report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Dataset, load, scale
from dcgan_core.features import Classifier, classifier_for, measure
from dcgan_core.metrics import Moments, coverage, frechet_distance, moments


@dataclass(frozen=True)
class Judge:
    """The classifier and the reference moments that every generator of one data set is measured with."""

    classifier: Classifier
    classifier_name: str
    reference: Moments  # of held-out real images, where the data set has a held-out part
    num_reference: int
    num_classes: int  # 0 without labels

    def report(self, images: Tensor) -> dict[str, Any]:
        """Measures generated images (N, C, S, S) in [-1, 1]; the numbers depend on N, so N is part of the report."""
        features, probabilities = measure(self.classifier, images)
        found = coverage(probabilities)
        return {
            "frechet_distance": frechet_distance(moments(features), self.reference),
            "classes_covered": found.classes_covered if self.num_classes else None,
            "recognised": found.recognised if self.num_classes else None,
            "class_counts": found.class_counts if self.num_classes else None,
            "num_classes": self.num_classes or None,
            "num_samples": len(images),
            "num_reference": self.num_reference,
            "features": self.classifier_name,
        }


def judge_for(config: Config) -> Judge:
    """Loads the classifier and the held-out part of the config's data set (of a folder, which has none, all images)."""

    def part(split: str) -> Dataset:
        return load(
            *(config.data,),
            image_size=config.image_size,
            channels=config.channels,
            root=config.data_root,
            split=split,
            seed=config.seed,
        )

    held_out = part("test")
    needs_training = held_out.labels is not None and held_out.name != "glyphs"
    dataset = part("train") if needs_training else held_out
    classifier, name = classifier_for(dataset, Path(config.data_root) / "classifiers")
    if len(held_out.images) < 2:
        raise InvalidInput(f"the data set {config.data!r} has one image; a distribution needs at least two.")
    features, _ = measure(classifier, scale(held_out.images))
    return Judge(classifier, name, moments(features), len(held_out.images), len(held_out.class_names))
