"""Draws the book's logo, icon, cover and letters, all made by its own generator: `python book/make_cover.py`.

The recorded generator knows no letters by name. The script draws latents, lets the book's letter classifier read what
the generator makes of them, and keeps those that it reads, with high probability, as the letters that are needed. The
logo takes the boldest, the cover the first of each. Around the title, and on the grid of letters, stand samples that
nobody chose.

Which draws were kept, and how surely they were read, is written to cover.json. The same seed gives the same pictures.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from contourpy import contour_generator
from PIL import Image
from torch import Tensor

from dcgan_core import recorded
from dcgan_core.data import unscale
from dcgan_core.data.glyphs import LETTERS
from dcgan_core.metrics import letter_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.train import draw_latents, sample

FOLDER = Path(__file__).parent / "_static"
RUN, SEED, NUM_DRAWS = "glyphs32", 0, 4_000
READ_AT = 0.999  # a letter counts as read when the classifier gives it at least this probability
WORDMARK, ICON = "DCGAN", "G"
TITLE = {2: "DEEP", 3: "CONVOLUTIONAL", 5: "GANS IN", 6: "PRACTICE"}  # row of the cover to its words
GRID_SIDE = 10  # letters.png shows the first hundred draws
COLUMNS, ROWS, MAGNIFY = 20, 10, 2  # 1280 x 640 pixels, as sites preview a page
NAVY, BACKDROP, WHITE = "#1f3a5f", "#46679a", "#ffffff"
GAP = 5  # pixels of the generator between two letters of the logo


def draw() -> tuple[np.ndarray, Tensor]:
    """Images uint8 (N, 32, 32) of the generator, and the classifier's probabilities (N, 26)."""
    run = recorded.load(RUN)
    images = sample(run.generator, draw_latents(NUM_DRAWS, run.config.latent_size, seed=SEED))
    _, probabilities = measure(letter_classifier(), images)
    return unscale(images).squeeze(1).numpy(), probabilities


def read_as(letter: str, probabilities: Tensor) -> list[int]:
    """Numbers of the draws that are read as this letter, in the order in which they were drawn."""
    found = (probabilities[:, LETTERS.index(letter)] >= READ_AT).nonzero().flatten().tolist()
    assert found, f"no draw is read as {letter}: raise NUM_DRAWS"
    return found


def boldest(letter: str, images: np.ndarray, probabilities: Tensor) -> int:
    return max(read_as(letter, probabilities), key=lambda number: int(images[number].sum(dtype=int)))


def outline(image: np.ndarray) -> tuple[list[np.ndarray], float, float]:
    """The letter's contours at half of full ink, in pixels of the generator, and where it begins and ends."""
    fine = 4
    enlarged = Image.fromarray(image).resize((image.shape[1] * fine, image.shape[0] * fine), Image.Resampling.BICUBIC)
    lines = contour_generator(z=np.asarray(enlarged, dtype=float)).lines(127.5)
    lines = [line / fine for line in lines if len(line) > 6 * fine]  # specks are no part of the letter
    every = np.concatenate(lines)
    return lines, float(every[:, 0].min()), float(every[:, 0].max())


def drawing(images: list[np.ndarray], label: str) -> str:
    """An SVG of the letters side by side on a rounded tile."""
    path, x = [], 0.0
    for image in images:
        lines, begin, end = outline(image)
        for line in lines:
            corners = line[:-1:2] + np.array([x - begin, 0.0])  # every second point is enough
            points = [f"{a:.1f} {b:.1f}" for a, b in corners]
            path.append(f"M{'L'.join(points)}Z")
        x += end - begin + GAP
    side = 32
    width = max(side, round(x - GAP + 2 * GAP))
    left = (width - (x - GAP)) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {side}" width="{2 * width}" height="{2 * side}" '
        f'role="img" aria-label="{label}">\n'
        f'<rect width="{width}" height="{side}" rx="6" fill="{NAVY}"/>\n'
        f'<path transform="translate({left:.1f})" fill="{WHITE}" fill-rule="evenodd" d="{"".join(path)}"/>\n</svg>\n'
    )


def layout(probabilities: Tensor) -> dict[tuple[int, int], tuple[str, int]]:
    """Row and column of the cover to the letter that stands there and the number of its draw; no draw stands twice.

    A space of the title is in it, too, with the number -1.
    """
    supply = {letter: read_as(letter, probabilities) for letter in LETTERS}
    places = {}
    for row, words in TITLE.items():
        for offset, letter in enumerate(words):
            number = -1 if letter == " " else supply[letter].pop(0)
            places[row, (COLUMNS - len(words)) // 2 + offset] = (letter, number)
    return places


def cover(images: np.ndarray, places: dict[tuple[int, int], tuple[str, int]]) -> Image.Image:
    """The title in white, and around it the generator's first other samples, in blue."""
    used = {number for _, number in places.values()}
    others = (number for number in range(len(images)) if number not in used)
    picture = np.zeros((ROWS * 32, COLUMNS * 32, 3))
    for row in range(ROWS):
        for column in range(COLUMNS):
            place = places.get((row, column))
            number = place[1] if place else next(others)
            ink = images[number][..., None] / 255 if number >= 0 else np.zeros((32, 32, 1))
            tile = np.s_[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32]
            picture[tile] = (1 - ink) * _rgb(NAVY) + ink * _rgb(WHITE if place else BACKDROP)
    small = Image.fromarray(picture.round().astype(np.uint8)).quantize(48, dither=Image.Dither.NONE)
    return small.resize((small.width * MAGNIFY, small.height * MAGNIFY), Image.Resampling.NEAREST)


def grid(images: np.ndarray) -> Image.Image:
    """The first draws, white on black, as they came."""
    rows = images[: GRID_SIDE**2].reshape(GRID_SIDE, GRID_SIDE, *images.shape[1:])
    return Image.fromarray(np.concatenate(np.concatenate(rows, axis=1), axis=1))


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)], dtype=float)


def make(folder: Path = FOLDER) -> None:
    """Writes logo.svg, icon.svg, cover.png, cover.json and letters.png."""
    images, probabilities = draw()
    chosen = {letter: boldest(letter, images, probabilities) for letter in dict.fromkeys(WORDMARK + ICON)}
    (folder / "logo.svg").write_text(drawing([images[chosen[letter]] for letter in WORDMARK], WORDMARK))
    (folder / "icon.svg").write_text(drawing([images[chosen[ICON]]], f"The letter {ICON}"))
    places = layout(probabilities)
    cover(images, places).save(folder / "cover.png", optimize=True)
    grid(images).save(folder / "letters.png", optimize=True)

    def entry(letter: str, number: int) -> dict[str, object]:
        return {
            "letter": letter,
            "draw": number,
            "read_with": round(float(probabilities[number, LETTERS.index(letter)]), 5),
        }

    record = {
        "command": "python book/make_cover.py",
        "recorded_run": RUN,
        "seed_of_latents": SEED,
        "num_draws": NUM_DRAWS,
        "read_at": READ_AT,
        "share_of_draws_read": round(float((probabilities.amax(1) >= READ_AT).float().mean()), 4),
        "logo": [entry(letter, chosen[letter]) for letter in WORDMARK],
        "cover": [entry(letter, number) for letter, number in places.values() if number >= 0],
    }
    (folder / "cover.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)  # the same sums in the same order
    make()
