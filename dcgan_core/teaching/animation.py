"""Animations that behave: one compressed film, and a still in its place for print and for reduced motion."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
from IPython.display import HTML
from matplotlib.figure import Figure
from PIL import Image


def picture(figure: Figure, dots_per_inch: int = 80) -> Image.Image:
    """The figure as an image; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


def animation(frames: Sequence[Image.Image], *, alt: str, caption: str, frame_milliseconds: int = 150) -> HTML:
    """A looping film of equally large frames, with a caption and a text for those who cannot see it.

    Where the reader's system asks for reduced motion, and where the page is printed, the last frame stands still in
    its place. Everything is inside the HTML: no file, no script and no network is needed.
    """
    film, still = io.BytesIO(), io.BytesIO()
    frames[0].save(
        film, "WEBP", save_all=True, append_images=frames[1:], duration=frame_milliseconds, loop=0, quality=70
    )
    frames[-1].save(still, "WEBP", quality=85)
    moving, resting = (base64.b64encode(buffer.getvalue()).decode() for buffer in (film, still))
    width, height = frames[0].size
    return HTML(
        '<figure class="animation"><picture>'
        f'<source media="(prefers-reduced-motion: reduce), print" srcset="data:image/webp;base64,{resting}">'
        f'<img src="data:image/webp;base64,{moving}" width="{width}" height="{height}" '
        f'style="max-width: 100%; height: auto" alt="{html.escape(alt)}">'
        f'</picture><figcaption><p><span class="caption-text">{html.escape(caption)}</span></p></figcaption></figure>'
    )
