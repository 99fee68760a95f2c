"""Batches are the same wherever the images are; those on the CPU are tested beside the data sets."""

from __future__ import annotations

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
