"""Short films of one letter that changes evenly: it leans over, grows bold, turns, or moves to the side.

Each film has three frames, of which the middle one is exactly halfway. So it is known what a missing frame looked like.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from dcgan_core.data.glyphs import FONTS, LETTERS, SCALE_RANGE, upright

MOTIONS = {  # from the first frame to the last
    "leans": (0.0, 0.25),  # to the right, for each pixel upwards
    "grows bold": (0.0, 0.03),  # of the image's side, added on both sides of a stroke
    "turns": (-12.0, 12.0),  # degrees
    "moves": (-0.09, 0.09),  # of the image's side, to the right
}
SUPERSAMPLING = 8
UPRIGHT = [place for place, (_, bold, slanted) in enumerate(FONTS) if not bold and not slanted]


def films(num_films: int, motion: str, *, image_size: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three frames of each film, uint8 (N, 3, 1, S, S), 0 paper to 255 ink, and which letters they show, (N,).

    `motion` is one of `MOTIONS`. Letters, fonts (regular, upright) and sizes are random; all else stands still.
    """
    rng = np.random.default_rng([seed, list(MOTIONS).index(motion)])
    letters = rng.integers(len(LETTERS), size=num_films)
    fonts = rng.choice(UPRIGHT, size=num_films)
    scales = rng.uniform(*SCALE_RANGE, num_films)
    first, last = MOTIONS[motion]
    frames = np.empty((num_films, 3, 1, image_size, image_size), np.uint8)
    for film, (letter, font, scale) in enumerate(zip(letters, fonts, scales, strict=True)):
        for place, amount in enumerate((first, (first + last) / 2, last)):
            picture = _drawn(LETTERS[letter], font, scale, motion, amount, image_size * SUPERSAMPLING)
            frames[film, place, 0] = np.asarray(picture.reduce(SUPERSAMPLING))
    return frames, letters


def _drawn(character: str, font: int, scale: float, motion: str, amount: float, side: int) -> Image.Image:
    """The character, centred on its ink, and what the motion has made of it."""
    image = upright(
        character,
        font,
        side,
        scale=scale,
        right=amount * side if motion == "moves" else 0.0,
        stroke=round(amount * side) if motion == "grows bold" else 0,
    )
    if motion == "turns":
        return image.rotate(amount, Image.Resampling.BILINEAR)
    if motion == "leans":
        lean = (1, amount, -amount * side / 2, 0, 1, 0)  # where in the upright letter a pixel of the result lies
        return image.transform(image.size, Image.Transform.AFFINE, lean, Image.Resampling.BILINEAR)
    return image
