"""Data sets by name: drawn on the spot, downloaded by torchvision, or stacked from one of these; or a folder."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dcgan_core.config import Config, Fit, InvalidInput, first_line
from dcgan_core.data import glyphs
from dcgan_core.data.batches import Dataset
from dcgan_core.data.folder import load_folder

Split = Literal["train", "test"]
NAMES = ("glyphs", "digits", "stacked-digits", "mnist", "fashion-mnist", "stacked-mnist", "cifar10")
NUM_GLYPHS = {"train": 20_000, "test": 10_000}
NUM_STACKED = {"train": 50_000, "test": 10_000}


def load(
    name: str,
    *,
    image_size: int = 32,
    channels: int | None = None,
    root: str | Path = "data",
    split: Split = "train",
    seed: int = 0,
    fit: Fit = "crop",
    held_out: float = 0.1,
    say: bool = True,
) -> Dataset:
    """Loads a data set by name, or every image below a folder, as squares of `image_size` with `channels` channels.

    Without `channels`, there are as many as the data have; letters and digits are grey. `fit`, `held_out` and `say`
    are for folders, see `load_folder`. Raises `InvalidInput` with one sentence for an unknown name, a folder without
    usable images, or a download that fails.
    """
    if not name:
        raise InvalidInput("data is empty: give the name of a data set, or a folder (. is the one that you are in).")
    if name in NAMES and say and Path(name).is_dir():
        warnings.warn(
            f"{name} is a data set and a folder, too; the data set is taken: write ./{name} for the folder.",
            stacklevel=2,
        )
    if name in ("glyphs", "digits"):
        characters = glyphs.LETTERS if name == "glyphs" else glyphs.DIGITS
        drawn = glyphs.render(
            num_images=NUM_GLYPHS[split],
            image_size=image_size,
            channels=channels or 1,
            seed=seed,
            split=split,
            characters=characters,
        )
        return Dataset(name, torch.from_numpy(drawn.images), torch.from_numpy(drawn.letter), tuple(characters))
    if name.startswith("stacked-") and name in NAMES:
        if channels == 1:
            raise InvalidInput(
                f"channels is {channels}, but must be 3 for {name}: each image is three digits, one in each channel."
            )
        single = name.removeprefix("stacked-")
        digits = load(single, image_size=image_size, channels=1, root=root, split=split, seed=seed, say=False)
        return _stacked(name, digits, split, seed)
    if name in NAMES:
        return _load_torchvision(name, image_size, channels, Path(root), split)
    return load_folder(name, image_size=image_size, channels=channels, split=split, fit=fit, held_out=held_out, say=say)


def load_for(config: Config, split: Split = "train", say: bool = True) -> Dataset:
    """The part of a run's data set that it trains on, or, as "test", is measured with. Raises as `load` does."""
    return load(
        name=config.data,
        image_size=config.image_size,
        channels=config.channels,
        root=config.data_root,
        split=split,
        seed=config.seed,
        fit=config.fit,
        held_out=config.held_out,
        say=say,
    )


def stacked_digits(labels: Tensor) -> Tensor:
    """The digits in the three channels, (N, 3), of the labels (N,) of a stacked data set: 472 is 4, 7, 2."""
    return torch.stack([labels // 100, labels // 10 % 10, labels % 10], dim=1)


def _stacked(name: str, single: Dataset, split: str, seed: int) -> Dataset:
    """Three random grey digits as the three channels of one image: 1,000 classes, the label is 100a + 10b + c.

    The three are drawn independently, so classes are as frequent as the digits of `single` make them. Source: Metz et
    al. 2017 (arXiv:1611.02163), and "stacked MNIST" in Srivastava et al. 2017 (arXiv:1705.07761).
    """
    assert single.labels is not None
    rng = np.random.default_rng([seed, glyphs.SPLITS.index(split), 3])
    chosen = torch.from_numpy(rng.integers(len(single.images), size=(NUM_STACKED[split], 3)))
    images = single.images[:, 0][chosen]  # (N, 3, S, S)
    labels = single.labels[chosen] @ torch.tensor([100, 10, 1])  # (N,)
    return Dataset(name, images, labels, tuple(f"{number:03}" for number in range(1000)))


def _load_torchvision(name: str, image_size: int, channels: int | None, root: Path, split: str) -> Dataset:
    import torchvision.datasets

    source = {
        "mnist": torchvision.datasets.MNIST,
        "fashion-mnist": torchvision.datasets.FashionMNIST,
        "cifar10": torchvision.datasets.CIFAR10,
    }[name]
    folder = root / name
    try:
        raw = source(str(folder), train=split == "train", download=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: torchvision's "Error downloading"
        raise InvalidInput(
            f"the data set {name!r} is not in {str(folder)!r} and could not be downloaded "
            f"({first_line(error)}): check the network, put the files there, or use --data glyphs, "
            "which needs no download."
        ) from error
    images = torch.as_tensor(raw.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)  # (N, C, H, W)
    images = _convert(images, image_size, channels or images.shape[1])
    return Dataset(name, images, torch.as_tensor(raw.targets), tuple(raw.classes))


def _convert(images: Tensor, image_size: int, channels: int, chunk: int = 5_000) -> Tensor:
    """Brings uint8 images of any size to (N, channels, S, S), a chunk at a time so that memory stays small."""
    done = []
    for part in images.split(chunk):
        pixels = part.float()
        if pixels.shape[1] == 3 and channels == 1:
            pixels = (pixels * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        elif pixels.shape[1] == 1 and channels == 3:
            pixels = pixels.expand(-1, 3, -1, -1)
        if math.prod(pixels.shape[-2:]) != image_size**2:
            pixels = torch.nn.functional.interpolate(
                pixels, (image_size, image_size), mode="bilinear", antialias=True, align_corners=False
            )
        done.append(pixels.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(done)
