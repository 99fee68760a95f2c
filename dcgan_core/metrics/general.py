"""Features for images of any kind, from a small network that ships with the package and has learnt without labels.

It was shown drawn scenes, clothes and letters in all colours, and learnt to find the second crop of the same image
among many others (`make_general` trains it). What it sees of an image is the mean of every channel after each of its
five stages: the first know colours, edges and grain, the last what fills a quarter of the image. `laboratory.judging`
compares it with other features by how they order known damage.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

SIZE = 64  # pixels; every image is brought to this size before it is measured
CHANNELS = (16, 24, 48, 64, 96)  # after the stages, which halve the side: 32, 16, 8, 4 and 2 pixels
NUM_GENERAL_FEATURES = sum(CHANNELS)  # 248
FILE = Path(__file__).parent / "weights" / "general.safetensors"


class General(nn.Module):
    """Features of images (B, C, S, S) in [-1, 1] of any size, grey or colour; its one class means nothing."""

    num_classes = 1

    def __init__(self) -> None:
        super().__init__()
        pairs = zip((3, *CHANNELS), CHANNELS, strict=False)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for before, after in pairs
        )

    def features(self, images: Tensor) -> Tensor:
        """The mean of every channel after each stage, (B, 248)."""
        if images.shape[-1] != SIZE:
            images = interpolate(images, SIZE, mode="bilinear", antialias=True, align_corners=False)
        return pooled(self.stages, images.expand(-1, 3, -1, -1))

    def head(self, features: Tensor) -> Tensor:
        """Logits of the one class, (B, 1): all zero."""
        return torch.zeros_like(features[:, :1])


def pooled(stages: Iterable[nn.Module], images: Tensor) -> Tensor:
    """The mean over all positions of every channel after each of the stages, side by side: (B, sum of the channels)."""
    found = []
    for stage in stages:
        images = stage(images)
        found.append(images.mean((2, 3)))
    return torch.cat(found, dim=1)


def general() -> General:
    """The network that ships with the package."""
    with torch.random.fork_rng(devices=[]):  # whoever calls this keeps its random numbers
        network = General()
    network.load_state_dict({name: value.float() for name, value in load_file(FILE).items()})
    return network.eval()
