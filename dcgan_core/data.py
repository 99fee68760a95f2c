"""A data set is one uint8 tensor on the device; batches are drawn from it reproducibly."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dcgan_core import glyphs
from dcgan_core.config import InvalidInput

NAMES = ("glyphs", "digits", "stacked-digits", "mnist", "fashion-mnist", "stacked-mnist", "cifar10")
NUM_GLYPHS = {"train": 20_000, "test": 10_000}
NUM_STACKED = {"train": 50_000, "test": 10_000}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Dataset:
    """Images in one tensor. Labels, where there are any, are for measuring: the GAN never sees them."""

    name: str
    images: Tensor  # uint8 (N, C, S, S)
    labels: Tensor | None  # int64 (N,)
    class_names: tuple[str, ...]

    def to(self, device: torch.device) -> Dataset:
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)


def load(
    name: str,
    *,
    image_size: int = 32,
    channels: int = 1,
    root: str | Path = "data",
    split: str = "train",
    seed: int = 0,
) -> Dataset:
    """Loads a data set by name, or every image below a folder, as squares of `image_size` with `channels` channels.

    `split` is "train" or "test"; a folder has only one part. Raises `InvalidInput` with one sentence for an unknown
    name, a folder without usable images, or a download that fails.
    """
    if name in ("glyphs", "digits"):
        characters = glyphs.LETTERS if name == "glyphs" else glyphs.DIGITS
        drawn = glyphs.render(
            *(NUM_GLYPHS[split],),
            image_size=image_size,
            channels=channels,
            seed=seed,
            split=split,
            characters=characters,
        )
        return Dataset(name, torch.from_numpy(drawn.images), torch.from_numpy(drawn.letter), tuple(characters))
    if name.startswith("stacked-") and name in NAMES:
        if channels != 3:
            raise InvalidInput(
                f"channels is {channels}, but must be 3 for {name}: each image is three digits, one in each channel."
            )
        single = name.removeprefix("stacked-")
        return _stacked(name, load(single, image_size=image_size, root=root, split=split, seed=seed), split, seed)
    if name in NAMES:
        return _load_torchvision(name, image_size, channels, Path(root), split)
    if Path(name).is_dir():
        return load_folder(Path(name), image_size=image_size, channels=channels)
    raise InvalidInput(
        f"data is {name!r}, which is neither a data set ({', '.join(NAMES)}) nor a folder that exists: "
        "check the spelling or the path."
    )


def scale(images: Tensor) -> Tensor:
    """Maps uint8 pixels 0 to 255 onto float32 -1 to 1, the exact range of the generator's tanh."""
    return images.float() / 127.5 - 1


def unscale(images: Tensor) -> Tensor:
    """Maps -1 to 1 onto uint8 pixels 0 to 255: the inverse of `scale`, exactly, with clamping."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


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


class Batches:
    """Batch number `step` of a run, from nothing but (images, batch size, seed, step).

    Every image is shown once per epoch, in an order that depends on the seed and the epoch alone, so that a resumed
    run sees the same batches without any state. The last partial batch of an epoch is dropped.
    """

    def __init__(self, images: Tensor, *, batch_size: int, seed: int) -> None:
        self.steps_per_epoch = len(images) // batch_size
        if self.steps_per_epoch == 0:
            raise InvalidInput(
                f"the data set has {len(images)} images, fewer than one batch of {batch_size}: "
                "choose a smaller one (--batch-size) or add images."
            )
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = -1
        self._order = torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """Batch (B, C, S, S) in [-1, 1] of iteration `step`, counted from 0."""
        return scale(self.images[self.rows(step)])

    def rows(self, step: int) -> Tensor:
        """Which images these are: (B,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.images), generator=rng).to(self.images.device)
            self._epoch = epoch
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]


def load_folder(folder: Path, *, image_size: int, channels: int) -> Dataset:
    """Every image below `folder`, centre-cropped to a square and resized; transparency is laid on white.

    Files that are not readable are named in one warning and left out; so are, in another warning, images smaller than
    `image_size`, which are enlarged. Raises `InvalidInput` if no image is left.
    """
    images, unreadable, small = [], [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            with Image.open(path) as image:
                images.append(_square(image, image_size, channels))
                small += [path] if min(image.size) < image_size else []
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            unreadable.append(path)
    if not images:
        found = f"none of its {len(unreadable)} files can be read as an image" if unreadable else "it is empty"
        raise InvalidInput(f"the folder {str(folder)!r} has no usable image: {found}.")
    if unreadable:
        warnings.warn(f"left out {_name_some(unreadable)}: not readable as an image.", stacklevel=2)
    if small:
        warnings.warn(f"enlarged {_name_some(small)}: smaller than {image_size} pixels.", stacklevel=2)
    return Dataset(str(folder), torch.stack(images), None, ())


def _square(image: Image.Image, image_size: int, channels: int) -> Tensor:
    """Any image as uint8 (C, S, S)."""
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    if image.mode.startswith("I"):  # 16-bit grey (PGM files say 32) would be clipped, not scaled, by convert
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    image = image.convert("L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(
        image_size, image_size, channels
    ).permute(2, 0, 1)  # fmt: skip


def _name_some(paths: list[Path], most: int = 5) -> str:
    named = ", ".join(path.name for path in paths[:most])
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return f"{len(paths)} file{'s' if len(paths) > 1 else ''} ({named}{more})"


def _load_torchvision(name: str, image_size: int, channels: int, root: Path, split: str) -> Dataset:
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
            f"({str(error).splitlines()[0]}): check the network, put the files there, or use --data glyphs, "
            "which needs no download."
        ) from error
    images = torch.as_tensor(raw.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)  # (N, C, H, W)
    images = _convert(images, image_size, channels)
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
