"""Latents from a generator that counts: row i of a table of N(0, 1) numbers, whichever other rows are drawn.

In training, each iteration has a table of its own, of which a process draws only its own rows.

A generator that remembers where it is would have to draw the rows of all other processes, too, to stay in step with
them. One that counts need not: its number i depends on a key and i alone. So N processes together draw what one would,
and a run can go on with another number of them. The numbers come from the CPU, and are the same for every device.

Source: Salmon et al. 2011 (doi:10.1145/2063384.2063405), whose generator Philox NumPy has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Philox
from torch import Tensor

BITS_AT_ONCE = 256  # of one count of Philox


def draw_rows(rng: torch.Generator, rows: Sequence[slice], latent_size: int, device: torch.device) -> Tensor:
    """The given rows of the next iteration's table, one below the other: (their number, latent_size), on `device`.

    `rng`, on the CPU, gives the iteration's key; it moves on by the same amount whichever rows are asked for. No wait
    for the device.
    """
    key = np.empty(2, np.int64)
    torch.from_numpy(key).random_(generator=rng)
    latents = torch.cat([_normal(key, part, latent_size) for part in rows])
    if device.type == "cuda":
        latents = latents.pin_memory()  # or the copy would wait
    return latents.to(device, non_blocking=True)


def numbered_latents(rows: slice, latent_size: int, *, seed: int) -> Tensor:
    """Latents number `rows.start` to `rows.stop` of the endless list that the seed stands for: (their number,
    latent_size), on the CPU. Number i is the same however many are drawn.

    `state.draw_latents` promises less: its first rows depend on how many there are. What was recorded with it (sample
    grids, evaluations, replays) stays with it.
    """
    return _normal(np.array([seed, 0], np.int64), rows, latent_size)


def _normal(key: np.ndarray, rows: slice, latent_size: int) -> Tensor:
    """Rows of the endless table that the key stands for; one row begins where the one before it ends."""
    counts = math.ceil(latent_size * 32 / BITS_AT_ONCE)  # for one row
    bits = Philox(key=key.view(np.uint64), counter=rows.start * counts).random_raw(
        (rows.stop - rows.start) * counts * 4
    )
    words = torch.from_numpy(bits.view(np.int32)).unflatten(0, (-1, counts * 8))[:, :latent_size]
    odd = (words >> 7) | 1  # 25 bits with their sign: symmetric about 0, exact in float32, and never -1, 0 or 1 below
    return odd.mul(2.0**-24).erfinv_().mul_(math.sqrt(2))  # uniform on (-1, 1), then normal
