"""A training run as a replay: its sample grids, its losses and, where it was evaluated, what the judge said."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from IPython.display import HTML
from PIL import Image

from dcgan_core.config import InvalidInput
from dcgan_core.recorded import Recorded
from dcgan_core.teaching.line_chart import Curves
from dcgan_core.teaching.plots import DISCRIMINATOR, FAKE, image_grid
from dcgan_core.teaching.replay import replay
from dcgan_core.train import NUM_WATCHED, read_config, read_metrics

# One panel a line; a panel shows what the run has measured of it.
PANELS = (
    {"discriminator_loss": "discriminator loss (nats)", "generator_loss": "generator loss (nats)"},
    {"frechet_distance": "Fréchet distance"},
    {"recognised": "share recognised"},
    {"classes_covered": "classes covered"},
)
LOGARITHMIC = ("Fréchet distance",)
COLOURS = {name: DISCRIMINATOR if "discriminator" in name else FAKE for panel in PANELS for name in panel.values()}
COLUMNS = math.isqrt(NUM_WATCHED)  # as the sample grids of a run have
SCREEN = 512  # pixels on screen that a frame is magnified to, or a little less
MOST_FRAMES = 41


def replay_recorded(run: Recorded, *, alt: str, caption: str | None = None) -> HTML:
    """The replay of a run that ships with the package: sixteen latents at each recorded moment.

    `caption` stands before the sentence that says where the run comes from.
    """
    frames = [Image.fromarray(image_grid(samples, COLUMNS)) for samples in run.samples]
    caption = " ".join(filter(None, (caption, run.caption())))
    return _replay(frames, run.samples_at, run.metrics, alt, caption)


def replay_folder(run: str | Path, *, alt: str, caption: str, rows: int = 2) -> HTML:
    """The replay of the run in a folder that `train` wrote: the first `rows` of its sample grids.

    Of a long run, moments at equal distances. Raises `InvalidInput` if the folder holds no run, or no samples yet, or
    other pictures under their names.
    """
    size = read_config(Path(run)).image_size
    paths = sorted(path for path in (Path(run) / "samples").glob("*.png") if re.fullmatch("[0-9]+", path.stem))
    if not paths:
        raise InvalidInput(f"{str(run)!r} has no sample grids in its folder samples: train it first.")
    stride = -(-len(paths) // MOST_FRAMES)
    paths = paths[::-stride][::-1]  # the last one for certain
    frames = [_grid(path, COLUMNS * size).crop((0, 0, COLUMNS * size, rows * size)) for path in paths]
    return _replay(frames, [int(path.stem) for path in paths], read_metrics(run), alt, caption)


def _grid(path: Path, side: int) -> Image.Image:
    """The sample grid, a square, in the file; its size is asked before its pixels are unpacked."""
    try:
        with Image.open(path, formats=["PNG"]) as grid:
            if grid.size != (side, side):
                raise ValueError(f"it has {grid.width} x {grid.height} pixels")
            return grid.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{str(path)!r} is no sample grid of this run ({error}): restore or delete it.") from error


def panels(lines: Iterable[dict[str, Any]]) -> list[Curves]:
    """The curves in lines of metrics.jsonl: losses in one panel, then one panel for each measure there is."""
    found: list[Curves] = []
    for names in PANELS:
        curves = {}
        for key, name in names.items():
            points = [(line["images"], line[key]) for line in lines if line.get(key) is not None]
            if points:
                places, values = zip(*points, strict=True)
                curves[name] = (places, values)
        if curves:
            found.append(curves)
    return found


def _replay(
    frames: Sequence[Image.Image], at: Sequence[int], metrics: Sequence[dict[str, Any]], alt: str, caption: str
) -> HTML:
    return replay(
        frames,
        at=at,
        series=panels(metrics),
        magnify=max(1, SCREEN // frames[0].width),
        logarithmic=LOGARITHMIC,
        colours=COLOURS,
        alt=alt,
        caption=caption,
    )
