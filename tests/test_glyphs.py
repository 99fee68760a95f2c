"""The letters: reproducible, complete, in every size, and labelled with what they were drawn from."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import matplotlib
import numpy as np
import PIL
import pytest
from PIL import Image, ImageFont

from dcgan_core.data import glyphs
from dcgan_core.data.glyphs import DIGITS, FONTS, LETTERS, render


@pytest.fixture(scope="module")
def letters() -> glyphs.Glyphs:
    return render(2_600)


@pytest.mark.parametrize("channels", [1, 3])
def test_same_arguments_give_the_same_pixels(channels):
    first, second = (render(30, channels=channels, seed=5, split="test") for _ in range(2))
    for name in ("images", "letter", "font", "weight", "slant"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_the_global_random_state_plays_no_part():
    np.random.seed(0)
    first = render(10).images
    np.random.seed(1)
    np.testing.assert_array_equal(first, render(10).images)


def test_seeds_and_splits_share_no_image():
    parts = [render(200, seed=seed, split=split).images for seed in (0, 1) for split in ("train", "test")]
    images = [image.tobytes() for part in parts for image in part]
    assert len(set(images)) == 4 * 200


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_size", [16, 32, 64, 128])
def test_every_size_and_channel_count_is_drawn_in_full_contrast(image_size, channels):
    images = render(26, image_size=image_size, channels=channels).images
    assert images.shape == (26, channels, image_size, image_size) and images.dtype == np.uint8
    contrast = images.max((1, 2, 3)).astype(int) - images.min((1, 2, 3))
    assert contrast.min() > 150


@pytest.mark.parametrize("image_size", [32, 128])
def test_pose_and_labels_do_not_depend_on_size_or_colour(image_size):
    small, other = render(50, image_size=16), render(50, image_size=image_size, channels=3)
    for name in ("letter", "font", "weight", "slant"):
        np.testing.assert_array_equal(getattr(small, name), getattr(other, name))


def test_grey_letters_are_white_on_black(letters):
    assert np.percentile(letters.images, 50) == 0
    assert (letters.images.max((1, 2, 3)) > 180).all()


def test_colour_letters_have_bright_ink_on_dark_paper():
    """The same letters in grey are the mask that says where the ink is."""
    mask, colour = render(200).images[:, 0], render(200, channels=3).images
    brightest = colour.max(1)
    assert brightest[mask == 255].min() == 255
    assert colour.min(1)[mask == 255].min() >= 0.44 * 255
    assert brightest[mask == 0].max() <= 0.3 * 255 + 1


def test_papers_have_a_hue_of_their_own():
    """Each channel of the paper is uniform from 0 to 0.3, so two of them differ by 0.1 on average."""
    mask, colour = render(200).images, render(200, channels=3).images / 255
    papers = np.stack(
        [image[:, outside[0] == 0].mean(axis=1) for image, outside in zip(colour, mask == 255, strict=True)]
    )
    assert np.abs(papers[:, 0] - papers[:, 1]).mean() == pytest.approx(0.1, abs=0.02)


def test_colours_are_rounded_to_the_nearest_level():
    """Paper is 255 times a number from U(0, 0.3). Cut off instead of rounded, its mean is half a level less."""
    paper = glyphs._coloured(np.zeros((100_000, 1, 1), np.uint8), np.random.default_rng(0))
    assert paper.mean() == pytest.approx(255 * 0.15, abs=0.2)


def test_poses_fill_their_limits_and_nothing_beyond(monkeypatch):
    """Up to 6 degrees, a scale of 0.93 to 1.07, a shear of 0.08, a shift of 3% of the side; both ways alike."""
    poses = []
    posed = glyphs._inverse_affine
    monkeypatch.setattr(glyphs, "_inverse_affine", lambda *pose: poses.append(pose) or posed(*pose))
    render(600, image_size=16)
    ((angles, scales, shears, shifts, _),) = poses
    limits = [(np.rad2deg(angles), -6, 6), (scales, 0.93, 1.07), (shears, -0.08, 0.08), (shifts, -0.03, 0.03)]
    for values, low, high in limits:
        assert low <= values.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


@pytest.mark.parametrize(
    ("angle", "scale", "shear", "shift"),
    [
        (0, 1, 0, (0.1, 0)),
        (0, 1, 0, (0, -0.1)),
        (90, 1, 0, (0, 0)),
        (0, 1.5, 0, (0, 0)),
        (0, 1, 0.3, (0, 0)),
        (20, 0.8, 0.2, (0.05, 0.1)),
    ],
)
def test_a_pose_takes_a_dot_where_it_says(angle, scale, shear, shift):
    """Sheared along the rows, turned clockwise (rows count downwards), scaled about the centre, and shifted."""
    size = 200
    master = Image.new("L", (size, size))
    master.paste(255, (125, 65, 136, 76))  # centred 30 to the right of the centre and 30 above it
    alone = (np.array([value]) for value in (np.deg2rad(angle), scale, shear, shift))
    (pose,) = glyphs._inverse_affine(*alone, size).tolist()
    posed = np.asarray(master.transform(master.size, Image.Transform.AFFINE, pose, Image.Resampling.BILINEAR), float)
    rows, columns = np.indices(posed.shape) + 0.5
    found = [(posed * columns).sum() / posed.sum(), (posed * rows).sum() / posed.sum()]
    right, down = 30.5 + shear * -29.5, -29.5
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    expected = [
        100 + scale * (cos * right - sin * down) + shift[0] * size,
        100 + scale * (sin * right + cos * down) + shift[1] * size,
    ]
    assert found == pytest.approx(expected, abs=0.3)


def test_ink_is_never_cut_by_the_border(letters):
    images = letters.images[:, 0]
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert (border.max(1) > 128).mean() < 0.005
    assert (border.max(1) > 0).mean() < 0.02


def test_letters_and_fonts_are_uniform_within_sampling_error(letters):
    for labels, num_classes in ((letters.letter, len(LETTERS)), (letters.font, len(FONTS))):
        counts = np.bincount(labels, minlength=num_classes)
        expected = len(labels) / num_classes
        chi_squared = ((counts - expected) ** 2 / expected).sum()
        assert chi_squared < num_classes - 1 + 4 * np.sqrt(2 * (num_classes - 1))


def test_weight_and_slant_are_those_of_the_font_file(letters):
    """The fonts themselves say what they are; Computer Modern's names do not mention upright and regular."""
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    for number, (file, _, _) in enumerate(FONTS):
        _, style = ImageFont.truetype(folder / f"{file}.ttf", 20).getname()
        bold = "bold" in style.lower() or file == "cmb10"
        slanted = any(word in style.lower() for word in ("italic", "oblique"))
        drawn = letters.font == number
        assert set(letters.weight[drawn]) == {int(bold)}, file
        assert set(letters.slant[drawn]) == {int(slanted)}, file


def test_bold_letters_have_more_ink(letters):
    ink = letters.images.mean((1, 2, 3))
    assert ink[letters.weight == 1].mean() > 1.15 * ink[letters.weight == 0].mean()


@pytest.mark.parametrize("characters", [LETTERS, DIGITS])
def test_characters_of_one_font_without_jitter_all_differ(characters):
    """26 modes, or 10: no two capital letters, and no two digits, look alike in any font."""
    for font in range(len(FONTS)):
        drawn = {glyphs._master(character, font, 32).tobytes() for character in characters}
        assert len(drawn) == len(characters), FONTS[font]


def test_digits_are_ten_whole_characters_in_full_contrast():
    digits = render(1_000, characters=DIGITS)
    assert set(digits.letter) == set(range(10))
    images = digits.images[:, 0]
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert (border.max(1) > 128).mean() < 0.005
    assert (images.max((1, 2)) > 180).all()


def test_a_rendered_digit_looks_most_like_the_digit_that_its_label_says():
    """Against the mean of each digit, over all fonts, drawn without any pose."""
    digits = render(500, characters=DIGITS)
    means = np.array([np.mean([_plain(digit, font) for font in range(len(FONTS))], axis=0) for digit in DIGITS])
    flat, means = digits.images.reshape(500, -1) / 255, means.reshape(10, -1)
    nearest = ((flat[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == digits.letter).mean() > 0.8


def _plain(character: str, font: int) -> np.ndarray:
    return np.asarray(glyphs._master(character, font, 64).reduce(2)) / 255


def test_letters_are_those_that_were_drawn_before_there_were_digits():
    """Shipped classifiers and recorded runs were made with them. The ink's edges are Pillow's, the choices are ours."""
    letters = render(500, image_size=16, channels=3, seed=3)
    factors = b"".join(getattr(letters, name).tobytes() for name in ("letter", "font", "weight", "slant"))
    assert hashlib.sha256(factors).hexdigest().startswith("20051e7a0248b7ae")
    ink = render(60).images.sum((1, 2, 3))[:8].tolist()
    assert ink == pytest.approx([28829, 42553, 25198, 36343, 19989, 29193, 53989, 17503], rel=0.02)


@pytest.mark.skipif((PIL.__version__, platform.machine()) != ("13.0.0", "x86_64"), reason="another Pillow's pixels")
def test_letters_are_the_same_to_the_byte_as_before_there_were_digits():
    assert hashlib.sha256(render(60).images.tobytes()).hexdigest().startswith("d3980b9c2af4af7d")
