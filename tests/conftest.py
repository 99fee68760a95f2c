"""Fixtures of the core's tests: a data set, a config and a machine so small that a run takes a second."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from dcgan_core import glyphs
from dcgan_core.config import Config
from dcgan_core.data import Dataset
from dcgan_core.runtime import Machine, choose_machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def cpu() -> Machine:
    return choose_machine("cpu", "float32")


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    letters = glyphs.render(44, image_size=16)
    return Dataset("tiny", torch.from_numpy(letters.images), torch.from_numpy(letters.letter), tuple(glyphs.LETTERS))


@pytest.fixture(scope="session")
def tiny_folder(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `tiny_dataset` as files."""
    folder = tmp_path_factory.mktemp("letters")
    for number, image in enumerate(tiny_dataset.images):
        Image.fromarray(image[0].numpy()).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def tiny_config(tiny_folder: Path) -> Config:
    """A run of 20 steps that uses all that a checkpoint must hold: dropout, average, several epochs."""
    return Config(
        data=str(tiny_folder),
        image_size=16,
        latent_size=8,
        generator_width=4,
        discriminator_width=4,
        dropout=0.3,
        batch_size=8,
        total_images=160,
        ema_halflife_images=50,
        log_every_images=40,
        sample_every_images=80,
        checkpoint_every_images=48,
        evaluate_every_images=0,
    )
