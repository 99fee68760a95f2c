"""What stands in a scene: houses with five kinds of roof, five kinds of trees, and the brush that paints them.

Positions and lengths are shares of the image's side, with y counted downwards. Colours are those of noon; the light of
the scene is on them when they are painted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from PIL import ImageDraw

Colour = tuple[float, float, float]  # red, green, blue, from 0 to 255
Points = list[tuple[float, float]]

ROOFS = ("gable", "saddle", "hip", "gambrel", "flat")
TREES = ("conifer", "broadleaf", "poplar", "birch", "bush")
FENCES = ("none", "picket", "rail")
WALLS: tuple[Colour, ...] = (
    (236, 230, 218), (222, 190, 132), (178, 92, 70), (150, 176, 196), (132, 94, 66), (196, 110, 84), (158, 172, 140),
)  # fmt: skip
ROOF_COLOURS: tuple[Colour, ...] = ((172, 76, 52), (84, 88, 102), (96, 62, 48), (128, 56, 50), (70, 92, 88))
DOORS: tuple[Colour, ...] = ((92, 54, 34), (40, 84, 72), (140, 36, 36), (44, 62, 110))
SNOW: Colour = (240, 244, 250)
LAMP: Colour = (255, 214, 120)  # behind a window at night, whatever the light outside
LEAVES: dict[str, tuple[Colour, ...]] = {
    "spring": ((134, 178, 84), (160, 196, 104), (226, 178, 196)),
    "summer": ((62, 120, 56), (84, 136, 58), (48, 102, 62)),
    "autumn": ((206, 130, 44), (178, 76, 40), (196, 162, 62)),
    "winter": ((110, 98, 90), (122, 108, 96), (98, 92, 90)),
}


class Box(NamedTuple):
    """A rectangle, in shares of the image's side."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class House:
    """A house as it stands in the scene; `x` is the middle of its front and `y` the foot of it."""

    x: float
    y: float
    width: float  # of the front
    floors: int
    roof: str  # one of ROOFS
    side: int  # which side wall is seen: -1 left, 1 right
    wall: Colour
    roof_colour: Colour
    door: Colour
    num_windows: int  # on each floor
    lit: tuple[bool, ...]  # one for each window, the lowest floor first
    chimney: bool
    smoke: bool

    @property
    def height(self) -> float:
        """Of the wall, from foot to eaves."""
        return self.width * (0.5 if self.floors == 1 else 0.86)

    @property
    def eaves(self) -> float:
        return self.y - self.height

    @property
    def ridge(self) -> float:
        """The highest y of the roof."""
        return (
            self.eaves
            - self.width * {"gable": 0.5, "saddle": 0.38, "hip": 0.4, "gambrel": 0.5, "flat": 0.06}[self.roof]
        )

    def windows(self) -> list[Box]:
        """The windows of the front, as many as `lit`: beside the door on the lowest floor, in a row above."""
        size, found = 0.15 * self.width, []
        for floor in range(self.floors):
            middle = self.y - self.height / self.floors * (floor + 0.56)
            for number in range(self.num_windows):
                place = (number + 0.5) / self.num_windows - 0.5 if floor else (0.3 if number % 2 else -0.3)
                if floor or number < 2:
                    x = self.x + place * self.width
                    found.append(Box(x - size / 2, middle - size * 0.6, x + size / 2, middle + size * 0.6))
        return found


@dataclass(frozen=True)
class Tree:
    """A tree or bush; `x` and `y` are the foot of its trunk."""

    x: float
    y: float
    height: float
    kind: str  # one of TREES
    leaves: Colour
    lean: float  # of the crown, in shares of the height


@dataclass(frozen=True)
class Brush:
    """Paints shapes on a canvas of `side` pixels in the light of a scene."""

    draw: ImageDraw.ImageDraw
    side: int
    light: Colour  # what becomes of white
    haze: Colour
    snowy: bool
    sun_side: int  # -1: the light comes from the left

    def colour(self, colour: Colour, shade: float = 1.0, haze: float = 0.0, alpha: float = 1.0) -> tuple[int, ...]:
        """A colour of noon in this light, darkened by `shade` and faded into the haze of the distance."""
        red, green, blue = (
            round(min(255.0, value * shade * light / 255) * (1 - haze) + far * haze)
            for value, light, far in zip(colour, self.light, self.haze, strict=True)
        )
        return red, green, blue, round(255 * alpha)

    def polygon(self, points: Points, fill: tuple[int, ...]) -> None:
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=fill)

    def rectangle(self, box: Box, fill: tuple[int, ...]) -> None:
        left, top, right, bottom = (value * self.side for value in box)
        self.draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=fill)

    def ellipse(self, x: float, y: float, width: float, height: float, fill: tuple[int, ...]) -> None:
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        self.draw.ellipse(tuple(value * self.side for value in box), fill=fill)

    def line(self, points: Points, width: float, fill: tuple[int, ...]) -> None:
        pixels = [(x * self.side, y * self.side) for x, y in points]
        self.draw.line(pixels, width=max(1, round(width * self.side)), fill=fill, joint="curve")


def paint_house(brush: Brush, house: House) -> None:
    """Walls, roof, chimney, windows and door; the side wall and its half of the roof lie in shade or in the sun."""
    half, side = house.width / 2, house.side
    deep, back = 0.42 * house.width, -0.07 * house.width
    front_shade, side_shade = (1.0, 0.72) if side != brush.sun_side else (0.82, 0.98)

    def at(across: float, y: float) -> tuple[float, float]:
        """A point of the house, counted from the middle of its front towards the side wall that is seen."""
        return house.x + side * across, y

    eaves, ridge, foot = house.eaves, house.ridge, house.y
    wall, far_wall = brush.colour(house.wall, front_shade), brush.colour(house.wall, side_shade)
    cover = SNOW if brush.snowy else house.roof_colour
    roof, far_roof = brush.colour(cover, front_shade * 0.97), brush.colour(cover, side_shade)
    edge = brush.colour(house.roof_colour, 0.6)
    if house.chimney:
        chimney_x = house.x + side * (0.22 * house.width + deep / 2)
        top = min(ridge, eaves - 0.16 * house.width) - 0.12 * house.width
        size = 0.11 * house.width
        brush.rectangle(
            Box(chimney_x - size / 2, top, chimney_x + size / 2, eaves + back), brush.colour((140, 84, 70), 0.9)
        )
        if house.smoke:
            for puff in range(4):
                x, y = chimney_x + 0.03 * puff * puff * 0.6, top - 0.035 - 0.035 * puff
                brush.ellipse(
                    x, y, 0.035 + 0.016 * puff, 0.03 + 0.012 * puff, brush.colour((226, 226, 230), alpha=0.42)
                )
    brush.polygon(
        [at(half, foot), at(half + deep, foot + back), at(half + deep, eaves + back), at(half, eaves)], far_wall
    )
    brush.polygon([at(-half, foot), at(half, foot), at(half, eaves), at(-half, eaves)], wall)
    over = 0.05 * house.width
    if house.roof == "gable":
        brush.polygon([at(-half, eaves), at(half, eaves), at(0, ridge)], wall)
        brush.polygon(
            [
                at(half + over, eaves + over),
                at(0, ridge),
                at(deep, ridge + back),
                at(half + deep + over, eaves + back + over),
            ],
            far_roof,
        )
        brush.line([at(-half - over, eaves + over), at(0, ridge), at(half + over, eaves + over)], over, edge)
    elif house.roof == "saddle":
        brush.polygon([at(half, eaves), at(half + deep, eaves + back), at(half + deep / 2, ridge)], far_wall)
        left, right = at(-half - over, eaves), at(half + over / 2, eaves)
        brush.polygon([left, right, at(half + deep / 2 + over / 2, ridge), at(-half + deep / 2 - over, ridge)], roof)
        brush.line([left, right, at(half + deep / 2 + over / 2, ridge)], over / 2, edge)
    elif house.roof == "hip":
        corner, top = at(half + over / 2, eaves), at(half * 0.5 + deep / 2, ridge)
        brush.polygon([at(-half - over, eaves), corner, top, at(-half * 0.5 + deep / 2, ridge)], roof)
        brush.polygon([corner, at(half + deep + over, eaves + back), top], far_roof)
        brush.line([at(-half - over, eaves), corner], over / 2, edge)
    elif house.roof == "gambrel":
        knee, knee_y = 0.62 * half, eaves + 0.62 * (ridge - eaves)
        profile = [at(-half, eaves), at(-knee, knee_y), at(0, ridge), at(knee, knee_y), at(half, eaves)]
        brush.polygon(profile, wall)
        brush.polygon([profile[2], profile[3], at(knee + deep, knee_y + back), at(deep, ridge + back)], far_roof)
        lower = [at(half + over, eaves + over / 2), at(half + deep + over, eaves + back + over / 2)]
        brush.polygon(
            [profile[3], lower[0], lower[1], at(knee + deep, knee_y + back)], brush.colour(cover, side_shade * 0.88)
        )
        brush.line([at(-half - over, eaves + over / 2), *profile[1:4], lower[0]], over * 0.8, edge)
    else:
        brush.polygon(
            [
                at(-half - over, eaves),
                at(half + over, eaves),
                at(half + deep + over, eaves + back),
                at(-half + deep, eaves + back),
            ],
            roof,
        )
        brush.polygon(
            [at(-half - over, eaves), at(half + over, eaves), at(half + over, ridge), at(-half - over, ridge)], edge
        )
        brush.polygon(
            [
                at(half + over, eaves),
                at(half + deep + over, eaves + back),
                at(half + deep + over, ridge + back),
                at(half + over, ridge),
            ],
            edge,
        )
        if brush.snowy:
            brush.line(
                [at(-half - over, ridge), at(half + over, ridge), at(half + deep + over, ridge + back)],
                over / 2,
                brush.colour(SNOW),
            )
    _paint_openings(brush, house, front_shade)


def _paint_openings(brush: Brush, house: House, shade: float) -> None:
    frame = brush.colour((246, 244, 238), shade)
    for box, lit in zip(house.windows(), house.lit, strict=True):
        rim = 0.022 * house.width
        glass = (*map(round, LAMP), 255) if lit else brush.colour((96, 116, 140), 0.75)
        brush.rectangle(Box(box.left - rim, box.top - rim, box.right + rim, box.bottom + rim), frame)
        brush.rectangle(box, glass)
        middle, centre = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        brush.line([(middle, box.top), (middle, box.bottom)], rim * 0.7, frame)
        brush.line([(box.left, centre), (box.right, centre)], rim * 0.7, frame)
    width, height = 0.17 * house.width, 0.33 * house.width
    box = Box(house.x - width / 2, house.y - height, house.x + width / 2, house.y)
    brush.rectangle(
        Box(box.left - 0.02 * house.width, box.top - 0.02 * house.width, box.right + 0.02 * house.width, box.bottom),
        frame,
    )
    brush.rectangle(box, brush.colour(house.door, shade))


def paint_tree(brush: Brush, tree: Tree) -> None:
    """The crown has a light side, towards the sun, and a dark one; in winter, conifers bear snow, others are bare."""
    x, y, height = tree.x, tree.y, tree.height
    lit, dark = brush.colour(tree.leaves, 1.12), brush.colour(tree.leaves, 0.74)
    full, bark = brush.colour(tree.leaves, 0.94), brush.colour((98, 72, 54), 0.85)
    sun, top = brush.sun_side, x + tree.lean * height
    if tree.kind == "conifer":
        brush.rectangle(Box(x - 0.04 * height, y - 0.16 * height, x + 0.04 * height, y), bark)
        for tier in range(4):
            foot, tip = y - height * (0.1 + 0.2 * tier), y - height * (0.46 + 0.18 * tier)
            half, middle = height * (0.26 - 0.05 * tier), x + (top - x) * tier / 3
            brush.polygon([(middle - half, foot), (middle + half, foot), (middle, tip)], full)
            brush.polygon([(middle, tip), (middle - sun * half, foot), (middle - sun * 0.1 * half, foot)], dark)
            if brush.snowy:
                part = [
                    (middle, tip),
                    (middle + sun * 0.75 * half, foot - 0.05 * height),
                    (middle + sun * 0.05 * half, foot - 0.16 * height),
                ]
                brush.polygon(part, brush.colour(SNOW))
        return
    if tree.kind == "bush":
        for across, up, size in ((-0.3, 0.3, 0.7), (0.3, 0.28, 0.66), (0.0, 0.45, 0.8)):
            brush.ellipse(x + across * height, y - up * height, size * height, size * 0.85 * height, full)
        brush.ellipse(x + sun * 0.18 * height, y - 0.55 * height, 0.5 * height, 0.4 * height, lit)
        return
    white = tree.kind == "birch"
    trunk = brush.colour((226, 224, 216), 0.95) if white else bark
    brush.line([(x, y), (top, y - 0.75 * height)], (0.05 if white else 0.075) * height, trunk)
    if brush.snowy:
        for branch in range(7):
            begin = y - height * (0.32 + 0.07 * branch)
            reach = height * (0.3 - 0.025 * branch) * (1 if branch % 2 else -1)
            stem = x + (top - x) * (y - begin) / height
            brush.line([(stem, begin), (stem + reach, begin - 0.22 * height)], 0.024 * height, trunk)
            brush.line(
                [(stem + reach / 2, begin - 0.11 * height), (stem + reach * 0.6, begin - 0.28 * height)],
                0.018 * height,
                trunk,
            )
        brush.ellipse(top, y - 0.68 * height, 0.52 * height, 0.6 * height, brush.colour(tree.leaves, alpha=0.3))
        return
    if tree.kind == "poplar":
        brush.ellipse(top, y - 0.56 * height, 0.28 * height, 0.88 * height, full)
        brush.ellipse(top - sun * 0.04 * height, y - 0.5 * height, 0.18 * height, 0.7 * height, dark)
        brush.ellipse(top + sun * 0.05 * height, y - 0.62 * height, 0.13 * height, 0.66 * height, lit)
        return
    wide = 0.5 if white else 0.62
    for number in range(5):  # lobes around the crown, then one in the middle
        angle = 2 * math.pi * number / 5 + tree.lean * 20
        at_x, at_y = top + 0.36 * wide * height * math.cos(angle), y - height * (0.66 - 0.17 * math.sin(angle))
        towards = math.cos(angle) * sun - math.sin(angle) * 0.6
        brush.ellipse(at_x, at_y, 0.66 * wide * height, 0.36 * height, full if towards > -0.4 else dark)
    brush.ellipse(top, y - 0.66 * height, 0.8 * wide * height, 0.42 * height, full)
    for across, up, size in ((0.16, 0.78, 0.3), (0.3, 0.66, 0.24), (0.02, 0.64, 0.22)):
        brush.ellipse(top + sun * across * wide * height, y - up * height, size * height, 0.8 * size * height, lit)


def paint_fence(brush: Brush, kind: str, y: float, gap: Box, spacing: float) -> None:
    """A fence over the whole width, with a gate where the path goes through."""
    wood = brush.colour((240, 238, 230) if kind == "picket" else (134, 104, 78), 0.95)
    height = 0.062 if kind == "picket" else 0.055
    for begin, end in ((-0.01, gap.left), (gap.right, 1.01)):
        for share in (0.3, 0.72):
            brush.line([(begin, y - share * height), (end, y - share * height)], 0.012, wood)
        x = begin
        while x < end:
            if kind == "picket":
                half = 0.3 * spacing
                top = y - height
                brush.polygon([(x - half, y), (x - half, top), (x, top - 0.014), (x + half, top), (x + half, y)], wood)
            else:
                brush.rectangle(Box(x - 0.009, y - height, x + 0.009, y), wood)
            x += spacing if kind == "picket" else 3.2 * spacing
