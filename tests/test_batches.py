"""Batches are the same wherever the images are; those on the CPU are tested beside the data sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcgan_core.data import Batches


@pytest.mark.gpu
def test_batches_on_the_gpu_are_those_on_the_cpu():
    images = torch.arange(200, dtype=torch.uint8).reshape(50, 1, 2, 2)
    here, there = (Batches(images.to(device), batch_size=7, seed=3) for device in ("cpu", "cuda"))
    for step in (0, 8, 20):
        assert torch.equal(there.rows(step).cpu(), here.rows(step))
        torch.testing.assert_close(there(step).cpu(), here(step), rtol=0, atol=2.5e-7)  # a GPU divides otherwise


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("own", [(slice(None),), (slice(1, 3), slice(5, 6))])
def test_batches_that_are_collected_ahead_are_the_same_in_any_order_of_asking(images, own):
    fits, too_large = (Batches(images, batch_size=7, seed=3, own=own, limit=limit) for limit in (2400, 2399))
    assert fits.note == "" and "stay in the computer's memory" in too_large.note
    for step in (0, 1, 2, 3, 9, 8, 8, 20, 21):
        assert torch.equal(fits(step), too_large(step))


def test_the_next_batch_is_collected_while_this_one_is_used(images):
    batches = Batches(images, batch_size=7, seed=3, limit=0)
    batches(4)
    step, batch = batches._next
    assert step == 5 and torch.equal(batch.result(timeout=60), images[batches.rows(5)])


def test_images_that_are_mapped_from_a_file_are_read_a_batch_at_a_time(images, tmp_path):
    np.save(tmp_path / "images.npy", images.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    ahead = Batches(mapped, batch_size=7, seed=3, limit=0)
    assert ahead.images.data_ptr() == mapped.data_ptr(), "no copy is made"
    assert torch.equal(ahead(3), Batches(images, batch_size=7, seed=3)(3))


def test_without_a_limit_all_memory_that_there_is_may_be_taken(images, monkeypatch):
    monkeypatch.setattr("dcgan_core.data.batches.host_memory", lambda: 2399)
    assert Batches(images, batch_size=7, seed=3).note.startswith("the images take 2.4e-06 GB and stay")
    monkeypatch.setattr("dcgan_core.data.batches.host_memory", lambda: 2400)
    assert Batches(images, batch_size=7, seed=3).note == ""


@pytest.mark.gpu
def test_images_that_do_not_fit_on_the_gpu_come_batch_by_batch(images):
    device = torch.device("cuda")
    fits, too_large = (Batches(images, batch_size=7, seed=3, device=device, limit=limit) for limit in (1e9, 0))
    assert fits.images.is_cuda and not too_large.images.is_cuda and "cuda" in too_large.note
    for step in (0, 1, 2, 9, 8, 21):
        batch = too_large(step)
        assert batch.is_cuda and torch.equal(batch, fits(step))
