"""The logo and the cover: drawn by the book's own generator, read by its own classifier, made again by the script."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops, ImageDraw

from dcgan_core import recorded
from dcgan_core.data import unscale
from dcgan_core.data.glyphs import LETTERS
from dcgan_core.metrics import letter_classifier
from dcgan_core.metrics.features import measure

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book"))

import make_cover  # noqa: E402
import make_film  # noqa: E402

STATIC = ROOT / "book" / "_static"
RECORD = json.loads((STATIC / "cover.json").read_text())


def read(tiles: list[np.ndarray]) -> list[tuple[str, float]]:
    """The classifier's letter and its probability for tiles (32, 32) of ink from 0 to 1."""
    images = torch.tensor(np.stack(tiles), dtype=torch.float32)[:, None] * 2 - 1
    _, probabilities = measure(letter_classifier(), images)
    return [(LETTERS[row.argmax()], float(row.max())) for row in probabilities]


@pytest.fixture(scope="module")
def again(tmp_path_factory, one_thread) -> Path:
    folder = tmp_path_factory.mktemp("cover")
    make_cover.make(folder)
    return folder


def test_the_script_keeps_the_same_draws_again(again):
    made = json.loads((again / "cover.json").read_text())
    for part in ("logo", "cover"):
        assert [(one["letter"], one["draw"]) for one in made[part]] == [
            (one["letter"], one["draw"]) for one in RECORD[part]
        ]
        for new, old in zip(made[part], RECORD[part], strict=True):
            assert new["read_with"] == pytest.approx(old["read_with"], abs=1e-3)


def test_the_script_makes_the_same_cover_again(again):
    new, old = (Image.open(folder / "cover.png").convert("RGB") for folder in (again, STATIC))
    assert new.size == old.size == (1280, 640)
    assert np.abs(np.asarray(new, dtype=float) - np.asarray(old, dtype=float)).mean() < 1


def test_the_hundred_letters_are_the_first_draws_in_their_order(again):
    new, old = (np.asarray(Image.open(folder / "letters.png"), dtype=float) for folder in (again, STATIC))
    assert new.shape == old.shape == (320, 320)
    assert np.abs(new - old).mean() < 1
    images, _ = make_cover.draw()
    for number in (0, 1, 10, 99):
        row, column = divmod(number, 10)
        tile = new[32 * row : 32 * (row + 1), 32 * column : 32 * (column + 1)]
        assert np.array_equal(tile, images[number])


def test_every_letter_was_read_as_surely_as_the_record_demands_and_no_draw_stands_twice_on_the_cover():
    letters = RECORD["logo"] + RECORD["cover"]
    assert all(one["read_with"] >= RECORD["read_at"] >= 0.99 for one in letters)
    draws = [one["draw"] for one in RECORD["cover"]]
    assert len(draws) == len(set(draws))
    assert "".join(one["letter"] for one in RECORD["cover"]) == "DEEPCONVOLUTIONALGANSINPRACTICE"


def test_the_classifier_reads_the_title_from_the_cover_itself():
    navy, white = make_cover._rgb(make_cover.NAVY), make_cover._rgb(make_cover.WHITE)
    picture = np.asarray(Image.open(STATIC / "cover.png").convert("RGB"), dtype=float)[::2, ::2, 0]
    ink = ((picture - navy[0]) / (white[0] - navy[0])).clip(0, 1)
    for row, words in make_cover.TITLE.items():
        start = (make_cover.COLUMNS - len(words)) // 2
        tiles = [ink[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32] for column in range(start, 20)]
        found = read(tiles[: len(words)])
        for letter, (seen, sure) in zip(words, found, strict=True):
            assert letter == " " or (seen == letter and sure > 0.9), (words, found)


@pytest.mark.parametrize(("name", "word"), [("logo.svg", "DCGAN"), ("icon.svg", "G")])
def test_the_classifier_reads_the_word_from_the_drawing(name, word):
    svg = (STATIC / name).read_text()
    fine = 8
    polygons = [
        [tuple(fine * float(value) for value in point.split()) for point in part.split("L")]
        for part in re.findall(r"M([^MZ]+)Z", re.search(r' d="([^"]+)"', svg)[1])
    ]
    width = round(max(x for polygon in polygons for x, _ in polygon)) + fine
    picture = Image.new("1", (width, 32 * fine))
    for polygon in polygons:  # even-odd: an inner contour cuts a hole
        layer = Image.new("1", picture.size)
        ImageDraw.Draw(layer).polygon(polygon, fill=1)
        picture = ImageChops.logical_xor(picture, layer)
    ink = np.asarray(picture, dtype=float)
    filled = ink.any(axis=0)
    edges = np.flatnonzero(np.diff(np.r_[0, filled, 0]))
    tiles = []
    for begin, end in edges.reshape(-1, 2):
        tile = np.zeros((32 * fine, 32 * fine))
        left = (32 * fine - (end - begin)) // 2
        tile[:, left : left + end - begin] = ink[:, begin:end]
        tiles.append(tile.reshape(32, fine, 32, fine).mean(axis=(1, 3)))
    found = read(tiles)
    assert "".join(letter for letter, _ in found) == word, found
    assert min(sure for _, sure in found) > 0.9, found


def film() -> list[tuple[Image.Image, int]]:
    """The pictures of the landing page's film, each with how long it is shown (ms)."""
    with Image.open(STATIC / "film.webp") as moving:
        assert moving.info["loop"] == 1, "it plays once"
        frames = []
        for number in range(moving.n_frames):
            moving.seek(number)
            frames.append((moving.convert("RGB"), moving.info["duration"]))
    return frames


def test_film_stops_before_a_reader_would_need_a_button_and_ends_with_its_still():
    frames = film()
    assert sum(shown for _, shown in frames) < 5_000  # WCAG 2.2.2
    assert (STATIC / "film.webp").stat().st_size < 500_000
    still = np.asarray(Image.open(STATIC / "film.png"), dtype=float)
    assert np.abs(np.asarray(frames[-1][0], dtype=float) - still).mean() < 12  # lossy
    first = np.asarray(frames[0][0], dtype=float)
    assert first.std() < 0.2 * still.std()


def test_films_letters_are_those_of_the_recorded_run():
    run = recorded.load("glyphs32_colour")
    assert run.samples_at[-1] == 600_000 and make_film.COLUMNS * make_film.ROWS == 48  # as the page says
    last = unscale(run.samples[-1]) if run.samples[-1].is_floating_point() else run.samples[-1]
    tiles = np.asarray(Image.open(STATIC / "film.png"))[: make_film.SIDE].reshape(32, -1, 32, 3).transpose(1, 3, 0, 2)
    assert np.abs(tiles[:12].astype(int) - last[:12].numpy().astype(int)).max() <= 1
