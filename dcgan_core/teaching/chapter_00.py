"""Chapter 0, a first GAN: the share of samples that are letters, a film of the training, and rows to compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from IPython.display import HTML
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor, cat

from dcgan_core.data.glyphs import LETTERS
from dcgan_core.metrics import RECOGNISED_AT, letter_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.teaching.plots import FAKE, image_grid, show_images
from dcgan_core.teaching.replay import replay

Film = Mapping[int, Tensor]  # by turn, images (N, 1, S, S) in [-1, 1] that the generator draws from the same noise


def recognised(images: Tensor, characters: str) -> float:
    """The share of images (N, 1, S, S) that the book's letter classifier surely takes for one of the characters."""
    probability, letter = measure(letter_classifier(), images)[1].max(dim=1)
    wanted = [LETTERS[place] in characters for place in letter.tolist()]
    return sum(one and p >= RECOGNISED_AT for one, p in zip(wanted, probability.tolist(), strict=True)) / len(images)


def film_of(film: Film, characters: str, *, alt: str, caption: str) -> HTML:
    """The first 40 images of each moment as a replay, and the share of all that are recognised."""
    turns = sorted(film)
    frames = [Image.fromarray(image_grid(film[turn][:40], 10)) for turn in turns]
    shares = [recognised(film[turn], characters) for turn in turns]
    name = "share recognised as letters"
    curves: dict[str, Any] = {name: (turns, shares)}
    return replay(
        frames,
        at=turns,
        series=curves,
        colours={name: FAKE},
        unit="turns",
        magnify=3,
        frame_milliseconds=150,
        alt=alt,
        caption=caption,
    )


def show_rows(rows: Mapping[str, tuple[Tensor, str]]) -> Axes:
    """The first ten of each row's images, and in its label the share of all that are one of its characters."""
    labels = [f"{name}\n{recognised(images, letters):.0%} letters" for name, (images, letters) in rows.items()]
    return show_images(cat([images[:10] for images, _ in rows.values()]), columns=10, row_labels=labels)
