"""One code path, three speeds: how much work a chapter does here."""

from __future__ import annotations

import os
from typing import TypeVar

import torch

Amount = TypeVar("Amount")
SMOKE_VARIABLE = "DCGAN_SMOKE"


def budget(*, smoke: Amount, cpu: Amount, gpu: Amount) -> Amount:
    """`smoke` when the environment variable DCGAN_SMOKE is set (tests do that), else `gpu` or `cpu`."""
    if is_smoke():
        return smoke
    return gpu if torch.cuda.is_available() else cpu


def is_smoke() -> bool:
    """Whether a chapter only shows that it runs; its numbers then mean nothing."""
    return os.environ.get(SMOKE_VARIABLE, "0") not in ("", "0")
