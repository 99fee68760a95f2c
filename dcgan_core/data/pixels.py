"""One file to one square of pixels, as a person would expect to see it; or the reason why it cannot be one.

Modes and ranges are those of Pillow, which opens the file. What is not 0 to 255 is scaled where something says what is
white: the format (PNG, PPM and JPEG 2000 have 16 bits in full), the tags of a TIFF, or, for floating-point numbers, the
convention that they go from 0 to 1.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import IFDRational

from dcgan_core.config import Fit
from dcgan_core.data.colours import in_srgb
from dcgan_core.data.foreign import CONVERT, NOT_AN_IMAGE

# Pillow does not draw these itself, but gives them to Ghostscript or to Windows. Such a file is a program, and it is
# known by its content, whatever its name ends with.
PROGRAMS = {"EPS", "WMF"}
STUBS = {"BUFR", "GRIB", "HDF5"}  # which Pillow knows, but cannot open
ONE_PICTURE = {"ICNS", "ICO", "MPO", "PSD"}  # further "frames" are sizes, layers and previews of the same picture
FULL_RANGE = {"PNG", "PPM", "JPEG2000"}  # whose deep grey is scaled to 16 bits in full
DEEP = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
DEEP_COLOURS = {"LA", "RGB", "RGBA", "RGBX"}  # modes of 8 bits in which Pillow opens files with 16 as well
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # what undoes the orientation that a camera noted
ORIENTATION = 0x0112
SUBFILE, SUB_PAGES = 254, 330  # tags of a TIFF: that a page is a preview of another; where pages below this one are
TINT = 8  # of 255: channels that differ by more than this make a picture coloured
NEARLY_WHITE = 240  # mean of what is visible of a transparent picture, from which on it is laid on black
LARGE = 2**24  # pixels; of such pictures, one at a time is decoded
DRAFT = 1.5  # a JPEG is decoded at a scale with at least so many pixels, to each side, for one that is wanted
_large = threading.Lock()


class NotUsable(Exception):
    """A file that is left out; the message is the reason."""


class NoPicture(NotUsable):
    """A file that is no picture of any kind that is read."""


@dataclass(frozen=True)
class Picture:
    """A square of pixels, and what was seen on the way to it."""

    pixels: np.ndarray  # uint8 (1, S, S) if it has no colour, else (3, S, S)
    width: int  # of the whole picture
    height: int
    has_more: bool  # an animation, or several pages, of which this is the first
    on_black: bool  # transparent, and laid on black, as on white it would have vanished


def picture(file: Path | BinaryIO, *, image_size: int, fit: Fit) -> Picture:
    """Reads a square of `image_size` from an open file or a path. Raises `NotUsable`, whatever the file holds;
    `NoPicture` if nothing can be seen in it at all.
    """
    Image.init()
    try:
        with Image.open(file, formats=[name for name in Image.ID if name not in PROGRAMS | STUBS]) as image:
            return _read(image, image_size, fit)
    except NotUsable:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise NotUsable(
            f"too large: up to {most / 1e6:,.0f} million pixels are read, as of {most**0.5:,.0f} x {most**0.5:,.0f}"
        ) from error
    except MemoryError as error:
        raise NotUsable("too large for the memory") from error
    except PermissionError as error:
        raise NotUsable("may not be read (permission denied)") from error
    except UnidentifiedImageError as error:
        raise NoPicture(NOT_AN_IMAGE) from error
    except Exception as error:  # of decoders that meet damaged files: ValueError, SyntaxError, struct.error, ...
        raise NotUsable("damaged, or cut short") from error


def _read(image: Image.Image, image_size: int, fit: Fit) -> Picture:
    has_more = _has_more(image)
    if image.format == "TIFF" and int(_tag(image, SUBFILE) or 0) & 1 and (has_more or _tag(image, SUB_PAGES)):
        raise NotUsable(f"a raw photograph, or a TIFF that begins with a preview, {CONVERT}")
    is_deep = image.mode in DEEP_COLOURS and any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    wanted = DRAFT * image_size
    factor = (max if fit == "pad" else min)(image.size) / wanted
    width, height = image.size
    draft = image.draft(None, (max(1, int(width / factor)), max(1, int(height / factor))))
    with _large if image.width * image.height > LARGE else nullcontext():
        image.load()
        if draft is None:
            width, height = image.size  # a TIFF turns itself
        if is_deep:
            _check_is_used(image)
        orientation = _orientation(image)
        small = _fitted(_eight_bits(image), draft[1][2:] if draft else image.size, image_size, fit)
    small, on_black = _opaque(in_srgb(small, image.info.get("icc_profile"), _gamma(image)))
    if orientation in TURNS:
        small = small.transpose(TURNS[orientation])
    if fit == "pad":
        square = Image.new(small.mode, (image_size, image_size), "black" if on_black else "white")
        square.paste(small, ((image_size - small.width) // 2, (image_size - small.height) // 2))
        small = square
    if orientation >= 5:
        width, height = height, width
    pixels = np.stack([np.asarray(channel) for channel in small.split()])  # (C, S, S)
    if len(pixels) == 3 and (pixels.max(axis=0) - pixels.min(axis=0)).max() <= TINT:
        pixels = luminance(pixels[None])[0]
    return Picture(pixels, width, height, has_more, on_black)


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Colours (N, 3, S, S) to greys (N, 1, S, S), rounded as Pillow does; a colour without tint keeps its value."""
    weights = np.array([19595, 38470, 7471], np.uint32)[:, None, None]  # ITU-R 601-2, times 65536
    return ((pixels * weights).sum(axis=1, keepdims=True, dtype=np.uint32) + 32768 >> 16).astype(np.uint8)


def _has_more(image: Image.Image) -> bool:
    if image.format in ONE_PICTURE:
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a later frame is damaged, which is no reason to lose the first
        return False


def _gamma(image: Image.Image) -> float | None:
    """What a PNG says of its brightness, unless it says that it is as on a screen."""
    gamma = None if "srgb" in image.info else image.info.get("gamma")
    return gamma if isinstance(gamma, float) else None


def _orientation(image: Image.Image) -> int:
    """How the camera was held, from 1 to 8."""
    try:
        noted = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged notes say nothing, and are no reason to lose the picture
        return 1
    return noted if noted in TURNS else 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture in mode L, RGB, RGBA or CMYK."""
    if image.mode in DEEP:
        return _scaled(image)
    if image.has_transparency_data:
        return image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image  # a copy of a large one would cost as much again
    return image.convert("L" if image.mode == "1" else "RGB")


def _check_is_used(image: Image.Image) -> None:
    """Raises `NotUsable` if colours of 16 bits, of which Pillow keeps the upper 8, use next to nothing of them."""
    brightest = max(int(np.asarray(image.getchannel(band)).max()) for band in image.getbands() if band != "A")
    if 0 < brightest < 16:
        raise NotUsable(
            f"its numbers go up to about {256 * brightest:,} where 65,535 is white, so it would be nearly black: save "
            "it with 8 bits"
        )


def _scaled(image: Image.Image) -> Image.Image:
    """Deep grey in 8 bits. Raises `NotUsable` if nothing says what is white, or if it would be nearly black."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise NotUsable("some of its numbers are infinite or missing")
    low, high = values.min(), values.max()
    found = f"its numbers go from {_number(low)} to {_number(high)}"
    known = _known_range(image)
    if known is None or low < known[0] or high > known[1]:
        expected = (
            f", not from {_number(known[0])} to {_number(known[1])}" if known else ", and nothing says which is white"
        )
        raise NotUsable(f"{found}{expected}: save it with 8 bits")
    if image.mode != "F" and 16 * high <= known[1] and high > low:
        raise NotUsable(f"{found} where {known[1]:,.0f} is white, so it would be nearly black: save it with 8 bits")
    grey = (values - known[0]) / (known[1] - known[0])
    if _tag(image, 262) == 0 and image.mode.startswith("I;16"):  # 0 is white, which Pillow heeds with 8 bits only
        grey = 1 - grey
    scaled = Image.fromarray((255 * grey).round().astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scaled.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        scaled = scaled.convert("RGBA")
    return scaled


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


def _known_range(image: Image.Image) -> tuple[float, float] | None:
    """The numbers that are black and white, where the file or its format says so."""
    if image.format == "TIFF":
        low, high = _tag(image, 340, 280) or 0.0, _tag(image, 341, 281)  # smallest and largest sample value
        if high is not None and high > low:
            return low, high
    if image.mode == "F":
        return 0.0, 1.0
    if image.format == "TIFF" and image.mode.startswith("I;16"):
        return 0.0, 2.0 ** (_tag(image, 258) or 16) - 1  # bits per sample
    return (0.0, 65535.0) if image.format in FULL_RANGE else None


def _tag(image: Image.Image, *numbers: int) -> float | None:
    """The first of these tags that a TIFF has; of several values, the first."""
    tags = getattr(image, "tag_v2", {})
    for number in numbers:
        value = tags.get(number)
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, (int, float, IFDRational)):
            return float(value)
    return None


def _fitted(image: Image.Image, whole: tuple[float, float], image_size: int, fit: Fit) -> Image.Image:
    """The picture in the size that is wanted; with "pad", its longer side is.

    Its width and height, `whole`, may end inside of the last pixels of a JPEG at reduced scale.
    """
    width, height = whole
    box, size = (0.0, 0.0, width, height), (image_size, image_size)
    if fit == "crop":
        left, top = max(0, width - height) / 2, max(0, height - width) / 2
        box = (left, top, width - left, height - top)
    elif fit == "pad":
        longer = max(width, height)
        size = (max(1, round(width * image_size / longer)), max(1, round(height * image_size / longer)))
    return image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _opaque(image: Image.Image) -> tuple[Image.Image, bool]:
    """Transparency laid on white, or on black if all that is visible is nearly white; and whether it is black."""
    if image.mode != "RGBA":
        return image, False
    shown = np.asarray(image.getchannel("A"), np.float64)
    grey = np.asarray(image.convert("L"), np.float64)
    on_black = bool(shown.any() and shown.min() < 250 and (grey * shown).sum() >= NEARLY_WHITE * shown.sum())
    background = Image.new("RGBA", image.size, "black" if on_black else "white")
    return Image.alpha_composite(background, image).convert("RGB"), on_black
