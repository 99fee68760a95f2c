"""Draws the film of the landing page, letters in colour that grow out of noise: `python book/make_film.py EARLY LATE`.

EARLY and LATE are folders of runs with the same networks and seed, of which the first was drawn often and the second
went on for long:

    python -m dcgan_core train --data glyphs --channels 3 --total-images 60000 --sample-every-images 640 --out EARLY
    python -m dcgan_core train --data glyphs --channels 3 --total-images 600000 --sample-every-images 50000 --out LATE

The film shows the first latents of their sample grids, plays once and stops; its last picture is a file of its own,
for readers who prefer less motion.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent / "_static"
COLUMNS, ROWS = 12, 4
SIDE = 32  # pixels of a letter
NUM_EARLY = 36  # moments of the first run, closer together at its beginning
# Milliseconds; all together less than 5 s, after which a reader would need a button to stop it (WCAG 2.2.2).
DURATIONS = {"first": 600, "early": 70, "late": 140}
QUALITY = 40


def moments(run: Path) -> list[Path]:
    """The sample grids of a run, in order."""
    return sorted((run / "samples").glob("*.png"))


def spread(paths: list[Path], number: int) -> list[Path]:
    """So many of them, at distances that grow."""
    places = np.unique(np.round((len(paths) - 1) * np.linspace(0, 1, number) ** 2).astype(int))
    return [paths[place] for place in places]


def frame(path: Path) -> Image.Image:
    """The first letters of a grid of eight by eight, in the film's rows."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    grid = pixels.reshape(8, SIDE, 8, SIDE, 3).swapaxes(1, 2).reshape(64, SIDE, SIDE, 3)[: COLUMNS * ROWS]
    rows = grid.reshape(ROWS, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2)
    return Image.fromarray(rows.reshape(ROWS * SIDE, COLUMNS * SIDE, 3))


def main() -> None:
    early, late = (moments(Path(run)) for run in sys.argv[1:3])
    last = int(early[-1].stem)
    first = spread(early, NUM_EARLY)
    then = [path for path in late if int(path.stem) > last]
    frames = [frame(path) for path in (*first, *then)]
    durations = [DURATIONS["first"], *[DURATIONS["early"]] * (len(first) - 1), *[DURATIONS["late"]] * len(then)]
    frames[0].save(
        FOLDER / "film.webp", save_all=True, append_images=frames[1:], duration=durations, loop=1, quality=QUALITY
    )
    frames[-1].save(FOLDER / "film.png", optimize=True)
    print(
        f"{len(frames)} pictures, {sum(durations) / 1000:.1f} s, {(FOLDER / 'film.webp').stat().st_size / 1000:.0f} kB"
    )


if __name__ == "__main__":
    main()
