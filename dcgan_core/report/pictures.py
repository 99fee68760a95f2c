"""Pictures in a page: data URIs of a size that a page can carry."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import torch
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import unscale
from dcgan_core.train import NUM_WATCHED

COLUMNS = round(NUM_WATCHED**0.5)  # of a run's grids
WIDEST = 512  # pixels of a frame; of a larger grid, its first rows and columns are shown
MOST_FRAMES = {16: 30, 32: 30, 64: 16, 128: 16}  # by image size: a page of a few megabytes
SMALL = 32  # pixels up to which a grey image is kept exactly, and pixels are shown as squares
QUALITY = 90  # of larger ones, and of those in colour, as JPEG


def grid_paths(run: Path) -> list[Path]:
    """The grids of samples that the run has saved, in order."""
    return sorted(path for path in (run / "samples").glob("*.png") if re.fullmatch("[0-9]+", path.stem))


def frames(run: Path, config: Config) -> list[tuple[int, Markup]]:
    """Images seen, and a picture of samples, of some moments of the run: first, last, and denser at the start.

    Raises `InvalidInput` for a file that is no grid of this run.
    """
    paths = grid_paths(run)
    most = MOST_FRAMES.get(config.image_size, 16)
    if len(paths) > most:
        places = sorted(set(torch.logspace(0, 1, most, base=len(paths)).round().long().tolist()))
        paths = [paths[place - 1] for place in places]
    return [(int(path.stem), uri(_cropped(path, config), config)) for path in paths]


def _cropped(path: Path, config: Config) -> Image.Image:
    """As many of the grid's images as fit; its size is asked before its pixels are unpacked."""
    side = COLUMNS * config.image_size
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.size != (side, side):
                raise ValueError(f"it has {picture.width} x {picture.height} pixels")
            kept = min(side, WIDEST // config.image_size * config.image_size)
            return picture.convert("L" if config.channels == 1 else "RGB").crop((0, 0, kept, kept))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{str(path)!r} is no grid of samples of this run ({error}).") from error


def grid(images: Tensor, config: Config, columns: int = COLUMNS) -> Markup:
    """The images (N, C, S, S) in [-1, 1], or uint8, as one picture without gaps."""
    from torchvision.utils import make_grid  # here: importing it takes as long as PyTorch

    pixels = images if images.dtype == torch.uint8 else unscale(images)
    drawn = make_grid(pixels, nrow=columns, padding=0)  # (3, H, W)
    picture = Image.fromarray(drawn.permute(1, 2, 0).contiguous().numpy())
    return uri(picture.convert("L" if config.channels == 1 else "RGB"), config)


def uri(picture: Image.Image, config: Config) -> Markup:
    """The picture as an address that holds it."""
    written = io.BytesIO()
    kind = "png" if config.image_size <= SMALL and config.channels == 1 else "jpeg"
    options = {} if kind == "png" else {"quality": QUALITY, "subsampling": 0}
    picture.save(written, format=kind, optimize=True, **options)
    return Markup(f"data:image/{kind};base64,{base64.b64encode(written.getvalue()).decode()}")
