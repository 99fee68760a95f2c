"""Levels of a small jump-and-run game, drawn by code: ground and pits, ledges, pillars, crystals, thorns, hedgehogs.

A level is 16 rows of 32 tiles, each a number: its place in `TILES`. Every level follows from a seed and a number alone.
Nothing in it is copied from any game.
"""

from __future__ import annotations

from random import Random

import numpy as np

TILES = ("sky", "earth", "ledge", "left half of a pillar", "right half of a pillar", "crystal", "thorns", "hedgehog")
SKY, EARTH, LEDGE, LEFT, RIGHT, CRYSTAL, THORNS, HEDGEHOG = range(len(TILES))
SOLID = (EARTH, LEDGE, LEFT, RIGHT)
DEADLY = (THORNS, HEDGEHOG)
HEIGHT, WIDTH = 16, 32
BANK = 3  # columns of firm ground at both ends
GROUND = 2, 3, 4, 5  # tiles of earth below the player's feet


def level(seed: int, number: int) -> np.ndarray:
    """Level `number` of `seed`: uint8 (16, 32); neighbours in number have nothing to do with each other."""
    random = Random(f"level {seed} {number}")
    tiles = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    height, column = random.choice(GROUND), 0
    while column < WIDTH:
        length = random.randint(BANK, 7)
        if WIDTH - column - length < BANK + 2:  # no room for a pit and another bank
            length = WIDTH - column
        tiles[HEIGHT - height :, column : column + length] = EARTH
        _furnish(tiles, random, HEIGHT - height, column, length)
        column += length
        if column < WIDTH:
            step = height + random.choice((-2, -1, 1, 2))
            if random.random() < 0.55:
                width = random.randint(2, min(5, WIDTH - BANK - column))
                if random.random() < 0.5:
                    _arc(tiles, HEIGHT - height - 3, column, width)
                column += width
            height = min(max(step, GROUND[0]), GROUND[-1])
    return tiles


def _furnish(tiles: np.ndarray, random: Random, surface: int, column: int, length: int) -> None:
    """Puts at most one thing on a stretch of even ground, and perhaps a ledge above it; both ends stay free."""
    inner = range(column + 1, column + length - 1)
    thing = random.choices(("nothing", "pillar", "thorns", "hedgehog", "crystals"), weights=(3, 3, 2, 2, 2))[0]
    if thing == "pillar" and len(inner) >= 2:
        place, tall = random.choice(inner[:-1]), random.randint(1, 3)
        tiles[surface - tall : surface, place] = LEFT
        tiles[surface - tall : surface, place + 1] = RIGHT
    elif thing in ("thorns", "hedgehog"):
        tiles[surface - 1, random.choice(inner)] = THORNS if thing == "thorns" else HEDGEHOG
    elif thing == "crystals":
        tiles[surface - 2, inner.start : inner.stop] = CRYSTAL
    if thing != "pillar" and length >= 5 and random.random() < 0.6:
        start, stop = random.randint(column, column + 1), column + length - random.randint(0, 1)
        tiles[surface - 4, start:stop] = LEDGE
        if random.random() < 0.6:
            tiles[surface - 5, start + 1 : stop - 1] = CRYSTAL


def _arc(tiles: np.ndarray, row: int, column: int, width: int) -> None:
    """Crystals over a pit, along the way of a jump."""
    for place in range(width):
        tiles[row - (0 < place < width - 1), column + place] = CRYSTAL


def render(num_levels: int, *, seed: int = 0, first: int = 0) -> np.ndarray:
    """The levels `first`, `first` + 1, ... of a seed: uint8 (N, 16, 32)."""
    return np.stack([level(seed, number) for number in range(first, first + num_levels)])
