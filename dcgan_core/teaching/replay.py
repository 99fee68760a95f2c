"""A replay: the pictures and the numbers of a training run, moved together with one slider; all inside one output."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from IPython.display import HTML
from PIL import Image

from dcgan_core.config import InvalidInput
from dcgan_core.teaching.line_chart import Curves, Mark, line_chart, short
from dcgan_core.teaching.plots import DISCRIMINATOR, EXTRA, FAKE, REAL

PALETTE = (REAL, FAKE, DISCRIMINATOR, *EXTRA)
LARGEST_SIDE = 16_383  # of a WebP picture
STYLE, SCRIPT = (Path(__file__).with_name(f"replay.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))


def replay(
    frames: Sequence[Image.Image],
    *,
    at: Sequence[float],
    series: Curves | Sequence[Curves],
    alt: str,
    caption: str,
    unit: str = "images",
    magnify: int = 1,
    logarithmic: Collection[str] = (),
    colours: Mapping[str, str] | None = None,
    frame_milliseconds: int = 400,
) -> HTML:
    """A scrubber over a run: a picture, a slider, a play button, and charts with a mark at the moment on screen.

    `frames` are equally large pictures, one for each of the ascending moments `at`, counted in `unit`. `series` is one
    panel of curves, or a list of panels; a panel maps names, shown as its key, to (places, values), with the places
    ascending and in the same unit. Values that are not finite are gaps. Shown as a number is the last measurement at or
    before the moment. A panel with a name in `logarithmic` has a logarithmic axis. `colours` gives curves (by name) a
    colour; the others take the book's palette in turn. Frames are shown `magnify` times as large, pixels as squares.

    Everything is inside the HTML: no file and no network is needed. Without JavaScript and on paper, the last frame and
    the charts remain; nothing ever moves before the reader asks for it. Raises `InvalidInput` where things do not fit.
    """
    panels = [series] if isinstance(series, Mapping) else list(series)
    _check(frames, at, panels)
    places = [*at, *(x for panel in panels for xs, _ in panel.values() for x in xs)]
    between = (min(places), max(places) if max(places) > min(places) else min(places) + 1)
    charts, curves = [], []
    for panel in panels:
        shades = [(colours or {}).get(name, PALETTE[i % len(PALETTE)]) for i, name in enumerate(panel)]
        logs = not panel.keys().isdisjoint(logarithmic)
        chart = line_chart(panel, between=between, moment=at[-1], unit=unit, colours=shades, logarithmic=logs)
        marks = {name: chart.marks(name, at) for name in panel}
        curves += [{"name": name, "marks": marks[name]} for name in panel]
        charts.append(f'<div class="replay-chart">{_key(marks, shades)}{chart.svg}</div>')
    moments = [f"{short(moment)} {unit}" for moment in at]
    columns = math.ceil(math.sqrt(len(frames)))
    rows = -(-len(frames) // columns)
    data = {
        "columns": columns,
        "moments": moments,
        "cursor": [chart.across(moment) for moment in at],  # the same in every chart
        "curves": curves,
        "pause": frame_milliseconds,
    }
    width, height = frames[0].size
    last = len(frames) - 1
    embedded = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return HTML(
        f'<style>{STYLE}</style><figure class="replay"><div class="replay-controls">'
        f'<button type="button" hidden>Play</button><input type="range" min="0" max="{last}" step="1" value="{last}" '
        f'aria-label="Moment of the run" hidden><output>{html.escape(moments[-1])}</output></div>'
        '<div class="replay-stage">'
        f'<div class="replay-screen{" replay-pixels" if magnify > 1 else ""}" '
        f'style="width: {width * magnify}px; aspect-ratio: {width} / {height}">'
        f'<img src="{_sprite(frames, columns, rows)}" alt="{html.escape(alt)}" '
        f'width="{columns * width}" height="{rows * height}" '
        f'style="--columns:{columns};--rows:{rows};--column:{last % columns};--row:{last // columns}"></div>'
        f'<div class="replay-charts">{"".join(charts)}</div></div>'
        f'<p class="replay-status" role="status"></p><script type="application/json">{embedded}</script>'
        f'<figcaption><p><span class="caption-text">{html.escape(caption)}</span></p></figcaption></figure>'
        f"<script>{SCRIPT}</script>"
    )


def _key(marks: Mapping[str, Sequence[Mark]], shades: Sequence[str]) -> str:
    """Colour, name and last value of each curve."""
    entries = (
        f'<span style="--line:{html.escape(shade)}">{html.escape(name)} <b>{marks[name][-1][0]}</b></span>'
        for name, shade in zip(marks, shades, strict=True)
    )
    return f'<p class="replay-key">{"".join(entries)}</p>'


def _sprite(frames: Sequence[Image.Image], columns: int, rows: int) -> str:
    """All frames in one WebP, row after row, as an address: lossless where that is the smaller file."""
    width, height = frames[0].size
    sheet = Image.new("RGB", (columns * width, rows * height))
    for place, frame in enumerate(frames):
        sheet.paste(frame.convert("RGB"), (place % columns * width, place // columns * height))
    if max(sheet.size) > LARGEST_SIDE:
        raise InvalidInput(
            f"{len(frames)} frames of {width} x {height} pixels do not fit into one WebP picture, whose sides have at "
            f"most {LARGEST_SIDE} pixels: show fewer or smaller ones."
        )
    files = []
    for options in ({"lossless": True}, {"quality": 80}):
        buffer = io.BytesIO()
        sheet.save(buffer, "WEBP", **options)
        files.append(buffer.getvalue())
    return f"data:image/webp;base64,{base64.b64encode(min(files, key=len)).decode()}"


def _check(frames: Sequence[Image.Image], at: Sequence[float], panels: Sequence[Curves]) -> None:
    if not frames or len(frames) != len(at):
        raise InvalidInput(f"there are {len(frames)} frames and {len(at)} moments: give one moment for each frame.")
    if len(sizes := {frame.size for frame in frames}) > 1:
        raise InvalidInput(f"the frames have different sizes, {sorted(sizes)}: draw all of them equally large.")
    if not _ascending(at):
        raise InvalidInput("the moments `at` must be finite and ascending: sort the frames by when they were made.")
    if not panels or not all(panels):
        raise InvalidInput("`series` has no curve to show: give at least one in each panel.")
    for name, (places, values) in (curve for panel in panels for curve in panel.items()):
        if not len(places) or len(places) != len(values):
            raise InvalidInput(
                f"the curve {name!r} has {len(places)} places and {len(values)} values: give one value for each place."
            )
        if not _ascending(places):
            raise InvalidInput(f"the places of the curve {name!r} must be finite and ascending: sort its points.")


def _ascending(places: Sequence[float]) -> bool:
    return all(map(math.isfinite, places)) and all(x < y for x, y in itertools.pairwise(places))
