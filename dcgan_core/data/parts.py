"""What subfolders mean, and which images are kept from training, always the same ones.

Identical images are never on both sides. Which are held out is decided by their pixels alone, so neither names nor the
order of a file system matter, and images that are added later change next to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

TRAINING = {"train", "training"}
HELD_OUT = {"test", "testing", "val", "valid", "validation"}
MOST_HELD_OUT = 10_000  # images; a distance needs no more
FEWEST = 20  # images; of fewer, none are held out


@dataclass(frozen=True)
class Layout:
    """What the subfolders of the images say."""

    held_out_folders: tuple[str, ...]  # their names, if there is something beside them
    is_held_out: tuple[bool, ...]  # of each image: it lies in one of these folders
    class_names: tuple[str, ...]
    labels: tuple[int, ...] | None  # of each image, if every image lies in a folder of its class


def layout(names: Sequence[str]) -> Layout:
    """Reads the names of images, such as "photos/train/cat/1.jpg".

    Folders that hold everything are ignored. Then a folder test or val, whatever lies beside it, is held out; and if,
    below folders named train, test and the like, all images lie in at least two folders, these are their classes.
    """
    folders = [name.split("/")[:-1] for name in names]
    while folders and all(folders) and len({first for first, *_ in folders}) == 1:
        folders = [rest for _, *rest in folders]
    firsts = [parts[0] if parts else "" for parts in folders]
    is_held_out = tuple(first.lower() in HELD_OUT for first in firsts)
    held_out_folders = tuple(sorted({first for first, held in zip(firsts, is_held_out, strict=True) if held}))
    if held_out_folders:  # then there is something beside it, or it would have been ignored
        folders = [parts[1:] if parts and parts[0].lower() in HELD_OUT | TRAINING else parts for parts in folders]
    kinds = sorted({parts[0] for parts in folders if parts})
    if len(kinds) < 2 or not all(folders):
        return Layout(held_out_folders, is_held_out, (), None)
    number = {name: number for number, name in enumerate(kinds)}
    return Layout(held_out_folders, is_held_out, tuple(kinds), tuple(number[parts[0]] for parts in folders))


def choose_held_out(digests: Sequence[str], share: float) -> list[bool]:
    """Which of the images to keep from training: a share of them, at least 2 and at most `MOST_HELD_OUT`.

    `digests` are checksums of the pixels, which are as good as random. An image with more copies than are wanted stays
    in training, with all its copies. Of fewer than `FEWEST` images, none are held out.
    """
    wanted = min(max(round(share * len(digests)), 2), MOST_HELD_OUT)
    if not share or len(digests) < FEWEST:
        return [False] * len(digests)
    counts = Counter(digests)
    chosen: set[str] = set()
    for digest in sorted(counts):
        if counts[digest] <= wanted:
            chosen.add(digest)
            wanted -= counts[digest]
        if not wanted:
            break
    return [digest in chosen for digest in digests]
