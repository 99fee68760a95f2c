"""Chapter 16, drums: sounds to hear in the page, their spectrograms, and the check of an exercise."""

from __future__ import annotations

import base64
import html
import io
import wave
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.data.drums import DRUMS, RATE
from dcgan_core.teaching.exercises import check, require

STYLE = """
.sounds { margin: 1rem 0; padding: 0; color: var(--pst-color-text-base, var(--jp-content-font-color1, inherit)); font-size: .9rem; }
.sounds table { margin: 0; border-collapse: collapse; background: transparent; color: inherit; }
.sounds :is(th, td) { padding: .2rem .6rem !important; text-align: left; vertical-align: middle; background: transparent !important; color: inherit; }
.sounds audio { display: block; width: 9rem; height: 2.5rem; }
.sounds [hidden] { display: none; }
.sounds button { width: 4.5rem; min-height: 2.75rem; border: 1px solid currentcolor; border-radius: 1.4rem; background: transparent; color: inherit; font: inherit; cursor: pointer; }
.sounds button:focus-visible { outline: 3px solid #0072b2; outline-offset: -3px; }
.sounds figcaption { margin-top: .5rem; text-align: left; }
html[data-theme="dark"] .bd-content .cell_output .text_html:has(.sounds) { padding: 0 !important; background: none !important; color: inherit !important; }
"""  # noqa: E501
SCRIPT = """
(() => {
  for (const root of document.querySelectorAll(".sounds:not(.sounds-ready)")) {
    for (const button of root.querySelectorAll("button")) {
      const sound = button.nextElementSibling;
      button.addEventListener("click", () => { sound.currentTime = 0; sound.play(); });
      button.hidden = false;
      sound.hidden = true; // its controls are too wide for a table on a phone; without a script they stay
    }
    root.classList.add("sounds-ready");
  }
})();
"""


def wav(sound: np.ndarray) -> bytes:
    """A sound (T,) in [-1, 1] as a file: 16 bits, one channel, 12,000 samples per second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes((np.clip(sound, -1, 1) * 32_767).round().astype("<i2").tobytes())
    return file.getvalue()


def sound_table(columns: Mapping[str, Mapping[str, np.ndarray | None]], *, caption: str) -> HTML:
    """Sounds to play, by column and then by row; what is missing in a column is said to be.

    Everything is inside the HTML, and nothing sounds by itself. Raises `InvalidInput` if columns have other rows.
    """
    rows = list(next(iter(columns.values())))
    if any(list(column) != rows for column in columns.values()):
        raise InvalidInput("the columns of sounds have different rows: give each the same names in the same order.")
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row)}</th>'
        + "".join(f"<td>{_player(column[row], f'{row}, {name}')}</td>" for name, column in columns.items())
        + "</tr>"
        for row in rows
    )
    return HTML(
        f'<style>{STYLE}</style><figure class="sounds"><table><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
        f'<figcaption><p><span class="caption-text">{html.escape(caption)}</span></p></figcaption></figure>'
        f"<script>{SCRIPT}</script>"
    )


def _player(sound: np.ndarray | None, label: str) -> str:
    if sound is None:
        return "none heard"
    address = f"data:audio/wav;base64,{base64.b64encode(wav(sound)).decode('ascii')}"
    label = html.escape(label)
    return (
        f'<button type="button" aria-label="Play: {label}" hidden>▶</button>'
        f'<audio controls preload="metadata" aria-label="{label}" src="{address}"></audio>'
    )


def first_of_each(sounds: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray | None]:
    """For each drum the first of the sounds (N, T) that is most probably this one; None where there is none."""
    heard = probabilities.argmax(axis=1)
    places = [np.flatnonzero(heard == kind) for kind in range(len(DRUMS))]
    return {name: sounds[found[0]] if len(found) else None for name, found in zip(DRUMS, places, strict=True)}


def show_spectrograms(rows: Mapping[str, Tensor], titles: Sequence[str]) -> Figure:
    """Pictures (N, 1, 64, 64) of sounds, a row for each name: time to the right, frequency upwards."""
    columns = len(titles)
    height = 0.3 + (0.1 + 5.3 / columns) * len(rows)
    figure, axes = plt.subplots(len(rows), columns, figsize=(5.6, height), squeeze=False)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for panel, picture in zip(line, pictures, strict=False):
            panel.imshow(picture[0].numpy(), cmap="magma", vmin=-1, vmax=1, interpolation="nearest")
        for panel in line:
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[:].set_visible(False)
        line[0].set_ylabel(name.replace(" ", "\n"), rotation=0, ha="right", va="center")
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title)
    return figure


def hearing_table(heard: Mapping[str, Mapping[str, Any]], share: Callable[[int, int], str]) -> str:
    """What the ear says of each source of sounds, shares with their 95% intervals."""
    lines = [f"{'':12}{'right':18}{'sure':18}to training".rstrip()]
    for name, found in heard.items():
        right = share(found["right"], found["num"]) if "right" in found else "(no labels)"
        lines.append(f"{name:12}{right:18}{share(found['sure'], found['num']):18}{found['to_training']:.3f}")
    return "\n".join(lines)


@check
def check_scaled(my_scaled: Callable[[Tensor], Tensor]) -> str:
    """Exercise 16.7: each frequency brought to the same scale, and cut off at three standard deviations."""
    rng = torch.Generator().manual_seed(0)
    offsets, factors = torch.linspace(-6, 2, 5)[:, None], torch.linspace(0.5, 3, 5)[:, None]
    logarithms = torch.randn(40, 5, 30, generator=rng) * factors + offsets
    logarithms[0, 2, 3], logarithms[1, 4, 7] = 60.0, -60.0  # far out
    answer = my_scaled(logarithms.clone())
    require(answer.shape == logarithms.shape, f"The shape should stay (40, 5, 30), and yours is {tuple(answer.shape)}.")
    mean, deviation = logarithms.mean(dim=(0, 2))[:, None], logarithms.std(dim=(0, 2))[:, None]
    means = answer.mean(dim=(0, 2)).abs().max()
    require(
        float(means) < 0.05,
        f"Each frequency should have mean 0 over all sounds and moments; one has {float(means):.2f} in absolute value.",
    )
    require(
        float(answer.abs().max()) <= 1,
        f"Everything should lie in [-1, 1], as tanh does, but there is a value of {float(answer.abs().max()):.2f}: cut "
        "off at three standard deviations, and divide by three.",
    )
    expected = ((logarithms - mean) / deviation / 3).clamp(-1, 1)
    spreads = answer.std(dim=(0, 2)) / expected.std(dim=(0, 2))
    require(
        bool((spreads - 1).abs().max() < 0.02),
        "The frequencies do not vary by a third of their standard deviation each: divide every one by its *own* "
        "deviation, over sounds and moments, and then by three.",
    )
    require(bool(torch.allclose(answer, expected, atol=0.01)), "Close, but some values differ from the formula.")
    return "Each frequency now counts as much as any other, and a tanh can reach all but one value in some hundreds."
