"""A texture drawn by code: pebbles in many greys and browns, each a little darker towards its edge."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

COLOURS = np.array([(196, 184, 166), (150, 142, 134), (122, 104, 86), (214, 206, 196), (98, 100, 108), (168, 138, 110)])
GROUT = np.array((52, 46, 42))
SPACING = 9  # pixels from pebble to pebble, about


def pebbles(side: int, *, seed: int = 0) -> np.ndarray:
    """A square of pebbles, uint8 (side, side, 3). It ends at its edges as any photograph does: it does not tile.

    A pebble is what is nearer to its centre than to any other centre (a Voronoi cell); the centres are those of a grid,
    each moved at random.
    """
    rng = np.random.default_rng(seed)
    grid: np.ndarray = np.arange(-2 * SPACING, side + 2 * SPACING, SPACING)
    centres: np.ndarray = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    centres = centres + rng.uniform(-0.42, 0.42, centres.shape) * SPACING
    tones = COLOURS[rng.integers(len(COLOURS), size=len(centres))] * rng.uniform(0.85, 1.1, (len(centres), 1))
    pixels = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * 2, indexing="ij"), axis=-1)  # (side, side, 2)
    distances, nearest = cKDTree(centres).query(pixels, k=2)
    inside = np.clip((distances[..., 1] - distances[..., 0]) / 3, 0, 1)[..., None]  # 0 between two pebbles
    shade = 1.08 - 0.35 * (distances[..., :1] / SPACING) ** 2
    colours = inside * shade * tones[nearest[..., 0]] + (1 - inside) * GROUT
    return np.clip(colours, 0, 255).round().astype(np.uint8)
