"""Small scenes in colour, drawn by code: a house among trees and hills, at any time of day and year, in any weather.

A folder of pictures that resembles people's own, without a download and without a question of licence. Every scene
follows from a seed and a number alone, and comes with the parameters that it was painted from, so that kinds can be
counted. Scenes are painted at several times their size and shrunk, so that edges are smooth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from dcgan_core.data.houses import DOORS, FENCES, ROOF_COLOURS, ROOFS, WALLS, House
from dcgan_core.data.landscapes import DAYTIMES, SEASONS, Daytime, Scene, paint
from dcgan_core.data.trees import LEAVES, TREES, Tree


def scene(seed: int, number: int) -> Scene:
    """The parameters of scene `number` of `seed`; neighbours in number have nothing to do with each other."""
    random = Random(f"scene {seed} {number}")
    daytime, season = random.choice(tuple(DAYTIMES)), random.choice(SEASONS)
    wet = "snow" if season == "winter" else "rain"
    weather = random.choices(("clear", "cloudy", wet, "fog"), weights=(4, 3, 2, 1))[0]
    horizon = random.uniform(0.46, 0.58)
    house = _house(random, DAYTIMES[daytime], horizon)
    disc_x = random.uniform(0.08, 0.92)
    disc = disc_x, random.uniform(*DAYTIMES[daytime].heights)
    hills = tuple(
        (height * random.uniform(0.6, 1.3), *(random.uniform(0, 2 * math.pi) for _ in range(3)))
        for height in (0.17, 0.1, 0.05)
    )
    trees = [_tree(random, season, horizon, house) for _ in range(random.randint(2, 7))]
    return Scene(
        daytime,
        season,
        weather,
        (random.uniform(0.92, 1.06), random.uniform(0.95, 1.04), random.uniform(0.93, 1.05)),
        horizon,
        disc,
        random.random() < 0.4,
        hills,
        house,
        tuple(sorted(trees, key=lambda tree: tree.y)),
        random.choices(FENCES, weights=(5, 3, 2))[0],
        random.getrandbits(32),
    )


def _house(random: Random, daytime: Daytime, horizon: float) -> House:
    width, floors = random.uniform(0.24, 0.36), random.choice((1, 1, 2))
    num_windows = random.choice((1, 2, 2, 3))
    side = random.choice((-1, 1))
    reach = 0.5 * width, 0.95 * width  # without and with the side wall
    left, right = reach if side == 1 else reach[::-1]
    chimney = random.random() < 0.6
    return House(
        x=random.uniform(0.04 + left, 0.96 - right),
        y=random.uniform(max(0.68, horizon + 0.14), 0.82),
        width=width,
        floors=floors,
        roof=random.choice(tuple(ROOFS)),
        side=side,
        wall=random.choice(WALLS),
        roof_colour=random.choice(ROOF_COLOURS),
        door=random.choice(DOORS),
        num_windows=num_windows,
        lit=tuple(random.random() < daytime.lamps for _ in range(min(num_windows, 2) + (floors - 1) * num_windows)),
        chimney=chimney,
        smoke=chimney and random.random() < 0.5,
    )


def _tree(random: Random, season: str, horizon: float, house: House) -> Tree:
    """A tree anywhere on the meadow, the nearer the taller, but not before the front of the house."""
    kind = random.choice(TREES)
    y = random.uniform(horizon + 0.06, 0.93)
    x = random.uniform(0.02, 0.98)
    if y > house.y - 0.02 and abs(x - house.x) < 0.85 * house.width:
        x = house.x + math.copysign(random.uniform(0.95, 1.5) * house.width, x - house.x)
    near = (y - horizon) / (1 - horizon)
    height = (0.1 + 0.36 * near) * random.uniform(0.8, 1.25) * {"bush": 0.4, "poplar": 1.25}.get(kind, 1.0)
    leaves = random.choice(LEAVES[season])
    if kind == "conifer" or (kind == "bush" and season == "winter"):
        leaves = random.choice(((42, 92, 66), (36, 80, 58), (58, 104, 70)))
    return Tree(x, y, height, kind, leaves, random.uniform(-0.05, 0.05))


@dataclass(frozen=True)
class Scenes:
    """Scenes and what they were painted from; index i of both is the same scene."""

    images: np.ndarray  # uint8 (N, 3, S, S)
    scenes: tuple[Scene, ...]


def render(num_images: int, *, image_size: int = 64, seed: int = 0, first: int = 0) -> Scenes:
    """Paints the scenes `first`, `first` + 1, ... of a seed: uint8 (N, 3, S, S).

    The same arguments give the same pixels (with the same Pillow), and how many are painted changes none of them.
    """
    scenes = tuple(scene(seed, number) for number in range(first, first + num_images))
    images = np.empty((num_images, 3, image_size, image_size), np.uint8)
    for image, parameters in zip(images, scenes, strict=True):
        image[:] = np.asarray(paint(parameters, image_size)).transpose(2, 0, 1)
    return Scenes(images, scenes)
