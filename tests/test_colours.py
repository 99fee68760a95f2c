"""Colours of other colour spaces become those of sRGB, by profiles that are written here from their definitions."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from dcgan_core.data.pixels import Picture, picture

# Red, green and blue of each space as XYZ in columns, adapted to D50 as profiles have them (ICC.1:2010, annex E).
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
PAPER = (0.96420, 1.0, 0.82491)  # D50


def number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2: a head of 128 bytes, a table of tags, and what they hold."""
    tags = {b"wtpt": xyz(PAPER), **tags}
    place, table, contents = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", place + len(contents), len(content))
        contents += content
    size = place + len(contents)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, kind, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(number, PAPER)) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + contents


def xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(number, values))


def curve(levels: np.ndarray | float) -> bytes:
    """A tone curve: a power, or its values at even places from 0 to 1."""
    if isinstance(levels, float):
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(levels * 256))
    return b"curv\0\0\0\0" + struct.pack(">I", len(levels)) + (65535 * levels).round().astype(">u2").tobytes()


def to_light(values: np.ndarray) -> np.ndarray:
    """The curve of sRGB (IEC 61966-2-1), 0 to 1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_light(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def of_colours(primaries: np.ndarray, levels: np.ndarray | float) -> bytes:
    names = zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)
    tags = {name: xyz(column) for name, column in names}
    return profile(b"RGB ", tags | {name: curve(levels) for name in (b"rTRC", b"gTRC", b"bTRC")})


LEVELS = np.linspace(0, 1, 1024)
P3 = of_colours(DISPLAY_P3, to_light(LEVELS))
ADOBE = of_colours(ADOBE_RGB, 2.19921875)
COLOURS = np.array([[200, 40, 40], [60, 160, 70], [50, 60, 190], [128, 128, 128], [230, 200, 150], [20, 90, 90]])


def read(image: Image.Image, format: str = "PNG", **options: object) -> Picture:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return picture(file, image_size=image.width, fit="crop")


def squares(mode: str = "RGB") -> Image.Image:
    """The colours in stripes of 8 pixels, each as wide."""
    rows = np.repeat(COLOURS.astype(np.uint8), 8, axis=0)
    return Image.fromarray(np.repeat(rows[:, None], 48, axis=1)).convert(mode)


def found_in(read_picture: Picture) -> np.ndarray:
    return read_picture.pixels[:, 4::8, 24].T.astype(float)


def expected(primaries: np.ndarray, light: np.ndarray) -> np.ndarray:
    return 255 * from_light(light @ (np.linalg.inv(SRGB) @ primaries).T)


@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 98})]
)
@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB"])
def test_a_photograph_of_a_wider_space_has_the_colours_that_a_screen_shows(format, options, name):
    written, primaries = (P3, DISPLAY_P3) if name == "Display P3" else (ADOBE, ADOBE_RGB)
    light = to_light(COLOURS / 255) if name == "Display P3" else (COLOURS / 255) ** 2.19921875
    right = expected(primaries, light)
    assert np.abs(right - COLOURS).max() > 15, "the profile matters"
    shown = found_in(read(squares(), format, icc_profile=written, **options))
    np.testing.assert_allclose(shown, right, atol=6 if format == "JPEG" else 3)


@pytest.mark.parametrize(
    "written",
    [
        of_colours(SRGB, to_light(LEVELS)),
        of_colours(SRGB, (to_light(LEVELS) + LEVELS**2.2) / 2),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        b"",
        b"no profile at all",
        P3[:200],
        P3[:36] + b"none" + P3[40:],
        P3[:16] + b"CMYK" + P3[20:],
        P3[:16] + b"GRAY" + P3[20:],
    ],
)
def test_a_profile_of_srgb_or_a_damaged_one_or_one_of_another_mode_changes_nothing(written):
    np.testing.assert_array_equal(found_in(read(squares(), icc_profile=written)), COLOURS)


@settings(max_examples=100, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, len(P3) - 1), st.integers(0, 255)), max_size=6), keep=st.floats(0, 1))
def test_any_damage_to_a_profile_leaves_a_picture(changes, keep):
    content = bytearray(P3)
    for place, value in changes:
        content[place] = value
    assert read(squares(), icc_profile=bytes(content[: int(keep * len(content))])).pixels.shape[1:] == (48, 48)


def test_transparency_stays_as_it_is():
    image = squares("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    plain, tagged = (read(image, **options).pixels.astype(int) for options in ({}, {"icc_profile": P3}))
    assert np.abs(plain - tagged)[:, :2].max() < 8 < np.abs(plain - tagged)[:, -30:].max(), "white where nothing is"


def test_a_grey_profile_is_heeded_and_the_picture_stays_grey():
    """Older Macs had a curve of their own."""
    ramp = Image.fromarray(np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[:, None], 64, axis=1))
    shown = read(ramp, icc_profile=profile(b"GRAY", {b"kTRC": curve(1.8)})).pixels
    assert shown.shape == (1, 64, 64)
    np.testing.assert_allclose(shown[0, :, 5], 255 * from_light((np.arange(0, 256, 4) / 255) ** 1.8), atol=2)


def printing() -> bytes:
    """A printer whose coloured inks all give the same pale green, and the fourth black: the corners of a table."""
    green, white, black = (200, 100, 150), (255, 128, 128), (0, 128, 128)  # L, a, b in 8 bits
    corners = [black if corner % 2 else green if corner else white for corner in range(16)]
    even = bytes(range(256))
    matrix = b"".join(map(number, np.eye(3).flatten()))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + 4 * even + bytes(sum(corners, ())) + 3 * even
    return profile(b"CMYK", {b"A2B0": table}, kind=b"prtr", connection=b"Lab ")


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_inks_are_the_colours_of_their_profile(format):
    """Without one, full cyan is (0, 255, 255); this printer has no cyan."""
    image = Image.new("CMYK", (48, 48), (255, 0, 0, 0))
    plain, printed = (read(image, format, **options).pixels[:, 9, 9] for options in ({}, {"icc_profile": printing()}))
    assert np.abs(plain.astype(int) - (0, 255, 255)).max() <= 3
    lab = Image.fromarray(np.full((1, 1, 3), (200, 228, 22), np.uint8))  # a and b of Pillow's LAB count from 128 round
    screen = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    right = ImageCms.applyTransform(Image.frombytes("LAB", (1, 1), lab.tobytes()), screen).getpixel((0, 0))
    assert np.abs(printed.astype(int) - right).max() <= 4


@pytest.mark.parametrize("gamma", [1.0, 0.5555, 0.45455, 0.44])
def test_the_brightness_of_a_png_is_what_it_says(gamma):
    about = PngImagePlugin.PngInfo()
    about.add(b"gAMA", struct.pack(">I", round(100_000 * gamma)))
    shown = found_in(read(squares(), pnginfo=about))
    right = 255 * (COLOURS / 255) ** (1 / (2.2 * gamma)) if gamma > 0.5 else COLOURS
    np.testing.assert_allclose(shown, right, atol=0.6)


@pytest.mark.parametrize("gamma", [0, 1, 4_000_000_000])
def test_an_impossible_brightness_and_one_beside_a_profile_are_ignored(gamma):
    about = PngImagePlugin.PngInfo()
    about.add(b"gAMA", struct.pack(">I", gamma))
    np.testing.assert_array_equal(found_in(read(squares(), pnginfo=about)), COLOURS)
    linear = PngImagePlugin.PngInfo()
    linear.add(b"gAMA", struct.pack(">I", 100_000))
    linear.add(b"sRGB", b"\0")
    np.testing.assert_array_equal(found_in(read(squares(), pnginfo=linear)), COLOURS)


def test_the_brightness_of_a_png_leaves_its_transparency():
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 100))
    about = PngImagePlugin.PngInfo()
    about.add(b"gAMA", struct.pack(">I", 100_000))
    assert np.unique(read(image, pnginfo=about).pixels).tolist() == [155]
