"""A folder of images before any training: what the reader found, as text, and as a picture of many small ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan_core.config import InvalidInput
from dcgan_core.data import findings
from dcgan_core.data.files import printable
from dcgan_core.data.folder import choose_part
from dcgan_core.data.parts import layout
from dcgan_core.data.pixels import luminance
from dcgan_core.data.reading import Reading

HELD_OUT = 0.1  # the share by default
COLUMNS = 10
MOST_ROWS = 10
GAP = 4  # pixels between two images
PAPER = 128  # grey, so that white images and black ones have an edge


def describe(reading: Reading, channels: int | None = None) -> str:
    """All that is known of the images without looking at them, in a few lines."""
    channels = channels or findings.channels_of(reading)
    parts = layout(reading.names)
    lines = [findings.line(reading, channels, parts), findings.sizes(reading)]
    lines.append(choose_part(reading, parts, HELD_OUT)[1])
    if parts.labels is not None:
        counts = Counter(parts.labels)
        lines += [f"class {printable(name)}: {counts[number]:,}" for number, name in enumerate(parts.class_names)]
    lines += findings.refusals(reading) + findings.enlarged(reading)
    lines += [f"note: {sentence}" for sentence in findings.advice(reading, channels, parts)]
    return "\n".join(lines)


def contact_sheet(reading: Reading, channels: int | None = None) -> Image.Image:
    """Up to 100 of the images as training would see them, evenly from all; with classes, each has a row of its own."""
    channels = channels or findings.channels_of(reading)
    rows = _rows(reading)
    size, width = reading.image_size, max(len(row) for row in rows)
    whole = (GAP + width * (size + GAP), GAP + len(rows) * (size + GAP))
    sheet = Image.new("RGB", whole, (PAPER, PAPER, PAPER))
    for y, row in enumerate(rows):
        for x, place in enumerate(row):
            pixels = reading.pixels[place : place + 1]
            pixels = luminance(pixels) if channels < pixels.shape[1] else pixels
            square = Image.fromarray(np.broadcast_to(pixels[0], (3, size, size)).transpose(1, 2, 0).copy())
            sheet.paste(square, (GAP + x * (size + GAP), GAP + y * (size + GAP)))
    return sheet


def save_contact_sheet(reading: Reading, out: Path, channels: int | None = None) -> None:
    """Writes the sheet as the picture `out`. Raises `InvalidInput` if it cannot be written."""
    try:
        contact_sheet(reading, channels).save(out)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot write the picture {str(out)!r} ({error}): use a name such as sheet.png.") from error


def _rows(reading: Reading) -> list[list[int]]:
    """Which images are shown, row by row."""
    labels = layout(reading.names).labels
    if labels is None:
        shown = _evenly(list(range(len(reading.names))), COLUMNS * MOST_ROWS)
        return [shown[start : start + COLUMNS] for start in range(0, len(shown), COLUMNS)]
    kinds = _evenly(sorted(set(labels)), MOST_ROWS)
    return [_evenly([place for place, label in enumerate(labels) if label == kind], COLUMNS) for kind in kinds]


def _evenly(places: list[int], most: int) -> list[int]:
    """At most so many of the places, from the first to the last."""
    if len(places) <= most:
        return places
    return [places[round(number * (len(places) - 1) / (most - 1))] for number in range(most)]
