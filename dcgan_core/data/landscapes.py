"""What a scene is, and how it is painted: sky, hills and meadow, the house and the trees in order, the weather."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from dcgan_core.data.brush import SNOW, Box, Brush, Colour
from dcgan_core.data.houses import House, paint_fence, paint_house
from dcgan_core.data.trees import Tree, paint_tree

SEASONS = ("spring", "summer", "autumn", "winter")
WEATHERS = ("clear", "cloudy", "rain", "snow", "fog")
SUPERSAMPLING = 3  # scenes are painted at three times their size


@dataclass(frozen=True)
class Daytime:
    """What the sky and the light are like."""

    zenith: Colour
    horizon: Colour
    light: Colour  # what becomes of white
    lamps: float  # probability that a window is lit
    disc: Colour  # of the sun or the moon
    heights: tuple[float, float]  # of it, the highest and the lowest y


DAYTIMES: dict[str, Daytime] = {
    "dawn": Daytime((118, 146, 198), (252, 204, 172), (246, 218, 204), 0.25, (255, 238, 200), (0.24, 0.42)),
    "day": Daytime((74, 138, 214), (200, 226, 246), (255, 255, 250), 0.0, (255, 250, 214), (0.07, 0.25)),
    "dusk": Daytime((72, 66, 126), (246, 142, 92), (214, 158, 146), 0.6, (255, 190, 110), (0.26, 0.42)),
    "night": Daytime((10, 14, 40), (44, 56, 100), (78, 90, 136), 0.75, (238, 240, 232), (0.08, 0.3)),
}
GROUNDS: dict[str, Colour] = {
    "spring": (140, 178, 92),
    "summer": (112, 150, 70),
    "autumn": (168, 150, 86),
    "winter": SNOW,
}


@dataclass(frozen=True)
class Scene:
    """Everything a scene is painted from, in shares of the image's side, with y counted downwards."""

    daytime: str  # of DAYTIMES
    season: str  # of SEASONS
    weather: str  # of WEATHERS
    tint: tuple[float, float, float]  # of the sky, factors near 1
    horizon: float  # y
    disc: tuple[float, float]  # the middle of the sun or moon, behind the clouds if the weather hides it
    mountains: bool  # far hills are pointed, with snow on top
    hills: tuple[tuple[float, ...], ...]  # of each range, far to near: height, then phases of its waves
    house: House
    trees: tuple[Tree, ...]  # far to near
    fence: str  # of FENCES
    seed: int  # of what is strewn: clouds, stars, grass, rain

    @property
    def disc_is_seen(self) -> bool:
        """Whether the sky is open enough for the sun or the moon."""
        return self.weather in ("clear", "cloudy")


def paint(scene: Scene, size: int) -> Image.Image:
    """The scene as a square RGB picture of `size` pixels a side."""
    side = size * SUPERSAMPLING
    time = DAYTIMES[scene.daytime]
    grey = {"clear": 0.0, "cloudy": 0.15, "rain": 0.6, "snow": 0.5, "fog": 0.55}[scene.weather]
    zenith, horizon = (_overcast(_times(colour, scene.tint), grey) for colour in (time.zenith, time.horizon))
    light = _overcast(time.light, 0.3 * grey)
    picture = _sky(scene, side, zenith, horizon)
    brush = Brush(
        ImageDraw.Draw(picture, "RGBA"),
        side,
        light,
        haze=horizon,
        snowy=scene.season == "winter",
        sun_side=-1 if scene.disc[0] < 0.5 else 1,
    )
    random = Random(scene.seed)
    _paint_sky(brush, scene, random, time)
    _paint_land(brush, scene, random)
    behind = [tree for tree in scene.trees if tree.y <= scene.house.y]
    before = [tree for tree in scene.trees if tree.y > scene.house.y]
    _paint_shadows(brush, scene)
    for tree in behind:
        paint_tree(brush, tree)
    paint_house(brush, scene.house)
    fence_y = scene.house.y + 0.075
    if scene.fence != "none":
        middle = scene.house.x
        paint_fence(brush, scene.fence, fence_y, Box(middle - 0.06, 0, middle + 0.06, 0), 0.045)
    for tree in before:
        paint_tree(brush, tree)
    _paint_weather(brush, scene, random)
    return picture.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _sky(scene: Scene, side: int, zenith: Colour, horizon: Colour) -> Image.Image:
    """A gradient from the zenith to the horizon, with the glow of the sun or the moon."""
    coarse = 48  # pixels: it is smooth, and enlarged
    rows, columns = np.mgrid[0:coarse, 0:coarse] / coarse
    down = np.clip(rows / scene.horizon, 0, 1)[..., None] ** 1.2
    pixels = np.array(zenith) * (1 - down) + np.array(horizon) * down
    if scene.disc_is_seen:
        distance = np.hypot(columns - scene.disc[0], rows - scene.disc[1])
        glow = np.exp(-distance / 0.16)[..., None] * (0.3 if scene.daytime == "night" else 0.6)
        pixels = pixels * (1 - glow) + np.array(DAYTIMES[scene.daytime].disc) * glow
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)


def _paint_sky(brush: Brush, scene: Scene, random: Random, time: Daytime) -> None:
    if scene.daytime == "night" and scene.disc_is_seen:
        for _ in range(26):
            size = random.uniform(0.006, 0.014)
            brush.ellipse(
                random.random(), random.uniform(0, 0.42), size, size, (255, 255, 240, random.randint(90, 230))
            )
    if scene.disc_is_seen:
        size = 0.1 if scene.daytime == "night" else 0.12
        brush.ellipse(*scene.disc, size, size, (*map(round, time.disc), 255))
    if scene.weather == "clear":
        return
    for _ in range({"cloudy": 4, "rain": 7, "snow": 6, "fog": 2}[scene.weather]):
        x, y, width = random.uniform(-0.05, 1.05), random.uniform(0.04, 0.34), random.uniform(0.22, 0.42)
        white = 250 if scene.weather == "cloudy" else 178
        for level, shade in ((0.022, 0.84), (0.0, 1.0)):
            fill = brush.colour((white, white, white + 4), shade * 0.98, alpha=0.75)
            for share in (-0.36, -0.14, 0.12, 0.36):
                puff = width * (0.3 + 0.26 * random.random()) * (1 - abs(share))
                brush.ellipse(x + share * width, y + level - 0.25 * puff, 1.5 * puff, puff, fill)


def _paint_land(brush: Brush, scene: Scene, random: Random) -> None:
    ground = GROUNDS[scene.season]
    for number, (height, *phases) in enumerate(scene.hills):
        pointed = scene.mountains and number == 0
        base = scene.horizon + 0.02 * number
        height *= 1.5 if pointed else 1.0
        steps = [step / 24 for step in range(25)]
        line = [(x, base - height * _wave(x, phases, number, pointed)) for x in steps]
        rock: Colour = (110, 116, 134) if pointed else _mixed(ground, (70, 110, 90), 0.5 - 0.15 * number)
        brush.polygon(
            [(0.0, 1.0), *line, (1.0, 1.0)], brush.colour(rock, 0.8 + 0.06 * number, haze=0.55 - 0.2 * number)
        )
        if pointed:
            for left, tip, right in zip(line, line[1:], line[2:], strict=False):
                if tip[1] < min(left[1], right[1]) and base - tip[1] > 0.1:
                    down = [
                        (tip[0] + (end[0] - tip[0]) * 0.9, tip[1] + (end[1] - tip[1]) * 0.9) for end in (left, right)
                    ]
                    brush.polygon([down[0], tip, down[1], (tip[0], tip[1] + 0.03)], brush.colour(SNOW, haze=0.42))
    meadow = scene.horizon + 0.05
    for band in range(12):
        top = meadow + (1 - meadow) * band / 12
        edge = [(x / 6, top - 0.012 * math.sin(5 * x / 6 + scene.hills[2][1])) for x in range(7)]
        brush.polygon(
            [(0.0, 1.0), *edge, (1.0, 1.0)], brush.colour(ground, 0.98 - 0.014 * band, haze=0.2 * (1 - band / 12))
        )
    for _ in range(70):
        x, y = random.random(), random.uniform(meadow + 0.02, 1.0)
        long = 0.012 + 0.03 * (y - meadow)
        tuft = brush.colour(ground, random.choice((0.8, 0.86, 1.1)), alpha=0.7)
        brush.line([(x, y), (x + random.uniform(-0.4, 0.4) * long, y - long)], 0.005, tuft)
    house, bend = scene.house, 0.12 * math.sin(scene.hills[1][1])
    path = [
        (house.x - 0.03, house.y - 0.005),
        (house.x + 0.03, house.y - 0.005),
        (house.x + bend + 0.1, 1.0),
        (house.x + bend - 0.1, 1.0),
    ]
    brush.polygon(path, brush.colour((200, 184, 150) if scene.season != "winter" else (214, 214, 218), 0.95))


def _wave(x: float, phases: list[float], number: int, pointed: bool) -> float:
    """The height of a range of hills at x, about 0 to 1."""
    if pointed:
        tooth = abs((2.2 * x + phases[0] / 6) % 1 - 0.5) * 2
        return 0.62 * tooth + 0.38 * abs((4.7 * x + phases[1] / 6) % 1 - 0.5) * 2
    first = math.sin((4 + number) * x + phases[0])
    return 0.55 + 0.3 * first + 0.15 * math.sin((9 + 2 * number) * x + phases[1])


def _paint_shadows(brush: Brush, scene: Scene) -> None:
    """Away from the sun or the moon, the longer the lower it stands; faint where the sky is grey."""
    strength = 0.34 if scene.disc_is_seen else 0.14
    long = 0.35 + 1.6 * max(0.0, scene.disc[1] - 0.08)
    away = -brush.sun_side
    fill = (12, 18, 40, round(255 * strength))
    house = scene.house
    outer, inner = house.x + away * 0.5 * house.width, house.x - away * 0.5 * house.width
    if house.side == away:
        outer += away * 0.42 * house.width
    tip = outer + away * long * house.height
    brush.polygon(
        [
            (inner, house.y),
            (outer, house.y - 0.02),
            (tip, house.y + 0.02),
            (tip - away * 0.1, house.y + 0.06),
            (inner, house.y + 0.02),
        ],
        fill,
    )
    for tree in scene.trees:
        reach = long * tree.height
        brush.ellipse(tree.x + away * reach * 0.4, tree.y + 0.01, reach + 0.2 * tree.height, 0.13 * tree.height, fill)


def _paint_weather(brush: Brush, scene: Scene, random: Random) -> None:
    if scene.weather == "rain":
        for _ in range(70):
            x, y, long = random.uniform(-0.05, 1.05), random.uniform(-0.05, 1.0), random.uniform(0.04, 0.09)
            brush.line([(x, y), (x - 0.3 * long, y + long)], 0.006, brush.colour((226, 232, 240), 1.05, alpha=0.5))
    elif scene.weather == "snow":
        for _ in range(80):
            size = random.uniform(0.01, 0.026)
            brush.ellipse(random.random(), random.random(), size, size, brush.colour((255, 255, 255), 1.1, alpha=0.9))
    elif scene.weather == "fog":
        for level in range(7):
            y = scene.horizon - 0.24 + 0.06 * level
            brush.rectangle(Box(0.0, y, 1.0, y + 0.3), brush.colour((228, 230, 234), alpha=0.14))


def _times(colour: Colour, factors: tuple[float, float, float]) -> Colour:
    return colour[0] * factors[0], colour[1] * factors[1], colour[2] * factors[2]


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    """A share of the other colour in the first."""
    red, green, blue = (a * (1 - share) + b * share for a, b in zip(one, other, strict=True))
    return red, green, blue


def _overcast(colour: Colour, grey: float) -> Colour:
    """A colour of the sky, or of the light, that clouds have taken a share of."""
    mean = sum(colour) / 3
    return _mixed(colour, (0.86 * mean, 0.87 * mean, 0.9 * mean), grey)
