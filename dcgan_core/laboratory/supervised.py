"""A network that learns from the labelled images, and from others that it has to label itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from dcgan_core import models
from dcgan_core.config import Config
from dcgan_core.data import scale
from dcgan_core.laboratory.few_labels import Labelled
from dcgan_core.laboratory.pretraining import without_verdict
from dcgan_core.runtime import Machine, seed_everything

STEPS, BATCH, RATE = 100, 64, 3e-3
MAX_SHIFT, MAX_SCALE, MAX_SHEAR = 0.06, 0.1, 0.1  # of the side; of 1; of 1
NUM_OTHERS = 2_000  # images without labels, of which the surer half is used
CHUNK = 500


def moved(images: Tensor) -> Tensor:
    """The images (N, C, S, S) in [-1, 1], each shifted, sheared and made larger or smaller, on black.

    They are not rotated and not mirrored: a Z would become an N, and a shoe would lie on its back.
    """
    num_images = len(images)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(num_images) * 2 - 1) * limit

    size, shear = 1 + uniform(MAX_SCALE), uniform(MAX_SHEAR)
    across, down = uniform(2 * MAX_SHIFT), uniform(2 * MAX_SHIFT)  # the image spans -1 to 1
    zero = torch.zeros(num_images)
    matrices = torch.stack([torch.stack([size, shear, across], 1), torch.stack([zero, size, down], 1)], 1)
    grid = affine_grid(matrices.to(images.device), list(images.shape), align_corners=False)
    return grid_sample(images + 1, grid, align_corners=False) - 1  # 0 outside is black


def train_network(
    given: Labelled,
    config: Config,
    machine: Machine,
    augment: bool,
    others: Labelled | None = None,
    steps: int | None = None,
) -> nn.Module:
    """The discriminator of `config`, with an output for each class, trained on uint8 images (N, C, S, S) from scratch.

    `others` are further images with labels that may be wrong: each step takes a batch of both, and their losses count
    alike. Random numbers follow from the seed of the config. It takes `STEPS` steps unless told otherwise.
    """
    steps = STEPS if steps is None else steps
    seed_everything(config.seed)
    layers, width = without_verdict(models.build(config)[1])
    head = nn.Linear(width, int(given[1].max()) + 1)
    whole = nn.Sequential(layers, head).to(machine.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(whole.parameters(), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    for _ in range(steps):
        loss = torch.zeros((), device=machine.device)
        for images, labels in [given] if others is None else [given, others]:
            chosen = torch.randint(len(images), (BATCH,))
            shown = scale(images[chosen])
            with machine.autocast():
                logits = whole((moved(shown) if augment else shown).to(machine.device)).float()
            loss = loss + cross_entropy(logits, labels[chosen].to(machine.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return whole.cpu().eval()


@torch.no_grad()
def says(network: nn.Module, images: Tensor) -> Tensor:
    """The network's logits (N, classes) for uint8 images."""
    return torch.cat([network(scale(part)) for part in images.split(CHUNK)])


def accuracy(network: nn.Module, test: Labelled) -> float:
    """Share of the images that the network gives their label."""
    return float((says(network, test[0]).argmax(dim=1) == test[1]).double().mean())


def labelled_by(network: nn.Module, images: Tensor) -> Labelled:
    """The half of the images of whose classes the network is surer, with these as labels."""
    sureness, labels = says(network, images).softmax(dim=1).max(dim=1)
    surer = sureness.argsort(descending=True)[: len(images) // 2]
    return images[surer], labels[surer]
