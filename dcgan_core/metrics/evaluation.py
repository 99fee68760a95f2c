"""A generator and a data set to the numbers of one report."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import NAMES, Dataset, load_for, scale
from dcgan_core.metrics.copies import copies, thumbnails, thumbnails_of_pixels
from dcgan_core.metrics.distances import Moments, class_divergence, coverage, frechet_distance, kernel_distance, moments
from dcgan_core.metrics.features import GENERAL_NAME, Measuring, classifier_for, is_shipped, measure, measure_pixels
from dcgan_core.metrics.general import General, general
from dcgan_core.metrics.imagenet import imagenet, torchvision
from dcgan_core.metrics.inception import inception
from dcgan_core.metrics.neighbours import one_nn_accuracy, precision_recall

Features = Literal["book", "imagenet", "torchvision", "inception"]
EMBEDDINGS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "imagenet": lambda: imagenet(),
    "torchvision": lambda: torchvision(),
    "inception": lambda: inception(),
}
CHUNK = 1_000  # images that are floats at a time

NUM_SUBSETS = 10  # of the kernel distance
ENOUGH_PER_CLASS = 100  # images: with fewer, a classifier that is made for them knows them by heart
MIN_COMPARED = 4  # images: two subsets of two, and three neighbours
MANY = 1_000  # samples, or real images, from which on a Fréchet distance says more of the images than of their number
NUM_SPLITS = 5  # of the held-out images, for the distance between real ones; one where features are so many
MANY_FEATURES = 512  # that a distance takes seconds
MAX_TRAINING = 50_000  # images that are searched for copies
MAX_REFERENCE = 50_000  # real images that samples are compared with; more would change next to nothing


@dataclass(frozen=True)
class Judge:
    """The classifier and the reference that every generator of one data set is measured with."""

    classifier: Measuring
    features_name: str
    reference: Moments
    reference_features: Tensor  # (N, F), in random order, of held-out real images
    num_classes: int  # 0 without labels
    embed: General | Callable[[Tensor], Tensor] | None = None  # whose features count, if not the classifier's
    training: Tensor | None = None  # thumbnails (T, 64 C) of training images, among which copies are searched
    held_out: Tensor | None = None  # thumbnails (N, 64 C) of the reference
    trained_on: bool = False  # the reference is what the generator was trained on: a run with held_out 0

    @property
    def num_reference(self) -> int:
        """Real images that generated ones are compared with."""
        return len(self.reference_features)

    def to(self, device: torch.device) -> Judge:
        """The same judge with its classifier on the device, so that images made there can stay there."""
        if next(self.classifier.parameters()).device == device:
            return self
        embed = copy.deepcopy(self.embed).to(device) if isinstance(self.embed, General) else self.embed
        return replace(self, classifier=copy.deepcopy(self.classifier).to(device), embed=embed)

    def report(self, images: Tensor) -> dict[str, Any]:
        """What is quick to measure of generated images (N, C, S, S) in [-1, 1]: enough to follow a training.

        The numbers depend on N, so N is part of the report. How to read `frechet_distance`: held-out real images are at
        `real_distance` from one another, and the samples at `matched_distance` from the same ones, in equal numbers.
        Raises `InvalidInput` for other images, and for a single one.
        """
        return self._report(*self.measure(images))

    def report_of_parts(self, parts: Iterable[Tensor]) -> dict[str, Any]:
        """The same of images that are too many to be there at once."""
        measured = [self.measure(part) for part in parts]
        return self._report(*(torch.cat(both) for both in zip(*measured, strict=True)))

    def full_report(self, images: Tensor) -> dict[str, Any]:
        """`report`, and what takes seconds: kernel distance, precision, recall, nearest-neighbour accuracy, copies.

        The first four compare as many generated images as real ones, `num_compared` of each; they are None for fewer
        than 4. Copies of training images are searched if the judge knows any, else they are None: see `copies`.
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
        found |= {"num_compared": num_compared} | self._copies(images)
        return self._report(features, probabilities) | found

    def measure(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, F) and class probabilities (N, classes) of images (N, C, S, S) in [-1, 1]."""
        features, probabilities = measure(self.classifier, images)
        if isinstance(self.embed, General):
            features, _ = measure(self.embed, images)
        elif self.embed is not None:
            features = self.embed(images)
        return features, probabilities

    def _report(self, features: Tensor, probabilities: Tensor) -> dict[str, Any]:
        if len(features) < 2:
            raise InvalidInput("one image cannot be measured: a distribution needs at least 2, better 1,000.")
        found = coverage(probabilities)
        some = self.num_classes and found.recognised > 0
        return {
            "frechet_distance": frechet_distance(moments(features), self.reference),
            **self._scale(features),
            "classes_covered": found.classes_covered if self.num_classes else None,
            "recognised": found.recognised if self.num_classes else None,
            "class_divergence": class_divergence(found.class_counts) if some else None,
            "class_counts": found.class_counts if self.num_classes else None,
            "num_classes": self.num_classes or None,
            "num_samples": len(features),
            "num_reference": self.num_reference,
            "features": self.features_name,
            "caution": self._caution(len(features)),
        }

    def _scale(self, features: Tensor) -> dict[str, Any]:
        """Two distances that can be read side by side: of real images, and of as many samples, from the same others.

        The real images are half of the reference at most. Means over several random splits, always the same ones.
        """
        num_matched = min(len(features), self.num_reference // 2)
        if num_matched < 2:
            return {"real_distance": None, "matched_distance": None, "num_matched": None}
        real, matched = [], []
        for seed in range(1 if features.shape[1] > MANY_FEATURES else NUM_SPLITS):
            order = _random_order(self.num_reference, seed)
            others = moments(self.reference_features[order[num_matched:]])
            chosen = _random_order(len(features), seed)[:num_matched]
            real.append(frechet_distance(moments(self.reference_features[order[:num_matched]]), others))
            matched.append(frechet_distance(moments(features[chosen]), others))
        return {
            "real_distance": sum(real) / len(real),
            "matched_distance": sum(matched) / len(matched),
            "num_matched": num_matched,
        }

    def _caution(self, num_samples: int) -> str | None:
        """A sentence if the distance says more of the number of images, or of copying, than of quality, else None."""
        if self.trained_on:
            return (
                f"the samples are compared with {self.num_reference} images that the generator was trained on, so one "
                "that copies them scores best: hold some out (--held-out 0.1) to measure what it has learnt."
            )
        fewest = min((num_samples, "samples"), (self.num_reference, "held-out images"))
        if fewest[0] >= MANY:
            return None
        return (
            f"with {fewest[0]} {fewest[1]}, fewer than {MANY:,}, frechet_distance may say more of their number: "
            "read matched_distance beside real_distance, and kid, which does not depend on it."
        )

    def _copies(self, images: Tensor) -> dict[str, Any]:
        known, found = self.training, None
        if known is not None and self.held_out is not None:
            found = copies(thumbnails(images), known, self.held_out)
        return {
            "copies": None if found is None else found.share,
            "real_copies": None if found is None else found.real_share,
            "num_training": None if known is None else len(known),
        }


def judge_for(
    config: Config,
    *,
    features: Features = "book",
    device: torch.device | str = "cpu",
    training: bool = False,
) -> Judge:
    """Loads the classifier and the held-out part of the config's data set; with `training`, its training images, too.

    Distances are taken in the features of that classifier; of a folder's images, whether it has classes or not, in
    those of `general`; or, if asked for, in those of a network that was trained on photographs. Classes are always the
    classifier's, which works on `device`.
    """

    embed: General | Callable[[Tensor], Tensor] | None  # first: what is missing should be said soon
    embed = None if features == "book" else EMBEDDINGS[features]()
    held_out = load_for(config, "test", say=False)
    num_held_out = len(held_out.images)
    if num_held_out < 2:
        raise InvalidInput(f"the data set {config.data!r} has one held-out image; a distribution needs at least two.")
    needs_training = held_out.labels is not None and not is_shipped(held_out.name)
    train = load_for(config, "train", say=False) if needs_training or training else None
    if needs_training and train is not None and (few := fewest_per_class(train)) < ENOUGH_PER_CLASS:
        warnings.warn(
            f"a class of {train.name} has {few} images to learn from, fewer than {ENOUGH_PER_CLASS}: samples are "
            "measured without classes.",
            stacklevel=2,
        )
        held_out, needs_training = held_out.without_labels(), False
    classifier, name = classifier_for(
        train if needs_training and train is not None else held_out, Path(config.data_root) / "classifiers"
    )
    classifier = classifier.to(device)
    if embed is None and needs_training and config.data not in NAMES:
        embed, name = general().to(device), GENERAL_NAME  # a classifier of a few images is no measure of distances
    order = _random_order(num_held_out)[:MAX_REFERENCE]
    reference = _features(held_out.images, order, classifier, embed)
    known = None
    if train is not None and training:
        known = thumbnails_of_pixels(train.images, _random_order(len(train.images))[:MAX_TRAINING])
    return Judge(
        classifier=classifier,
        features_name=name if features == "book" else features,
        reference=moments(reference),
        reference_features=reference,
        num_classes=len(held_out.class_names),
        embed=embed,
        training=known,
        held_out=None if known is None else thumbnails_of_pixels(held_out.images, order),
        trained_on=config.data not in NAMES and not config.held_out,
    )


def fewest_per_class(dataset: Dataset) -> int:
    """Images of the rarest class of a labelled data set."""
    assert dataset.labels is not None
    return int(dataset.labels.bincount(minlength=len(dataset.class_names)).min())


def _features(
    pixels: Tensor, rows: Tensor, classifier: Measuring, embed: General | Callable[[Tensor], Tensor] | None
) -> Tensor:
    """Features of a data set's pixels in the order of these rows, a part at a time, so that memory stays near their own
    size.
    """

    def measured(part: Tensor) -> Tensor:
        if embed is None or isinstance(embed, General):
            return measure_pixels(classifier if embed is None else embed, part)[0]
        return embed(scale(part))

    if len(rows) == len(pixels) and (embed is None or isinstance(embed, General)):
        return measured(pixels)[rows]
    return torch.cat([measured(pixels[part]) for part in rows.split(CHUNK)])


def _random_order(length: int, seed: int = 0) -> Tensor:
    """A permutation, always the same: the images of some data sets are sorted, and comparisons take the first ones."""
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed))
