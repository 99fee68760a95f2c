"""The houses of a scene, with five kinds of roof, and the fences before them; see `brush` for what numbers mean."""

from __future__ import annotations

from dataclasses import dataclass

from dcgan_core.data.brush import SNOW, Box, Brush, Colour

ROOFS = {"gable": 0.5, "saddle": 0.38, "hip": 0.4, "gambrel": 0.5, "flat": 0.06}  # heights, in widths
FENCES = ("none", "picket", "rail")
WALLS: tuple[Colour, ...] = (
    (236, 230, 218), (222, 190, 132), (178, 92, 70), (150, 176, 196), (132, 94, 66), (196, 110, 84), (158, 172, 140),
)  # fmt: skip
ROOF_COLOURS: tuple[Colour, ...] = ((172, 76, 52), (84, 88, 102), (96, 62, 48), (128, 56, 50), (70, 92, 88))
DOORS: tuple[Colour, ...] = ((92, 54, 34), (40, 84, 72), (140, 36, 36), (44, 62, 110))
LAMP: Colour = (255, 214, 120)  # behind a window at night, whatever the light outside
DEPTH, RISE = 0.42, -0.07  # of the side wall, in widths: how far it reaches to the side, and its far end upwards
OVERHANG = 0.05  # of the roof, in widths


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
        return self.eaves - self.width * ROOFS[self.roof]

    def at(self, across: float) -> float:
        """The x of what lies so many widths from the middle of the front, towards the side wall that is seen."""
        return self.x + self.side * across * self.width

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


def paint_house(brush: Brush, house: House) -> None:
    """Chimney, walls, roof, windows and door; the side wall and its half of the roof lie in shade or in the sun."""
    front_shade, side_shade = (1.0, 0.72) if house.side != brush.sun_side else (0.82, 0.98)
    if house.chimney:
        _paint_chimney(brush, house)
    corners = [(house.at(0.5), house.y), (house.at(0.5 + DEPTH), house.y + RISE * house.width)]
    above = [(corners[1][0], house.eaves + RISE * house.width), (corners[0][0], house.eaves)]
    brush.polygon([*corners, *above], brush.colour(house.wall, side_shade))
    left, right = house.at(-0.5), house.at(0.5)
    front = [(left, house.y), (right, house.y), (right, house.eaves), (left, house.eaves)]
    brush.polygon(front, brush.colour(house.wall, front_shade))
    PAINT_ROOF[house.roof](brush, house, front_shade, side_shade)
    _paint_openings(brush, house, front_shade)


def _paint_chimney(brush: Brush, house: House) -> None:
    width = house.width
    x = house.x + house.side * (0.22 * width + DEPTH * width / 2)
    top = min(house.ridge, house.eaves - 0.16 * width) - 0.12 * width
    size = 0.11 * width
    chimney = Box(x - size / 2, top, x + size / 2, house.eaves + RISE * width)
    brush.rectangle(chimney, brush.colour((140, 84, 70), 0.9))
    smoke = brush.colour((226, 226, 230), alpha=0.42)
    for puff in range(4 if house.smoke else 0):
        drift, y = x + 0.03 * puff * puff * 0.6, top - 0.035 - 0.035 * puff
        brush.ellipse(drift, y, 0.035 + 0.016 * puff, 0.03 + 0.012 * puff, smoke)


def _cover(brush: Brush, house: House) -> Colour:
    return SNOW if brush.snowy else house.roof_colour


def _gable(brush: Brush, house: House, front_shade: float, side_shade: float) -> None:
    """The gable is in front: the ridge runs away from the eye."""
    over, back = OVERHANG * house.width, RISE * house.width
    left, right, far = house.at(-0.5 - OVERHANG), house.at(0.5 + OVERHANG), house.at(0.5 + DEPTH + OVERHANG)
    top, far_top = (house.at(0), house.ridge), (house.at(DEPTH), house.ridge + back)
    wall = [(house.at(-0.5), house.eaves), (house.at(0.5), house.eaves), top]
    brush.polygon(wall, brush.colour(house.wall, front_shade))
    slope = [(right, house.eaves + over), top, far_top, (far, house.eaves + back + over)]
    brush.polygon(slope, brush.colour(_cover(brush, house), side_shade))
    edge = [(left, house.eaves + over), top, (right, house.eaves + over)]
    brush.line(edge, over, brush.colour(house.roof_colour, 0.6))


def _saddle(brush: Brush, house: House, front_shade: float, side_shade: float) -> None:
    """The gable is at the side: the ridge runs along the front."""
    eaves, ridge, middle = house.eaves, house.ridge, 0.5 + DEPTH / 2
    gable = [(house.at(0.5), eaves), (house.at(0.5 + DEPTH), eaves + RISE * house.width), (house.at(middle), ridge)]
    brush.polygon(gable, brush.colour(house.wall, side_shade))
    left, right = (house.at(-0.5 - OVERHANG), eaves), (house.at(0.5 + OVERHANG / 2), eaves)
    top, far = (house.at(middle + OVERHANG / 2), ridge), (house.at(-0.5 + DEPTH / 2 - OVERHANG), ridge)
    brush.polygon([left, right, top, far], brush.colour(_cover(brush, house), front_shade * 0.97))
    brush.line([left, right, top], OVERHANG * house.width / 2, brush.colour(house.roof_colour, 0.6))


def _hip(brush: Brush, house: House, front_shade: float, side_shade: float) -> None:
    """All four sides slope: there is no gable."""
    eaves, cover = house.eaves, _cover(brush, house)
    left, corner = (house.at(-0.5 - OVERHANG), eaves), (house.at(0.5 + OVERHANG / 2), eaves)
    top, far_top = (house.at(0.25 + DEPTH / 2), house.ridge), (house.at(-0.25 + DEPTH / 2), house.ridge)
    far = house.at(0.5 + DEPTH + OVERHANG), eaves + RISE * house.width
    brush.polygon([left, corner, top, far_top], brush.colour(cover, front_shade * 0.97))
    brush.polygon([corner, far, top], brush.colour(cover, side_shade))
    brush.line([left, corner], OVERHANG * house.width / 2, brush.colour(house.roof_colour, 0.6))


def _gambrel(brush: Brush, house: House, front_shade: float, side_shade: float) -> None:
    """A gable with a knee on both sides, as barns have it."""
    eaves, ridge, over, back = house.eaves, house.ridge, OVERHANG * house.width, RISE * house.width
    knee, knee_y, cover = 0.31, eaves + 0.62 * (ridge - eaves), _cover(brush, house)
    profile = [(house.at(-0.5), eaves), (house.at(-knee), knee_y), (house.at(0), ridge)]
    profile += [(house.at(knee), knee_y), (house.at(0.5), eaves)]
    brush.polygon(profile, brush.colour(house.wall, front_shade))
    far_knee, far_top = (house.at(knee + DEPTH), knee_y + back), (house.at(DEPTH), ridge + back)
    brush.polygon([profile[2], profile[3], far_knee, far_top], brush.colour(cover, side_shade))
    foot = house.at(0.5 + OVERHANG), eaves + over / 2
    far_foot = house.at(0.5 + DEPTH + OVERHANG), eaves + back + over / 2
    brush.polygon([profile[3], foot, far_foot, far_knee], brush.colour(cover, side_shade * 0.88))
    edge = [(house.at(-0.5 - OVERHANG), eaves + over / 2), *profile[1:4], foot]
    brush.line(edge, over * 0.8, brush.colour(house.roof_colour, 0.6))


def _flat(brush: Brush, house: House, front_shade: float, side_shade: float) -> None:
    """A slab with a rim; `side_shade` plays no part."""
    del side_shade
    eaves, ridge, back = house.eaves, house.ridge, RISE * house.width
    left, right, far = house.at(-0.5 - OVERHANG), house.at(0.5 + OVERHANG), house.at(0.5 + DEPTH + OVERHANG)
    top = [(left, eaves), (right, eaves), (far, eaves + back), (house.at(-0.5 + DEPTH), eaves + back)]
    brush.polygon(top, brush.colour(_cover(brush, house), front_shade * 0.97))
    rim = brush.colour(house.roof_colour, 0.6)
    brush.polygon([(left, eaves), (right, eaves), (right, ridge), (left, ridge)], rim)
    brush.polygon([(right, eaves), (far, eaves + back), (far, ridge + back), (right, ridge)], rim)
    if brush.snowy:
        edge = [(left, ridge), (right, ridge), (far, ridge + back)]
        brush.line(edge, OVERHANG * house.width / 2, brush.colour(SNOW))


PAINT_ROOF = {"gable": _gable, "saddle": _saddle, "hip": _hip, "gambrel": _gambrel, "flat": _flat}


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
    width, height, rim = 0.17 * house.width, 0.33 * house.width, 0.02 * house.width
    box = Box(house.x - width / 2, house.y - height, house.x + width / 2, house.y)
    brush.rectangle(Box(box.left - rim, box.top - rim, box.right + rim, box.bottom), frame)
    brush.rectangle(box, brush.colour(house.door, shade))


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
