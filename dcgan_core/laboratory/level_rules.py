"""The rules of the jump-and-run game, and an agent that tries every move: can a level be passed, and how?

Time goes in ticks. In each, the player moves one column to the left, to the right or not at all, unless a solid tile is
in the way; then one row up, if a jump has rows left, else one down, if nothing solid is below. A jump begins on firm
ground, goes up `RISE` rows and ends early below a solid tile. Whoever touches thorns or a hedgehog, or falls out of the
level, is out. The level is passed by standing in its last column. The page's game has the same rules (`level_game.js`).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from dcgan_core.data.levels import DEADLY, EARTH, HEIGHT, LEFT, RIGHT, SKY, SOLID, WIDTH

RISE = 4
MOVES = tuple((direction, jump) for jump in (False, True) for direction in (1, 0, -1))
CHUNK = 64  # levels at a time: what fits into the processor's cache is faster
Place = tuple[int, int, int]  # column, row, rows that the jump has left


def start_of(level: np.ndarray) -> Place | None:
    """Where the player begins in a level (16, 32): on the topmost firm ground of the first column; None if it has none
    with room above it."""
    solid = np.isin(level[:, 0], SOLID)
    row = int(solid.argmax()) - 1
    return (0, row, 0) if solid.any() and row >= 0 and level[row, 0] not in DEADLY else None


def moved(level: np.ndarray, place: Place, direction: int, jump: bool) -> Place | None:
    """One tick in a level (16, 32): where the player is afterwards, or None for one who is out."""
    column, row, rise = place

    def solid(column: int, row: int) -> bool:
        return 0 <= row < HEIGHT and level[row, column] in SOLID

    if jump and rise == 0 and solid(column, row + 1):
        rise = RISE
    if 0 <= column + direction < WIDTH and not solid(column + direction, row):
        column += direction
    if rise and row > 0 and not solid(column, row - 1):
        row, rise = row - 1, rise - 1
    elif rise:
        rise = 0
    elif not solid(column, row + 1):
        row += 1
    out = row >= HEIGHT or level[row, column] in DEADLY
    return None if out else (column, row, rise)


def passed(level: np.ndarray, place: Place) -> bool:
    """Whether the player stands in the last column."""
    column, row, rise = place
    return column == WIDTH - 1 and rise == 0 and row + 1 < HEIGHT and bool(level[row + 1, column] in SOLID)


def way(level: np.ndarray) -> list[tuple[int, bool]] | None:
    """The moves (direction, jump) of a shortest way through a level (16, 32), or None if there is none.

    Breadth-first search over all places.
    """
    start = start_of(level)
    if start is None:
        return None
    before: dict[Place, tuple[Place, tuple[int, bool]] | None] = {start: None}
    queue = deque([start])
    while queue:
        place = queue.popleft()
        if passed(level, place):
            moves = []
            while (step := before[place]) is not None:
                place, move = step
                moves.append(move)
            return moves[::-1]
        for move in MOVES:
            following = moved(level, place, *move)
            if following is not None and following not in before:
                before[following] = place, move
                queue.append(following)
    return None


def explored(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each level (N, 16, 32): whether it can be passed, and the last column that the player can reach alive.

    The same as `way`, for many levels at once: all places that can be reached so far move on together, until no new one
    is found. A level without a start has -1 for its last column.
    """
    parts = [_explored(levels[at : at + CHUNK]) for at in range(0, len(levels), CHUNK)]
    passable, furthest = zip(*parts, strict=True)
    return np.concatenate(passable), np.concatenate(furthest)


def _explored(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    solid, deadly = np.isin(levels, SOLID), np.isin(levels, DEADLY)
    below = np.zeros_like(solid)  # something to stand on
    below[:, :-1] = solid[:, 1:]
    above = np.zeros_like(solid)  # something to bump against; above the level, too
    above[:, 1:], above[:, 0] = solid[:, :-1], True
    seen = np.zeros((RISE + 1, *levels.shape), bool)
    for number, level in enumerate(levels):
        if (start := start_of(level)) is not None:
            seen[0, number, start[1], start[0]] = True
    new = seen.copy()
    while new.any():
        reached = np.zeros_like(seen)
        placed = new.copy()
        placed[RISE] |= new[0] & below
        for shifted in _sideways(placed, solid):
            rising = shifted[1:] & ~above
            reached[:-1, :, :-1] |= rising[:, :, 1:]
            reached[0] |= (shifted[1:] & above).any(axis=0)
            reached[0] |= shifted[0] & below
            reached[0, :, 1:] |= (shifted[0] & ~below)[:, :-1]
        new = reached & ~deadly & ~seen
        seen |= new
    passable = np.asarray((seen[0] & below)[:, :, -1].any(axis=1))
    columns = np.asarray(seen.any(axis=(0, 2)))  # (N, 32)
    furthest = np.where(columns.any(axis=1), WIDTH - 1 - columns[:, ::-1].argmax(axis=1), -1)
    return passable, furthest


def _sideways(placed: np.ndarray, solid: np.ndarray) -> list[np.ndarray]:
    """Where players end who stay, go right and go left; a solid tile or an end of the level stops them."""
    right, left = np.zeros_like(placed), np.zeros_like(placed)
    stopped_right, stopped_left = np.ones_like(solid), np.ones_like(solid)
    stopped_right[..., :-1], stopped_left[..., 1:] = solid[..., 1:], solid[..., :-1]
    right[..., 1:] = (placed & ~stopped_right)[..., :-1]
    left[..., :-1] = (placed & ~stopped_left)[..., 1:]
    return [placed, right | (placed & stopped_right), left | (placed & stopped_left)]


def num_pits(levels: np.ndarray) -> np.ndarray:
    """Columns without ground, (N,): there is no earth in the lowest row of levels (N, 16, 32)."""
    return (levels[:, -1] != EARTH).sum(axis=1)


def num_faults(levels: np.ndarray) -> np.ndarray:
    """Tiles that stand where they make no sense in levels (N, 16, 32): (N,).

    Earth that does not rest on earth, half a pillar without its other half or with nothing below, and thorns or a
    hedgehog in the air. In the levels that `data.levels` draws there are none.
    """
    below = np.full_like(levels, EARTH)
    below[:, :-1] = levels[:, 1:]
    right_of, left_of = np.full_like(levels, SKY), np.full_like(levels, SKY)
    right_of[..., :-1], left_of[..., 1:] = levels[..., 1:], levels[..., :-1]
    firm = np.isin(below, SOLID)
    faults = (levels == EARTH) & (below != EARTH)
    faults |= (levels == LEFT) & ~((right_of == RIGHT) & firm)
    faults |= (levels == RIGHT) & ~((left_of == LEFT) & firm)
    faults |= np.isin(levels, DEADLY) & ~firm
    return faults.sum(axis=(1, 2))
