"""Pixels to [-1, 1] and back, batches without state, and whatever people keep in a folder."""

from __future__ import annotations

import io
import pickle
import struct
import urllib.error
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dcgan_core.config import InvalidInput
from dcgan_core.data import NAMES, Batches, glyphs, load, load_folder, named, scale, stacked_digits, unscale

EVERY_VALUE = torch.arange(256, dtype=torch.uint8)


def grey(value: int, size: tuple[int, int] = (20, 20), mode: str = "L") -> Image.Image:
    return Image.new("L", size, value).convert(mode)


def only_image(folder: Path, image_size: int = 16, channels: int = 1) -> torch.Tensor:
    images = load_folder(folder, image_size=image_size, channels=channels).images
    assert images.shape == (1, channels, image_size, image_size) and images.dtype == torch.uint8
    return images[0]


def assert_one_sentence(message: object) -> None:
    text = str(message)
    assert text.endswith(".") and "\n" not in text and ". " not in text.removesuffix("."), text


# Pixels


def assert_range_of_tanh(to_network) -> None:
    values = to_network(EVERY_VALUE)
    assert (values.min(), values.max()) == (-1, 1)


def test_pixels_have_exactly_the_range_of_tanh():
    assert_range_of_tanh(scale)
    assert scale(EVERY_VALUE).dtype == torch.float32


@pytest.mark.parametrize(
    "mutant", [lambda pixels: pixels / 255, lambda pixels: (pixels / 255 - 0.1307) / 0.3081, lambda x: x / 128 - 1]
)
def test_mutant_outside_the_range_of_tanh_is_caught(mutant):
    with pytest.raises(AssertionError):
        assert_range_of_tanh(mutant)


def test_every_pixel_value_survives_the_round_trip():
    assert torch.equal(unscale(scale(EVERY_VALUE)), EVERY_VALUE)


def test_values_beyond_the_range_are_clamped_not_wrapped():
    assert unscale(torch.tensor([-1.5, -1.001, 1.001, 7.0])).tolist() == [0, 0, 255, 255]


# Batches


def numbered(num_images: int, batch_size: int, seed: int = 0) -> Batches:
    """Batches of images that carry their own number as their only pixel."""
    images = torch.arange(num_images, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return Batches(images, batch_size=batch_size, seed=seed)


def numbers(batches: Batches, step: int) -> list[int]:
    return unscale(batches(step)).flatten().tolist()


@settings(deadline=None)
@given(num_images=st.integers(1, 200), batch_size=st.integers(1, 200), epoch=st.integers(0, 5))
def test_an_epoch_shows_every_image_at_most_once_and_drops_the_partial_batch(num_images, batch_size, epoch):
    if num_images < batch_size:
        return
    batches = numbered(num_images, batch_size)
    per_epoch = num_images // batch_size
    shown = [numbers(batches, epoch * per_epoch + position) for position in range(per_epoch)]
    assert all(len(batch) == batch_size for batch in shown)
    assert len({number for batch in shown for number in batch}) == per_epoch * batch_size


def test_every_image_is_shown_sooner_or_later():
    batches = numbered(10, 4)
    assert {number for step in range(40) for number in numbers(batches, step)} == set(range(10))


def test_batches_depend_on_the_step_alone_not_on_what_was_asked_before():
    batches = numbered(50, 7)
    in_order = [numbers(batches, step) for step in range(30)]
    for step in (29, 3, 0, 17, 3, 28):
        torch.manual_seed(step)
        assert numbers(batches, step) == in_order[step]
        assert numbers(numbered(50, 7), step) == in_order[step]


def test_order_differs_between_epochs_and_between_seeds():
    orders = [tuple(numbers(numbered(100, 100, seed), epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


def test_order_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    numbered(50, 7)(3)
    assert torch.equal(before, torch.get_rng_state())


def test_too_few_images_for_one_batch_is_one_sentence():
    with pytest.raises(InvalidInput, match="3 images, fewer than one batch of 4") as caught:
        numbered(3, 4)
    assert_one_sentence(caught.value)


# Names


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(InvalidInput, match="'glyfs'") as caught:
        load("glyfs")
    assert all(name in str(caught.value) for name in NAMES)
    assert_one_sentence(caught.value)


def test_glyphs_carry_their_labels(monkeypatch):
    monkeypatch.setattr("dcgan_core.data.named.NUM_GLYPHS", {"train": 60, "test": 30})
    train, test = (load("glyphs", image_size=16, channels=3, split=split) for split in ("train", "test"))
    assert train.images.shape == (60, 3, 16, 16) and test.images.shape == (30, 3, 16, 16)
    assert train.labels is not None and train.labels.shape == (60,) and len(train.class_names) == 26
    assert not torch.equal(train.images[:30], test.images)
    assert not torch.equal(train.images, load("glyphs", image_size=16, channels=3, seed=1).images)


def test_there_are_as_many_images_as_the_chapters_say():
    """Chapters 1, 7 and 9 name the letters; of stacks, fifty of each class, and as many held out as letters."""
    assert named.NUM_GLYPHS == {"train": 20_000, "test": 10_000}
    assert named.NUM_STACKED == {"train": 50 * 1_000, "test": 10_000}


@pytest.fixture
def few_digits(monkeypatch):
    """Data sets so small that drawing them takes no time."""
    monkeypatch.setattr("dcgan_core.data.named.NUM_GLYPHS", {"train": 60, "test": 30})
    monkeypatch.setattr("dcgan_core.data.named.NUM_STACKED", {"train": 2_000, "test": 40})


def test_digits_carry_their_ten_labels(few_digits):
    train, test = (load("digits", image_size=16, split=split) for split in ("train", "test"))
    assert train.images.shape == (60, 1, 16, 16) and test.images.shape == (30, 1, 16, 16)
    assert train.class_names == tuple("0123456789") and set(train.labels.tolist()) == set(range(10))
    assert not torch.equal(train.images[:30], test.images)


@pytest.mark.parametrize(("name", "characters"), [("glyphs", glyphs.LETTERS), ("digits", glyphs.DIGITS)])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("seed", [0, 1])
def test_characters_are_those_of_the_part_and_the_seed_that_were_asked_for(few_digits, name, characters, split, seed):
    """Without the split, held-out letters would be the training letters in other poses, and merely fewer."""
    drawn = glyphs.render(named.NUM_GLYPHS[split], image_size=16, seed=seed, split=split, characters=characters)
    loaded = load(name, image_size=16, split=split, seed=seed)
    assert torch.equal(loaded.images, torch.from_numpy(drawn.images))
    assert torch.equal(loaded.labels, torch.from_numpy(drawn.letter))


def assert_channels_are_the_digits_of_the_label(stacked, single) -> None:
    """Every channel is one of the single digits, and its place in the label says which."""
    known = {image.numpy().tobytes(): label for image, label in zip(single.images, single.labels.tolist(), strict=True)}
    for image, digits in zip(stacked.images, stacked_digits(stacked.labels).tolist(), strict=True):
        assert [known[channel[None].numpy().tobytes()] for channel in image] == digits


def test_stacked_digits_show_three_digits_and_the_label_says_which(few_digits):
    for split in ("train", "test"):
        stacked = load("stacked-digits", image_size=16, channels=3, split=split)
        assert stacked.images.shape == (2_000 if split == "train" else 40, 3, 16, 16)
        assert_channels_are_the_digits_of_the_label(stacked, load("digits", image_size=16, split=split))


def test_mutant_with_the_channels_in_another_order_is_caught(few_digits):
    stacked = load("stacked-digits", image_size=16, channels=3, split="test")
    turned = replace(stacked, images=stacked.images.flip(1))
    with pytest.raises(AssertionError):
        assert_channels_are_the_digits_of_the_label(turned, load("digits", image_size=16, split="test"))


def test_stacked_digits_have_a_thousand_classes_named_by_their_digits(few_digits):
    stacked = load("stacked-digits", image_size=16, channels=3)
    assert len(stacked.class_names) == 1000 and stacked.class_names[472] == "472"
    assert stacked_digits(torch.tensor([472, 5, 999])).tolist() == [[4, 7, 2], [0, 0, 5], [9, 9, 9]]
    assert len(set(stacked.labels.tolist())) > 600  # of 2,000 draws from about 1,000; 865 in the mean were they uniform


def test_stacked_digits_depend_on_the_seed_alone(few_digits):
    first, again, other = (load("stacked-digits", image_size=16, channels=3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.labels, other.labels)


def chosen(split: str, seed: int = 0) -> torch.Tensor:
    """Which of the digits each channel (N, 3) of the stacked digits shows."""
    single = load("digits", image_size=16, split=split, seed=seed)
    numbers = {image.numpy().tobytes(): number for number, image in enumerate(single.images)}
    assert len(numbers) == len(single.images)
    stacked = load("stacked-digits", image_size=16, channels=3, split=split, seed=seed)
    return torch.tensor([[numbers[channel[None].numpy().tobytes()] for channel in image] for image in stacked.images])


def share_equal(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first == second).double().mean())


def test_what_is_stacked_is_drawn_by_itself_in_each_part_and_not_as_the_digits_were(few_digits, monkeypatch):
    """The share of equal draws is what chance gives, 1 in 60 or 1 in 10; one stream of numbers used twice gives 1."""
    monkeypatch.setattr("dcgan_core.data.named.NUM_GLYPHS", {"train": 60, "test": 60})
    train, test = chosen("train"), chosen("test")
    assert share_equal(train[:40], test) < 0.1
    labels = load("digits", image_size=16).labels
    assert share_equal(train.flatten()[:60] * 10 // 60, labels) < 0.4


def test_the_channels_of_a_stack_are_independent(few_digits):
    """Each pair of channels shows the same digit, or the next one, as seldom as chance says."""
    first, second, third = chosen("train").T
    for step in (0, 1, 2):
        assert share_equal((first + step) % 60, second) < 0.06 and share_equal((second + step) % 60, third) < 0.06


@pytest.mark.parametrize("name", ["stacked-digits", "stacked-mnist"])
def test_stacked_images_have_three_channels_and_nothing_else(name):
    with pytest.raises(InvalidInput, match=f"channels is 1, but must be 3 for {name}") as caught:
        load(name, channels=1)
    assert_one_sentence(caught.value)


# Folders


def test_a_folder_is_read_recursively_in_a_fixed_order(tmp_path):
    (tmp_path / "below" / "deeper").mkdir(parents=True)
    grey(10).save(tmp_path / "b.png")
    grey(20).save(tmp_path / "a.bmp")
    grey(30).save(tmp_path / "below" / "deeper" / "c.gif")
    dataset = load(str(tmp_path), image_size=16)
    assert dataset.images[:, 0, 0, 0].tolist() == [20, 10, 30]
    assert dataset.labels is None and dataset.class_names == ()


def test_unreadable_files_are_named_in_one_warning_and_the_rest_is_used(tmp_path):
    for number in range(3):
        grey(number).save(tmp_path / f"good{number}.png")
    whole = (tmp_path / "good0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:4])
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "noise.jpg").write_bytes(b"neither")
    (tmp_path / ".hidden").write_text("hidden files are nobody's business")
    with pytest.warns(UserWarning) as caught:
        dataset = load_folder(tmp_path, image_size=16, channels=1)
    assert len(dataset.images) == 3
    assert [str(warning.message) for warning in caught] == [
        "left out 3 files (cut.png, noise.jpg, notes.txt): not readable as an image."
    ]


def test_a_damaged_file_is_never_said_to_be_used(tmp_path):
    """It is smaller than the images wanted, too, but it is not enlarged: it is left out."""
    grey(1).save(tmp_path / "good.png")
    grey(1, (8, 8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:45])
    with pytest.warns(UserWarning) as caught:
        load_folder(tmp_path, image_size=16, channels=1)
    assert [str(warning.message) for warning in caught] == ["left out 1 file (cut.png): damaged, or cut short."]


def test_many_unreadable_files_are_counted_not_listed(tmp_path):
    grey(1).save(tmp_path / "good.png")
    for number in range(12):
        (tmp_path / f"{number:02}.txt").write_text("no image")
    with pytest.warns(UserWarning, match=r"left out 12 files \(00.txt, .* 04.txt and 7 more\)"):
        load_folder(tmp_path, image_size=16, channels=1)


@pytest.mark.parametrize(
    ("files", "reason"), [([], "it is empty"), (["notes.txt"], "its only file cannot be read as an image")]
)
def test_a_folder_without_images_is_one_sentence(tmp_path, files, reason):
    for name in files:
        (tmp_path / name).write_text("no image")
    with pytest.raises(InvalidInput, match=reason) as caught:
        load(str(tmp_path))
    assert_one_sentence(caught.value)


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(InvalidInput, match="nor a folder that exists") as caught:
        load(str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in str(caught.value)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (15, 300)])
def test_tiny_images_are_enlarged_and_named(tmp_path, size):
    grey(77, size).save(tmp_path / "thin.png")
    with pytest.warns(UserWarning, match=r"enlarged 1 file \(thin.png\): smaller than 16 pixels."):
        assert only_image(tmp_path).unique().tolist() == [77]


def test_an_image_of_exactly_the_size_that_is_wanted_is_used_as_it_is(tmp_path):
    """Byte for byte, and without a word: nothing is cut off, resampled or called small."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    np.testing.assert_array_equal(only_image(tmp_path)[0], pixels)


@pytest.mark.parametrize(("size", "centre"), [((60, 20), (20, 0, 40, 20)), ((20, 60), (0, 20, 20, 40))])
def test_the_centre_of_a_long_image_is_cut_out(tmp_path, size, centre):
    image = grey(0, size)
    image.paste(200, centre)
    image.save(tmp_path / "long.png")
    assert only_image(tmp_path)[0, 4:-4, 4:-4].unique().tolist() == [200]


def test_a_large_image_is_averaged_down_instead_of_skipping_pixels(tmp_path):
    """A one-pixel checkerboard becomes even grey."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    assert (only_image(tmp_path).float() - 127.5).abs().max() < 30


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_plain_white_image_is_white_in_every_mode(tmp_path, mode, channels):
    grey(255, mode=mode).save(tmp_path / ("image.tif" if mode == "CMYK" else "image.png"))
    assert only_image(tmp_path, channels=channels).unique().tolist() == [255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((10, 10, 10, 255), (0, 0, 20, 10))
    image.convert(mode).save(tmp_path / "image.png")
    pixels = only_image(tmp_path)[0]
    assert pixels[:5].float().mean() == pytest.approx(10, abs=1)
    assert pixels[-5:].unique().tolist() == [255]


def write_sixteen_bit(path: Path, value: int) -> None:
    pixels = np.full((20, 20), value, np.uint16)
    if path.suffix == ".pgm":
        path.write_bytes(b"P5 20 20 65535\n" + pixels.astype(">u2").tobytes())
    else:
        Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
@pytest.mark.parametrize("value", [0, 257, 30_000, 65_535])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, suffix, value):
    write_sixteen_bit(tmp_path / f"image{suffix}", value)
    assert only_image(tmp_path).float().mean() == pytest.approx(value / 257, abs=1)


def test_colour_keeps_its_channels_and_grey_is_its_luminance(tmp_path):
    Image.new("RGB", (20, 20), (200, 100, 50)).save(tmp_path / "image.png")
    assert only_image(tmp_path, channels=3)[:, 8, 8].tolist() == [200, 100, 50]
    luminance = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert only_image(tmp_path, channels=1)[0, 8, 8].item() == pytest.approx(luminance, abs=1)


def test_the_rotation_noted_by_a_camera_is_applied(tmp_path):
    image = grey(0, (32, 32))
    image.paste(255, (0, 0, 32, 16))  # the sensor saw white at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: white belongs to the right
    image.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    pixels = only_image(tmp_path)[0].float()
    assert pixels[:, -6:].mean() > 240 and pixels[:, :6].mean() < 15


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr"]),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    image_size=st.sampled_from([16, 32, 64]),
    channels=st.sampled_from([1, 3]),
    value=st.integers(0, 255),
)
def test_images_of_any_size_and_mode_become_squares(tmp_path, mode, size, image_size, channels, value):
    path = tmp_path / "image.tif"
    grey(value, size).convert(mode).save(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="enlarged")
        assert only_image(tmp_path, image_size, channels).shape == (channels, image_size, image_size)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".png", ".jpg", ".gif", ".bmp", ".tif", ".webp", ".ppm", ".ico", ".tga", ".psd"]),
    keep=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
)
def test_no_damaged_file_stops_the_others_from_being_used(tmp_path, suffix, keep, changes):
    """Files of every common format, cut anywhere, with bytes changed anywhere."""
    good, bad = tmp_path / "good.png", tmp_path / f"bad{suffix}"
    for old in tmp_path.iterdir():
        old.unlink()
    grey(77).save(good)
    content = bytearray(sample_file(suffix))
    for where, value in changes:
        content[int(where * (len(content) - 1))] = value
    bad.write_bytes(content[: int(keep * len(content))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
        images = load_folder(tmp_path, image_size=16, channels=1).images
    assert any(image.unique().tolist() == [77] for image in images)


def sample_file(suffix: str) -> bytes:
    image = Image.fromarray(np.arange(24 * 24 * 3, dtype=np.uint32).reshape(24, 24, 3).astype(np.uint8))
    if suffix == ".psd":  # Pillow reads it but does not write it
        return b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 4, 4, 8, 3) + bytes(12) + bytes(2) + bytes(48)
    buffer = io.BytesIO()
    formats = {".jpg": "JPEG", ".tif": "TIFF", ".ppm": "PPM"}
    options = {"exif": Image.Exif()} if suffix in (".jpg", ".png", ".webp") else {}
    if options:
        options["exif"][0x0112] = 6
    image.save(buffer, formats.get(suffix, suffix[1:].upper()), **options)
    return buffer.getvalue()


# Torchvision's sets, offline


def write_mnist(folder: Path, num_images: int = 5) -> dict[str, np.ndarray]:
    """Files of both parts, with other images in each; returns the images (N, 28, 28)."""
    folder.mkdir(parents=True)
    written = {}
    for number, (split, part) in enumerate({"train": "train", "test": "t10k"}.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (num_images, 28, 28), np.uint8)
        pixels[0] = 255
        labels = np.arange(num_images, dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 2051, num_images, 28, 28) + pixels.tobytes()
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, num_images) + labels.tobytes())
        written[split] = pixels
    return written


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_files_that_are_there_need_no_network(tmp_path, name, kind):
    write_mnist(tmp_path / name / kind / "raw")
    for split in ("train", "test"):
        dataset = load(name, image_size=32, root=tmp_path, split=split)
        assert dataset.images.shape == (5, 1, 32, 32) and dataset.images.dtype == torch.uint8
        assert dataset.labels.tolist() == [0, 1, 2, 3, 4] and len(dataset.class_names) == 10
        assert dataset.images[0].unique().tolist() == [255]
    assert load(name, image_size=32, channels=3, root=tmp_path).images.shape == (5, 3, 32, 32)


@pytest.mark.parametrize("image_size", [16, 32, 64])
@pytest.mark.parametrize("split", ["train", "test"])
def test_mnist_is_brought_to_size_as_pillow_would_by_bilinear_means(tmp_path, image_size, split):
    written = write_mnist(tmp_path / "mnist" / "MNIST" / "raw")[split]
    size = (image_size, image_size)
    expected = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in written]
    found = load("mnist", image_size=image_size, root=tmp_path, split=split).images[:, 0]
    np.testing.assert_allclose(found.float(), np.stack(expected).astype(float), atol=1)


def test_stacked_mnist_is_made_of_the_mnist_that_is_there(tmp_path, few_digits):
    write_mnist(tmp_path / "mnist" / "MNIST" / "raw")
    for split in ("train", "test"):
        stacked = load("stacked-mnist", image_size=32, channels=3, root=tmp_path, split=split)
        assert stacked.name == "stacked-mnist"
        assert_channels_are_the_digits_of_the_label(stacked, load("mnist", image_size=32, root=tmp_path, split=split))
    first, other = (load("stacked-mnist", channels=3, root=tmp_path, seed=seed).labels for seed in (0, 1))
    assert not torch.equal(first, other), "the digits are the same for every seed; which are stacked is not"


def write_cifar10(folder: Path) -> np.ndarray:
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 7]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    return pixels.reshape(2, 3, 32, 32)


def test_cifar10_files_that_are_there_need_no_network(tmp_path, monkeypatch):
    pixels = write_cifar10(tmp_path / "cifar10" / "cifar-10-batches-py")
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # of the real files' sums
    dataset = load("cifar10", image_size=32, channels=3, root=tmp_path)
    assert torch.equal(dataset.images, torch.from_numpy(np.concatenate([pixels] * 5)))
    assert dataset.labels.tolist() == [3, 7] * 5 and len(dataset.class_names) == 10
    grey_images = load("cifar10", image_size=32, channels=1, root=tmp_path, split="test").images
    luminance = np.tensordot([0.299, 0.587, 0.114], pixels.astype(float), axes=(0, 1))
    np.testing.assert_allclose(grey_images[:, 0], luminance, atol=0.51)


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("no route to host"), RuntimeError("Error downloading x"), OSError("read-only")]
)
@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("cifar10", "CIFAR10")]
)
def test_no_network_names_the_data_set_the_folder_and_the_way_out(tmp_path, monkeypatch, name, kind, error):
    def download(self) -> None:
        raise error

    monkeypatch.setattr(getattr(torchvision.datasets, kind), "download", download)
    with pytest.raises(InvalidInput) as caught:
        load(name, root=tmp_path)
    message = str(caught.value)
    assert repr(name) in message and str(tmp_path / name) in message and "--data glyphs" in message
    assert_one_sentence(message)


def test_a_damaged_file_of_a_data_set_is_one_sentence(tmp_path):
    folder = tmp_path / "mnist" / "MNIST" / "raw"
    write_mnist(folder)
    images = folder / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:2000])
    with pytest.raises(InvalidInput, match="mnist") as caught:
        load("mnist", root=tmp_path)
    assert_one_sentence(caught.value)


def test_downscaling_averages_instead_of_skipping_pixels(tmp_path):
    """A one-pixel checkerboard becomes even grey."""
    folder = tmp_path / "mnist" / "MNIST" / "raw"
    write_mnist(folder)
    board = (np.indices((28, 28)).sum(0) % 2 * 255).astype(np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 5, 28, 28) + board.tobytes() * 5)
    pixels = load("mnist", image_size=16, root=tmp_path).images[0, 0, 2:-2, 2:-2].float()
    assert (pixels - 127.5).abs().max() < 30


def test_own_rows_are_those_of_the_whole_batch_one_part_below_the_other():
    whole, own = (
        Batches(torch.arange(50)[:, None, None, None], batch_size=8, seed=1, own=rows)
        for rows in ([slice(None)], [slice(1, 3), slice(5, 7)])
    )
    for step in (0, 7):
        assert own.rows(step).tolist() == [whole.rows(step)[place].item() for place in (1, 2, 5, 6)]
