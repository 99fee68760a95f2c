"""The embedded data set: capital letters, or digits, rendered from the fonts that matplotlib ships.

26 known modes (the letters) and known style factors (font, weight, slant), no download and no licence question.
The labels are never shown to the GAN: they are kept aside for measuring.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = string.ascii_uppercase
DIGITS = string.digits
WEIGHTS = ("regular", "bold")
SLANTS = ("upright", "slanted")
SPLITS = ("train", "test")

# (file, bold, slanted), in five families of four
FONTS: tuple[tuple[str, bool, bool], ...] = (
    ("DejaVuSans", False, False), ("DejaVuSans-Bold", True, False),
    ("DejaVuSans-Oblique", False, True), ("DejaVuSans-BoldOblique", True, True),
    ("DejaVuSansMono", False, False), ("DejaVuSansMono-Bold", True, False),
    ("DejaVuSansMono-Oblique", False, True), ("DejaVuSansMono-BoldOblique", True, True),
    ("DejaVuSerif", False, False), ("DejaVuSerif-Bold", True, False),
    ("DejaVuSerif-Italic", False, True), ("DejaVuSerif-BoldItalic", True, True),
    ("STIXGeneral", False, False), ("STIXGeneralBol", True, False),
    ("STIXGeneralItalic", False, True), ("STIXGeneralBolIta", True, True),
    ("cmr10", False, False), ("cmb10", True, False), ("cmss10", False, False), ("cmtt10", False, False),
)  # fmt: skip

MAX_ROTATION_DEGREES = 6.0
MAX_SHEAR = 0.08
MAX_SHIFT = 0.03  # of the image's side
SCALE_RANGE = (0.93, 1.07)
CAPITAL_HEIGHT = 0.56  # of the image's side, before scaling
SUPERSAMPLING = 2  # letters are drawn at twice the size and averaged down


@dataclass(frozen=True)
class Glyphs:
    """Rendered characters and the factors they were drawn from; index i of every array is the same character."""

    images: np.ndarray  # uint8 (N, C, S, S), 0 paper to 255 ink when grey
    letter: np.ndarray  # int64 (N,), index into the characters: 0 for A to 25 for Z, or 0 to 9 for the digits
    font: np.ndarray  # int64 (N,), index into FONTS
    weight: np.ndarray  # int64 (N,), index into WEIGHTS
    slant: np.ndarray  # int64 (N,), index into SLANTS


def render(
    num_images: int,
    *,
    image_size: int = 32,
    channels: int = 1,
    seed: int = 0,
    split: str = "train",
    characters: str = LETTERS,
) -> Glyphs:
    """Draws `num_images` of the characters; character and font are uniform, pose is uniform within the limits above.

    `characters` is LETTERS or DIGITS. The pixels are uint8 in (N, C, S, S). Grey characters are white on black; colour
    ones have a random bright ink on a random dark paper. The same arguments give the same pixels (with the same
    Pillow); the two splits, and two seeds, share no random number.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    letter = rng.integers(len(characters), size=num_images)
    font = rng.integers(len(FONTS), size=num_images)
    angle = np.deg2rad(rng.uniform(-MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES, num_images))
    scale = rng.uniform(*SCALE_RANGE, num_images)
    shear = rng.uniform(-MAX_SHEAR, MAX_SHEAR, num_images)
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, (num_images, 2))

    masks = np.empty((num_images, image_size, image_size), np.uint8)
    poses = _inverse_affine(angle, scale, shear, shift, image_size * SUPERSAMPLING)
    for mask, character, typeface, pose in zip(masks, letter.tolist(), font.tolist(), poses.tolist(), strict=True):
        master = _master(characters[character], typeface, image_size * SUPERSAMPLING)
        posed = master.transform(master.size, Image.Transform.AFFINE, pose, Image.Resampling.BILINEAR)
        mask[:] = np.asarray(posed.reduce(SUPERSAMPLING))

    factors = np.array([(bold, slanted) for _, bold, slanted in FONTS], np.int64)[font]
    images = masks[:, None] if channels == 1 else _coloured(masks, rng)
    return Glyphs(images, letter, font, factors[:, 0], factors[:, 1])


@cache
def _master(character: str, font: int, size: int) -> Image.Image:
    return upright(character, font, size)


def upright(
    character: str, font: int, size: int, *, scale: float = 1.0, right: float = 0.0, stroke: int = 0
) -> Image.Image:
    """One character in one font, upright, centred on its ink, drawn at `size` pixels.

    It may be `scale` times as large, so many pixels to the `right`, and bolder by `stroke` pixels on both sides.
    """
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", FONTS[font][0] + ".ttf")
    trial = ImageFont.truetype(path, size)
    _, top, _, bottom = trial.getbbox("H")
    typeface = ImageFont.truetype(path, size * size * CAPITAL_HEIGHT * scale / (bottom - top))
    start, top, end, bottom = typeface.getbbox(character)
    image = Image.new("L", (size, size))
    origin = ((size - start - end) / 2 + right, (size - top - bottom) / 2)
    ImageDraw.Draw(image).text(origin, character, fill=255, font=typeface, stroke_width=stroke)
    return image


def _inverse_affine(
    angle: np.ndarray, scale: np.ndarray, shear: np.ndarray, shift: np.ndarray, size: int
) -> np.ndarray:
    """Pillow's six coefficients (N, 6) of N poses: from a pixel of the result to the pixel of the master it shows."""
    cos, sin = np.cos(angle), np.sin(angle)
    zero, one = np.zeros_like(shear), np.ones_like(shear)
    turn = np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2)
    slope = np.stack([one, shear, zero, one], axis=-1).reshape(-1, 2, 2)
    forward = scale[:, None, None] * turn @ slope
    inverse = np.linalg.inv(forward)
    centre = np.array([size / 2, size / 2])
    offset = centre - (inverse @ (centre + shift * size)[:, :, None])[:, :, 0]
    return np.concatenate([inverse, offset[:, :, None]], axis=2).reshape(-1, 6)


def _coloured(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bright ink on dark paper, both of random hue, so that every letter stays legible in grey."""
    num_images = len(masks)
    ink = rng.uniform(0, 1, (num_images, 3))
    ink = 0.45 + 0.55 * ink / ink.max(axis=1, keepdims=True)  # brightest channel 1, none below 0.45
    paper = rng.uniform(0, 0.3, (num_images, 3))
    alpha = masks[:, None] / 255.0  # (N, 1, S, S)
    mixed = alpha * ink[:, :, None, None] + (1 - alpha) * paper[:, :, None, None]
    return np.round(255 * mixed).astype(np.uint8)
