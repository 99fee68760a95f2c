"""The book's small classifier of images: the network, and how it is trained to be sure only of what it has seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate, log_softmax
from tqdm import tqdm

from dcgan_core.data import scale
from dcgan_core.runtime import choose_machine

CLASSIFIER_SIZE = 32  # pixels; every image is brought to this size before it is measured
NUM_FEATURES = 64
NON_CLASS_WEIGHT = 0.3  # of the non-class term in the training loss
TRAINING_IMAGES = 100_000  # shown in one training, whatever the size of the data set: about a minute on one core


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
    images: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    total_images: int = TRAINING_IMAGES,
    seed: int = 0,
    progress: bool = True,
) -> Classifier:
    """Trains a classifier on uint8 images (N, C, S, S) and labels (N,), N at least 2, by showing it `total_images`.

    Images are made `imperfect`, so that a bent or blotchy one is still recognised, and the classifier is taught to be
    unsure about `non_classes` (outlier exposure: Hendrycks et al. 2019, arXiv:1812.04606, equation 1, with the uniform
    distribution as target).
    """
    machine = choose_machine()
    batch_size = min(100, len(images))
    steps_per_epoch = len(images) // batch_size
    steps = total_images // batch_size
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = Classifier(channels=images.shape[1], num_classes=num_classes).to(machine.device).train()
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        with tqdm(desc="training the classifier", total=steps * batch_size, unit="img", disable=not progress) as bar:
            for step in range(steps):
                if step % steps_per_epoch == 0:
                    batches = torch.randperm(len(images)).split(batch_size)
                chosen = batches[step % steps_per_epoch]
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
