"""Images to feature vectors and class probabilities, with the classifier that belongs to their data set.

The classifiers of letters, digits, MNIST and Fashion-MNIST ship with the package, so a score means the same on every
machine. Other labelled data sets get one of their own, trained once in a minute or two and kept beside the data. Data
without labels are measured with the network of `general`, which ships, too, and knows no classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dcgan_core.data import NAMES, Dataset, scale
from dcgan_core.metrics.classifiers import NUM_FEATURES, Classifier, train_classifier
from dcgan_core.metrics.door import check_images
from dcgan_core.metrics.general import General, general

GENERAL_NAME = "general features"
MOST_AT_A_TIME = 128  # images: more are slower on a CPU, whose caches their maps do not fit into
VALUES_AT_A_TIME = 2**21  # of all their pixels: 8 MB of floats, and some times as much inside of a network
WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = {"glyphs": "letters", "digits": "digits", "mnist": "mnist", "fashion-mnist": "fashion-mnist"}  # name to file
STACKED = {"stacked-digits": "digits", "stacked-mnist": "mnist"}  # whose images are the three channels


class StackedClassifier(nn.Module):
    """Judges each of three channels with the same grey classifier: its 10 digits make 1,000 classes.

    The class of an image is 100 a + 10 b + c for the digits a, b, c of its channels, as in the stacked-digits protocol
    (Metz et al. 2017, arXiv:1611.02163, section 3.3.1); its probability is the product of the three.
    """

    def __init__(self, single: Classifier) -> None:
        super().__init__()
        self.single = single
        self.num_classes = single.num_classes**3

    def features(self, images: Tensor) -> Tensor:
        """The penultimate layers of the three channels side by side, (B, 192)."""
        return torch.cat([self.single.features(channel) for channel in images.split(1, dim=1)], dim=1)

    def head(self, features: Tensor) -> Tensor:
        """Logarithms of the class probabilities, (B, 1000), from features (B, 192)."""
        a, b, c = (self.single.head(part).log_softmax(dim=1) for part in features.split(NUM_FEATURES, dim=1))
        return (a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]).flatten(1)  # (B, 1000)


Measuring: TypeAlias = Classifier | StackedClassifier | General
"""A network with `features` and a `head` that makes class logits of them."""


def measure(classifier: Measuring, images: Tensor, *, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """Features (N, F) and class probabilities (N, num_classes) of images (N, C, S, S) in [-1, 1]; F is 64, 192 or 248.

    The work is done where the classifier is; the images may be elsewhere. Both results are on the CPU: they are small,
    and what is computed from them in float64 takes milliseconds there. Raises `InvalidInput` for other images. Waits
    for the device.
    """
    check_images(images)
    return _measured(classifier, iter(images.split(chunk or _at_a_time(images))))


def measure_pixels(classifier: Measuring, pixels: Tensor, *, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """`measure` of a data set's images, uint8 (N, C, S, S): only `chunk` of them are ever floats, to save memory."""
    return _measured(classifier, (scale(part) for part in pixels.split(chunk or _at_a_time(pixels))))


def _at_a_time(images: Tensor) -> int:
    """How many images (N, C, S, S) a network is shown together: few where they are large."""
    return max(1, min(MOST_AT_A_TIME, VALUES_AT_A_TIME // images[0].numel()))


@torch.no_grad()
def _measured(classifier: Measuring, parts: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    classifier.eval()
    device = next(classifier.parameters()).device
    if device.type == "cpu":  # there, convolutions are faster with a pixel's channels side by side
        classifier.to(memory_format=torch.channels_last)
    with full_float32() if device.type == "cuda" else nullcontext():
        features = torch.cat([classifier.features(part.to(device)) for part in parts])
        return features.cpu(), classifier.head(features).softmax(dim=1).cpu()


@contextmanager
def full_float32() -> Iterator[None]:
    """Inside, a CUDA device multiplies all 24 bits of a float32, and not the first 11 of them (TF32), as in training.

    So a small distance is not drowned by rounding, and means the same on every device. Nor are the fastest kernels
    searched for, which would take longer than these few calls.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32 = cudnn.allow_tf32 = cudnn.benchmark = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


def is_shipped(name: str) -> bool:
    """True if the data set of this name is judged by a classifier that comes with the package."""
    name = STACKED.get(name, name)
    return name in SHIPPED and (WEIGHTS / f"{SHIPPED[name]}.safetensors").exists()


def shipped_classifier(name: str) -> Classifier | StackedClassifier:
    """The classifier that comes with the package for the data set `name`; `make_weights` made it."""
    if name in STACKED:
        single = shipped_classifier(STACKED[name])
        assert isinstance(single, Classifier)
        return StackedClassifier(single).eval()
    tensors = load_file(WEIGHTS / f"{SHIPPED[name]}.safetensors")
    classifier = Classifier(channels=1, num_classes=len(tensors["head.bias"]))
    classifier.load_state_dict({key: value.float() for key, value in tensors.items()})
    return classifier.eval()


def letter_classifier() -> Classifier:
    """The classifier of capital letters that ships with the package."""
    classifier = shipped_classifier("glyphs")
    assert isinstance(classifier, Classifier)
    return classifier


def classifier_for(dataset: Dataset, cache: Path) -> tuple[Measuring, str]:
    """The classifier that measures images of this kind, and what to call it in a report.

    Shipped ones where there are any. Other labelled data: trained on `dataset` and kept in `cache`, under a name that
    changes with the data. No labels: the network of `general`, whose one class means nothing.
    """
    name = "letter classifier" if dataset.name == "glyphs" else f"{dataset.name} classifier"
    if is_shipped(dataset.name):
        return shipped_classifier(dataset.name), name
    channels = dataset.images.shape[1]
    if dataset.labels is None:
        return general(), GENERAL_NAME
    path = cache / f"classifier-{_fingerprint(dataset)}-{dataset.images.shape[-1]}x{channels}.safetensors"
    classifier = Classifier(channels=channels, num_classes=len(dataset.class_names))
    try:
        classifier.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):  # absent, cut short by a kill, or of another shape: made again
        classifier = train_classifier(dataset.images, dataset.labels, num_classes=len(dataset.class_names))
        cache.mkdir(parents=True, exist_ok=True)
        save_file(classifier.state_dict(), path)
    return classifier.eval(), name


def _fingerprint(dataset: Dataset) -> str:
    """The name of a data set from elsewhere, or what tells a folder from another, and from itself before a change."""
    if dataset.name in NAMES:
        return dataset.name
    assert dataset.labels is not None
    found = xxhash.xxh3_64("\0".join((dataset.name, *dataset.class_names)).encode("utf-8", "surrogateescape"))
    for tensor in (dataset.labels, dataset.images):
        for part in tensor.split(1_000):
            found.update(part.contiguous().numpy().data)
    return found.hexdigest()


def accuracy(classifier: Measuring, dataset: Dataset) -> float:
    """Share of a labelled data set's images whose most probable class is the right one."""
    assert dataset.labels is not None
    _, probabilities = measure_pixels(classifier, dataset.images)
    return float((probabilities.argmax(dim=1) == dataset.labels).float().mean())
