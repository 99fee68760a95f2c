"""A generator and a data set to the numbers of one report."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Dataset, load, scale
from dcgan_core.metrics.classifiers import Classifier
from dcgan_core.metrics.distances import Moments, class_divergence, coverage, frechet_distance, kernel_distance, moments
from dcgan_core.metrics.features import StackedClassifier, classifier_for, is_shipped, measure
from dcgan_core.metrics.inception import inception
from dcgan_core.metrics.neighbours import one_nn_accuracy, precision_recall

NUM_SUBSETS = 10  # of the kernel distance
ENOUGH_PER_CLASS = 100  # images: with fewer, a classifier that is made for them knows them by heart
MIN_COMPARED = 4  # images: two subsets of two, and three neighbours


@dataclass(frozen=True)
class Judge:
    """The classifier and the reference that every generator of one data set is measured with."""

    classifier: Classifier | StackedClassifier
    features_name: str
    reference: Moments
    reference_features: Tensor  # (N, F), in random order, of held-out real images, where there is a held-out part
    num_classes: int  # 0 without labels
    embed: Callable[[Tensor], Tensor] | None = None  # images to features, in place of the classifier's

    @property
    def num_reference(self) -> int:
        """Real images that generated ones are compared with."""
        return len(self.reference_features)

    def to(self, device: torch.device) -> Judge:
        """The same judge with its classifier on the device, so that images made there can stay there."""
        if next(self.classifier.parameters()).device == device:
            return self
        return replace(self, classifier=copy.deepcopy(self.classifier).to(device))

    def report(self, images: Tensor) -> dict[str, Any]:
        """What is quick to measure of generated images (N, C, S, S) in [-1, 1]: enough to follow a training.

        The numbers depend on N, so N is part of the report.
        """
        return self._report(*self.measure(images))

    def full_report(self, images: Tensor) -> dict[str, Any]:
        """`report`, and what takes seconds: kernel distance, precision, recall, nearest-neighbour accuracy.

        These compare as many generated images as real ones, `num_compared` of each; they are None for fewer than 4.
        """
        features, probabilities = self.measure(images)
        num_compared = min(len(features), self.num_reference)
        real, fake = self.reference_features[:num_compared], features[:num_compared]
        found: dict[str, Any] = dict.fromkeys(("kid", "kid_error", "precision", "recall", "one_nn_accuracy"))
        if num_compared >= MIN_COMPARED:
            kid = kernel_distance(real, fake, num_subsets=min(NUM_SUBSETS, num_compared // 2))
            found |= {"kid": kid.value, "kid_error": kid.error}
            found |= precision_recall(real, fake)._asdict()
            found |= {"one_nn_accuracy": one_nn_accuracy(real, fake)}
        return self._report(features, probabilities) | found | {"num_compared": num_compared}

    def measure(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, F) and class probabilities (N, classes) of images (N, C, S, S) in [-1, 1]."""
        features, probabilities = measure(self.classifier, images)
        return features if self.embed is None else self.embed(images), probabilities

    def _report(self, features: Tensor, probabilities: Tensor) -> dict[str, Any]:
        found = coverage(probabilities)
        some = self.num_classes and found.recognised > 0
        return {
            "frechet_distance": frechet_distance(moments(features), self.reference),
            "classes_covered": found.classes_covered if self.num_classes else None,
            "recognised": found.recognised if self.num_classes else None,
            "class_divergence": class_divergence(found.class_counts) if some else None,
            "class_counts": found.class_counts if self.num_classes else None,
            "num_classes": self.num_classes or None,
            "num_samples": len(features),
            "num_reference": self.num_reference,
            "features": self.features_name,
        }


def judge_for(
    config: Config, *, features: Literal["book", "inception"] = "book", device: torch.device | str = "cpu"
) -> Judge:
    """Loads the classifier and the held-out part of the config's data set (of a folder, which has none, all images).

    Distances are taken in the features of that classifier, or of Inception; classes are always the classifier's, which
    works on `device`.
    """

    def part(split: Literal["train", "test"]) -> Dataset:
        return load(
            name=config.data,
            image_size=config.image_size,
            channels=config.channels,
            root=config.data_root,
            split=split,
            seed=config.seed,
            fit=config.fit,
            held_out=config.held_out,
            say=False,
        )

    embed = inception() if features == "inception" else None  # first: what is missing should be said soon
    held_out = part("test")
    if len(held_out.images) < 2:
        raise InvalidInput(f"the data set {config.data!r} has one image; a distribution needs at least two.")
    needs_training = held_out.labels is not None and not is_shipped(held_out.name)
    dataset = part("train") if needs_training else held_out
    if needs_training and (few := fewest_per_class(dataset)) < ENOUGH_PER_CLASS:
        warnings.warn(
            f"a class of {dataset.name} has {few} images to learn from, fewer than {ENOUGH_PER_CLASS}: samples are "
            "measured without classes.",
            stacklevel=2,
        )
        held_out = dataset = held_out.without_labels()
    classifier, name = classifier_for(dataset, Path(config.data_root) / "classifiers")
    classifier = classifier.to(device)
    images = scale(held_out.images[_random_order(len(held_out.images))])
    reference = measure(classifier, images)[0] if embed is None else embed(images)
    name = name if embed is None else "inception"
    return Judge(classifier, name, moments(reference), reference, len(held_out.class_names), embed)


def fewest_per_class(dataset: Dataset) -> int:
    """Images of the rarest class of a labelled data set."""
    assert dataset.labels is not None
    return int(dataset.labels.bincount(minlength=len(dataset.class_names)).min())


def _random_order(length: int) -> Tensor:
    """A permutation, always the same: the images of some data sets are sorted, and comparisons take the first ones."""
    return torch.randperm(length, generator=torch.Generator().manual_seed(0))
