"""Copies are found where they are, and about as many as real images seem to be where they are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from dcgan_core.data import scale
from dcgan_core.metrics.copies import copies, thumbnails, thumbnails_of_pixels


def normal(num: int, seed: int, *, num_features: int = 6) -> Tensor:
    return torch.randn(num, num_features, generator=torch.Generator().manual_seed(seed))


TRAINING, HELD_OUT, FRESH = normal(2_000, 1), normal(600, 2), normal(1_000, 3)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_as_many_copies_are_found_as_there_are(share, noise):
    num = round(share * len(FRESH))
    samples = torch.cat([TRAINING[:num] + noise * normal(num, 4), FRESH[num:]])
    found = copies(samples, TRAINING, HELD_OUT)
    assert found.share == pytest.approx(share + 0.01 * (1 - share), abs=0.02)
    assert found.real_share == pytest.approx(0.01, abs=0.01)


def test_samples_that_are_alike_and_plain_are_no_copies():
    """They lie in a dense cluster of plain images: near to training images, but as near to held-out ones."""
    training, held_out = TRAINING.clone(), HELD_OUT.clone()
    training[:16], held_out[::125] = 0.02 * TRAINING[:16], 0.02 * HELD_OUT[::125]
    plain = 0.02 * FRESH
    alone = cdist(held_out, training).min(axis=1)
    assert (cdist(plain, training).min(axis=1) < np.quantile(alone, 0.01)).mean() > 0.9, "nearness alone accuses them"
    assert copies(plain, training, held_out).share < 0.1


def test_data_that_hold_duplicates_say_so():
    held_out = HELD_OUT.clone()
    held_out[::10] = TRAINING[:60]
    found = copies(FRESH, TRAINING, held_out)
    assert found.real_share == pytest.approx(0.1, abs=0.02) and found.share < 0.02


def test_real_images_are_counted_by_a_limit_that_other_ones_have_set():
    """By their own limit, exactly 1 in 100 would be below it, every time, and nothing would be measured."""
    found = {copies(FRESH[:20], TRAINING, normal(600, seed)).real_share for seed in range(10, 16)}
    assert len(found) > 1 and max(found) < 0.03


def test_an_image_that_equals_training_and_held_out_ones_is_no_copy():
    """A blank image among both."""
    training, held_out = (torch.cat([torch.zeros(50, 6), each]) for each in (TRAINING, HELD_OUT))
    order = torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))
    assert copies(torch.zeros(100, 6), training, held_out[order]).share == 0


def test_the_search_needs_enough_held_out_images():
    assert copies(FRESH, TRAINING, HELD_OUT[:19]) is None
    assert copies(TRAINING, TRAINING, HELD_OUT[:20]).share == 1


def test_an_exact_copy_is_found_where_the_limit_is_an_exact_copy():
    """Data with many duplicates across the split: the limit is 0, and still a copy is one."""
    held_out = HELD_OUT.clone()
    held_out[::10] = TRAINING[:60]
    assert copies(TRAINING[60:160], TRAINING, held_out).share == 1


def drawn(num: int, seed: int) -> Tensor:
    """Images (num, 1, 64, 64) of soft spots, in [-1, 1]."""
    spots = torch.rand(num, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(spots, 64, mode="bilinear", align_corners=False)


def test_a_copy_that_is_dim_blurred_or_noisy_keeps_its_thumbnail():
    images, others = drawn(40, 1), drawn(40, 2)
    noise = 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(3))
    blurred = torch.nn.functional.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    apart = (thumbnails(images) - thumbnails(others)).norm(dim=1).min()
    for name, copied in (
        ("dim", 0.6 * images),
        ("bright", images + 0.2),
        ("blurred", blurred),
        ("noisy", images + noise),
    ):
        distance = (thumbnails(images) - thumbnails(copied)).norm(dim=1).max()
        assert distance < 0.2 * apart, f"{name}: {distance:.2f} of {apart:.2f}"


def test_a_blank_image_stays_blank():
    grain = 0.001 * torch.randn(9, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert thumbnails(grain).abs().max() < 0.1
    found = thumbnails(drawn(9, 0))
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(9), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(dim=1), torch.ones(9), atol=1e-4, rtol=0)


@pytest.mark.parametrize("chunk", [1, 7, 1_000])
def test_thumbnails_of_chosen_pixels_are_those_of_a_copy_of_them(monkeypatch, chunk):
    monkeypatch.setattr("dcgan_core.metrics.copies.CHUNK", chunk)
    pixels = torch.randint(256, (20, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    chosen = torch.randperm(20, generator=torch.Generator().manual_seed(1))[:9]
    torch.testing.assert_close(thumbnails_of_pixels(pixels, chosen), thumbnails(scale(pixels[chosen])))
    torch.testing.assert_close(thumbnails_of_pixels(pixels), thumbnails(scale(pixels)))
