"""People's own images: every file below a folder as a square, and a word about each that could not be used."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.data.batches import Dataset

# Pillow does not draw these itself, but gives them to Ghostscript or to Windows. Such a file is a program, and it is
# known by its content, whatever its name ends with.
PROGRAMS = {"EPS", "WMF"}


def load_folder(folder: Path, *, image_size: int, channels: int) -> Dataset:
    """Every image below `folder`, centre-cropped to a square and resized; transparency is laid on white.

    Files that are not readable, or that another program would have to draw, are named in one warning and left out; in
    another warning, images smaller than `image_size`, which are enlarged. Raises `InvalidInput` if no image is left.
    """
    images, unreadable, small = [], [], []
    Image.init()
    formats = [name for name in Image.ID if name not in PROGRAMS]
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            with Image.open(path, formats=formats) as image:
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
