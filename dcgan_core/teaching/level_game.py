"""Levels as pictures, and a game in the page, played by arrow keys, by touch or by the agent; all in one output."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from IPython.display import HTML
from PIL import Image, ImageDraw

from dcgan_core.config import InvalidInput
from dcgan_core.data.levels import (
    CRYSTAL,
    DEADLY,
    EARTH,
    HEDGEHOG,
    HEIGHT,
    LEDGE,
    LEFT,
    RIGHT,
    SOLID,
    THORNS,
    TILES,
    WIDTH,
)
from dcgan_core.laboratory.level_rules import RISE, start_of, way
from dcgan_core.teaching.packed import packed

SIDE = 16  # pixels of a tile
FINER = 4  # tiles are drawn so many times as large, and shrunk
PLAYER = len(TILES)  # its place behind the tiles
SKY_COLOUR, EARTH_COLOUR, LEDGE_COLOUR, STONE = (214, 232, 245), (121, 85, 58), (166, 124, 82), (112, 122, 138)
STYLE, SCRIPT = (Path(__file__).with_name(f"level_game.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))


@functools.cache
def tile_pictures() -> np.ndarray:
    """The tiles in the order of `TILES`, and then the player, uint8 (9, 16, 16, 3)."""
    return np.stack([np.asarray(_tile(kind)) for kind in range(PLAYER + 1)])


def _tile(kind: int) -> Image.Image:
    side = SIDE * FINER
    picture = Image.new("RGB", (side, side), SKY_COLOUR)
    draw = ImageDraw.Draw(picture)

    def box(left: float, top: float, right: float, bottom: float, colour: tuple[int, int, int]) -> None:
        draw.rectangle((left * side, top * side, right * side - 1, bottom * side - 1), fill=colour)

    def shape(points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
        draw.polygon([(x * side, y * side) for x, y in points], fill=colour)

    if kind == EARTH:
        box(0, 0, 1, 1, EARTH_COLOUR)
        for x, y in ((0.15, 0.3), (0.6, 0.15), (0.4, 0.65), (0.8, 0.75)):
            box(x, y, x + 0.12, y + 0.12, (98, 68, 46))
    elif kind == LEDGE:
        box(0, 0, 1, 0.7, LEDGE_COLOUR)
        box(0, 0, 1, 0.18, (201, 163, 116))
    elif kind in (LEFT, RIGHT):
        box(0, 0, 1, 1, STONE)
        edge = 0.0 if kind == LEFT else 0.82
        box(edge, 0, edge + 0.18, 1, (74, 82, 96))
        box(0, 0.86, 1, 1, (92, 101, 116))
    elif kind == CRYSTAL:
        shape([(0.5, 0.12), (0.82, 0.5), (0.5, 0.88), (0.18, 0.5)], (0, 140, 110))
        shape([(0.5, 0.12), (0.5, 0.88), (0.18, 0.5)], (70, 195, 160))
    elif kind == THORNS:
        for x in (0.0, 0.33, 0.66):
            shape([(x, 1), (x + 0.17, 0.25), (x + 0.34, 1)], (170, 40, 90))
    elif kind == HEDGEHOG:
        draw.pieslice((0.08 * side, 0.3 * side, 0.92 * side, 1.7 * side), 180, 360, fill=(84, 60, 48))
        shape([(0.04, 1), (0.3, 0.72), (0.34, 1)], (205, 170, 130))
        for x in (0.3, 0.48, 0.66):
            shape([(x, 0.45), (x + 0.1, 0.18), (x + 0.16, 0.45)], (84, 60, 48))
    elif kind == PLAYER:
        draw.ellipse((0.14 * side, 0.04 * side, 0.86 * side, 0.98 * side), fill=(213, 94, 0))
        for x in (0.42, 0.64):
            draw.ellipse((x * side, 0.28 * side, (x + 0.14) * side, 0.46 * side), fill=(255, 255, 255))
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def level_picture(level: np.ndarray) -> np.ndarray:
    """A level (16, 32) as pixels, uint8 (256, 512, 3)."""
    rows, columns = level.shape
    return tile_pictures()[level].transpose(0, 2, 1, 3, 4).reshape(rows * SIDE, columns * SIDE, 3)


def _address(pixels: np.ndarray) -> str:
    return f"data:image/png;base64,{packed(pixels)}"


def level_game(levels: Mapping[str, np.ndarray], *, alt: str, caption: str) -> HTML:
    """A game with these levels (16, 32) by name: to be played by arrow keys or by touch, or by the agent.

    Everything is inside the HTML: no file and no network is needed. Without JavaScript and on paper the first level
    remains, as a picture. Nothing moves before the reader asks for it, and with reduced motion nothing glides. Raises
    `InvalidInput` for a level of another size, or one in which there is no place to start.
    """
    entries = []
    for name, level in levels.items():
        if level.shape != (HEIGHT, WIDTH):
            raise InvalidInput(f"the level {name!r} has the shape {level.shape}: give 16 rows of 32 tiles.")
        start = start_of(level)
        if start is None:
            raise InvalidInput(f"the level {name!r} has no ground in its first column: choose another level.")
        moves = way(level)
        entries.append(
            {
                "name": name,
                "tiles": ["".join(map(str, row)) for row in level.tolist()],
                "start": start,
                "way": None if moves is None else [[direction, int(jump)] for direction, jump in moves],
            }
        )
    if not entries:
        raise InvalidInput("there is no level to play: give at least one.")
    rules = {"rise": RISE, "solid": SOLID, "deadly": DEADLY, "crystal": CRYSTAL, "side": SIDE}
    data = json.dumps({"levels": entries, **rules}, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    sheet = tile_pictures().transpose(1, 0, 2, 3).reshape(SIDE, -1, 3)
    options = "".join(f'<button type="button" aria-pressed="false">{html.escape(name)}</button>' for name in levels)
    touch = "".join(
        f'<button type="button" data-key="{key}" aria-label="{label}">{sign}</button>'
        for key, label, sign in (("ArrowLeft", "left", "◀"), ("ArrowUp", "jump", "▲"), ("ArrowRight", "right", "▶"))
    )
    return HTML(
        f'<style>{STYLE}</style><figure class="level-game">'
        f'<div class="level-choice" role="group" aria-label="Level" hidden>{options}</div>'
        f'<div class="level-stage"><img src="{_address(level_picture(next(iter(levels.values()))))}" '
        f'alt="{html.escape(alt)}" width="{WIDTH * SIDE}" height="{HEIGHT * SIDE}"></div>'
        f'<div class="level-touch" role="group" aria-label="Move" hidden>{touch}</div>'
        '<div class="level-more" hidden><button type="button">Show the agent’s way</button>'
        '<button type="button">Start again</button></div>'
        '<p class="level-status" role="status"></p>'
        f'<script type="application/json" data-sheet="{_address(sheet)}">{data}</script>'
        f'<figcaption><p><span class="caption-text">{html.escape(caption)}</span></p></figcaption></figure>'
        f"<script>{SCRIPT}</script>"
    )
