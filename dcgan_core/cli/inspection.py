"""The command that looks at people's own images before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from dcgan_core.config import Config, Fit
from dcgan_core.data.contact_sheet import describe, save_contact_sheet
from dcgan_core.data.folder import read_images


def inspect(
    folder: Positional[Annotated[Path, arg(metavar="FOLDER", help="Folder or zip with images.")]],
    image_size: int = 64,
    channels: Literal[1, 3] | None = None,
    fit: Fit = "crop",
    out: Path | None = None,
) -> None:
    """Say what is in a folder of images, or in a zip: what was found, what was left out and why. Nothing is trained.

    Example: python -m dcgan_core inspect path/to/photos --out sheet.png

    Args:
        image_size: Side of the square images in pixels: 8, 16, 32, 64, 128 or 256.
        channels: 1 for grey, 3 for colour, None for as many as the images have.
        fit: How images become squares: cut around the centre, padded with white, or stretched.
        out: Picture to write, with up to 100 of the images as training would see them.
    """
    wanted = Config(image_size=image_size)  # refuses other sizes
    reading = read_images(folder, image_size=wanted.image_size, fit=fit)
    print(describe(reading, channels))
    if out:
        save_contact_sheet(reading, out, channels)
        print(out)
