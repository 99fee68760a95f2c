"""Images to feature vectors and class probabilities: the book's small classifier.

The letter classifier ships with the package, so a score means the same on every machine. Other labelled data sets get
a classifier of their own, trained once in about a minute and kept beside the data. Data without labels are measured
with the same network at random weights, which sees edges and textures but knows no classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate, log_softmax
from tqdm import tqdm

from dcgan_core.data import Dataset, load, scale
from dcgan_core.runtime import choose_machine, provenance

CLASSIFIER_SIZE = 32  # pixels; every image is brought to this size before it is measured
NUM_FEATURES = 64
LETTER_WEIGHTS = Path(__file__).parent / "weights" / "letters.safetensors"
NON_CLASS_WEIGHT = 0.3  # of the non-class term in the training loss


class Classifier(nn.Module):
    """A small convolutional classifier of images (B, C, S, S) in [-1, 1] of any size, grey or colour.

    With `channels` 1 it looks at grey images only and converts colour ones. Contrast is stretched to the full range,
    so that a dim letter is the same letter.
    """

    def __init__(self, *, channels: int, num_classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.num_classes = num_classes

        def block(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

        self.body = nn.Sequential(
            *block(channels, 16),
            nn.MaxPool2d(2),  # (B, 16, 16, 16)
            *block(16, 32),
            nn.MaxPool2d(2),  # (B, 32, 8, 8)
            *block(32, 64),
            nn.MaxPool2d(2),  # (B, 64, 4, 4)
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, NUM_FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """The penultimate layer, (B, 64)."""
        return self.body(self._prepare(images))

    def forward(self, images: Tensor) -> Tensor:
        """Class logits, (B, num_classes)."""
        return self.head(self.features(images))

    def _prepare(self, images: Tensor) -> Tensor:
        if self.channels == 1 and images.shape[1] == 3:
            images = images.mean(dim=1, keepdim=True)
        if images.shape[-1] != CLASSIFIER_SIZE:
            images = interpolate(images, CLASSIFIER_SIZE, mode="bilinear", antialias=True, align_corners=False)
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return 2 * (images - low) / (high - low).clamp(min=0.5) - 1  # the clamp keeps a blank image blank


@torch.no_grad()
def measure(classifier: Classifier, images: Tensor, *, chunk: int = 500) -> tuple[Tensor, Tensor]:
    """Features (N, 64) and class probabilities (N, num_classes) of images (N, C, S, S) in [-1, 1]."""
    classifier.eval()
    device = next(classifier.parameters()).device
    features = torch.cat([classifier.features(part.to(device)) for part in images.split(chunk)])
    return features.cpu(), classifier.head(features).softmax(dim=1).cpu()


def imperfect(images: Tensor) -> Tensor:
    """The same images (B, C, S, S), each bent by up to about 1.5 pixels in 32, dimmed to 60 to 100%, and made noisy.

    Bending is a smooth random displacement, as in Simard et al. 2003 (doi:10.1109/ICDAR.2003.1227801). The noise has a
    standard deviation of 0 to 0.2. The first third of the images is as coarse as if it had half as many pixels a side,
    so that small images, which are enlarged before they are judged, are judged as fairly as large ones.
    """
    num_images = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(num_images, 1, 1, 1).uniform_(low, high)

    bend = torch.randn(num_images, 2, 4, 4) * uniform(0, 1.5) * 2 / CLASSIFIER_SIZE  # the image spans -1 to 1
    bend = interpolate(bend, images.shape[-2:], mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    here = affine_grid(torch.eye(2, 3).expand(num_images, 2, 3), list(images.shape), align_corners=False)
    bent = grid_sample(images + 1, (here + bend).to(images.device), align_corners=False)  # 0 outside is black
    noise = torch.randn(images.shape) * uniform(0, 0.2)
    worn = (bent * uniform(0.6, 1).to(images.device) - 1 + noise.to(images.device)).clamp(-1, 1)
    coarse, fine = worn.tensor_split([num_images // 3])
    if len(coarse):
        coarse = interpolate(coarse, scale_factor=0.5, mode="bilinear", antialias=True, align_corners=False)
        coarse = interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([coarse, fine])


def non_classes(images: Tensor) -> Tensor:
    """As many images again that are of no class: pairs of images laid over each other, and smooth noise.

    A classifier that has never seen such images calls over half of the pairs a letter with a confidence above 0.9, and
    would flatter every generator. `images` is (B, C, S, S) in random order.
    """
    first, last = images.chunk(2)
    size = images.shape[-1]
    cells = size // 2 ** int(torch.randint(0, 4, ()))  # grains of noise along a side
    grains = torch.rand(len(last), images.shape[1], cells, cells) * 2 - 1
    noise = interpolate(grains, size, mode="bilinear", align_corners=False).to(images.device)
    return torch.cat([torch.maximum(first, images.roll(1, 0)[: len(first)]), noise])


def train_classifier(
    images: Tensor, labels: Tensor, *, num_classes: int, epochs: int = 8, seed: int = 0, progress: bool = True
) -> Classifier:
    """Trains a classifier on uint8 images (N, C, S, S) and labels (N,); the 20,000 letters take about a minute.

    Images are made `imperfect`, so that a bent or blotchy one is still recognised, and the classifier is taught to be
    unsure about `non_classes` (outlier exposure: Hendrycks et al. 2019, arXiv:1812.04606, equation 1, with the uniform
    distribution as target).
    """
    machine = choose_machine()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = Classifier(channels=images.shape[1], num_classes=num_classes).to(machine.device).train()
        batch_size = 100
        steps = len(images) // batch_size * epochs
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        with tqdm(desc="training the classifier", total=steps * batch_size, unit="img", disable=not progress) as bar:
            for _ in range(epochs):
                for chosen in torch.randperm(len(images)).split(batch_size)[: steps // epochs]:
                    real = imperfect(scale(images[chosen]).to(machine.device))
                    others = non_classes(real)[torch.randperm(batch_size)[: batch_size // 3]]
                    with machine.autocast():
                        logits = classifier(torch.cat([real, others])).float()
                    loss = cross_entropy(logits[:batch_size], labels[chosen].to(machine.device))
                    loss = loss - NON_CLASS_WEIGHT * log_softmax(logits[batch_size:], dim=1).mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    bar.update(batch_size)
    return classifier.cpu().eval()


def letter_classifier() -> Classifier:
    """The classifier of capital letters that ships with the package (made by `python -m dcgan_core.features`)."""
    classifier = Classifier(channels=1, num_classes=26)
    classifier.load_state_dict({name: value.float() for name, value in load_file(LETTER_WEIGHTS).items()})
    return classifier.eval()


def classifier_for(dataset: Dataset, cache: Path) -> tuple[Classifier, str]:
    """The classifier that measures images of this kind, and what to call it in a report.

    glyphs: the shipped one. Other labelled data: trained on `dataset` and kept in `cache`. No labels: random weights
    (seed 0), whose features see edges and textures but whose class probabilities mean nothing; it has 1 class.
    """
    if dataset.name == "glyphs":
        return letter_classifier(), "letter classifier"
    channels = dataset.images.shape[1]
    if dataset.labels is None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Classifier(channels=channels, num_classes=1).eval(), "random convolutions"
    path = cache / f"classifier-{dataset.name}-{dataset.images.shape[-1]}x{channels}.safetensors"
    classifier = Classifier(channels=channels, num_classes=len(dataset.class_names))
    try:
        classifier.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):  # absent, cut short by a kill, or of another shape: made again
        classifier = train_classifier(dataset.images, dataset.labels, num_classes=len(dataset.class_names))
        cache.mkdir(parents=True, exist_ok=True)
        save_file(classifier.state_dict(), path)
    return classifier.eval(), f"{dataset.name} classifier"


def accuracy(classifier: Classifier, dataset: Dataset) -> float:
    """Share of a labelled data set's images whose most probable class is the right one."""
    assert dataset.labels is not None
    _, probabilities = measure(classifier, scale(dataset.images))
    return float((probabilities.argmax(dim=1) == dataset.labels).float().mean())


def _make_letter_weights() -> dict[str, Any]:
    """Trains the shipped classifier and writes it, as float16, with a report beside it."""
    train, test = load("glyphs", split="train"), load("glyphs", split="test")
    assert train.labels is not None
    classifier = train_classifier(train.images, train.labels, num_classes=26)
    LETTER_WEIGHTS.parent.mkdir(exist_ok=True)
    halves = {
        name: value.half() if value.is_floating_point() else value for name, value in classifier.state_dict().items()
    }
    save_file(halves, LETTER_WEIGHTS)
    _, real = measure(letter_classifier(), scale(test.images))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        _, none = measure(letter_classifier(), non_classes(scale(test.images)))
    report = {
        "accuracy_on_held_out_letters": accuracy(letter_classifier(), test),
        "held_out_letters_recognised": float((real.amax(1) >= 0.9).float().mean()),
        "non_letters_recognised": float((none.amax(1) >= 0.9).float().mean()),
        "num_held_out_letters": len(test.images),
        "num_parameters": sum(parameter.numel() for parameter in classifier.parameters()),
    } | provenance(choose_machine())
    report["command"] = "python -m dcgan_core.features"
    LETTER_WEIGHTS.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    return report


if __name__ == "__main__":
    print(json.dumps(_make_letter_weights(), indent=2))
