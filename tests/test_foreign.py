"""What lies among people's pictures and is none: each kind is named, with what its owner can do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan_core.data.folder import read_images
from dcgan_core.data.foreign import NOT_AN_IMAGE, kind


def good(folder: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)).save(folder / "good.png")


FILES = [
    ("IMG_0001.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, as telephones save it"),
    ("renamed.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
    ("DSC_0001.NEF", b"MM\0*" + bytes(60), "a raw photograph"),
    ("photo.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1", "a raw photograph"),
    ("film.MP4", b"\0\0\0\x18ftypmp42", "a video: save its frames"),
    ("film", b"\0\0\0\x14ftypqt  ", "a video"),
    ("more.zip", b"PK\3\4" + bytes(40), "an archive within: unpack it"),
    ("more", b"PK\3\4" + bytes(40), "an archive within"),
    ("old.tar.gz", b"\x1f\x8b" + bytes(40), "an archive within"),
    ("logo.svg", b"\xef\xbb\xbf<?xml version='1.0'?><SVG/>", "a drawing of lines"),
    ("logo", b"\n <svg xmlns='http://www.w3.org/2000/svg'/>", "a drawing of lines"),
    ("logo.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "a drawing of lines"),
    ("pages.pdf", b"%PDF-1.7\n", "a document"),
    ("new.jxl", b"\xff\x0a" + bytes(40), "JPEG XL"),
    ("missing.jpg", b"<!DOCTYPE HTML><title>404</title>", "a web page"),
    ("pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ("nothing.png", b"", "empty"),
    ("labels.csv", b"file,label\na.png,cat\n", NOT_AN_IMAGE),
    ("noise.jpg", bytes(range(1, 60)), NOT_AN_IMAGE),
    ("images.npz", b"PK\3\4" + bytes(40), "save the images in it as PNG"),
    ("images", b"\x93NUMPY\1\0" + bytes(40), "arrays, a table or weights"),
    ("images.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), "arrays, a table or weights"),
    ("train-00000.parquet", b"PAR1" + bytes(40), "arrays, a table or weights"),
    ("shard", b"PAR1" + bytes(40), "arrays, a table or weights"),
    ("weights.pt", b"PK\3\4" + bytes(40), "arrays, a table or weights"),
    ("photos.tar", bytes(600), "an archive within"),
    ("wind.grib", b"GRIB\0\0\0\1" + bytes(40), "not readable as an image"),
]


@pytest.mark.parametrize(("name", "content", "words"), FILES)
def test_what_is_no_picture_is_named_with_what_to_do(tmp_path, name, content, words):
    good(tmp_path)
    (tmp_path / name).write_bytes(content)
    found = read_images(tmp_path, image_size=16, progress=False)
    assert found.names == ("good.png",) and words in found.left_out[name]


@pytest.mark.parametrize("name", ["a.zip", "a.npz", "a.mp4", "a.nef", "a.svg", "a.pdf", "a.txt", "a"])
def test_a_picture_counts_as_one_whatever_its_name_ends_with(tmp_path, name):
    good(tmp_path)
    (tmp_path / "good.png").rename(tmp_path / name)
    assert read_images(tmp_path, image_size=16, progress=False).names == (name,)


def test_a_picture_that_is_cut_short_is_not_called_anything_else(tmp_path):
    good(tmp_path)
    for format in ("PNG", "JPEG", "GIF", "BMP"):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8)).save(file, format)
        (tmp_path / f"cut.{format}").write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
    left_out = read_images(tmp_path, image_size=16, progress=False).left_out
    assert set(left_out.values()) == {"damaged, or cut short"} and len(left_out) == 4


def test_inside_a_zip_the_same_is_said(tmp_path):
    good(tmp_path)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "good.png", "good.png")
        for name, content, _ in FILES:
            archive.writestr(name, content)
    left_out = read_images(tmp_path / "all.zip", image_size=16, progress=False).left_out
    assert {name: words in left_out[name] for name, _, words in FILES} == {name: True for name, _, _ in FILES}


@pytest.mark.parametrize("length", range(0, 24))
def test_a_few_bytes_are_enough_or_too_few_but_never_a_mistake(length):
    for name, content, _ in FILES:
        assert kind(name.rsplit(".", 1)[0], content[:length])
