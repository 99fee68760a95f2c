"""One file to one square: every mode and range becomes what a person expects, or the file is named with the reason."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin

from dcgan_core.data import pixels
from dcgan_core.data.pixels import NotUsable, Picture, luminance, picture

RAMP = np.linspace(0, 1, 32 * 32).reshape(32, 32)  # every brightness, dark to bright


def as_file(image: Image.Image, format: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


def read(file: io.BytesIO | Path, image_size: int = 32, fit: str = "crop") -> Picture:
    return picture(file, image_size=image_size, fit=fit)


def tiff(values: np.ndarray, **tags: tuple[int, object]) -> io.BytesIO:
    """A TIFF of these numbers with tags of its own: a name, only to be read, and (type, value) by number."""
    about = TiffImagePlugin.ImageFileDirectory_v2()
    for name, (kind, value) in tags.items():
        about.tagtype[int(name[1:])] = kind
        about[int(name[1:])] = value
    return as_file(Image.fromarray(values), "TIFF", tiffinfo=about)


def assert_is_the_ramp(found: Picture, most: float = 1.0) -> None:
    assert found.pixels.shape == (1, 32, 32)
    np.testing.assert_allclose(found.pixels[0], 255 * RAMP, atol=most)


# Ranges


def test_floating_point_numbers_from_0_to_1_are_black_to_white():
    assert_is_the_ramp(read(tiff(RAMP.astype(np.float32))))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (255 * RAMP, "from 0 to 255, not from 0 to 1: save it with 8 bits"),
        (RAMP - 0.5, "from -0.5 to 0.5, not from 0 to 1"),
        (1000 * RAMP, "from 0 to 1,000, not from 0 to 1"),
        (np.where(RAMP > 0.5, np.nan, RAMP), "infinite or missing"),
        (np.where(RAMP > 0.5, np.inf, RAMP), "infinite or missing"),
    ],
)
def test_floating_point_numbers_of_another_range_are_left_out_and_the_range_is_named(values, reason):
    with pytest.raises(NotUsable, match=reason):
        read(tiff(values.astype(np.float32)))


@pytest.mark.parametrize(("low", "high"), [(0.0, 255.0), (-0.5, 0.5), (-1000.0, 3000.0)])
def test_a_tiff_that_says_what_is_black_and_white_is_believed(low, high):
    values = (low + (high - low) * RAMP).astype(np.float32)
    assert_is_the_ramp(read(tiff(values, t340=(12, low), t341=(12, high))))


def test_twelve_bits_in_sixteen_are_scaled_where_the_tiff_says_so():
    values = (4095 * RAMP).round().astype(np.uint16)
    assert_is_the_ramp(read(tiff(values, t281=(3, 4095))))


@pytest.mark.parametrize("format", ["TIFF", "PNG"])
def test_sixteen_bits_that_are_hardly_used_are_left_out_instead_of_becoming_black(format):
    values = (4095 * RAMP).round().astype(np.uint16)
    with pytest.raises(NotUsable, match="from 0 to 4,095 where 65,535 is white, so it would be nearly black"):
        read(as_file(Image.fromarray(values), format))
    assert_is_the_ramp(read(as_file(Image.fromarray((65535 * RAMP).round().astype(np.uint16)), format)))


def test_a_grey_map_of_twelve_bits_says_what_is_white():
    values = (4095 * RAMP).round().astype(">u2")
    assert_is_the_ramp(read(io.BytesIO(b"P5 32 32 4095\n" + values.tobytes())))


@pytest.mark.parametrize("most", [255, 65_535, 10_000_000])
def test_thirty_two_bits_without_a_word_about_white_are_left_out(most):
    with pytest.raises(NotUsable, match=f"from 0 to {most:,}, and nothing says which is white"):
        read(tiff((most * RAMP).astype(np.int32)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_in_which_0_is_white_is_turned_over(dtype):
    values = (np.iinfo(dtype).max * (1 - RAMP)).round().astype(dtype)
    about = TiffImagePlugin.ImageFileDirectory_v2()
    file = as_file(Image.fromarray(values), "TIFF", tiffinfo=about)
    content = bytearray(file.getvalue())
    entry = content.find(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01\x00")  # photometric interpretation: 1, black is zero
    assert entry > 0
    content[entry + 8] = 0
    assert_is_the_ramp(read(io.BytesIO(bytes(content))))


@settings(max_examples=60, deadline=None)
@given(
    low=st.floats(-1e6, 1e6, width=32),
    span=st.floats(0.0625, 1e6, width=32),
    dtype=st.sampled_from([np.float32, np.int32, np.uint16, np.uint8]),
)
def test_whatever_the_range_the_ramp_is_a_ramp_or_left_out(low, span, dtype):
    """Never black, white or cut off in silence: brightness is in proportion to the numbers, or they are named."""
    values = low + span * RAMP
    if np.issubdtype(dtype, np.integer):
        values = values.round().clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = values.astype(dtype)
    try:
        found = read(tiff(values)).pixels[0].astype(float)
    except NotUsable as error:
        assert "its numbers go from" in str(error)
        return
    white = {np.float32: 1.0, np.uint16: 65535.0, np.uint8: 255.0}[dtype]
    np.testing.assert_allclose(found, 255 * values.astype(float) / white, atol=0.51)


# Modes


def coloured_ramp() -> Image.Image:
    """Red grows to the right, green downwards; blue is even."""
    levels = (255 * np.linspace(0, 1, 32)).round().astype(np.uint8)
    red, green = np.broadcast_to(levels[None], (32, 32)), np.broadcast_to(levels[:, None], (32, 32))
    return Image.fromarray(np.stack([red, green, np.full((32, 32), 90, np.uint8)], axis=-1))


def as_lab(image: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB"))


def test_lab_is_read_in_colour_and_a_grey_one_as_grey():
    found = read(as_file(as_lab(coloured_ramp()), "TIFF")).pixels
    assert np.abs(found.astype(int) - np.asarray(coloured_ramp()).transpose(2, 0, 1)).mean() < 4
    grey = Image.new("RGB", (32, 32), (120, 120, 120))
    found = read(as_file(as_lab(grey), "TIFF")).pixels
    assert found.shape == (1, 32, 32) and abs(int(found[0, 5, 5]) - 120) <= 2


@pytest.mark.parametrize(
    ("mode", "format", "most"),
    [("RGB", "PNG", 0), ("RGBA", "PNG", 0), ("RGBA", "WEBP", 0), ("P", "GIF", 30), ("CMYK", "TIFF", 1), ("HSV", "", 7)],
)
def test_colours_survive_every_mode(mode, format, most):
    image = coloured_ramp().convert(mode, **({"palette": Image.Palette.ADAPTIVE} if mode == "P" else {}))
    options = {"lossless": True} if format == "WEBP" else {}
    found = pixels._eight_bits(image).convert("RGB") if not format else None
    shown = np.asarray(found) if found else read(as_file(image, format, **options)).pixels.transpose(1, 2, 0)
    assert np.abs(shown.astype(int) - np.asarray(coloured_ramp())).max() <= most


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
@pytest.mark.parametrize("value", [0, 255])
def test_black_is_black_and_white_is_white_in_every_mode_that_pillow_has(mode, value):
    image = Image.new("RGB", (20, 20), (value,) * 3)
    steps = {"La": ("LA", "La"), "PA": ("P", "PA"), "RGBa": ("RGBA", "RGBa")}.get(mode, (mode,))
    for step in steps:
        image = image.convert(step)
    shown, _ = pixels._opaque(pixels._eight_bits(image))
    assert np.unique(np.asarray(shown.convert("RGB"))).tolist() == [value]


def test_a_picture_has_colour_if_its_channels_differ_visibly():
    for colour, values in (
        ((80, 80, 80), [80]),
        ((80, 84, 88), [83]),
        ((80, 80, 89), [80, 80, 89]),
        ((255, 0, 0), [255, 0, 0]),
    ):
        found = read(as_file(Image.new("RGB", (40, 40), colour), "PNG")).pixels
        assert found[:, 3, 3].tolist() == values


def test_greys_are_those_of_pillow():
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(luminance(colours.transpose(2, 0, 1)[None])[0, 0], expected)


# Transparency


def sprite(ink: int, mode: str = "RGBA") -> io.BytesIO:
    """A square of one brightness in the middle of nothing."""
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((ink, ink, ink, 255), (10, 10, 30, 30))
    return as_file(image.convert(mode), "PNG")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_white_sprite_is_laid_on_black_and_any_other_on_white(mode):
    for ink, paper in ((255, 0), (245, 0), (200, 255), (0, 255)):
        found = read(sprite(ink, mode), image_size=40)
        assert found.on_black == (paper == 0)
        assert (int(found.pixels[0, 0, 0]), int(found.pixels[0, 20, 20])) == (paper, ink)


def test_nothing_visible_is_white_and_an_opaque_white_picture_is_not_laid_on_black():
    for colour in ((0, 0, 0, 0), (255, 255, 255, 255), (255, 255, 255, 0)):
        found = read(as_file(Image.new("RGBA", (20, 20), colour), "PNG"))
        assert not found.on_black and np.unique(found.pixels).tolist() == [255]


def test_deep_grey_with_a_transparent_value_is_laid_on_white():
    values = (65535 * RAMP).round().astype(np.uint16)
    values[:16] = 1000  # what is to be transparent
    found = read(as_file(Image.fromarray(values), "PNG", transparency=1000))
    assert found.pixels[0, :15].min() == 255
    np.testing.assert_allclose(found.pixels[0, 17:], 255 * RAMP[17:], atol=1)


# Shapes


@pytest.mark.parametrize("size", [(60, 20), (20, 60)])
def test_what_a_long_picture_loses_and_keeps_with_each_fit(size):
    """Its ends are black, its middle is bright; only a crop loses the ends, only padding has paper."""
    image = Image.new("L", size, 10)
    image.paste(200, (20, 0, 40, 20) if size[0] == 60 else (0, 20, 20, 40))
    shown = {fit: read(as_file(image, "PNG"), 24, fit).pixels[0] for fit in ("crop", "pad", "stretch")}
    assert all(square.shape == (24, 24) for square in shown.values())
    along = {fit: (square[12] if size[0] == 60 else square[:, 12]).tolist() for fit, square in shown.items()}
    across = {fit: (square[:, 12] if size[0] == 60 else square[12]).tolist() for fit, square in shown.items()}
    assert min(along["crop"][2:-2]) == 200
    for fit in ("pad", "stretch"):
        assert along[fit][:6] == along[fit][-6:] == [10] * 6 and along[fit][12] == 200
    assert across["pad"][:8] == across["pad"][-8:] == [255] * 8 and set(across["pad"][8:-8]) == {200}
    assert set(across["stretch"]) == {200}


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_may_be_held_in_any_of_eight_ways(fit, orientation):
    """Pillow's own turn of the whole picture is what is compared with."""
    image = coloured_ramp().resize((48, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("PNG", "TIFF"):
        file = as_file(image, format, exif=exif)
        found = read(file, 32, fit)
        upright = as_file(turned(image, orientation), "PNG")
        expected = read(upright, 32, fit)
        assert (found.width, found.height) == (expected.width, expected.height)
        assert np.abs(found.pixels.astype(int) - expected.pixels).max() <= 3


def turned(image: Image.Image, orientation: int) -> Image.Image:
    way = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)  # fmt: skip
    return image if way is None else image.transpose(way)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_jpeg_at_reduced_scale_looks_like_the_whole_one_and_remembers_its_size(fit, monkeypatch):
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8)).resize((1300, 900), Image.Resampling.BICUBIC)
    small = read(as_file(photo, "JPEG", quality=90), 32, fit)
    assert (small.width, small.height) == (1300, 900)
    monkeypatch.setattr(pixels, "DRAFT", 1000)
    whole = read(as_file(photo, "JPEG", quality=90), 32, fit)
    difference = np.abs(small.pixels.astype(int) - whole.pixels)
    assert 0 < difference.mean() < 1 and difference.max() < 12


def test_a_jpeg_at_reduced_scale_keeps_the_detail_that_is_wanted(monkeypatch):
    """Cells of the size of a pixel of the square: at the scale of the square itself, they would be smeared."""
    cells = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    photo = cells.resize((256, 256), Image.Resampling.BICUBIC)
    small = read(as_file(photo, "JPEG", quality=95), 32).pixels.astype(int)
    monkeypatch.setattr(pixels, "DRAFT", 1000)
    whole = read(as_file(photo, "JPEG", quality=95), 32).pixels
    assert 0 < np.abs(small - whole).mean() < 3


# Files that are more, or too much


def test_of_an_animation_the_first_picture_is_taken_and_it_is_known_to_be_one():
    frames = [Image.new("RGB", (20, 20), (value, 0, 0)) for value in (200, 100, 50)]
    for format in ("GIF", "TIFF", "WEBP", "PNG"):
        options = {"lossless": True} if format == "WEBP" else {}
        found = read(as_file(frames[0], format, save_all=True, append_images=frames[1:], **options))
        assert found.has_more and abs(int(found.pixels[0, 5, 5]) - 200) <= 1
    assert not read(as_file(frames[0], "GIF")).has_more


def test_a_picture_that_is_too_large_says_up_to_where_it_goes(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000_000)
    file = as_file(Image.new("1", (5000, 4000)), "PNG")
    with pytest.raises(NotUsable, match="too large: up to 10 million pixels are read, as of 3,162 x 3,162"):
        read(file)


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=200),
    head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM", b"P5 "]),
)
def test_random_bytes_are_a_picture_or_not_usable_and_nothing_else(content, head):
    with suppress(NotUsable):
        assert read(io.BytesIO(head + content)).pixels.shape[1:] == (32, 32)


def test_a_tiff_that_begins_with_a_preview_is_left_out():
    """So do many raw photographs: what Pillow opens has 160 x 120 pixels, and says that it stands for another page."""
    pages = [coloured_ramp(), coloured_ramp().resize((200, 200))]
    about = TiffImagePlugin.ImageFileDirectory_v2()
    about[254] = 1
    file = as_file(pages[0], "TIFF", save_all=True, append_images=pages[1:], tiffinfo=about)
    with pytest.raises(NotUsable, match="begins with a preview, which is not read"):
        read(file)
    assert read(as_file(pages[0], "TIFF", save_all=True, append_images=pages[1:])).has_more


# Colours of sixteen bits


def deep_png(values: np.ndarray) -> io.BytesIO:
    """A PNG of 16 bits, uint16 (H, W, C), which Pillow cannot write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_twelve_bits_in_sixteen_are_left_out_instead_of_becoming_black(channels):
    values = (65535 * np.repeat(RAMP[..., None], channels, axis=2)).round().astype(np.uint16)
    if channels != 3:
        values[..., -1] = 65535  # opaque
    assert_is_the_ramp(read(deep_png(values)))
    values[..., :3] //= 16
    if channels != 3:
        values[..., -1] = 65535
    with pytest.raises(NotUsable, match="up to about 3,840 where 65,535 is white, so it would be nearly black"):
        read(deep_png(values))


def test_a_dark_picture_of_eight_bits_is_as_dark_as_it_is():
    values = np.repeat((15 * RAMP).round().astype(np.uint8)[..., None], 3, axis=2)
    assert read(as_file(Image.fromarray(values), "PNG")).pixels.max() == 15
    assert read(deep_png(np.zeros((32, 32, 3), np.uint16))).pixels.max() == 0
