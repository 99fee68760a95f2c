"""The trees and bushes of a scene, in five kinds; see `brush` for what numbers mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dcgan_core.data.brush import SNOW, Box, Brush, Colour

TREES = ("conifer", "broadleaf", "poplar", "birch", "bush")
LEAVES: dict[str, tuple[Colour, ...]] = {
    "spring": ((134, 178, 84), (160, 196, 104), (226, 178, 196)),
    "summer": ((62, 120, 56), (84, 136, 58), (48, 102, 62)),
    "autumn": ((206, 130, 44), (178, 76, 40), (196, 162, 62)),
    "winter": ((110, 98, 90), (122, 108, 96), (98, 92, 90)),
}


@dataclass(frozen=True)
class Tree:
    """A tree or bush; `x` and `y` are the foot of its trunk."""

    x: float
    y: float
    height: float
    kind: str  # one of TREES
    leaves: Colour
    lean: float  # of the crown, in shares of the height


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
