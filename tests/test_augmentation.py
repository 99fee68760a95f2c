"""What an augmentation does to single images, how its numbers are spread, and what flows back through it."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest, pearsonr
from torch import Tensor

from dcgan_core.config import Augmentation
from dcgan_core.data.augmentation import AUGMENTATIONS, augmented, cut_out, flipped, recoloured, translated

SIZE = 16
NUM = 4_000


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def same_image(num: int = NUM, channels: int = 1) -> Tensor:
    """One image without any symmetry or zero, as often as asked for."""
    image = torch.rand(1, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 0.9 + 0.05
    return image.expand(num, -1, -1, -1)


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Pixel by pixel; zeros move in."""
    result = np.zeros_like(image)
    for row in range(SIZE):
        for column in range(SIZE):
            if 0 <= row - down < SIZE and 0 <= column - right < SIZE:
                result[:, row, column] = image[:, row - down, column - right]
    return result


def assert_translates(change) -> None:
    most = SIZE // 8
    images = same_image(channels=3)
    steps = range(-most, most + 1)
    possible = {moved(images[0].numpy(), i, j).tobytes(): (i, j) for i in steps for j in steps}
    found = Counter(possible.get(image.numpy().tobytes(), "none of them") for image in change(images))
    assert found["none of them"] == 0, "something else"
    assert chisquare([found[offset] for offset in possible.values()]).pvalue > 1e-3, "not evenly"


def test_translation_moves_each_image_by_whole_pixels_evenly_over_all_offsets():
    assert_translates(translated)


def rolled(images: Tensor) -> Tensor:
    """What moves out on one side comes in on the other."""
    offsets = torch.randint(-2, 3, (len(images), 2)).tolist()
    return torch.stack([image.roll(offset, (1, 2)) for image, offset in zip(images, offsets, strict=True)])


def along_the_diagonal(images: Tensor) -> Tensor:
    """One number for both directions."""
    offsets = torch.randint(-2, 3, (len(images),)).tolist()
    return torch.stack([torch.from_numpy(moved(i.numpy(), o, o)) for i, o in zip(images, offsets, strict=True)])


def all_alike(images: Tensor) -> Tensor:
    return translated(images[:1]).expand_as(images)


@pytest.mark.parametrize(
    ("mutant", "message"), [(rolled, "something else"), (along_the_diagonal, "not evenly"), (all_alike, "not evenly")]
)
def test_mutant_translation_is_caught(mutant, message):
    with pytest.raises(AssertionError, match=message):
        assert_translates(mutant)


def assert_cuts_out(change) -> None:
    """A centre for each pixel, and for the outer edge; at the edges, a part of the square lies outside."""
    images = same_image(20_000)
    kept = (change(images) / images).round(decimals=5)
    assert set(kept.unique().tolist()) == {0.0, 1.0}, "not cut out"
    gone = kept[:, 0] == 0  # (B, S, S)
    rows, columns = gone.any(dim=2), gone.any(dim=1)
    assert torch.equal(gone, rows[:, :, None] & columns[:, None, :]), "no rectangle"
    side = SIZE // 2
    spans = {}
    for centre in range(SIZE + 1):
        inside = [centre - side // 2 <= place < centre + side // 2 for place in range(SIZE)]
        spans[tuple(inside)] = centre
    for lines in (rows, columns):
        found = Counter(spans.get(tuple(line), "none of them") for line in lines.tolist())
        assert found["none of them"] == 0, "another square"
        assert chisquare([found[centre] for centre in range(SIZE + 1)]).pvalue > 1e-3, "not evenly"
    assert abs(pearsonr(rows.float().argmax(1), columns.float().argmax(1)).statistic) < 0.03, "not independent"


def test_cutout_blanks_a_square_of_half_the_size_around_any_pixel():
    assert_cuts_out(cut_out)


def all_inside(images: Tensor) -> Tensor:
    images = images.clone()
    for image, (row, column) in zip(images, torch.randint(0, SIZE // 2 + 1, (len(images), 2)).tolist(), strict=True):
        image[:, row : row + SIZE // 2, column : column + SIZE // 2] = 0
    return images


def two_stripes(images: Tensor) -> Tensor:
    """`and` where there should be `or`: whole rows and whole columns."""
    kept = cut_out(torch.ones_like(images)) == 1
    return images * (kept.all(dim=3, keepdim=True) & kept.all(dim=2, keepdim=True))


@pytest.mark.parametrize(
    ("mutant", "message"), [(all_inside, "not evenly|another"), (two_stripes, "no rectangle|another")]
)
def test_mutant_cutout_is_caught(mutant, message):
    with pytest.raises(AssertionError, match=message):
        assert_cuts_out(mutant)


def colour_numbers(images: Tensor, changed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Brightness, saturation and contrast of each image, recovered from what became of it.

    With m the mean of an image and g its pixels' grey: changed = m + b + c (g - m) + c s (pixel - g).
    """
    grey, after = images.mean(1), changed.mean(1)  # (B, S, S)
    brightness = after.mean((1, 2)) - grey.mean((1, 2))
    contrast = (after - after.mean((1, 2), keepdim=True)).flatten(1).norm(dim=1)
    contrast = contrast / (grey - grey.mean((1, 2), keepdim=True)).flatten(1).norm(dim=1)
    colourful = (changed - after[:, None]).flatten(1).norm(dim=1) / (images - grey[:, None]).flatten(1).norm(dim=1)
    rebuilt = (
        (images.mean((1, 2, 3)) + brightness)[:, None, None, None]
        + contrast[:, None, None, None] * (grey - grey.mean((1, 2), keepdim=True))[:, None]
        + colourful[:, None, None, None] * (images - grey[:, None])
    )
    torch.testing.assert_close(changed, rebuilt, rtol=0, atol=1e-5)
    return brightness, colourful / contrast, contrast


def assert_recolours(change) -> None:
    images = same_image(channels=3)
    numbers = colour_numbers(images, change(images))
    for found, low, high in zip(numbers, (-0.5, 0.0, 0.5), (0.5, 2.0, 1.5), strict=True):
        assert kstest(found.numpy(), "uniform", (low, high - low)).pvalue > 1e-3
    assert np.abs(np.corrcoef(torch.stack(numbers)) - np.eye(3)).max() < 0.05


def test_colour_draws_brightness_saturation_and_contrast_evenly_and_each_by_itself():
    assert_recolours(recoloured)


def clamped(images: Tensor) -> Tensor:
    return recoloured(images).clamp(-1, 1)


def only_brighter(images: Tensor) -> Tensor:
    return recoloured(images) + 0.5


@pytest.mark.parametrize("mutant", [clamped, only_brighter, lambda images: recoloured(images[:1]).expand_as(images)])
def test_mutant_colour_is_caught(mutant):
    with pytest.raises(AssertionError):
        assert_recolours(mutant)


def test_grey_images_have_no_saturation():
    images = same_image(NUM, channels=1)
    changed = recoloured(images)
    shape = (images - images.mean()) / (images - images.mean()).flatten(1).norm(dim=1)[:, None, None, None]
    mean = changed.mean((1, 2, 3), keepdim=True)
    found = (changed - mean) / (changed - mean).flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(found, shape, rtol=0, atol=1e-5)


def test_flip_mirrors_half_of_the_images():
    images = same_image()
    changed = flipped(images)
    is_mirrored = (changed == images.flip(3)).flatten(1).all(dim=1)
    is_same = (changed == images).flatten(1).all(dim=1)
    assert (is_mirrored ^ is_same).all()
    assert is_mirrored.float().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / NUM**0.5)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_flows_back_is_the_derivative(name):
    """Against finite differences, twice: a penalty differentiates through it a second time."""
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64, requires_grad=True) * 2 - 1

    def fixed(images: Tensor) -> Tensor:
        torch.manual_seed(2)
        return augmented(images, (name,)).square().sum(dim=(1, 2, 3))

    assert torch.autograd.gradcheck(fixed, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(fixed, images, fast_mode=True)


@pytest.mark.parametrize(("name", "least"), [("flip", 2), ("translation", 15), ("cutout", 45), ("colour", 64)])
def test_each_image_has_numbers_of_its_own_and_keeps_its_form(name, least):
    images = same_image(64, channels=3)
    changed = augmented(images, (name,))
    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert len({image.numpy().tobytes() for image in changed}) >= least
    assert not torch.equal(augmented(images, (name,)), changed)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_nothing_is_read_on_the_host(name, host_reads):
    with host_reads() as found:
        augmented(same_image(8), (name,))
    assert found == []


def test_names_are_those_of_the_config_and_their_order_does_not_matter():
    assert set(AUGMENTATIONS) == set(get_args(Augmentation))
    names = tuple(AUGMENTATIONS)
    results = []
    for order in (names, names[::-1]):
        torch.manual_seed(3)
        results.append(augmented(same_image(8), order))
    assert torch.equal(*results)


def test_without_a_name_nothing_changes_and_no_number_is_drawn():
    images, before = same_image(8), torch.get_rng_state()
    assert augmented(images, ()) is images
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_every_size_of_image_is_changed(size):
    images = torch.rand(4, 3, size, size)
    assert augmented(images, tuple(AUGMENTATIONS)).shape == images.shape


def test_several_changes_are_made_one_after_the_other():
    images = torch.rand(6, 3, 16, 16) * 2 - 1
    torch.manual_seed(0)
    expected = AUGMENTATIONS["flip"](AUGMENTATIONS["colour"](images))
    torch.manual_seed(0)
    assert torch.equal(augmented(images, ("flip", "colour")), expected)
