"""The brush that scenes are painted with: shapes in the light of a scene, on a canvas of any size.

Positions and lengths are shares of the image's side, with y counted downwards. Colours are those of noon; the light of
the scene is on them when they are painted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from PIL import ImageDraw

Colour = tuple[float, float, float]  # red, green, blue, from 0 to 255
Fill = tuple[int, ...]  # red, green, blue, opacity, from 0 to 255
Points = list[tuple[float, float]]

SNOW: Colour = (240, 244, 250)


class Box(NamedTuple):
    """A rectangle, in shares of the image's side."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Brush:
    """Paints shapes on a canvas of `side` pixels in the light of a scene."""

    draw: ImageDraw.ImageDraw
    side: int
    light: Colour  # what becomes of white
    haze: Colour
    snowy: bool
    sun_side: int  # -1: the light comes from the left

    def colour(self, colour: Colour, shade: float = 1.0, haze: float = 0.0, alpha: float = 1.0) -> Fill:
        """A colour of noon in this light, darkened by `shade` and faded into the haze of the distance."""
        red, green, blue = (
            round(min(255.0, value * shade * light / 255) * (1 - haze) + far * haze)
            for value, light, far in zip(colour, self.light, self.haze, strict=True)
        )
        return red, green, blue, round(255 * alpha)

    def polygon(self, points: Points, fill: Fill) -> None:
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=fill)

    def rectangle(self, box: Box, fill: Fill) -> None:
        left, top, right, bottom = (value * self.side for value in box)
        self.draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=fill)

    def ellipse(self, x: float, y: float, width: float, height: float, fill: Fill) -> None:
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        self.draw.ellipse(tuple(value * self.side for value in box), fill=fill)

    def line(self, points: Points, width: float, fill: Fill) -> None:
        pixels = [(x * self.side, y * self.side) for x, y in points]
        self.draw.line(pixels, width=max(1, round(width * self.side)), fill=fill, joint="curve")
