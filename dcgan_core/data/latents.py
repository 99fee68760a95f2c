"""The latents of training: each iteration has a table of N(0, 1) numbers, of which a process draws only its own rows.

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

WORDS = 8  # of 32 bits, that Philox makes of one count
TO_UNIT = (1 - 2.0**-24) / 2**31  # maps a word with its sign into (-1, 1), also after rounding to float32


def draw_rows(rng: torch.Generator, rows: Sequence[slice], latent_size: int, device: torch.device) -> Tensor:
    """The given rows of the next iteration's table, one below the other: (their number, latent_size), on `device`.

    `rng`, on the CPU, gives the iteration's key; it moves on by the same amount whichever rows are asked for. No wait
    for the device.
    """
    key = np.empty(2, np.int64)
    torch.from_numpy(key).random_(generator=rng)
    parts = [_normal(key.view(np.uint64), part, latent_size) for part in rows]
    latents = parts[0] if len(parts) == 1 else torch.cat(parts)
    if device.type == "cuda":
        latents = latents.pin_memory()  # or the copy would wait
    return latents.to(device, non_blocking=True)


def _normal(key: np.ndarray, rows: slice, latent_size: int) -> Tensor:
    """Rows of the endless table that the key stands for. Every row begins with a count of its own."""
    counts = math.ceil(latent_size / WORDS)
    bits = Philox(key=key, counter=rows.start * counts).random_raw((rows.stop - rows.start) * counts * WORDS // 2)
    words = bits.view(np.int32).reshape(-1, counts * WORDS)[:, :latent_size]
    return torch.from_numpy(words).mul(TO_UNIT).erfinv_().mul_(math.sqrt(2))  # uniform on (-1, 1), then normal
