"""Pictures in records of JSON: pixels as the text of a PNG file, and back."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def packed(pixels: np.ndarray) -> str:
    """Pixels, uint8 (H, W) in grey or (H, W, 3) in colour, as text."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def unpacked(text: str) -> np.ndarray:
    """The pixels that `packed` made a text of."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(text))))
