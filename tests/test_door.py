"""What is not images in [-1, 1] is one sentence, wherever it comes in; before, it was a wrong number or a traceback."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.data import Dataset, glyphs, scale
from dcgan_core.metrics import Judge, letter_classifier, moments
from dcgan_core.metrics.door import check_images
from dcgan_core.metrics.features import measure, measure_pixels

LETTERS = torch.from_numpy(glyphs.render(40, seed=5).images)
IMAGES = scale(LETTERS)


@pytest.fixture(scope="module")
def judge() -> Judge:
    features, _ = measure(letter_classifier(), IMAGES)
    return Judge(letter_classifier(), "letters", moments(features), features, 26)


def broken(images: Tensor, value: float) -> Tensor:
    images = images.clone()
    images[7, 0, 3, 5] = value
    return images


WRONG = {
    "pixels from 0 to 255": (LETTERS, r"uint8.*-1 to 1.*scale"),
    "pixels as floats": (LETTERS.float(), r"from 0 to 255.*between -1 and 1"),
    "one value that is none": (broken(IMAGES, float("nan")), r"not a number"),
    "one infinite value": (broken(IMAGES, float("inf")), r"to inf,.*between -1 and 1"),
    "one value out of range": (broken(IMAGES, -1.5), r"from -1\.5 "),
    "no channels": (IMAGES[:, 0], r"shape \(40, 32, 32\)"),
    "channels last": (IMAGES.permute(0, 2, 3, 1), r"shape \(40, 32, 32, 1\)"),
    "two channels": (IMAGES.expand(-1, 2, -1, -1), r"1 or 3 channels"),
    "not square": (IMAGES[..., 1:], r"size, size"),
    "none": (IMAGES[:0], r"0 images"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("door", ["measure", "report", "full_report"])
def test_what_is_no_image_is_one_sentence(name, door, judge):
    images, said = WRONG[name]
    with pytest.raises(InvalidInput, match=said) as caught:
        measure(letter_classifier(), images) if door == "measure" else getattr(judge, door)(images)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize("door", ["report", "full_report"])
def test_a_single_image_is_one_sentence(door, judge):
    with pytest.raises(InvalidInput, match="one image"):
        getattr(judge, door)(IMAGES[:1])
    getattr(judge, door)(IMAGES[:2])


def test_moments_of_one_vector_are_one_sentence():
    with pytest.raises(ValueError, match="1 vector has no covariance"):
        moments(torch.zeros(1, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_images_of_every_precision_come_in_and_so_does_what_resizing_adds(dtype):
    check_images(IMAGES.to(dtype))
    check_images(IMAGES * 1.009)
    check_images(IMAGES.expand(-1, 3, -1, -1), at_least=40)
    with pytest.raises(InvalidInput, match=r"40 images .* at least 41"):
        check_images(IMAGES, at_least=41)


def test_pixels_are_measured_as_their_scaled_images():
    for measured, expected in zip(
        measure_pixels(letter_classifier(), LETTERS, chunk=7), measure(letter_classifier(), IMAGES), strict=True
    ):
        torch.testing.assert_close(measured, expected)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (LETTERS.float() / 255, None, r"float32, .*uint8"),
        (IMAGES, None, r"float32, .*uint8"),
        (LETTERS[:, 0], None, r"shape \(40, 32, 32\)"),
        (LETTERS.permute(0, 2, 3, 1), None, r"shape \(40, 32, 32, 1\)"),
        (LETTERS, torch.zeros(39, dtype=torch.int64), r"39 labels .*40 images"),
    ],
)
def test_a_data_set_holds_pixels_from_0_to_255(images, labels, said):
    """Floats from 0 to 1 would be trained on as if they were nearly black."""
    with pytest.raises(InvalidInput, match=said):
        Dataset("mine", images, labels, ())
    Dataset("mine", LETTERS, torch.zeros(40, dtype=torch.int64), ("all",))
