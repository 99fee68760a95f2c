"""A folder as people keep it: what is read, skipped, named, counted, kept for next time, and held out."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import tracemalloc
import unicodedata
import warnings
import zipfile
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dcgan_core.config import InvalidInput
from dcgan_core.data import Dataset, cache, files, glyphs, load, load_folder, maps, reading, scenes
from dcgan_core.data.findings import in_common
from dcgan_core.data.folder import read_images
from dcgan_core.data.parts import choose_held_out, layout


def noise(seed: int, size: tuple[int, int] = (20, 20), colour: bool = False) -> Image.Image:
    shape = (size[1], size[0], 3) if colour else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def fill(folder: Path, names: list[str], colour: bool = False) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise(number, colour=colour).save(folder / name)
    return folder


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that are decoded."""
    found: list[str] = []
    as_it_is = reading._attempt

    def attempt(source: files.Source, name: str, **options: object) -> object:
        found.append(name)
        return as_it_is(source, name, **options)

    monkeypatch.setattr(reading, "_attempt", attempt)
    return found


def said(capsys, folder: Path, **options: object) -> list[str]:
    load_folder(folder, image_size=16, **options)
    return [line for line in capsys.readouterr().err.splitlines() if line]


# What is found


def test_hidden_files_and_folders_and_those_of_systems_are_skipped_and_counted(tmp_path, capsys):
    skipped = [".thumbnails/a.png", ".ipynb_checkpoints/b.png", "__MACOSX/c.png", "sub/@eaDir/d.png", ".e.png"]
    fill(tmp_path, ["one.png", "sub/two.png", *skipped])
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (line, *_) = said(capsys, tmp_path)
    assert line.startswith("read 2 of 2 files") and "6 hidden or system files and folders skipped" in line


def test_what_lies_in_a_folder_stays_together(tmp_path):
    """As people sort: "-" comes before "/", but a folder's name before the names that begin with it."""
    fill(tmp_path, ["cat-1.png", "cat/2.png", "cat/3.png", "cat-a/4.png"])
    assert read_images(tmp_path, image_size=16).names == ("cat/2.png", "cat/3.png", "cat-1.png", "cat-a/4.png")


def test_links_to_folders_and_odd_files_are_named_and_never_opened(tmp_path):
    fill(tmp_path / "data", ["good.png"])
    fill(tmp_path / "elsewhere", ["far.png"])
    data = tmp_path / "data"
    (data / "link").symlink_to(tmp_path / "elsewhere")
    (data / "loop").symlink_to(data)
    (data / "itself").symlink_to(data / "itself")
    (data / "nowhere.png").symlink_to(data / "missing.png")
    (data / "file.png").symlink_to(tmp_path / "elsewhere" / "far.png")
    os.mkfifo(data / "pipe.png")  # to open it would wait for ever
    found = read_images(data, image_size=16)
    assert found.names == ("file.png", "good.png")
    assert found.left_out == {
        "itself": "a link that leads nowhere",
        "link": "a link to a folder, which is not followed: name that folder, or copy it here",
        "loop": "a link to a folder, which is not followed: name that folder, or copy it here",
        "nowhere.png": "a link that leads nowhere",
        "pipe.png": "neither a file nor a folder",
    }


def test_a_folder_that_cannot_be_entered_is_named(tmp_path, monkeypatch):
    fill(tmp_path, ["good.png", "locked/a.png", "open/b.png"])
    as_it_is = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return as_it_is(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.warns(UserWarning, match=r"left out 1 file \(locked\): a folder that cannot be entered \(Permission"):
        assert len(load_folder(tmp_path, image_size=16).images) == 2
    with pytest.raises(InvalidInput, match="cannot be entered"):
        load_folder(tmp_path / "locked", image_size=16)


def test_names_cannot_reach_the_terminal(tmp_path, capsys):
    """Escape codes clear a screen or hide a line; a turned direction of writing makes exe.png of gnp.exe."""
    (tmp_path / "\x1b[2Jbad\u202egnp.png").write_bytes(b"no image")
    fill(tmp_path, ["cat\x1b[31m/a.png", "dog/b.png", "写真/c.png"])
    with pytest.warns(UserWarning) as caught:
        lines = said(capsys, tmp_path)
    text = "\n".join([str(one.message) for one in caught] + lines)
    assert "\\x1b[2Jbad\\u202egnp.png" in text and "cat\\x1b[31m" in text and "写真" in text
    assert all(one.isprintable() or one == "\n" for one in text)


def test_names_that_are_no_text_are_read_and_printed(tmp_path, own_cache, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    noise(0).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", path)
    for _ in range(2):
        assert len(load_folder(tmp_path, image_size=16).images) == 1
    capsys.readouterr().err.encode()


# The line and the notes


def test_the_line_counts_what_was_found(tmp_path, capsys):
    fill(tmp_path, [f"{number}.png" for number in range(3)], colour=True)
    noise(7, (40, 20)).save(tmp_path / "wide.png")
    Image.new("L", (20, 20), 5).save(tmp_path / "plain.png")
    Image.new("RGBA", (20, 20), (255, 255, 255, 128)).save(tmp_path / "ghost.png")
    noise(8).save(tmp_path / "film.gif", save_all=True, append_images=[noise(9)])
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.warns(UserWarning, match="left out 1 file"):
        line, *_ = said(capsys, tmp_path)
    assert line.startswith(f"read 7 of 8 files in {tmp_path}{os.sep} as images of 16x16 in colour (0.0 MB); ")
    for part in (
        "1 cropped to squares",
        "2 of a single colour",
        "first picture taken of 1 with several",
        "1 transparent and nearly white, laid on black",
        "1 left out",
    ):
        assert f"; {part}" in line


def test_few_images_copies_plain_ones_long_ones_and_two_kinds_are_noted(tmp_path, capsys):
    fill(tmp_path, [f"{number}.png" for number in range(10)], colour=True)
    for number in range(2):
        Image.new("RGB", (60, 20), (9, 99, 9)).save(tmp_path / f"plain{number}.png")
        noise(77).save(tmp_path / f"copy{number}.png")
    notes = "\n".join(line for line in said(capsys, tmp_path) if line.startswith("note: "))
    assert "12 different images are few" in notes and "--augment" in notes
    assert "2 images are exact copies of others, as copy0.png, copy1.png: they count" in notes
    assert "2 of 14 images are of a single colour" in notes
    assert "two kinds: 12 in colour, 2 in grey" in notes
    assert "2 images are at least twice as long as wide" in notes
    assert "become grey: --channels 3" not in notes
    assert "12 of 14 images have colour and become grey: --channels 3" in "\n".join(said(capsys, tmp_path, channels=1))


def test_an_image_of_one_colour_is_plain_in_all_of_its_channels(tmp_path):
    """Red on black has two channels of a single value, and is a picture."""
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = np.asarray(noise(0))
    Image.fromarray(red).save(tmp_path / "picture.png")
    Image.new("RGB", (20, 20), (200, 0, 0)).save(tmp_path / "plain.png")
    assert [entry.is_plain for entry in read_images(tmp_path, image_size=16).entries] == [False, True]


def test_a_single_copy_and_a_single_image_are_named_in_the_singular(tmp_path, capsys):
    fill(tmp_path, ["a.png"])
    assert "1 different image is too little" in "\n".join(said(capsys, tmp_path))
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    assert "1 image is an exact copy of others, as a.png, b.png" in "\n".join(said(capsys, tmp_path))


def test_of_several_groups_of_copies_the_largest_is_named(tmp_path, capsys):
    for letter, count in (("a", 2), ("b", 3), ("c", 1)):
        for number in range(count):
            noise(ord(letter)).save(tmp_path / f"{letter}{number}.png")
    assert "3 images are exact copies of others, as b0.png, b1.png, b2.png:" in "\n".join(said(capsys, tmp_path))


def tones(low: int, high: int, size: int = 20, colour: bool = False) -> Image.Image:
    shape = (size, size, 3) if colour else (size, size)
    return Image.fromarray(np.random.default_rng([low, high]).integers(low, high, shape, np.uint8))


@pytest.mark.parametrize("colour", [False, True])
def test_images_that_are_dark_or_pale_throughout_are_noted(tmp_path, capsys, colour):
    for number in range(10):
        tones(10 * number, 255, colour=colour).save(tmp_path / f"good{number}.png")
    assert "throughout" not in "\n".join(said(capsys, tmp_path))
    tones(0, 50, colour=colour).save(tmp_path / "dark.png")
    tones(200, 250, colour=colour).save(tmp_path / "pale.png")
    text = "\n".join(said(capsys, tmp_path))
    assert "1 of 12 images are dark throughout" in text and "1 of 12 images are pale throughout" in text


def test_a_bright_thing_in_the_dark_is_not_dark_and_a_saturated_colour_neither(tmp_path, capsys):
    """Letters are mostly black, and blue is dark to the eye."""
    letter = Image.new("L", (16, 16), 0)
    letter.paste(255, (4, 4, 7, 12))
    letter.save(tmp_path / "letter.png")
    blue = np.zeros((16, 16, 3), np.uint8)
    blue[..., 2] = np.random.default_rng(0).integers(0, 255, (16, 16))
    Image.fromarray(blue).save(tmp_path / "blue.png")
    Image.fromarray(255 - blue).save(tmp_path / "yellow.png")
    Image.new("L", (16, 16), 0).save(tmp_path / "plain.png")
    assert "throughout" not in "\n".join(said(capsys, tmp_path))


def test_images_with_nothing_in_common_are_noted_and_those_of_one_kind_are_not(tmp_path, capsys):
    for number in range(120):
        rng = np.random.default_rng(number)
        patches = Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8))
        for folder in ("many", "one"):
            (tmp_path / folder).mkdir(exist_ok=True)
        patches.resize((32, 32)).save(tmp_path / "many" / f"{number}.png")
        face = Image.new("L", (32, 32), 40)
        face.paste(patches.resize((16, 16)).point(lambda value: 120 + value // 2), (8, 8))
        face.save(tmp_path / "one" / f"{number}.png")
    assert "little in common" in "\n".join(said(capsys, tmp_path / "many"))
    assert "little in common" not in "\n".join(said(capsys, tmp_path / "one"))
    for number in range(60, 120):
        (tmp_path / "many" / f"{number}.png").unlink()
    assert "little in common" not in "\n".join(said(capsys, tmp_path / "many")), "too few to tell"


def test_letters_have_half_in_common_and_scenes_a_tenth():
    assert in_common(glyphs.render(1_000, seed=1).images) == pytest.approx(0.5, abs=0.05)
    assert in_common(scenes.render(300, image_size=32, seed=3).images) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("size", [4, 8, 20, 64])
def test_what_images_have_in_common_is_the_share_of_their_mean(size):
    """Half of the variance in one picture that all of them have, half in pictures of their own."""
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(1, 3, 4, 4)), rng.normal(size=(5_000, 3, 4, 4))
    images = (128 + 20 * (shared + own)).clip(0, 255).astype(np.uint8)
    times = size // 4
    expected = shared.var(axis=(2, 3)).mean() / (shared.var(axis=(2, 3)).mean() + 1)
    assert in_common(images.repeat(times, axis=2).repeat(times, axis=3)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("size", [(20, 60), (60, 20)])
def test_long_images_are_noted_whichever_way_they_are_long(tmp_path, capsys, size):
    for number in range(3):
        noise(number, size).save(tmp_path / f"{number}.png")
    assert "3 images are at least twice as long as wide" in "\n".join(said(capsys, tmp_path))


@pytest.mark.parametrize("num_grey", [0, 1, 29, 30])
def test_images_of_one_kind_but_for_a_stray_are_not_of_two(tmp_path, capsys, num_grey):
    """Of 30, two or more would be a second kind."""
    fill(tmp_path, [f"{number:02}.png" for number in range(30)], colour=True)
    for number in range(num_grey):
        noise(number).save(tmp_path / f"{number:02}.png")
    assert "two kinds" not in "\n".join(said(capsys, tmp_path, channels=3))


def test_images_that_differ_in_a_single_pixel_are_no_copies(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dcgan_core.data.findings.ENOUGH", 2)
    image = noise(1, (16, 16))
    image.save(tmp_path / "one.png")
    image.putpixel((15, 15), 255 - image.getpixel((15, 15)))
    image.save(tmp_path / "other.png")
    assert len(said(capsys, tmp_path)) == 1, "no note"


def test_enough_good_images_need_no_note(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dcgan_core.data.findings.ENOUGH", 10)
    fill(tmp_path, [f"{number}.png" for number in range(10)])
    assert len(said(capsys, tmp_path)) == 1
    assert said(capsys, tmp_path, say=False) == []


def test_the_bar_appears_where_reading_takes_longer_than_a_moment(tmp_path, own_cache, capsys, monkeypatch):
    fill(tmp_path, ["a.png", "b.png"])
    load_folder(tmp_path, image_size=16)
    assert "reading" not in capsys.readouterr().err
    monkeypatch.setattr(reading, "SHOW_AFTER", 0)
    load_folder(tmp_path, image_size=8)
    assert f"reading {tmp_path}" in capsys.readouterr().err


# Channels


@pytest.mark.parametrize(("num_coloured", "channels"), [(0, 1), (1, 1), (2, 3), (150, 3)])
def test_channels_follow_the_images(tmp_path, num_coloured, channels, own_cache):
    """One stray coloured picture in 150 does not make the data coloured, but it is said to lose its colour."""
    fill(tmp_path / "images", [f"{number:03}.png" for number in range(150)])
    for number in range(num_coloured):
        noise(number, colour=True).save(tmp_path / "images" / f"{number:03}.png")
    dataset = load(str(tmp_path / "images"), image_size=16)
    assert dataset.images.shape == (135, channels, 16, 16)


def test_grey_and_colour_that_are_asked_for_are_those_of_the_same_pixels(tmp_path, monkeypatch):
    """Whether channels are given or found: a run that goes on names them, and must get the images that it had."""
    monkeypatch.setattr(maps, "CHUNK", 3 * 3 * 16 * 16)  # three of four images
    fill(tmp_path, [f"{number}.png" for number in range(4)], colour=True)
    found, colour, grey = (load_folder(tmp_path, image_size=16, channels=channels).images for channels in (None, 3, 1))
    assert torch.equal(found, colour)
    for one, other in zip(colour, grey, strict=True):
        expected = Image.fromarray(one.permute(1, 2, 0).numpy()).convert("L")
        assert torch.equal(other[0], torch.from_numpy(np.array(expected)))


# The cache


def test_what_has_not_changed_is_decoded_once(tmp_path, own_cache, decoded):
    folder = fill(tmp_path / "images", ["a.png", "b.png", "sub/c.png"])
    (folder / "bad.png").write_bytes(b"no image")
    found = [read_images(folder, image_size=16) for _ in range(2)]
    assert sorted(decoded) == ["a.png", "b.png", "bad.png", "sub/c.png"]
    np.testing.assert_array_equal(found[0].pixels, found[1].pixels)
    assert (found[0].names, found[0].left_out) == (found[1].names, found[1].left_out)
    read_images(folder, image_size=32)
    read_images(folder, image_size=16, fit="pad")
    assert len(decoded) == 12, "another size and another fit are other squares"


def test_changed_added_and_removed_files_are_noticed_and_only_they_are_decoded(tmp_path, own_cache, decoded):
    folder = fill(tmp_path / "images", ["a.png", "b.png", "c.png"])
    read_images(folder, image_size=16)
    decoded.clear()
    noise(100, colour=True).save(folder / "b.png")
    noise(101).save(folder / "aa.png")
    (folder / "c.png").unlink()
    found = read_images(folder, image_size=16)
    assert sorted(decoded) == ["aa.png", "b.png"] and found.names == ("a.png", "aa.png", "b.png")
    pictures = {"a.png": noise(0), "aa.png": noise(101), "b.png": noise(100, colour=True)}
    for name, pixels in zip(found.names, found.pixels, strict=True):
        shown = pictures[name].convert("RGB").resize((16, 16), Image.Resampling.BICUBIC, reducing_gap=3.0)
        assert np.abs(np.asarray(shown).transpose(2, 0, 1).astype(int) - pixels).max() <= 1
    same_size = folder / "a.png"
    about = same_size.stat()
    os.utime(same_size, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    read_images(folder, image_size=16)
    assert sorted(decoded) == ["a.png", "aa.png", "b.png"], "the time alone has changed"


@pytest.mark.parametrize("name", ["0.png", "z.png"])
def test_known_images_keep_their_pixels_when_others_come_before_or_after_them(tmp_path, own_cache, decoded, name):
    folder = fill(tmp_path / "images", ["a.png", "b.png", "c.png"])
    before = read_images(folder, image_size=16).pixels
    noise(100).save(folder / name)
    found = read_images(folder, image_size=16)
    known = [place for place, one in enumerate(found.names) if one != name]
    np.testing.assert_array_equal(found.pixels[known], before)
    (folder / name).unlink()
    np.testing.assert_array_equal(read_images(folder, image_size=16).pixels, before)
    assert decoded == ["a.png", "b.png", "c.png", name]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    which=st.integers(0, 1),
    keep=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3),
)
def test_a_damaged_cache_is_as_good_as_none(tmp_path_factory, which, keep, changes):
    folder = fill(tmp_path_factory.mktemp("damaged"), ["a.png", "b.png"])
    fresh = read_images(folder, image_size=16)
    expected = fresh.pixels.copy()  # else a map of the file that is changed
    place = cache.place_of(folder, 16, "crop")
    file = sorted(place.iterdir())[which]
    content = bytearray(file.read_bytes())
    for where, value in changes:
        content[int(where * (len(content) - 1))] = value
    file.write_bytes(content[: int(keep * len(content))])
    again = read_images(folder, image_size=16)
    np.testing.assert_array_equal(expected, again.pixels)
    assert (fresh.names, fresh.entries) == (again.names, again.entries)


@pytest.mark.parametrize("head", [b"{'descr':" + b" " * 109 + b"\n", b"(" * 117 + b"\n", b"\0" * 118])
def test_a_cache_whose_head_makes_no_sense_is_as_good_as_none(tmp_path, own_cache, head):
    """An open bracket, too many of them, and none: each is another error inside of NumPy."""
    folder = fill(tmp_path / "images", ["a.png", "b.png"])
    read_images(folder, image_size=16)
    (pixels,) = cache.place_of(folder, 16, "crop").glob("*.npy")
    content = pixels.read_bytes()
    pixels.write_bytes(content[:10] + head + content[10 + len(head) :])
    assert read_images(folder, image_size=16).num_decoded == 2


def test_a_single_wrong_bit_in_the_cache_is_noticed(tmp_path, own_cache, decoded):
    folder = fill(tmp_path / "images", ["a.png", "b.png"])
    expected = read_images(folder, image_size=16).pixels.copy()
    read_images(folder, image_size=16)
    (pixels,) = cache.place_of(folder, 16, "crop").glob("*.npy")
    content = bytearray(pixels.read_bytes())
    content[-1] ^= 1
    pixels.write_bytes(content)
    np.testing.assert_array_equal(read_images(folder, image_size=16).pixels, expected)
    assert len(decoded) == 4


def test_when_the_coloured_images_are_gone_the_others_are_kept_as_grey(tmp_path, own_cache, decoded):
    folder = fill(tmp_path / "images", ["a.png", "b.png"])
    noise(9, colour=True).save(folder / "colour.png")
    before = read_images(folder, image_size=16)
    (folder / "colour.png").unlink()
    after = read_images(folder, image_size=16)
    assert before.pixels.shape == (3, 3, 16, 16) and after.pixels.shape == (2, 1, 16, 16) and len(decoded) == 3
    np.testing.assert_array_equal(after.pixels[:, 0], before.pixels[:2, 0])


def test_a_wrong_bit_far_behind_in_a_large_cache_is_noticed(tmp_path, own_cache, monkeypatch):
    """The sum is taken in parts, of which this cache has many."""
    monkeypatch.setattr(maps, "CHUNK", 100)
    folder = fill(tmp_path / "images", ["a.png", "b.png"])
    read_images(folder, image_size=16)
    place = cache.place_of(folder, 16, "crop")
    assert cache.load(place) is not None
    (pixels,) = place.glob("*.npy")
    content = bytearray(pixels.read_bytes())
    content[-1] ^= 1
    pixels.write_bytes(content)
    assert cache.load(place) is None


def test_another_version_of_what_decodes_has_another_cache(tmp_path, own_cache, decoded, monkeypatch):
    folder = fill(tmp_path / "images", ["a.png"])
    read_images(folder, image_size=16)
    monkeypatch.setattr("PIL.__version__", "99.0")
    read_images(folder, image_size=16)
    assert decoded == ["a.png"] * 2


def test_a_relative_path_means_another_cache_in_another_folder(tmp_path, own_cache, monkeypatch):
    places = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        places.add(cache.place_of(Path("images"), 16, "crop"))
        assert cache.place_of(Path("images"), 16, "crop") == cache.place_of(tmp_path / name / "images", 16, "crop")
    assert len(places) == 2


def test_a_cache_that_is_read_is_used(tmp_path, own_cache):
    """So it is not deleted: what counts is when it was last needed, not when it was written."""
    folder = fill(tmp_path / "images", ["a.png"])
    read_images(folder, image_size=16)
    index = cache.place_of(folder, 16, "crop") / cache.INDEX
    os.utime(index, (0, 0))
    read_images(folder, image_size=16)
    read_images(fill(tmp_path / "other", ["b.png"]), image_size=16)
    assert index.exists()


def test_a_cache_that_is_switched_off_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER, "off")
    monkeypatch.chdir(tmp_path)
    assert cache.place_of(fill(tmp_path / "images", ["a.png"]), 16, "crop") is None
    read_images(tmp_path / "images", image_size=16)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_cache_with_foreign_entries_or_a_pickle_is_not_believed(tmp_path, own_cache):
    folder = fill(tmp_path / "images", ["a.png"])
    read_images(folder, image_size=16)
    place = cache.place_of(folder, 16, "crop")
    pixels, entry, _ = (json.loads(line) for line in (place / cache.INDEX).read_text().splitlines())

    def written(*lines: object) -> None:
        content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        checksum = json.dumps(xxhash.xxh3_128_hexdigest(content)).encode()
        (place / cache.INDEX).write_bytes(content + checksum)

    written(pixels, entry)
    assert cache.load(place) is not None
    for change in ({"row": 7}, {"row": "0"}, {"unknown": 1}):
        written(pixels, [entry[0], entry[1] | change])
        assert cache.load(place) is None
    for wrong in ([], [None, entry], [3, entry], [pixels, []], [pixels, "a.png"], [pixels]):
        written(*wrong)
        assert cache.load(place) is None
    written(pixels, entry)
    (place / f"pixels-{pixels}.npy").unlink()
    np.save(place / f"pixels-{pixels}.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert cache.load(place) is None
    assert len(read_images(folder, image_size=16).names) == 1


def test_a_cache_that_cannot_be_written_is_said_and_nothing_else_changes(tmp_path, monkeypatch, capsys):
    folder = fill(tmp_path / "images", ["a.png"])
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "file" / "below"))
    assert "not kept for next time (Not a directory)" in said(capsys, folder)[0]
    monkeypatch.setenv(cache.FOLDER, "off")
    assert "not kept" not in said(capsys, folder)[0]


def test_caches_that_nobody_uses_are_deleted(tmp_path, own_cache):
    for name in ("old", "recent", "new"):
        read_images(fill(tmp_path / name, ["a.png"]), image_size=16)
    old, recent = (cache.place_of(tmp_path / name, 16, "crop") for name in ("old", "recent"))
    os.utime(old / cache.INDEX, (0, 0))
    month_ago = time.time() - 30 * 86_400
    os.utime(recent / cache.INDEX, (month_ago, month_ago))
    noise(9).save(tmp_path / "new" / "b.png")
    read_images(tmp_path / "new", image_size=16)
    new = cache.place_of(tmp_path / "new", 16, "crop")
    assert not old.exists() and len(list(recent.iterdir())) == 2
    assert sorted(path.suffix for path in new.iterdir()) == [".jsonl", ".npy"]


def test_two_processes_read_the_same_folder_at_once(tmp_path, own_cache):
    folder = fill(tmp_path / "images", [f"{number}.png" for number in range(30)])
    program = (
        "import sys; from dcgan_core.data.folder import read_images\n"
        "print(read_images(sys.argv[1], image_size=16).pixels.astype(int).sum())"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    expected = str(read_images(folder, image_size=16).pixels.astype(int).sum())
    assert [one.communicate(timeout=120)[0].strip() for one in both] == [expected] * 2
    assert cache.load(cache.place_of(folder, 16, "crop")) is not None


# Zips


def zipped(path: Path, members: dict[str, bytes], **options: object) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def png(seed: int) -> bytes:
    file = io.BytesIO()
    noise(seed).save(file, "PNG")
    return file.getvalue()


def test_a_zip_is_read_as_its_unpacked_folder_would_be_and_nothing_is_unpacked(tmp_path, own_cache, decoded):
    members = {"photos/cat/1.png": png(1), "photos/dog/2.png": png(2), "__MACOSX/photos/cat/._1.png": b"x"}
    path = zipped(tmp_path / "photos.zip", members)
    fill(tmp_path / "unpacked", [])
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    packed, unpacked = (load_folder(tmp_path / name, image_size=16) for name in ("photos.zip", "unpacked"))
    assert torch.equal(packed.images, unpacked.images) and packed.class_names == unpacked.class_names == ("cat", "dog")
    assert packed.name == str(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos.zip", "unpacked"]
    decoded.clear()
    load_folder(path, image_size=16)
    assert decoded == []


@pytest.mark.parametrize(("system", "expected"), [(0, ("cat", "dog")), (3, ())])
def test_a_zip_from_windows_may_write_its_folders_with_another_stroke(tmp_path, own_cache, system, expected):
    """Elsewhere, it is a letter like any other."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(("photos\\cat\\1.png", "photos\\dog\\2.png")):
            member = zipfile.ZipInfo(name)
            member.create_system = system
            archive.writestr(member, png(number))
    assert load_folder(path, image_size=16).class_names == expected


def test_names_in_a_zip_are_read_as_they_were_meant(tmp_path, own_cache):
    """The format has the encoding of old PCs and UTF-8 with a flag; macOS writes UTF-8 without one. "┬á" could be the
    first three ways: with the flag it is meant as it stands.
    """
    names = ("été/1.png", "été/2.png", "Übung/3.png", "┬á/4.png")
    path = zipped(tmp_path / "photos.zip", {name: png(number) for number, name in enumerate(names)})
    assert load_folder(path, image_size=16).class_names == ("Übung", "été", "┬á")
    content = path.read_bytes()
    unflagged = tmp_path / "macos.zip"
    with zipfile.ZipFile(path) as archive:
        unflagged.write_bytes(without_flags(content, archive.infolist()[:3]))
    assert load_folder(unflagged, image_size=16).class_names == ("Übung", "été", "┬á")
    old = zipped(tmp_path / "old.zip", {"Aa/1.png": png(1), "Bb/2.png": png(2)})
    old.write_bytes(old.read_bytes().replace(b"Aa/", b"\x82a/").replace(b"Bb/", b"\x8bb/"))
    assert load_folder(old, image_size=16).class_names == ("éa", "ïb")


def without_flags(content: bytes, members: list[zipfile.ZipInfo]) -> bytes:
    """The zip with the flag for UTF-8 taken from these members, in both places where it stands."""
    changed = bytearray(content)
    for member in members:
        changed[member.header_offset + 7] &= ~0x08
        name = member.filename.encode()
        place = content.rindex(name) - 46  # in the directory at the end, a name follows 46 other bytes
        assert content[place : place + 4] == b"PK\1\2"
        changed[place + 9] &= ~0x08
    return bytes(changed)


def test_of_files_with_one_name_in_a_zip_the_last_is_taken_and_the_others_are_named(tmp_path, own_cache):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `zipfile` itself complains
        for number, name in enumerate(("a.png", "b.png", "a.png", "a.png", ".hidden.png", ".hidden.png")):
            archive.writestr(name, png(number))
    found = read_images(path, image_size=16, progress=False)
    assert sorted(found.names) == ["a.png", "b.png"]
    last = read_images(zipped(tmp_path / "one.zip", {"a.png": png(3)}), image_size=16, progress=False)
    assert (found.pixels[found.names.index("a.png")] == last.pixels[0]).all()
    assert len(found.left_out) == 2 and set(found.left_out.values()) == {
        "another file of the same name comes later in the zip"
    }


def test_classes_that_are_written_nearly_alike_are_noted(tmp_path, own_cache, capsys):
    names = ("Cats", "cats", "dogs", unicodedata.normalize("NFC", "pélican"), unicodedata.normalize("NFD", "pélican"))
    for number, name in enumerate(names):
        (tmp_path / "all" / name).mkdir(parents=True)
        noise(number).save(tmp_path / "all" / name / "1.png")
    load_folder(tmp_path / "all", image_size=16)
    notes = [line for line in capsys.readouterr().err.splitlines() if "nearly alike" in line]
    assert len(notes) == 2 and not any("dogs" in note for note in notes)
    assert "the classes Cats, cats are written nearly alike and count as 2" in notes[0]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """Thirty megabytes of nothing pack to thirty kilobytes; no picture does."""
    members = {"bomb.bmp": bytes(30 * 2**20), "good.png": png(1), "../outside.png": png(2)}
    path = zipped(tmp_path / "bomb.zip", members, compression=zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    found = read_images(path, image_size=16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.names == ("../outside.png", "good.png") and found.left_out["bomb.bmp"].startswith("would unpack from")
    assert peak < 10 * 2**20 and not (tmp_path.parent / "outside.png").exists()
    monkeypatch.setattr(files, "MOST_UNPACKED", 100)
    with pytest.raises(InvalidInput, match="no usable image: none of its 3 files"):
        read_images(path, image_size=16)


def test_a_small_picture_that_packs_well_is_no_bomb(tmp_path, own_cache):
    """A plain one of a megabyte, without compression of its own, packs to a thousandth."""
    file = io.BytesIO()
    Image.new("L", (1000, 1000), 77).save(file, "BMP")
    path = zipped(tmp_path / "plain.zip", {"plain.bmp": file.getvalue()}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 5_000
    assert read_images(path, image_size=16).names == ("plain.bmp",)


def test_encrypted_and_damaged_members_are_named(tmp_path, own_cache):
    path = zipped(tmp_path / "photos.zip", {"a.png": png(1), "b.png": png(2), "c.png": png(3)})
    content = bytearray(path.read_bytes())
    content[content.rfind(b"PK\x01\x02", 0, content.rfind(b"b.png")) + 8] |= 1  # encrypted, says the directory
    place = content.find(b"c.png") + 60
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    found = read_images(path, image_size=16)
    assert found.names == ("a.png",)
    assert found.left_out == {"b.png": "encrypted", "c.png": "cannot be read (BadZipFile)"}
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidInput, match="no zip that can be read"):
        read_images(path, image_size=16)


# What is no folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cat.jpg", "a single file: put your images into a folder"),
        ("film.mp4", "a video: save its frames"),
        ("photos.tar.gz", "unpack it, or make a zip"),
        ("arrays.npz", "a file of arrays, a table or weights: save the images"),
        ("photos/*.jpg", "a pattern"),
        ("https://example.org/photos", "an address: download"),
        ("a" * 300, "neither a data set"),
        ("no\0name", "neither a data set"),
        ("", "data is empty"),
    ],
)
def test_what_is_no_folder_gets_one_sentence_that_says_what_to_do(tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    if name in ("cat.jpg", "film.mp4", "photos.tar.gz", "arrays.npz"):
        Path(name).write_bytes(b"x")
    with pytest.raises(InvalidInput, match=words.replace("(", r"\(")) as caught:
        load(name, image_size=16)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_data_sets_name_that_is_a_folder_too_is_said_and_the_folder_can_be_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dcgan_core.data.named.NUM_GLYPHS", {"train": 5, "test": 5})
    fill(tmp_path / "glyphs", ["a.png"])
    with pytest.warns(UserWarning, match=r"glyphs is a data set and a folder, too.* write \./glyphs"):
        assert len(load("glyphs", image_size=16).images) == 5
    folder = load("./glyphs", image_size=16)
    assert len(folder.images) == 1 and folder.name == f"glyphs{os.sep}", "no classifier of letters judges it"


def test_a_folder_in_the_home_of_the_user_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(tmp_path / "photos", ["a.png"])
    assert len(load("~/photos", image_size=16).images) == 1


# Parts and classes


@pytest.mark.parametrize(
    ("names", "held_out", "classes"),
    [
        (["a.png", "b.png"], "", ""),
        (["cat/a.png", "dog/b.png"], "", "cat dog"),
        (["all/cat/a.png", "all/dog/b.png"], "", "cat dog"),
        (["cat/a.png", "dog/b.png", "c.png"], "", ""),
        (["train/a.png", "test/b.png"], "test", ""),
        (["train/cat/a.png", "test/cat/b.png"], "test", ""),
        (["train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "Val/dog/d.png"], "Val test", "cat dog"),
        (["cat/a.png", "dog/b.png", "validation/cat/c.png"], "validation", "cat dog"),
        (["test/a.png", "test/b.png"], "", ""),
        (["train/a.png", "train/b.png"], "", ""),
        (["all/train/a.png", "all/valid/b.png"], "valid", ""),
        (["cat/siamese/a.png", "cat/b.png", "dog/poodle/c.png"], "", "cat dog"),
    ],
)
def test_subfolders_are_parts_and_classes(names, held_out, classes):
    found = layout(names)
    assert " ".join(found.held_out_folders) == held_out and " ".join(found.class_names) == classes
    parts = [part for name in names for part in [name.removeprefix("all/").split("/")]]
    assert [part[0] in held_out.split() for part in parts] == list(found.is_held_out)
    if classes:
        assert [found.class_names[label] in part for label, part in zip(found.labels, parts, strict=True)] == [
            True
        ] * len(parts)
    else:
        assert found.labels is None


def test_a_test_folder_is_held_out_and_classes_are_labels(tmp_path, capsys):
    counts = {"train/cat": 1, "train/dog": 3, "test/cat": 4, "test/dog": 2}
    fill(tmp_path, [f"{folder}/{number}.png" for folder, count in counts.items() for number in range(count)])
    train, test = (load(str(tmp_path), image_size=16, split=split) for split in ("train", "test"))
    assert train.labels.tolist() == [0, 1, 1, 1] and test.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert train.class_names == test.class_names == ("cat", "dog")
    everything = load_folder(tmp_path, image_size=16).images
    assert torch.equal(everything, torch.cat([test.images, train.images])), "in the order of names"
    line = capsys.readouterr().err
    assert "2 classes (cat, dog)" in line and "The 6 in test are held out to measure with." in line


def pictures(dataset: Dataset) -> set[bytes]:
    return {image.numpy().tobytes() for image in dataset.images}


def test_a_tenth_is_held_out_whatever_the_names_the_order_and_the_seed(tmp_path, own_cache, capsys):
    folder = fill(tmp_path / "images", [f"{number:03}.png" for number in range(100)])
    train, test = (load(str(folder), image_size=16, split=split) for split in ("train", "test"))
    assert (len(train.images), len(test.images)) == (90, 10)
    assert not pictures(train) & pictures(test) and len(pictures(train) | pictures(test)) == 100
    assert "10 of them, always the same, are held out to measure with." in capsys.readouterr().err
    for number, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        (tmp_path / "renamed").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "renamed" / f"other{number}.png")
    assert pictures(load(str(tmp_path / "renamed"), image_size=16, split="test", seed=5)) == pictures(test)
    for number in range(100, 110):
        noise(number).save(folder / f"{number}.png")
    assert len(pictures(load(str(folder), image_size=16, split="test")) & pictures(test)) >= 8


def test_copies_are_never_on_both_sides(tmp_path):
    fill(tmp_path, [f"{number:03}.png" for number in range(30)])
    for number in range(30):
        shutil.copy(tmp_path / f"{number:03}.png", tmp_path / f"copy{number:03}.png")
    train, test = (load(str(tmp_path), image_size=16, split=split) for split in ("train", "test"))
    assert not pictures(train) & pictures(test) and len(test.images) == 6


@settings(deadline=None)
@given(st.lists(st.text("ab", max_size=4), max_size=200), st.floats(0.01, 0.5))
def test_the_held_out_part_is_a_share_or_less_and_never_half_of_a_group_of_copies(digests, share):
    chosen = choose_held_out(digests, share)
    assert sum(chosen) <= max(2, round(share * len(digests))) and (len(digests) >= 20 or not any(chosen))
    sides = {(digest, side) for digest, side in zip(digests, chosen, strict=True)}
    assert len(sides) == len(set(digests))


def test_the_held_out_part_has_at_least_2_and_at_most_10_000_images():
    for num, expected in ((19, 0), (20, 2), (300, 30), (200_000, 10_000)):
        assert sum(choose_held_out([str(number) for number in range(num)], 0.1)) == expected
    assert not any(choose_held_out([str(number) for number in range(300)], 0.0))


def test_an_image_with_more_copies_than_are_wanted_stays_in_training_with_all_of_them():
    chosen = choose_held_out(["a"] * 15 + [f"b{number:02}" for number in range(15)], 0.1)
    assert chosen == [False] * 15 + [True] * 3 + [False] * 12


def test_of_too_few_images_none_is_held_out_and_asking_for_them_is_one_sentence(tmp_path, capsys):
    fill(tmp_path, [f"{number}.png" for number in range(10)])
    assert len(load(str(tmp_path), image_size=16).images) == 10
    assert "Of fewer than 20 images, none is held out" in capsys.readouterr().err
    with pytest.raises(InvalidInput, match="10 images, of which none is held out to measure with"):
        load(str(tmp_path), image_size=16, split="test")
    for split in ("train", "test"):
        assert len(load(str(tmp_path), image_size=16, split=split, held_out=0).images) == 10, "as older runs did"


# What the API takes


def test_a_folder_may_be_named_by_a_text_or_a_path(tmp_path):
    fill(tmp_path, ["a.png"])
    assert torch.equal(load_folder(tmp_path, image_size=16).images, load_folder(str(tmp_path), image_size=16).images)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.rand(4, 3, 16, 16), "float32, .*uint8"),
        (torch.zeros(4, 16, 16, dtype=torch.uint8), r"shape \(4, 16, 16\)"),
    ],
)
def test_a_data_set_of_numbers_that_are_no_pixels_is_refused_in_one_sentence(images, said):
    with pytest.raises(InvalidInput, match=said):
        Dataset("mine", images, None, ())


@pytest.mark.parametrize(("kept", "split"), [("on", "all"), ("on", "train"), ("off", "all"), ("off", "train")])
def test_reading_takes_at_most_three_times_the_memory_of_the_images(tmp_path, own_cache, monkeypatch, kept, split):
    """Counted by Python and NumPy, which is all but the pictures that are just being decoded. All images that are kept
    are a map of their file, and take none.
    """
    folder = fill(tmp_path / "images", [f"{number:03}.png" for number in range(300)], colour=True)
    load_folder(folder, image_size=16)  # imports what it needs
    if kept == "off":
        monkeypatch.setenv(cache.FOLDER, "off")
    tracemalloc.start()
    images = load_folder(folder, image_size=128, split=split, say=False).images
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    if (kept, split) == ("on", "all"):
        assert peak < images.numel() / 2
    else:
        assert images.numel() < peak < 3 * images.numel()


# Anything at all

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=40)
CONTENTS = st.one_of(
    st.binary(max_size=60), st.tuples(st.sampled_from(["PNG", "GIF", "BMP", "TIFF", "JPEG"]), st.floats(0, 1))
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    what=st.lists(
        st.tuples(
            st.lists(NAMES, min_size=1, max_size=3), st.sampled_from(["file", "folder", "link", "socket"]), CONTENTS
        ),
        max_size=8,
    ),
    packed=st.booleans(),
)
def test_a_folder_of_anything_is_read_or_refused_in_one_sentence(tmp_path_factory, what, packed):
    folder = tmp_path_factory.mktemp("anything")
    for parts, kind, content in what:
        path = folder.joinpath(*(part for part in parts if part not in (".", "..")))
        with suppress(OSError, ValueError):  # a name that this system does not take
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir()
            elif kind == "link":
                path.symlink_to(folder if len(parts) > 1 else path)
            elif kind == "socket":
                with closing(socket.socket(socket.AF_UNIX)) as one:
                    one.bind(str(path))
            else:
                path.write_bytes(content if isinstance(content, bytes) else truncated(*content))
    source = folder
    if packed:
        source = folder.parent / f"{folder.name}.zip"
        with zipfile.ZipFile(source, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are there twice
            for path in folder.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    archive.writestr(str(path.relative_to(folder)), path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert load_folder(source, image_size=16).images.shape[2:] == (16, 16)
        except InvalidInput as error:
            assert str(error).endswith(".") and "\n" not in str(error)


def truncated(format: str, keep: float) -> bytes:
    file = io.BytesIO()
    noise(3).save(file, format)
    return file.getvalue()[: int(keep * len(file.getvalue()))]
