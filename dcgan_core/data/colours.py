"""Colours as screens show them, sRGB: what a file says of another colour space is heeded, and what is damaged is not.

Telephones save Display P3, cameras Adobe RGB, printers many kinds of CMYK: there, the same numbers are other colours,
and a profile (ICC) in the file says which. A PNG may give the power of its brightness instead (gAMA). Little CMS does
the conversion, as in browsers.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

NEARLY = 3  # of 255: a profile that changes no colour by more is sRGB itself, in other words
SCREEN = 2.2  # power by which the brightness of a screen grows with the numbers
LEVELS = (0, 51, 102, 153, 204, 255)  # of each channel, of the colours that a profile is tried on


def in_srgb(image: Image.Image, profile: bytes | None, gamma: float | None) -> Image.Image:
    """The picture, of mode L, RGB, RGBA or CMYK, in mode L, RGB or RGBA with the colours that a screen should show.

    `profile` is that of the file, `gamma` what a PNG says of its brightness, where there is no profile.
    """
    transform = _transform(profile, image.mode) if profile else None
    if transform is not None:
        return _converted(image, transform)
    if image.mode == "CMYK":
        return image.convert("RGB")
    if not profile and gamma and 0.1 < gamma < 10 and abs(1 / (gamma * SCREEN) - 1) > 0.05:
        return _brightened(image, 1 / (gamma * SCREEN))
    return image


def _converted(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is for pictures that are changed in place
    return converted


def _brightened(image: Image.Image, power: float) -> Image.Image:
    """The picture, its brightness from 0 to 1 raised to this power; transparency stays."""
    table = [round(255 * (value / 255) ** power) for value in range(256)]
    unchanged = list(range(256))
    return image.point([level for band in image.getbands() for level in (unchanged if band == "A" else table)])


@lru_cache(maxsize=32)  # pictures of one camera have the same profile
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What brings colours to sRGB; None if the profile changes next to nothing, is damaged, or is of another mode."""
    shown = "RGBA" if mode == "RGBA" else "RGB"
    try:
        source, screen = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        found = ImageCms.buildTransform(source, screen, mode, shown, flags=ImageCms.Flags.NOCACHE)  # for many threads
        trial = Image.fromarray(_colours()).convert(mode)
        after = np.asarray(_converted(trial, found).convert("RGB"), int)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, ImportError):  # ImportError: a Pillow without it
        return None
    return None if np.abs(after - np.asarray(trial.convert("RGB"), int)).max() <= NEARLY else found


def _colours() -> np.ndarray:
    """All colours of the levels, in a row: uint8 (1, 216, 3)."""
    return np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(1, -1, 3).astype(np.uint8)
