"""People's own images: every file of a folder or a zip as a square, and a word about each that could not be used."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from dcgan_core.config import CHANNELS, Fit, InvalidInput
from dcgan_core.data import findings
from dcgan_core.data.batches import Dataset
from dcgan_core.data.files import find_files, printable
from dcgan_core.data.foreign import ARCHIVES, TABLES, VIDEOS
from dcgan_core.data.parts import FEWEST, Layout, choose_held_out, layout
from dcgan_core.data.reading import Reading, read
from dcgan_core.data.subsets import subset

Split = Literal["train", "test", "all"]


def load_folder(
    folder: str | Path,
    *,
    image_size: int,
    channels: int | None = None,
    split: Split = "all",
    fit: Fit = "crop",
    held_out: float = 0.1,
    say: bool = True,
) -> Dataset:
    """Every image in `folder`, or in a zip, as a square: cut around its centre, padded or stretched (`fit`).

    `channels` are 1 or 3; None is 3 if at least one image in a hundred has colour, else 1. Transparency is laid on
    white, or on black where all that is visible is nearly white. Of an animation, the first picture is taken.

    "test" are the images in subfolders named test or val, or, where there are none, a share `held_out` of the images
    (see `parts`), "train" the others. With `held_out` 0, both are all images. Other subfolders are classes, if all
    images lie in one. Images that would take more than a third of the memory are a map of a file in the cache.

    Unless `say` is false, one line on standard error says what was found, further ones what may be wrong with it, and
    warnings name what was left out or enlarged. Raises `InvalidInput` if no image is left.
    """
    reading = read_images(folder, image_size=image_size, fit=fit, progress=say)
    channels = channels or findings.channels_of(reading)
    parts = layout(reading.names)
    if say:
        for sentence in findings.refusals(reading) + findings.enlarged(reading):
            warnings.warn(sentence, stacklevel=2)
    is_held_out, how = choose_part(reading, parts, 0 if split == "all" else held_out)
    if split == "test" and held_out and not is_held_out.any():
        raise InvalidInput(
            f"{reading.source.name} has {len(reading.names)} images, of which none is held out to measure with: "
            f"add some, at least {FEWEST} in all, or a subfolder named test."
        )
    rows = np.flatnonzero(is_held_out == (split == "test")) if is_held_out.any() else None
    images, on_disk = subset(reading, rows, channels, progress=say)
    if say:
        said = [findings.line(reading, channels, parts), how if split != "all" else "", _where(reading, on_disk)]
        print(" ".join(sentence for sentence in said if sentence), file=sys.stderr)
        for sentence in findings.advice(reading, channels, parts):
            print(f"note: {sentence}", file=sys.stderr)
    labels = None if parts.labels is None else torch.tensor(parts.labels)
    if labels is not None and rows is not None:
        labels = labels[rows]
    return Dataset(reading.source.name, images, labels, parts.class_names, on_disk)


def _where(reading: Reading, on_disk: bool) -> str:
    if not on_disk:
        return ""
    return f"They are more than a third of the memory: they stay on the disk ({printable(str(reading.place))})."


def read_images(folder: str | Path, *, image_size: int, fit: Fit = "crop", progress: bool = True) -> Reading:
    """What is in a folder or a zip, file by file. Raises `InvalidInput` if there is no image in it."""
    path = Path(folder).expanduser()
    check_is_source(path)
    reading = read(find_files(path), image_size=image_size, fit=fit, progress=progress)
    if not reading.names:
        reasons = Counter(reading.left_out.values()).most_common(3)
        found = "it is empty"
        if reasons:
            details = "; ".join(f"{count}: {reason}" for reason, count in reasons)
            number = len(reading.left_out)
            which = f"none of its {number} files can" if number > 1 else "its only file cannot"
            found = f"{which} be read as an image ({details})"
        elif hidden := reading.source.num_hidden:
            found = f"it holds nothing but hidden or system files and folders ({hidden}), which are skipped"
        what = "zip" if path.is_file() else "folder"
        raise InvalidInput(f"the {what} {str(path)!r} has no usable image: {found}.")
    return reading


def check_is_source(path: Path) -> None:
    """Raises `InvalidInput` unless the path is a folder or a zip: one sentence that says what to give instead."""
    name, suffix = str(path), path.suffix.lower()
    try:
        if path.is_dir() or (path.is_file() and suffix == ".zip"):
            return
        is_file = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        is_file = False
    if is_file and suffix in VIDEOS:
        what = "a video: save its frames as pictures (ffmpeg -i FILM frames/%05d.png) and name their folder"
    elif is_file and suffix in ARCHIVES:
        what = "an archive of a kind that is not read: unpack it, or make a zip of it"
    elif is_file and suffix in TABLES:
        what = "a file of arrays, a table or weights: save the images in it as PNG into a folder and name the folder"
    elif is_file:
        what = "a single file: put your images into a folder and name the folder"
    elif any(one in name for one in "*?["):
        what = "a pattern, or no folder that exists: name the folder that the images are in"
    elif name.startswith(("http:", "https:")):
        what = "an address: download the images into a folder and name the folder"
    else:
        what = f"neither a data set ({', '.join(CHANNELS)}) nor a folder that exists: check the spelling or the path"
    raise InvalidInput(f"data is {name!r}, which is {what}.")


def choose_part(reading: Reading, parts: Layout, held_out: float) -> tuple[np.ndarray, str]:
    """Which images are held out, (N,), and how they were chosen, in a sentence."""
    if not held_out:
        return np.zeros(len(reading.names), bool), "None is held out to measure with."
    if parts.held_out_folders:
        folders = " and ".join(printable(name) for name in parts.held_out_folders)
        return np.array(parts.is_held_out), f"The {sum(parts.is_held_out):,} in {folders} are held out to measure with."
    chosen = np.array(choose_held_out([entry.digest for entry in reading.entries], held_out))
    if not chosen.any():
        return chosen, f"Of fewer than {FEWEST} images, none is held out to measure with."
    return chosen, f"{chosen.sum():,} of them, always the same, are held out to measure with."
