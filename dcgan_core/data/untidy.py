"""A folder of pictures as people really have them: scenes in many sizes and formats, and what has crept in beside them.

It is made to be inspected and cleaned, so what was written under which name is known.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from dcgan_core.data.landscapes import paint
from dcgan_core.data.pixels import ORIENTATION
from dcgan_core.data.scenes import scene

MODES = ("CMYK", "palette", "16 bit", "grey", "transparent")  # of some scenes
COPIES = ("copy", "near copy")  # byte for byte; cut by a little, shrunk and saved anew
SECOND_KIND = ("document", "screenshot")
ODD = ("plain", "tiny", "turned", "unreadable", "no picture")  # one or two of each
SHARES = {"mode": 0.05, "copy": 0.03, "near copy": 0.03, "document": 0.05, "screenshot": 0.04}  # of the scenes
SIZES = (56, 72, 96)  # pixels, of the longer side
COPIED_SIZE = 64
WORDS = "the a house tree hill sky light winter evening train letter window garden price total number of and to in with"


def write_untidy(folder: Path, num_scenes: int = 500, *, seed: int = 0) -> dict[str, str]:
    """Writes so many scenes into `folder`, and the usual dirt; returns what each file is, by its name.

    That is "scene", one of `MODES`, `COPIES`, `SECOND_KIND` or `ODD`. The scenes are those of `seed`, from 0 on. A file
    that exists already is overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random, found = Random(f"untidy {seed}"), {}

    def add(name: str, content: bytes, what: str) -> None:
        (folder / name).write_bytes(content)
        found[name] = what

    for number in range(num_scenes):
        picture = _photograph(seed, number, random)
        if random.random() < 0.3:
            add(f"IMG_{number:04}.png", _bytes(picture, "PNG"), "scene")
        else:
            add(f"IMG_{number:04}.jpg", _bytes(picture, "JPEG", quality=random.randint(82, 95)), "scene")
    names = list(found)
    counts = {what: max(2, round(share * num_scenes)) for what, share in SHARES.items()}
    for number in range(counts["mode"]):
        mode = MODES[number % len(MODES)]
        picture = _photograph(seed, num_scenes + number, random)
        add(f"scan_{number:03}.{'jpg' if mode == 'CMYK' else 'png'}", _in_mode(picture, mode), mode)
    for name in random.sample(names, counts["copy"]):
        stem, suffix = name.rsplit(".", 1)
        add(f"{stem} (1).{suffix}", (folder / name).read_bytes(), "copy")
    for name in random.sample(names, counts["near copy"]):
        add(f"{name.rsplit('.', 1)[0]}_small.jpg", _near_copy((folder / name).read_bytes()), "near copy")
    for number in range(counts["document"]):
        add(f"page_{number:03}.png", _bytes(page_of_text(random), "PNG"), "document")
    for number in range(counts["screenshot"]):
        add(f"Screenshot_{number:03}.png", _bytes(screenshot(random), "PNG"), "screenshot")
    _add_odd_ones(add, seed, random)
    return found


def _photograph(seed: int, number: int, random: Random) -> Image.Image:
    """A scene, square or cut to 4:3, in one of several sizes."""
    picture = paint(scene(seed, number), random.choice(SIZES))
    if random.random() < 0.35:
        side = picture.width
        picture = picture.crop((0, side // 8, side, side // 8 + 3 * side // 4))
    return picture


def _bytes(picture: Image.Image, kind: str, **settings: Any) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def _in_mode(picture: Image.Image, mode: str) -> bytes:
    if mode == "CMYK":
        return _bytes(picture.convert("CMYK"), "JPEG", quality=92)
    if mode == "palette":
        return _bytes(picture.quantize(64), "PNG")
    if mode == "16 bit":
        return _bytes(Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257), "PNG")
    if mode == "grey":
        return _bytes(picture.convert("L"), "PNG")
    picture.putalpha(Image.new("L", picture.size, 255))
    return _bytes(picture, "PNG")


def _near_copy(content: bytes) -> bytes:
    picture = Image.open(BytesIO(content))
    width, height = picture.size
    cut = picture.convert("RGB").crop((1, 1, width - 1, height - 1))
    cut.thumbnail((COPIED_SIZE, COPIED_SIZE))
    return _bytes(cut, "JPEG", quality=70)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def page_of_text(random: Random) -> Image.Image:
    """A page of text, upright."""
    page = Image.new("L", (84, 112), random.randint(246, 255))
    draw, words = ImageDraw.Draw(page), WORDS.split()
    draw.text((8, 6), " ".join(random.sample(words, 2)).title(), fill=20, font=_font(9))
    y = 22
    while y < 100:
        line = " ".join(random.choice(words) for _ in range(random.randint(2, 4)))
        draw.text((8, y), line[:17], fill=60, font=_font(7))
        y += random.choice((9, 9, 9, 14))
    return page


def screenshot(random: Random) -> Image.Image:
    """A window with a bar, a list beside it and a table."""
    picture = Image.new("RGB", (112, 84), (246, 247, 250))
    draw, words = ImageDraw.Draw(picture), WORDS.split()
    accent = random.choice(((38, 98, 200), (26, 128, 110), (120, 60, 160), (200, 80, 40)))
    draw.rectangle((0, 0, 112, 12), fill=accent)
    draw.text((6, 2), random.choice(words).title(), fill="white", font=_font(7))
    draw.rectangle((0, 12, 28, 84), fill=(226, 230, 238))
    for row in range(6):
        y = 18 + 11 * row
        draw.rectangle((4, y, 4 + random.randint(10, 20), y + 3), fill=(150, 158, 172))
        draw.rectangle((36, y, 36 + random.randint(20, 50), y + 3), fill=(90, 98, 112))
        if random.random() < 0.4:
            draw.rectangle((92, y - 1, 106, y + 5), fill=accent)
    return picture


def _add_odd_ones(add: Callable[[str, bytes, str], None], seed: int, random: Random) -> None:
    rng = np.random.default_rng(random.getrandbits(32))
    dark = rng.integers(6, 11, (72, 96, 3)).astype(np.uint8)  # the cap was on the lens
    add("IMG_9001.png", _bytes(Image.fromarray(dark), "PNG"), "plain")
    add("icon.png", _bytes(paint(scene(seed, 900_001), 64).resize((12, 12)), "PNG"), "tiny")
    turned = paint(scene(seed, 900_002), 96)
    notes = Image.Exif()
    notes[ORIENTATION] = 6  # hold the camera upright, and turn it back to look at the picture
    sideways = turned.transpose(Image.Transpose.ROTATE_90)
    add("IMG_9002.jpg", _bytes(sideways, "JPEG", quality=95, exif=notes), "turned")
    whole = _bytes(paint(scene(seed, 900_003), 96), "JPEG", quality=90)
    add("IMG_9003.jpg", whole[: len(whole) // 3], "unreadable")
    add("notes.txt", b"Holiday in the hills, day 1 to 14.\n", "no picture")
