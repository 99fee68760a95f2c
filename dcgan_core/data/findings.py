"""What was found in a folder of images, in a line; and in some more, what may go wrong with it."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from dcgan_core.data.files import printable
from dcgan_core.data.old_names import SPOKEN, UNKNOWN
from dcgan_core.data.parts import Layout
from dcgan_core.data.reading import DARK, PALE, Reading

ENOUGH = 1_000  # images; with fewer, a discriminator soon knows them by heart
SOME = 0.05  # share of the images from which on a second kind is one
LONG = 2.0  # ratio of the sides from which on a cut leaves less than half of a picture
ENOUGH_TO_COMPARE = 100  # images: of fewer, the mean is uneven by chance
MOST_COMPARED = 1_000  # images
LITTLE = 0.03  # in common, from which on down images are of many kinds
COLOUR_FROM = 0.01  # share of coloured images that makes a data set coloured


def channels_of(reading: Reading) -> int:
    """3 if at least one image in a hundred has colour, else 1."""
    coloured = sum(entry.has_colour for entry in reading.entries)
    return 3 if coloured and coloured >= COLOUR_FROM * len(reading.entries) else 1


def line(reading: Reading, channels: int, parts: Layout) -> str:
    """How many images there are, of which kind, and what was left out: one line."""
    entries, num_files = reading.entries, len(reading.names) + len(reading.left_out)
    num, size = len(entries), reading.image_size
    megabytes = num * channels * size**2 / 1e6
    words = [
        f"read {num:,} of {num_files:,} files in {reading.source.name} as images of {size}x{size} in "
        f"{'colour' if channels == 3 else 'grey'} ({megabytes:,.1f} MB)"
    ]
    if num and reading.num_decoded < num_files - len(reading.source.left_out):
        words.append("unchanged since last time" if not reading.num_decoded else f"{reading.num_decoded:,} anew")
    if not_square := sum(abs(entry.width - entry.height) > 1 for entry in entries):
        done = {"crop": "cropped to", "pad": "padded to", "stretch": "stretched to"}[reading.fit]
        words.append(f"{not_square:,} {done} squares")
    if parts.class_names:
        words.append(f"{len(parts.class_names):,} classes ({_some(parts.class_names)})")
    if plain := sum(entry.is_plain for entry in entries):
        words.append(f"{plain:,} of a single colour")
    if more := sum(entry.has_more for entry in entries):
        words.append(f"first picture taken of {more:,} with several")
    if black := sum(entry.on_black for entry in entries):
        words.append(f"{black:,} transparent and nearly white, laid on black")
    if reading.source.num_hidden:
        words.append(f"{reading.source.num_hidden:,} hidden or system files and folders skipped")
    if reading.left_out:
        words.append(f"{len(reading.left_out):,} left out")
    if reading.not_cached:
        words.append(f"not kept for next time ({reading.not_cached})")
    return "; ".join(words) + "."


def refusals(reading: Reading) -> list[str]:
    """What was left out, one sentence for each reason."""
    by_reason = defaultdict(list)
    for name, reason in sorted(reading.left_out.items()):
        by_reason[reason].append(name)
    return [f"left out {_named(names)}: {reason}." for reason, names in by_reason.items()]


def enlarged(reading: Reading) -> list[str]:
    """Which images are smaller than they are wanted, in a sentence."""
    pairs = zip(reading.names, reading.entries, strict=True)
    small = [name for name, entry in pairs if min(entry.width, entry.height) < reading.image_size]
    return [f"enlarged {_named(small)}: smaller than {reading.image_size} pixels."] if small else []


def advice(reading: Reading, channels: int, parts: Layout) -> list[str]:
    """What makes a training on these images likely to disappoint, and what may help: sentences, if there are any."""
    return [
        *_on_names(reading),
        *_on_their_number(reading),
        *_on_tones(reading),
        *_on_kinds(reading, channels),
        *_on_shapes(reading),
        *_on_classes(parts),
    ]


def _on_names(reading: Reading) -> Iterator[str]:
    encoding = reading.source.encoding
    if encoding == UNKNOWN:
        yield "the zip does not say how its names are encoded, and no usual encoding makes words of them: some are odd."
    elif encoding:
        yield f"the zip does not say how its names are encoded: they are read as {SPOKEN[encoding]}, which is a guess."


def _on_their_number(reading: Reading) -> Iterator[str]:
    num, different = len(reading.entries), len({entry.digest for entry in reading.entries})
    if different < ENOUGH:
        yield (
            f"{_images(different, 'too little', 'few', 'different ')}: a discriminator learns them by heart, and "
            "samples become copies of them; add images, try --augment translation flip (flip only if a mirror image is "
            "right), and train for less long."
        )
    if num > different:
        copies = [names for names in duplicates(reading) if len(names) > 1]
        yield (
            f"{_images(num - different, 'an exact copy', 'exact copies')} of others, as {_some(copies[0])}: they count "
            "as often as they occur; delete them if that is not meant."
        )


def _on_tones(reading: Reading) -> Iterator[str]:
    entries, num = reading.entries, len(reading.entries)
    plain = sum(entry.is_plain for entry in entries)
    if plain and plain >= SOME * num:
        most = "all" if plain == num else f"{plain:,} of {num:,}"
        yield f"{most} images are of a single colour: look at them before training (inspect --out sheet.png)."
    for what, total, edge in (
        ("dark", sum(entry.is_dark for entry in entries), f"lighter than {DARK}"),
        ("pale", sum(entry.is_pale for entry in entries), f"darker than {PALE}"),
    ):
        if total and total >= SOME * num:
            yield (
                f"{total:,} of {num:,} images are {what} throughout (next to nothing in them is {edge}, of 255), and "
                "samples will look like them: spread them over the full range first, unless they are meant to be so."
            )


def _on_kinds(reading: Reading, channels: int) -> Iterator[str]:
    num, coloured = len(reading.entries), sum(entry.has_colour for entry in reading.entries)
    if channels == 1 and coloured:
        yield f"{coloured:,} of {num:,} images have colour and become grey: --channels 3 keeps it."
    elif channels == 3 and SOME * num <= num - coloured <= (1 - SOME) * num:
        yield f"the images are of two kinds: {coloured:,} in colour, {num - coloured:,} in grey."
    if num >= ENOUGH_TO_COMPARE and in_common(reading.pixels) < LITTLE:
        yield (
            "the images have little in common: their mean is one even tone. Unless they are of a kind that looks so, "
            "such as a texture, a small network will draw mixtures of them: keep one kind, with its subject in the "
            "same place and of the same size."
        )


def _on_shapes(reading: Reading) -> Iterator[str]:
    entries, num = reading.entries, len(reading.entries)
    long = sum(max(entry.width, entry.height) >= LONG * min(entry.width, entry.height) for entry in entries)
    if reading.fit == "crop" and long and long >= SOME * num:
        yield (
            f"{_images(long)} at least twice as long as wide, or the other way round, and lose half or more where "
            "they are cropped: --fit pad keeps all of them."
        )


def _on_classes(parts: Layout) -> Iterator[str]:
    alike = defaultdict(list)
    for name in parts.class_names:
        alike[unicodedata.normalize("NFKC", name).casefold().strip()].append(name)
    for names in alike.values():
        if len(names) > 1:
            yield (
                f"the classes {_some(names)} are written nearly alike and count as {len(names)}: if they are one, put "
                "their images into one folder."
            )


def in_common(pixels: np.ndarray) -> float:
    """How much of what makes the images (N, C, S, S) uneven is in their mean, 0 to 1, at 8 x 8 pixels.

    The letters of `glyphs` have 0.5, and the scenes of chapter 18, whose houses stand anywhere, 0.1.
    """
    places = np.linspace(0, len(pixels) - 1, min(len(pixels), MOST_COMPARED)).round().astype(int)
    channels, size = pixels.shape[1:3]
    step = max(1, size // 8)
    sides = size // step
    cells = np.empty((len(places), channels, sides, sides))
    for number, place in enumerate(places):
        whole = pixels[place, :, : sides * step, : sides * step]
        cells[number] = whole.reshape(channels, sides, step, sides, step).mean(axis=(2, 4))
    common, own = cells.mean(axis=0).var(axis=(1, 2)).mean(), cells.var(axis=0).mean()
    return float(common / max(common + own, 1e-9))


def duplicates(reading: Reading) -> list[list[str]]:
    """The names of images, those with the same pixels together, most copies first."""
    groups = defaultdict(list)
    for name, entry in zip(reading.names, reading.entries, strict=True):
        groups[entry.digest].append(name)
    return sorted(groups.values(), key=len, reverse=True)


def sizes(reading: Reading) -> str:
    """The sizes of the whole pictures, in a line: the most frequent ones, the smallest and the largest."""
    counts = Counter((entry.width, entry.height) for entry in reading.entries)
    frequent = [f"{width}x{height} ({count:,})" for (width, height), count in counts.most_common(3)]
    areas = sorted(counts, key=lambda size: (size[0] * size[1], size))
    extremes = f"; from {areas[0][0]}x{areas[0][1]} to {areas[-1][0]}x{areas[-1][1]}" if len(counts) > 1 else ""
    return f"sizes of the pictures: {', '.join(frequent)}{extremes}."


def _images(number: int, one: str = "", many: str = "", kind: str = "") -> str:
    """So many images are ..., or one is: the beginning of a sentence."""
    words = f"{kind}images are {many}" if number > 1 else f"{kind}image is {one}"
    return f"{number:,} {words}".rstrip()


def _named(names: list[str], most: int = 5) -> str:
    named = ", ".join(printable(name.rsplit("/", 1)[-1]) for name in names[:most])
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{len(names):,} file{'s' if len(names) > 1 else ''} ({named}{more})"


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(printable(name) for name in names[:most]) + (", ..." if len(names) > most else "")
