"""The untidy folder: what is said to be in it is in it, and the reader finds what a person would."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan_core.data.folder import read_images
from dcgan_core.data.landscapes import paint
from dcgan_core.data.scenes import scene
from dcgan_core.data.untidy import COPIES, MODES, ODD, SECOND_KIND, SHARES, write_untidy

NUM_SCENES = 120


@pytest.fixture(scope="module")
def untidy(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("holiday")
    return folder, write_untidy(folder, NUM_SCENES, seed=4)


@pytest.fixture
def reading(untidy, monkeypatch):
    monkeypatch.setenv("DCGAN_CORE_CACHE", "off")
    return read_images(untidy[0], image_size=32)


def opened(path: Path) -> Image.Image:
    return Image.open(BytesIO(path.read_bytes()))


def of_kind(untidy, what: str) -> list[Path]:
    return [untidy[0] / name for name, kind in untidy[1].items() if kind == what]


def test_it_says_what_every_file_in_it_is(untidy):
    folder, found = untidy
    assert set(found) == {path.name for path in folder.iterdir()}
    counts = Counter(found.values())
    assert set(counts) == {"scene", *MODES, *COPIES, *SECOND_KIND, *ODD}
    assert counts["scene"] == NUM_SCENES
    for what, share in SHARES.items():
        number = sum(counts[mode] for mode in MODES) if what == "mode" else counts[what]
        assert number == round(share * NUM_SCENES)


def test_the_same_seed_writes_the_same_files_and_another_seed_others(untidy, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    assert write_untidy(again, NUM_SCENES, seed=4) == untidy[1]
    write_untidy(other, NUM_SCENES, seed=5)
    for name in untidy[1]:
        assert (again / name).read_bytes() == (untidy[0] / name).read_bytes()
    assert (other / "notes.txt").read_bytes() == (again / "notes.txt").read_bytes()
    pictures = [name for name, what in untidy[1].items() if what == "scene" and (other / name).exists()]
    assert all((other / name).read_bytes() != (again / name).read_bytes() for name in pictures) and pictures


def test_pictures_have_several_sizes_shapes_and_formats(untidy):
    pictures = [opened(path) for path in of_kind(untidy, "scene")]
    assert {picture.format for picture in pictures} == {"JPEG", "PNG"}
    assert len({picture.size for picture in pictures}) >= 6
    ratios = [picture.width / picture.height for picture in pictures]
    assert 0.2 < np.mean([ratio > 1.3 for ratio in ratios]) < 0.5 and min(ratios) == 1


def test_modes_are_those_that_they_are_called(untidy):
    modes = {what: {opened(path).mode for path in of_kind(untidy, what)} for what in MODES}
    assert modes == {
        "CMYK": {"CMYK"},
        "palette": {"P"},
        "16 bit": {"I;16"},
        "grey": {"L"},
        "transparent": {"RGBA"},
    }


def test_copies_are_equal_to_the_byte_and_near_copies_look_like_their_originals(untidy, reading):
    folder, _ = untidy
    for path in of_kind(untidy, "copy"):
        assert path.read_bytes() == (folder / path.name.replace(" (1)", "")).read_bytes()
    row = {name: number for number, name in enumerate(reading.names)}
    scenes = [row[path.name] for path in of_kind(untidy, "scene")]
    images = reading.pixels.astype(float)
    for path in of_kind(untidy, "near copy"):
        (original,) = (name for name in row if name.rsplit(".", 1)[0] == path.stem.removesuffix("_small"))
        near = np.abs(images[row[path.name]] - images[row[original]]).mean()
        others = [np.abs(images[row[path.name]] - images[number]).mean() for number in scenes]
        assert 0 < near < 16 and near == min(others)


def test_the_reader_leaves_out_what_is_damaged_and_reads_all_else(untidy, reading):
    left_out = {path.name for what in ("unreadable", "no picture") for path in of_kind(untidy, what)}
    assert set(reading.left_out) == left_out
    assert set(reading.names) == set(untidy[1]) - left_out


def test_the_plain_one_is_of_a_single_colour_and_the_tiny_one_is_smaller_than_wanted(untidy, reading):
    entry = dict(zip(reading.names, reading.entries, strict=True))
    plain = {name for name, each in entry.items() if each.is_plain}
    assert plain == {path.name for path in of_kind(untidy, "plain")}
    tiny = {name for name, each in entry.items() if min(each.width, each.height) < 32}
    assert tiny == {path.name for path in of_kind(untidy, "tiny")}


def test_a_turned_picture_is_read_upright(untidy, reading):
    (path,) = of_kind(untidy, "turned")
    upright = np.asarray(paint(scene(4, 900_002), 96).resize((32, 32), Image.Resampling.BICUBIC), float)
    found = reading.pixels[reading.names.index(path.name)].transpose(1, 2, 0).astype(float)
    assert np.abs(found - upright).mean() < 6 < np.abs(np.rot90(found) - upright).mean()


def test_every_mode_is_read_as_the_scene_that_it_shows(untidy, reading):
    """The same scene, painted anew, in grey: whatever the mode, it is the nearest of all scenes."""
    for number in range(5):
        mode = MODES[number % len(MODES)]
        suffix = "jpg" if mode == "CMYK" else "png"
        name = f"scan_{number:03}.{suffix}"
        assert untidy[1][name] == mode
        found = reading.pixels[reading.names.index(name)].mean(0)
        whole = paint(scene(4, NUM_SCENES + number), 96).convert("L")
        cut = whole.crop((12, 12, 84, 84))  # what is left of one that was cut to 4:3, and then to a square
        expected = [np.asarray(picture.resize((32, 32)), float) for picture in (whole, cut)]
        assert min(np.corrcoef(found.ravel(), each.ravel())[0, 1] for each in expected) > 0 and (
            max(np.corrcoef(found.ravel(), each.ravel())[0, 1] for each in expected) > 0.95
        )


def test_pages_and_screenshots_are_lighter_than_any_scene(untidy, reading):
    light = {name: image.mean() for name, image in zip(reading.names, reading.pixels, strict=True)}
    second = [light[path.name] for what in SECOND_KIND for path in of_kind(untidy, what)]
    assert min(second) > 190
